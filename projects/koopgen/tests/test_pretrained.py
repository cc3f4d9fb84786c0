"""Models come back from folders and from runs, and what is no model is refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from koopgen.latent import LatentModel
from koopgen.model import KoopGen
from koopgen.pretrained import CLASSES, load_model
from tenfold.checkpoint import CheckpointError
from tenfold.runs import RunError

X = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def run_of(model: LatentModel, folder: Path, **entry: Any) -> Path:
    """A run directory as `koopgen fit` leaves it; returns the checkpoint."""
    written = {"class_path": f"koopgen.{type(model).__name__}", "init_args": {**model.config}} | entry
    config = {"model": {"class_path": "koopgen.KoopGenModule", "init_args": {"model": written}}}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = folder / "checkpoints" / "best.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}}, checkpoint)
    return checkpoint


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_model_comes_back_from_its_folder(name: str, tmp_path: Path) -> None:
    model = CLASSES[name](2, 2, dt=0.1, hidden=4).eval()
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is CLASSES[name]
    assert not loaded.training
    assert torch.equal(loaded.forecast(X, 3), model.forecast(X, 3))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_model_comes_back_from_a_run(name: str, tmp_path: Path) -> None:
    model = CLASSES[name](2, 2, dt=0.1, hidden=4).eval()
    checkpoint = run_of(model, tmp_path / "run")
    for source in (checkpoint, tmp_path / "run"):
        assert torch.equal(load_model(source).forecast(X, 3), model.forecast(X, 3))


def test_arguments_that_a_class_passes_on_are_found(tmp_path: Path) -> None:
    model = CLASSES["LRAN"](2, 2, dt=0.1, hidden=4).eval()
    entry = {"n_x": 2, "d": 2, "dt": 0.1, "dict_kwargs": {"hidden": 4}}
    assert torch.equal(
        load_model(run_of(model, tmp_path / "run", init_args=entry)).encode(X), model.encode(X)
    )


def test_the_name_of_a_preset_means_its_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    model = KoopGen(2, 2, dt=0.1, hidden=4).eval()
    run_of(model, tmp_path / "koopgen" / "pendulum" / "2026-01-02_03-04-05")
    assert torch.equal(load_model("pendulum").encode(X), model.encode(X))
    with pytest.raises(RunError, match="no run of koopgen lorenz63"):
        load_model("lorenz63")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    model = KoopGen(2, 2, dt=0.1, hidden=4)
    with pytest.raises(FileNotFoundError, match=r"no model .*nowhere"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="neither a folder that save_pretrained wrote"):
        load_model(tmp_path)
    lone = tmp_path / "lone.ckpt"
    torch.save({}, lone)
    with pytest.raises(CheckpointError, match="does not lie in the checkpoints"):
        load_model(lone)
    with pytest.raises(CheckpointError, match="holds a Classifier; this package has KoopGen"):
        load_model(run_of(model, tmp_path / "other", class_path="metakan.Classifier"))
    checkpoint = run_of(model, tmp_path / "bare")
    (tmp_path / "bare" / "config.yaml").write_text("model: {}\n")
    with pytest.raises(CheckpointError, match="names no model"):
        load_model(checkpoint)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(tmp_path)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    model = KoopGen(2, 2, dt=0.1, hidden=4)
    checkpoint = run_of(model, tmp_path / "run", init_args={**model.config, "hidden": 5})
    with pytest.raises(CheckpointError, match="does not fit KoopGen"):
        load_model(checkpoint)
