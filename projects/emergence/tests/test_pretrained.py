from pathlib import Path

import pytest
import torch
import yaml

from emergence.models import GPTConfig, build_model
from emergence.module import LitLanguageModel
from emergence.pretrained import load_model
from tenfold.checkpoint import CheckpointError
from tenfold.runs import RunError

CONFIG = GPTConfig(vocab=11, ctx=9, d=8, heads=2, n_blocks=2, norm="post", residual_scale="1")


def make_run(folder: Path) -> LitLanguageModel:
    """What a training run leaves behind: config.yaml and checkpoints/."""
    lit = LitLanguageModel(CONFIG)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"model": {"init_args": {"config": CONFIG.to_dict()}}})
    )
    torch.save({"state_dict": lit.state_dict()}, folder / "checkpoints" / "best.ckpt")
    return lit


def test_a_run_and_a_checkpoint_in_it_give_the_trained_model(tmp_path: Path) -> None:
    run = tmp_path / "norm_placement_post" / "2026-01-01"
    lit = make_run(run)
    tokens = torch.randint(11, (2, 9))
    for source in (run, run / "checkpoints" / "best.ckpt"):
        model = load_model(source)
        assert model.settings == CONFIG
        assert not model.training
        torch.testing.assert_close(model(tokens), lit(tokens), rtol=0, atol=0)


@pytest.mark.parametrize("config", [CONFIG, GPTConfig(vocab=11, ctx=9, d=8, heads=2, n_blocks=1, loops=2)])
def test_a_folder_gives_its_class(config: GPTConfig, tmp_path: Path) -> None:
    build_model(config).save_pretrained(tmp_path)
    assert load_model(tmp_path).settings == config


def test_what_is_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    with pytest.raises(FileNotFoundError, match="no model"):
        load_model(tmp_path / "nothing")
    with pytest.raises(RunError):
        load_model("norm_placement")
    with pytest.raises(CheckpointError, match="neither a folder that save_pretrained wrote"):
        load_model(tmp_path)
    loose = tmp_path / "loose.ckpt"
    torch.save({"state_dict": {}}, loose)
    with pytest.raises(CheckpointError, match="does not lie in the checkpoints/ of a run"):
        load_model(loose)
    (tmp_path / "config.json").write_text('{"class": "Elephant"}')
    with pytest.raises(CheckpointError, match="holds a Elephant; this package has TinyGPT, LoopedGPT"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(tmp_path)
