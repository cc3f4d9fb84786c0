"""Shards come back as they were written, and say what is wrong when they do not; the .mat exchange of §6."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES
from icenet.shards import ShardError, read_mat, read_shard, sidecar, write_mat, write_shard

CONFIG = NUMEROLOGIES["lte_small"]  # staggered combs


def slots(n=5, config=CONFIG, profile="EPA", **options):
    simulator = ChannelSimulator(config, profile, doppler=(0, 97), **options)
    return simulator.slots(n, (5, 25), torch.Generator().manual_seed(0))


def same(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert (x is None) == (y is None), field.name
        if x is not None:
            assert x.dtype == y.dtype, field.name
            assert torch.equal(x, y), field.name


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5"])
@pytest.mark.parametrize("name", ["lte_small", "dsrc_10MHz"])
def test_shards_come_back_as_they_were(tmp_path, suffix, name):
    pytest.importorskip("h5py", reason="HDF5 needs the extra icenet[train]")
    config = NUMEROLOGIES[name]
    written = slots(config=config)
    path = write_shard(tmp_path / f"new/shard{suffix}", written, config, ["EPA"], {"seed": 0})
    read = read_shard(path, config)
    same(read.slots, written)
    assert read.config == config
    assert read.profiles == ("EPA",)
    assert read.meta == {"seed": 0}
    assert sorted(p.name for p in path.parent.iterdir()) == [f"shard{suffix}", f"shard{suffix}.json"]


def test_the_sidecar_says_what_the_file_holds(tmp_path):
    path = write_shard(tmp_path / "a.npz", slots(), CONFIG, ["EPA"])
    facts = json.loads(sidecar(path).read_text())
    assert facts["config_hash"] == CONFIG.digest()
    assert facts["slots"] == 5
    assert facts["config"]["n_subcarriers"] == 72
    with np.load(path, allow_pickle=False) as file:
        assert {name: file[name].dtype.name for name in file} == {
            "h": "complex64", "ls": "complex64", "noise_var": "float32", "snr_db": "float32", "doppler_hz": "float32",
            "delay_spread_ns": "float32", "profile": "int16",
        }  # fmt: skip


def test_another_grid_is_refused_with_the_difference(tmp_path):
    path = write_shard(tmp_path / "a.npz", slots(), CONFIG, ["EPA"])
    with pytest.raises(
        ShardError,
        match=r"a.npz holds another grid: cp: 4.6875e-06 here, 1.48.*e-05 there; carrier_frequency",
    ):
        read_shard(path, NUMEROLOGIES["nr_v2x_15"])


def test_damage_is_found(tmp_path):
    path = write_shard(tmp_path / "a.npz", slots(), CONFIG, ["EPA"])
    payload = bytearray(path.read_bytes())
    payload[2000] ^= 1
    path.write_bytes(payload)
    with pytest.raises(ShardError, match=r"is not the file that a\.npz\.json describes: its sha256 differs"):
        read_shard(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda facts: facts.pop("config"), "is no sidecar of a shard"),
        (lambda facts: facts.update(format=2), "has format 2, this version reads 1"),
        (lambda facts: facts["config"].update(cp=0.0), "the grid has the hash .* it was edited"),
        (lambda facts: facts["config"].update(n_symbols=3), "is no sidecar of a shard: pilot symbols"),
    ],
)
def test_edited_sidecars_are_refused(tmp_path, edit, message):
    path = write_shard(tmp_path / "a.npz", slots(), CONFIG, ["EPA"])
    facts = json.loads(sidecar(path).read_text())
    edit(facts)
    sidecar(path).write_text(json.dumps(facts))
    with pytest.raises(ShardError, match=message):
        read_shard(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.npz: a shard is the file and its \.json"):
        read_shard(tmp_path / "b.npz")
    path = write_shard(tmp_path / "a.npz", slots(), CONFIG, ["EPA"])
    sidecar(path).unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*a\.npz\.json"):
        read_shard(path)


def test_what_does_not_fit_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.pt must end with one of \.h5, \.hdf5, \.npz"):
        write_shard(tmp_path / "a.pt", slots(), CONFIG, ["EPA"])
    with pytest.raises(ShardError, match=r"h has the shape \(5, 72, 14\), the grid asks for \(5, 120, 14\)"):
        write_shard(tmp_path / "a.npz", slots(), NUMEROLOGIES["fortitran"], ["EPA"])
    with pytest.raises(ShardError, match="profile reaches 0, but there are 0 profile names"):
        write_shard(tmp_path / "a.npz", slots(), CONFIG, [])
    assert not any(tmp_path.iterdir())


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"install icenet\[train\], or use \.npz"):
        write_shard(tmp_path / "a.h5", slots(), CONFIG, ["EPA"])


# .mat -------------------------------------------------------------------------------------------------------------


def test_mat_files_hold_channel_and_pilots(tmp_path):
    written = slots(3)
    paths = write_mat(tmp_path, written, CONFIG, ["EPA"], first=10)
    assert paths[0].name.startswith("10_SNR-")
    assert paths[0].name.endswith("_N-2_EPA.mat")
    H = loadmat(paths[1])["H"]
    assert H.shape == (72, 14, 2)
    np.testing.assert_array_equal(H[..., 0], written.h[1].numpy())
    assert np.count_nonzero(H[..., 1]) == 72
    np.testing.assert_array_equal(H[1::2, 12, 1], written.ls[1, :, 1].numpy())  # the second comb starts at 1


def test_mat_files_come_back_in_the_order_of_their_numbers(tmp_path):
    written = slots(12)
    write_mat(tmp_path, written, CONFIG, ["EPA"])
    read = read_mat(tmp_path, CONFIG)
    assert torch.equal(read.slots.h, written.h)
    assert torch.equal(read.slots.ls, written.ls)
    assert read.profiles == ("EPA",)
    for name in ("snr_db", "doppler_hz", "delay_spread_ns"):
        torch.testing.assert_close(getattr(read.slots, name), getattr(written, name), atol=1e-4, rtol=0)
    torch.testing.assert_close(read.slots.noise_var, written.noise_var, rtol=1e-4, atol=0)
    one = read_mat(tmp_path / read.meta["files"][3], CONFIG)
    assert torch.equal(one.slots.h, written.h[3:4])


def test_more_planes_are_allowed(tmp_path):
    """The public reader of this format asks for three."""
    path = write_mat(tmp_path, slots(1), CONFIG, ["EPA"])[0]
    H = loadmat(path)["H"]
    savemat(path, {"H": np.concatenate([H, H[..., :1]], -1)})
    assert torch.equal(read_mat(path, CONFIG).slots.h, torch.from_numpy(H[..., 0])[None])


def test_mat_files_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.mat files in"):
        read_mat(tmp_path, CONFIG)
    path = write_mat(tmp_path, slots(1), CONFIG, ["EPA"])[0]
    with pytest.raises(ShardError, match=r"has H of shape \(72, 14, 2\), \[120, 14, 2\] is needed"):
        read_mat(path, NUMEROLOGIES["fortitran"])
    with pytest.raises(ShardError, match="has 72 pilots, 18 of them where the 144 of the grid lie"):
        read_mat(path, dataclasses.replace(NUMEROLOGIES["nr_v2x_15"], pilots=_shifted()))
    savemat(path, {"G": np.zeros(3)})
    with pytest.raises(ShardError, match="has no H"):
        read_mat(path, CONFIG)
    other = tmp_path / "slot.mat"
    other.write_bytes(path.read_bytes())
    with pytest.raises(ShardError, match=r"slot\.mat is not named like 1_SNR-10"):
        read_mat(other, CONFIG)


def _shifted():
    """Four pilot symbols of 36; half of the second comb of CONFIG lies among them."""
    pilots = NUMEROLOGIES["nr_v2x_15"].pilots
    rows = (*pilots.subcarriers[:3], tuple(range(36)))
    return dataclasses.replace(pilots, symbols=(1, 4, 7, 12), subcarriers=rows)
