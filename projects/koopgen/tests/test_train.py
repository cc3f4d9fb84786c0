"""The command: presets are listed, fit each other, and the smallest one trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import koopgen
from koopgen.baselines import MODELS
from koopgen.losses import KoopGenLoss
from koopgen.model import KoopGen
from koopgen.objective import window_loss
from koopgen.optim import Rates, make_adamw
from koopgen.systems import get_system
from koopgen.train import COMMANDS, main

CONFIGS = Path(koopgen.__file__).parent / "configs"
PRESETS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def settings(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return loaded


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    wanted = {
        "smoke", "cpu", "gpu", "paper", "pendulum", "damped_pendulum", "duffing", "van_der_pol", "lorenz63", "lorenz96",
        "kuramoto_sivashinsky", "ks_8pi_sibling", "pendulum_paper", "lorenz96_paper", "kuramoto_sivashinsky_paper",
    }  # fmt: skip
    assert listed == wanted


def test_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", PRESETS)
def test_model_loss_and_data_of_a_preset_fit_each_other(name: str) -> None:
    preset = settings(name)
    module, data = preset["model"]["init_args"], preset["data"]["init_args"]
    system = get_system(data["system"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = KoopGen(**module["model"]["init_args"])
    assert (model.n_x, float(model.dt)) == (system.n_x, system.dt)
    assert data["window"] <= data.get("horizon", data["steps"] + 1) <= data["steps"] + 1
    groups = [group["name"] for group in make_adamw(model, Rates(**module["rates"])).param_groups]
    assert groups == ["main", "bases", "gate"]
    x = torch.randn(20, 8, system.n_x, generator=torch.Generator().manual_seed(0))
    if not model.scaler.fitted:
        model.scaler.fit(x)
    loss = window_loss(KoopGenLoss(**module["loss"]["init_args"]), model.eval(), x).total
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["paper", "pendulum_paper", "ks_8pi_sibling"])
def test_the_recipes_of_the_paper_are_those_of_the_notes(name: str) -> None:
    """Sections 4 and 5: peak rates, epochs, windows from sample 0, no warm-up, early stopping on the valid time."""
    preset = settings(name)
    rates = {"paper": (0.01, 0.01, 0.005), "pendulum_paper": (0.1, 0.1, 0.01), "ks_8pi_sibling": (1e-3,) * 3}[
        name
    ]
    assert tuple(Rates(**preset["model"]["init_args"]["rates"]).peaks.values()) == rates
    assert preset["model"]["init_args"]["pretrain_steps"] == 0
    assert preset["trainer"]["max_epochs"] == (200 if name == "pendulum_paper" else 500)
    assert preset["trainer"]["gradient_clip_val"] == 1.0
    data = preset["data"]["init_args"]
    assert (data["n"], data["start"], data["batch_size"]) == (20_000, "first", 128)
    assert data["window"] == (40 if name == "ks_8pi_sibling" else 30)
    (stop,) = preset["trainer"]["callbacks"]
    assert stop["init_args"]["monitor"] == "val/vpt"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning and jsonargparse warn about each other while they parse
@pytest.mark.parametrize("model", ["KoopGen", "LRAN"])
def test_the_smoke_preset_trains(tmp_path: Path, model: str) -> None:
    options = ["--trainer.max_epochs", "12"]
    if model != "KoopGen":
        assert model.lower() in MODELS
        replaced = '{"class_path": "koopgen.baselines.LRAN", "init_args": {"n_x": 2, "d": 2, "dt": 0.05}}'
        options += ["--model.init_args.model", replaced]
    run = tmp_path / "run"
    assert main(["fit", "--config", "smoke", "--run_dir", str(run), *options]) == 0
    assert (run / "metrics.csv").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file()
