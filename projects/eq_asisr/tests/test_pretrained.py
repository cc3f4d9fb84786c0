"""Models come back from folders, runs and names, and what is no model is refused with a reason."""

import pytest
import torch
import yaml

from eq_asisr.data.evaluation import EvaluationSet
from eq_asisr.model import ASISR
from eq_asisr.pairs import build
from eq_asisr.pretrained import load_model
from eq_asisr.scoring import mean, score
from tenfold.checkpoint import CheckpointError

LR = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"encoder_options": {"n_feats": 8, "n_blocks": 1}, "decoder_options": {"hidden": [8]}}
    return build("eq_edsr", "eq_liif", **sizes).eval()


def run_of(model, folder, **entry):
    """A run directory as `eq_asisr fit` leaves it; returns the checkpoint."""
    written = {"class_path": "eq_asisr.model.ASISR", "init_args": model.config} | entry
    config = {"model": {"class_path": "eq_asisr.module.LitASISR", "init_args": {"model": written}}}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = folder / "checkpoints" / "best.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}}, checkpoint)
    return checkpoint


def same(loaded, model):
    return not loaded.training and torch.equal(loaded.upscale(LR, 1.5), model.upscale(LR, 1.5))


def test_a_model_comes_back_from_a_folder_and_from_a_run(model, tmp_path):
    model.save_pretrained(tmp_path / "folder")
    checkpoint = run_of(model, tmp_path / "run")
    for source in (tmp_path / "folder", checkpoint, str(tmp_path / "run")):
        assert same(load_model(source), model)


def test_a_name_is_looked_up_in_weights_and_then_among_the_runs(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    model.save_pretrained(tmp_path / "weights" / "small")
    run_of(model, tmp_path / "runs" / "eq_asisr" / "smoke" / "2026-01-02_03-04-05")
    for name in ("small", "smoke"):
        assert same(load_model(name, tmp_path / "weights"), model)
    with pytest.raises(
        FileNotFoundError, match=r"no model 'other': neither weights \(.* has small\) nor a run"
    ):
        load_model("other", tmp_path / "weights")
    with pytest.raises(FileNotFoundError, match="has none"):
        load_model("other", tmp_path / "nowhere")


def test_what_is_no_model_is_refused(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model nowhere/here"):
        load_model("nowhere/here")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="neither a folder that save_pretrained wrote"):
        load_model(tmp_path / "empty")
    stray = run_of(model, tmp_path / "run").rename(tmp_path / "stray.ckpt")
    with pytest.raises(CheckpointError, match="which says what the model is"):
        load_model(stray)
    other = run_of(model, tmp_path / "other", class_path="torch.nn.Identity")
    with pytest.raises(CheckpointError, match="holds a Identity, not an ASISR"):
        load_model(other)
    unknown = run_of(model, tmp_path / "unknown", init_args={"sharpness": 3})
    with pytest.raises(CheckpointError, match="does not fit ASISR"):
        load_model(unknown)


def test_weights_of_other_orientations_are_refused_with_both_configurations(model, tmp_path):
    model.save_pretrained(tmp_path)
    sizes = {"encoder_options": {"n_feats": 8, "n_blocks": 1}, "decoder_options": {"hidden": [8]}}
    other = build("eq_edsr", "eq_liif", 8, **sizes)
    with pytest.raises(CheckpointError, match=r'(?s)checkpoint: .*"t": 4.*this model: .*"t": 8'):
        other.load_pretrained(tmp_path)
    assert isinstance(ASISR.from_pretrained(tmp_path), ASISR)


# --- the weights that lie here -----------------------------------------------------------------------------------------


def test_the_committed_model_is_the_one_of_its_model_card_and_exact():
    model = load_model("edsr_liif_eq").double().eval()
    assert sum(p.numel() for p in model.parameters()) == 66_315
    upright, turned = (
        model.upscale(LR.double(), scale=2.5),
        model.upscale(LR.double().rot90(1, (2, 3)), scale=2.5),
    )
    assert (turned - upright.rot90(1, (2, 3))).abs().max() < 1e-12


@pytest.mark.realdata
def test_the_committed_model_has_the_quality_of_its_model_card():
    scores = score(load_model("edsr_liif_eq").eval(), EvaluationSet("Set5", 4))
    assert mean(scores).psnr == pytest.approx(29.51, abs=0.01)
    assert mean(scores).bicubic_psnr == pytest.approx(28.43, abs=0.01)
