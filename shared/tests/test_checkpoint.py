import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tenfold.checkpoint import (
    CheckpointError,
    PretrainedMixin,
    load_lightning_weights,
    load_pretrained,
    load_weights,
    save_pretrained,
)


class Net(PretrainedMixin, nn.Module):
    def __init__(self, width: int, kernel: tuple[int, ...] = (1, 2)):
        super().__init__()
        self.config = {"width": width, "kernel": kernel}
        self.linear = nn.Linear(width, 2)
        self.norm = nn.BatchNorm1d(2)
        self.tied = self.linear.weight
        self.register_buffer("table", torch.arange(4, dtype=torch.float64))


class OtherNet(Net):
    pass


def test_model_comes_back_bit_for_bit(tmp_path: Path):
    net = Net(3, kernel=(3, 5))
    net.norm(torch.randn(7, 2))
    net.save_pretrained(tmp_path / "new" / "folder")
    back = Net.from_pretrained(tmp_path / "new" / "folder")
    assert back.config == {"width": 3, "kernel": [3, 5]}
    assert back.tied is back.linear.weight
    assert back.state_dict().keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
        assert back.state_dict()[name].dtype == value.dtype


def test_saving_again_replaces_the_model_and_leaves_two_files(tmp_path: Path):
    Net(3).save_pretrained(tmp_path)
    second = Net(4)
    second.save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    config, state = load_pretrained(tmp_path)
    assert config["width"] == 4
    assert torch.equal(state["linear.weight"], second.linear.weight)


KILLED_WHILE_SAVING = """
import os, signal, sys
import torch
import tenfold.checkpoint as checkpoint
real = os.replace
def replace(source, target):
    if str(target).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
os.replace = replace
model = torch.nn.Linear(2, 1)
torch.nn.init.constant_(model.weight, 7.0)
checkpoint.save_pretrained(model, sys.argv[1], {"version": "new"})
"""


def test_a_save_killed_half_way_leaves_the_old_model(tmp_path: Path):
    old = nn.Linear(2, 1)
    save_pretrained(old, tmp_path, {"version": "old"})
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path), "config.json"], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 2, (
        "the new weights were written before the kill"
    )
    config, state = load_pretrained(tmp_path)
    assert config == {"version": "old"}
    assert torch.equal(state["weight"], old.weight)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".pkl"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_pickle_is_refused_and_never_executed(tmp_path: Path, suffix: str, as_folder: bool):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    file = tmp_path / "m" / f"pytorch_model{suffix}"
    file.parent.mkdir()
    file.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="pickle: loading it would execute"):
        load_pretrained(file.parent if as_folder else file)
    with pytest.raises(CheckpointError, match="never executed here"):
        load_lightning_weights(file)
    assert not (tmp_path / "executed").exists()


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_pretrained(tmp_path)
    Net(2).save_pretrained(tmp_path)
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(FileNotFoundError, match=r"model-.*\.safetensors is missing"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str):
    Net(2).save_pretrained(tmp_path)
    weights = next(tmp_path.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes({"truncated": content[:-9], "flipped": content, "empty": b""}[damage])
    with pytest.raises(CheckpointError, match=r"model-.*\.safetensors is damaged"):
        Net.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "tenfold-9", "format 'tenfold-9'"),
        ("class", 3, "'class' is missing or not a str"),
        ("weights", "../evil.safetensors", "must name a .safetensors file beside it"),
        ("weights", "evil.pt", "must name a .safetensors file beside it"),
    ],
)
def test_a_wrong_config_file_is_refused(tmp_path: Path, key: str, value: object, message: str):
    Net(2).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(tmp_path)
    file.write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_pretrained(tmp_path)


def test_another_class_or_other_arguments_are_refused(tmp_path: Path):
    Net(2).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds a Net, not a OtherNet"):
        OtherNet.from_pretrained(tmp_path)
    save_pretrained(Net(2), tmp_path, {"depth": 3})
    with pytest.raises(CheckpointError, match="depth"):
        Net.from_pretrained(tmp_path)


def test_tensors_that_do_not_fit_are_named_and_nothing_is_copied():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    del state["0.bias"]
    state["extra"] = torch.zeros(1)
    state["1.weight"] = torch.zeros(1, 5)
    state["1.bias"] = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(CheckpointError) as caught:
        load_weights(net, state)
    for part in (
        "0.bias is missing",
        "extra is unknown",
        "1.weight has shape (1, 5), the model's has (1, 2)",
        "int64",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"config\['x'\] is nan"),
        ([1, torch.zeros(1)], r"config\['x'\]\[1\] is a Tensor"),
        ({1: 2}, "keys must be strings"),
    ],
)
def test_hyper_parameters_json_cannot_hold_are_named(tmp_path: Path, value: object, message: str):
    with pytest.raises(TypeError, match=message):
        save_pretrained(nn.Linear(1, 1), tmp_path, {"x": value})
    assert not list(tmp_path.iterdir())


def test_a_model_without_config_cannot_be_saved(tmp_path: Path):
    net = Net(2)
    del net.config
    with pytest.raises(TypeError, match=r"self\.config"):
        net.save_pretrained(tmp_path)


def test_weights_are_exported_from_a_training_checkpoint(tmp_path: Path):
    net = Net(2)
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {**state, "metric.total": torch.zeros(1)}, "epoch": 3}, path)
    weights = load_lightning_weights(path)
    load_weights(Net(2), weights)
    assert weights.keys() == net.state_dict().keys()
    with pytest.raises(CheckpointError, match=r"no weights under 'net\.'; it has metric\., model\."):
        load_lightning_weights(path, prefix="net.")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_lightning_weights(path)
    with pytest.raises(FileNotFoundError):
        load_lightning_weights(tmp_path / "none.ckpt")
