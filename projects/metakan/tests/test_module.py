"""LightningModules: they learn, log what they say, and their optimisers and draws can be resumed."""

import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from metakan.data import CollocationSteps, FunctionData
from metakan.models.networks import KAN, MLP, MetaKAN
from metakan.module import LitClassifier, LitPINN, LitRegressor
from metakan.optim import Rates

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]

CONFIGS = Path(__file__).parents[1] / "src" / "metakan" / "configs"


def trainer(epochs: int = 1, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip


def number(run: lightning.Trainer, name: str) -> float:
    return float(run.callback_metrics[name])


class Corners(lightning.LightningDataModule):
    """Which quadrant a point lies in: easy, and no chance level of 100 %."""

    def __init__(self) -> None:
        super().__init__()
        x = torch.rand(256, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.points = TensorDataset(x, 2 * (x[:, 0] > 0).long() + (x[:, 1] > 0).long())

    def train_dataloader(self) -> Any:
        return DataLoader(self.points, batch_size=32, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.points, batch_size=100)

    test_dataloader = val_dataloader


def test_classifier_learns_and_logs_last_and_best_epoch() -> None:
    lightning.seed_everything(0, verbose=False)
    module = LitClassifier(MetaKAN([2, 8, 4], hidden=8, memory="materialize"), Rates(3e-2, 1e-2, 1e-2))
    run = trainer(4)
    run.fit(module, Corners())
    assert number(run, "val/acc") > 80
    assert number(run, "val/acc_best_epoch") >= number(run, "val/acc")
    assert set(run.callback_metrics) >= {"train/loss", "train/acc", "val/loss", "val/acc"}
    run.test(module, Corners(), verbose=False)
    assert number(run, "test/acc") > 80


def test_optimiser_has_the_named_groups_and_a_schedule_that_ends_at_zero() -> None:
    module = LitClassifier(MetaKAN([2, 4, 4], hidden=4, bias=True), Rates(3e-2, 1e-2, 1e-3))
    run = trainer(2)
    run.fit(module, Corners())
    groups = run.optimizers[0].param_groups
    assert [(g["name"], g["initial_lr"]) for g in groups] == [
        ("prompts", 3e-2),
        ("meta", 1e-2),
        ("rest", 1e-3),
    ]
    assert all(g["lr"] == pytest.approx(0, abs=1e-12) for g in groups)


def test_exponential_schedule_falls_once_an_epoch() -> None:
    module = LitClassifier(KAN([2, 4]), Rates(rest=1.0), schedule="exponential", gamma=0.5)
    run = trainer(3)
    run.fit(module, Corners())
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.125)


def test_regressor_labels_its_errors_correctly() -> None:
    """The reference calls the mean absolute error MSE (P6)."""

    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.prod(-1) + torch.tensor([3.0, -1.0]).repeat(len(x) // 2)

    run = trainer()
    run.test(LitRegressor(Shifted()), FunctionData("product", n_test=100), verbose=False)
    assert number(run, "test/mse") == pytest.approx(5)
    assert number(run, "test/rmse") == pytest.approx(math.sqrt(5))
    assert number(run, "test/mae") == pytest.approx(2)


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_regressor_learns_with_both_optimisers(optimizer: Any) -> None:
    lightning.seed_everything(0, verbose=False)
    net = MetaKAN([2, 4, 1], hidden=8, bias=True, memory="materialize")
    module = LitRegressor(net, Rates(3e-2, 1e-2, 1e-2), optimizer=optimizer)
    batch = None if optimizer == "lbfgs" else 20
    run = trainer(6 if optimizer == "lbfgs" else 20)
    run.fit(module, FunctionData("product", n_train=200, n_test=100, batch_size=batch))
    assert number(run, "val/mse") < 0.03  # the variance of x·y is 0.11
    assert run.global_step > 0


class BreaksLater(nn.Module):
    """Linear for a while, then NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.line(x) * (float("nan") if self.calls > 30 and self.training else 1)


def test_lbfgs_stops_at_nan_and_keeps_the_best_parameters() -> None:
    net = BreaksLater()
    module = LitRegressor(net, optimizer="lbfgs", iterations=3)
    run = trainer(50)
    run.fit(module, FunctionData("product", n_train=50, n_test=50))
    assert run.current_epoch < 49
    assert "train/non_finite_epoch" in run.callback_metrics
    assert all(torch.isfinite(p).all() for p in net.parameters())


def pinn(**options: Any) -> LitPINN:
    torch.manual_seed(1)
    return LitPINN(MLP([3, 16, 16, 1], activation="tanh"), dim=3, n_points=50, n_test=500, **options)


def test_pinn_solves_and_compares_with_the_exact_solution() -> None:
    module = pinn(rates=Rates(rest=1e-2))
    before = trainer().validate(module, CollocationSteps(1), verbose=False)[0]["val/rel_l2"]
    run = trainer(1)
    run.fit(module, CollocationSteps(150))
    assert number(run, "val/rel_l2") < 0.5 * before
    assert number(run, "val/loss") == number(run, "val/rel_l2")
    assert number(run, "val/rel_l1") > 0


def test_pinn_draws_depend_on_seed_and_step_not_on_the_global_state() -> None:
    def losses(seed: int, state: int) -> float:
        module = pinn(seed=seed, n_dims=1)
        torch.manual_seed(state)
        run = trainer(1)
        run.fit(module, CollocationSteps(3))
        return number(run, "train/loss")

    assert losses(0, 5) == losses(0, 6)
    assert losses(0, 5) != losses(1, 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pinn(equation="heat"), "equation must be one of poisson, allen_cahn, got 'heat'"),
        (lambda: pinn(loss="abs"), "loss must be one of square, product, got 'abs'"),
        (lambda: pinn(n_dims=0), "n_dims must be at least 1, got 0"),
        (lambda: LitRegressor(nn.Linear(1, 1), optimizer="sgd"), "'adamw' or 'lbfgs', got 'sgd'"),  # type: ignore[arg-type]
        (lambda: LitRegressor(nn.Linear(1, 1), iterations=0), "iterations must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_preset_has_a_description_and_builds_its_parts(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# ")
    config = yaml.safe_load(text)

    def build(node: dict[str, Any]) -> Any:
        module, name = node["class_path"].rsplit(".", 1)
        arguments = {
            key: build(value) if isinstance(value, dict) and "class_path" in value else value
            for key, value in node["init_args"].items()
        }
        if "rates" in arguments:
            arguments["rates"] = Rates(**{**arguments["rates"], "decay": tuple(arguments["rates"]["decay"])})
        return getattr(__import__(module, fromlist=[name]), name)(**arguments)

    with torch.device("meta"):
        module = build(config["model"])
    assert isinstance(module, lightning.LightningModule)
    assert isinstance(build(config["data"]), lightning.LightningDataModule)
    assert set(config) == {"seed_everything", "model", "data", "trainer"}
