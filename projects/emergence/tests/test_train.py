"""The command: presets are listed, models and data of each fit together, the smallest trains."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import emergence
from emergence.models import GPTConfig, build_model
from emergence.optim import Optim
from emergence.tasks import TASKS
from emergence.train import COMMANDS, main

CONFIGS = Path(emergence.__file__).parent / "configs"
PRESETS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def settings(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return loaded


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {
        "smoke", "cpu", "gpu", "paper", "norm_placement", "norm_placement_post", "looped", "scaling_grid", "induction", "khop",
    }  # fmt: skip


def test_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", PRESETS)
def test_model_and_data_of_a_preset_fit_each_other(name: str) -> None:
    preset = settings(name)
    config = GPTConfig(**preset["model"]["init_args"]["config"])
    Optim(**preset["model"]["init_args"]["optim"])
    kind, options = preset["data"]["class_path"].rpartition(".")[2], preset["data"]["init_args"]
    if kind == "TaskDataModule":
        task = TASKS[options["task"]](**options.get("options", {}))
        assert (config.vocab, config.ctx) == (task.vocab, task.length)
    else:
        vocab = {"CharDataModule": 65, "BytesDataModule": 256, "WebTokensDataModule": 50_257}[kind]
        assert (config.vocab, config.ctx) == (vocab, options["ctx"])
    if config.n_params < 1e6:
        build_model(config)
    steps = preset["trainer"]["max_epochs"] * options["steps_per_epoch"]
    accumulated = preset["trainer"].get("accumulate_grad_batches", 1)
    assert steps // accumulated > preset["model"]["init_args"]["optim"]["warmup"]


def test_both_arms_of_norm_placement_differ_in_style_and_rate_alone() -> None:
    pre, post = settings("norm_placement"), settings("norm_placement_post")
    assert (pre["data"], pre["trainer"]) == (post["data"], post["trainer"])
    ours, theirs = pre["model"]["init_args"]["config"], post["model"]["init_args"]["config"]
    style = {"norm", "residual_scale"}
    assert {k: v for k, v in ours.items() if k not in style} == {
        k: v for k, v in theirs.items() if k not in style
    }
    assert (ours["norm"], theirs["norm"]) == ("pre", "post")


def test_the_paper_preset_sees_twenty_billion_tokens_with_a_billion_parameters() -> None:
    preset = settings("paper")
    data, trainer = preset["data"]["init_args"], preset["trainer"]
    tokens = trainer["max_epochs"] * data["steps_per_epoch"] * data["batch_size"] * data["ctx"]
    assert tokens >= 20e9
    assert GPTConfig(**preset["model"]["init_args"]["config"]).n_params == pytest.approx(1.02e9, rel=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning and jsonargparse warn about each other while they parse
def test_the_smoke_preset_trains_and_its_checkpoint_is_probed(tmp_path: Path) -> None:
    from emergence.pretrained import load_model

    run = tmp_path / "run"
    assert main(["fit", "--config", "smoke", "--run_dir", str(run)]) == 0
    assert (run / "metrics.csv").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert load_model(run).settings.n_blocks == 2
    assert main(["probe", "--ckpt", str(run), "--n", "4", "--out", str(tmp_path / "probe")]) == 0
    assert (tmp_path / "probe" / "probe.csv").is_file()
