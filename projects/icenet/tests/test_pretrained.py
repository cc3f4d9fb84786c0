"""Trained networks are found again wherever they were left, and nothing else is taken for one."""

from pathlib import Path

import pytest
import torch
import yaml

from icenet.estimators.simplenet import SimpleNet
from icenet.pretrained import CLASSES, load_model
from tenfold.checkpoint import CheckpointError
from tenfold.runs import RunError

X = torch.ones(2, 36, 4, dtype=torch.complex64)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What `icenet fit` leaves behind."""
    net = SimpleNet("nr_v2x_15", channels=3)
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    checkpoint = {"state_dict": state, "epoch": 1, "global_step": 1, "pytorch-lightning_version": "2.6.0"}
    for name in ("last", "best"):
        torch.save(checkpoint, folder / "checkpoints" / f"{name}.ckpt")
    entry = {"class_path": "icenet.estimators.simplenet.SimpleNet", "init_args": net.config}
    document = {"model": {"class_path": "icenet.module.LitChannelEstimator", "init_args": {"model": entry}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder


def test_a_folder_a_run_and_a_checkpoint_are_models(run: Path, tmp_path: Path) -> None:
    from_run, from_file = load_model(run), load_model(run / "checkpoints" / "last.ckpt")
    assert not from_run.training
    assert torch.equal(from_run(X), from_file(X))
    from_run.save_pretrained(tmp_path / "saved")
    assert torch.equal(load_model(tmp_path / "saved")(X), from_run(X))


def test_every_network_of_the_package_can_be_loaded() -> None:
    from icenet.estimators.registry import NETWORKS

    assert len(CLASSES) == len(NETWORKS) - 2  # three sizes of ICENet are one class


def test_what_is_no_model_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="neither a folder that save_pretrained wrote"):
        load_model(tmp_path / "empty")
    with pytest.raises(RunError):
        load_model("a_preset_that_was_never_run")
    loose = tmp_path / "loose.ckpt"
    loose.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(CheckpointError, match="does not lie in the checkpoints/ of a run"):
        load_model(loose)
    (run / "config.yaml").write_text("model: {}\n")
    with pytest.raises(CheckpointError, match="names no network"):
        load_model(run)
    (run / "config.yaml").write_text("model: {init_args: {model: {class_path: torch.nn.Linear}}}\n")
    with pytest.raises(CheckpointError, match="holds a Linear; this package has ICENet"):
        load_model(run)
    (tmp_path / "empty" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        load_model(tmp_path / "empty")
