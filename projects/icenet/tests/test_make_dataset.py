"""The commands `make-dataset` and `profile-info`."""

import sys

import pytest
import torch

from icenet.make_dataset import make_dataset, profile_info
from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES
from icenet.ofdm.profiles import PROFILES
from icenet.shards import read_mat, read_shard
from tenfold.cli import CommandLineError


def test_shards_hold_what_the_simulator_draws(tmp_path, capsys):
    argv = [
        str(tmp_path),
        "--n",
        "25",
        "--shard-size",
        "10",
        "--format",
        "npz",
        "--doppler",
        "0",
        "500",
        "--seed",
        "3",
    ]
    assert make_dataset(argv) == 0
    assert "25 / 25 slots: shard_00002.npz" in capsys.readouterr().out
    shards = [read_shard(tmp_path / f"shard_{i:05d}.npz", NUMEROLOGIES["nr_v2x_15"]) for i in range(3)]
    assert [len(shard.slots) for shard in shards] == [10, 10, 5]
    assert [shard.meta["first_slot"] for shard in shards] == [0, 10, 20]
    generator = torch.Generator().manual_seed(3)
    simulator = ChannelSimulator("nr_v2x_15", "EVA", doppler=(0, 500))
    for shard in shards:
        assert torch.equal(shard.slots.h, simulator.slots(len(shard.slots), (0.0, 25.0), generator).h)


def test_mixtures_go_to_shards_with_their_names(tmp_path, capsys):
    argv = [
        str(tmp_path),
        "--n",
        "8",
        "--format",
        "npz",
        "--profile",
        "EVA",
        "TDL-A",
        "--delay-spread",
        "30",
        "300",
    ]
    assert make_dataset([*argv, "--speed", "100", "--snr", "10"]) == 0
    shard = read_shard(tmp_path / "shard_00000.npz")
    assert shard.profiles == ("EVA", "TDL-A")
    assert shard.slots.snr_db.tolist() == [10] * 8


def test_mat_files_are_numbered_through(tmp_path, capsys):
    argv = [
        str(tmp_path),
        "--n",
        "3",
        "--shard-size",
        "2",
        "--format",
        "mat",
        "--numerology",
        "fortitran",
        "--doppler",
        "100",
    ]
    assert make_dataset(argv) == 0
    assert sorted(int(path.name.split("_")[0]) for path in tmp_path.iterdir()) == [1, 2, 3]
    assert read_mat(tmp_path, NUMEROLOGIES["fortitran"]).slots.ls.shape == (3, 12, 2)


def test_profiles_beyond_the_prefix_are_told(tmp_path, capsys):
    make_dataset([str(tmp_path), "--n", "1", "--format", "npz", "--profile", "ETU", "--doppler", "5"])
    assert "warning: ETU reaches 5000 ns, beyond the cyclic prefix" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--n", "0", "--doppler", "5"], "--n must be at least 1, got 0"),
        (["--shard-size", "0", "--doppler", "5"], "--shard-size must be at least 1"),
        ([], "doppler is missing: EVA"),
        (["--doppler", "1", "2", "3"], r"--doppler takes one number or two \(low high\), got 3"),
        (["--doppler", "5", "--profile", "EVE"], "unknown profile 'EVE'"),
        (["--doppler", "5", "--numerology", "nr"], "unknown numerology 'nr'"),
        (["--doppler", "5", "--snr", "9", "3"], "snr_db must be finite and low ≤ high"),
    ],
)
def test_mistakes_in_the_command_line(tmp_path, argv, message):
    with pytest.raises(CommandLineError, match=message):
        make_dataset([str(tmp_path / "out"), *argv])
    assert not (tmp_path / "out").exists()


def test_profile_info_prints_spread_and_bandwidth(capsys):
    assert profile_info(["EVA"]) == 0
    out = capsys.readouterr().out
    assert "356.65 ns" in out
    assert f"{PROFILES['EVA'].coherence_bandwidth() / 1e3:.2f} kHz" in out
    assert "nr_v2x_15" in out.splitlines()[-1]
    assert "nr_v2x_30" not in out.splitlines()[-1]  # 2.51 µs is longer than 2.34 µs


def test_profile_info_scales_and_prints_taps(capsys):
    assert profile_info(["TDL-A", "--delay-spread", "100", "--taps"]) == 0
    out = capsys.readouterr().out
    assert "100.01 ns" in out
    assert len(out.split("share")[1].splitlines()) == 24  # the end of the head and 23 taps
    assert profile_info(["C2C-urban-nlos", "--taps"]) == 0
    assert "half bath-tubs up to 591 Hz" in capsys.readouterr().out


def test_profile_info_without_a_name_lists_all(capsys):
    assert profile_info([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*PROFILES, "robust"))


def test_profile_info_says_what_is_missing_or_ignored(capsys):
    with pytest.raises(CommandLineError, match=r"TDL-A needs --delay-spread in ns .*nominal 100"):
        profile_info(["TDL-A"])
    with pytest.raises(CommandLineError, match="unknown profile 'EVE'"):
        profile_info(["EVE"])
    assert profile_info(["EVA", "--delay-spread", "5"]) == 0
    assert "warning: delay_spread=5.0 ns is ignored" in capsys.readouterr().err


def test_profile_info_names_the_extra_that_sionna_needs(capsys, monkeypatch):
    for name in ("sionna", "sionna.phy", "sionna.phy.ofdm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CommandLineError, match=r"needs Sionna: install icenet\[sionna\]"):
        profile_info(["TDL-A", "--delay-spread", "100", "--sionna"])
    with pytest.raises(CommandLineError, match=r"Sionna has the covariances of TDL-A, .*, not of EVA"):
        profile_info(["EVA", "--sionna"])
