"""The command: presets are listed, their networks and data fit each other, the smallest one trains and is evaluated."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import icenet
from icenet.data import OnTheFlyDataModule
from icenet.estimators.base import NetworkEstimator
from icenet.module import LitChannelEstimator
from icenet.train import COMMANDS, main

CONFIGS = Path(icenet.__file__).parent / "configs"
PRESETS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def settings(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return loaded


def built(entry: dict[str, Any]) -> Any:
    module, _, name = entry["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**entry["init_args"])


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    wanted = {
        "smoke", "cpu", "gpu", "paper", "eva_tiny", "eva_base", "eva_resnet_cell", "robust", "reesnet", "reesnet_bilinear",
        "interpolation_resnet", "simplenet", "ha02", "channelnet", "stacked", "tied_unroll", "fpn",
    }  # fmt: skip
    assert listed == wanted


def test_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"icenet {name}" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::icenet.ofdm.channel.CyclicPrefixWarning")  # ETU in robust and paper
@pytest.mark.parametrize("name", PRESETS)
def test_network_and_data_of_a_preset_fit_each_other(name: str) -> None:
    preset = settings(name)
    model = preset["model"]["init_args"]
    with torch.random.fork_rng():
        net = built(model.pop("model"))
    assert isinstance(net, NetworkEstimator)
    module = LitChannelEstimator(net, **model)
    data = built(preset["data"])
    assert isinstance(data, OnTheFlyDataModule)
    assert data.ofdm == net.ofdm
    data.train_slots.batch_size = 1
    batch = data.train_slots[0]
    if name != "channelnet":  # a second of convolutions
        assert torch.isfinite(module.loss(net.estimate(batch["ls"], batch["noise_var"]), batch["h"]))


def test_the_paper_preset_is_the_predecessors_recipe() -> None:
    """Section 5: 125,000 slots, SNR 5 to 25 dB, ETU, whole Hz to 97, Adam 1e-3 halved every 20 of 100 epochs, batch 128."""
    preset = settings("paper")
    data, model = preset["data"]["init_args"], preset["model"]["init_args"]
    assert data["batch_size"] * data["steps"] == pytest.approx(125_000, rel=1e-3)
    assert (data["profile"], data["doppler"], data["integer_doppler"], data["repeat"]) == (
        "ETU",
        [0.0, 97.0],
        True,
        True,
    )
    assert data["snr_choices"] == [5.0, 10.0, 15.0, 20.0, 25.0]
    assert (model["lr"], model["schedule"], model["halve_every"], model["loss"]) == (1e-3, "halve", 20, "mse")
    assert preset["trainer"]["max_epochs"] == 100


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning and jsonargparse warn about each other while they parse
def test_the_smoke_preset_trains_continues_and_is_evaluated(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["fit", "--config", "smoke", "--run_dir", str(run)]) == 0
    assert (run / "metrics.csv").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file()
    out = tmp_path / "numbers.json"
    arguments = [
        "evaluate",
        str(run),
        "--n",
        "10",
        "--snr",
        "0,20",
        "--baselines",
        "ls_linear",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    numbers = json.loads(out.read_text())
    assert set(numbers) >= {"nmse", "ber", "iterations", "memory"}
    assert len(numbers["nmse"]["ICENet"]) == 2
