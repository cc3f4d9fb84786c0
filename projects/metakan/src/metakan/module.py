"""LightningModules: classification, regression, physics-informed solving.

All take a ready network and one `Rates` for the groups "prompts", "meta" and "rest". The last epoch is the main
figure; `val/<metric>_best_epoch` is the paper's protocol, which picks the best epoch after the fact (pitfall P11).
"""

from typing import Any, Literal

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

import tenfold.metrics

from .lbfgs import BestState, make_lbfgs
from .optim import Rates, Schedule, make_adamw, make_schedule
from .pde import LOSSES, PROBLEMS, HardBallAnsatz, relative_errors


class _LitNetwork(lightning.LightningModule):
    """AdamW over the named groups with a real schedule, and the best epoch of one validation metric."""

    monitor: tuple[str, str] = ("val/loss", "min")
    best_epoch: Tensor

    def __init__(self, model: nn.Module, rates: Rates | None, schedule: Schedule, gamma: float):
        super().__init__()
        self.model = model
        self.rates = rates or Rates()
        self.schedule: Schedule = schedule
        self.gamma = gamma
        self.register_buffer("best_epoch", torch.tensor(float("nan")))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def configure_optimizers(self) -> Any:
        total = int(self.trainer.estimated_stepping_batches)
        epochs = max(1, self.trainer.max_epochs or 1)
        optimizer = make_adamw(self.model, self.rates)
        schedule = make_schedule(optimizer, self.schedule, total, self.gamma, max(1, total // epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_validation_epoch_end(self) -> None:
        name, mode = self.monitor
        if self.trainer.sanity_checking:
            return
        value = self.trainer.callback_metrics[name].to(self.best_epoch)
        pick = torch.fmax if mode == "max" else torch.fmin
        self.best_epoch = pick(self.best_epoch, value)
        self.log(f"{name}_best_epoch", self.best_epoch, sync_dist=True)

    def log_all(self, stage: str, metrics: dict[str, Tensor | float], n: int) -> None:
        for name, value in metrics.items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=True,
                batch_size=n,
                on_epoch=True,
                on_step=False,
                sync_dist=True,
            )


class LitClassifier(_LitNetwork):
    """Cross-entropy classification; logs the loss and the accuracy in percent.

    Args:
        model: maps a batch to logits.
        rates: learning rates and weight decays; default `Rates()`.
        schedule: "cosine" over the run, "exponential" with `gamma` per epoch, "linear" or "constant".
        gamma: factor per epoch of the exponential schedule.
        compile: compile the network with `torch.compile` when training starts.

    Example:
        >>> module = LitClassifier(nn.Linear(4, 3))
        >>> module(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    monitor = ("val/acc", "max")

    def __init__(
        self,
        model: nn.Module,
        rates: Rates | None = None,
        schedule: Schedule = "cosine",
        gamma: float = 1.0,
        compile: bool = False,
    ):
        super().__init__(model, rates, schedule, gamma)
        self.compiled = compile

    def on_fit_start(self) -> None:
        if self.compiled:
            self.model.compile()  # in place: the names of the parameters stay

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step("test", batch)

    def predict_step(self, batch: tuple[Tensor, Tensor]) -> Int[Tensor, "n"]:
        return self(batch[0]).argmax(-1)

    def _step(self, stage: str, batch: tuple[Float[Tensor, "n ..."], Int[Tensor, "n"]]) -> Tensor:
        x, labels = batch
        logits = self(x)
        loss = F.cross_entropy(logits, labels)
        accuracy = 100 * (logits.argmax(-1) == labels).float().mean()
        self.log_all(stage, {"loss": loss, "acc": accuracy}, len(labels))
        return loss


class LitRegressor(_LitNetwork):
    """Least squares; logs MSE, RMSE and MAE, each under its own name.

    The reference prints the mean absolute error under the heading MSE (pitfall P6); compare with `mae`. With L-BFGS
    (§5.3) one training step is up to `iterations` iterations on the batch, which should be the full data; a
    non-finite loss stops the run, restores the best parameters and is logged as `train/non_finite_epoch` (P16).

    Args:
        model: maps (n, d) to (n, 1) or (n,).
        rates, schedule, gamma: see `LitClassifier`; not used by L-BFGS.
        optimizer: "adamw" or "lbfgs".
        iterations: L-BFGS iterations a step.
    """

    def __init__(
        self,
        model: nn.Module,
        rates: Rates | None = None,
        schedule: Schedule = "cosine",
        gamma: float = 1.0,
        optimizer: Literal["adamw", "lbfgs"] = "adamw",
        iterations: int = 20,
    ):
        super().__init__(model, rates, schedule, gamma)
        if optimizer not in ("adamw", "lbfgs"):
            raise ValueError(f"optimizer must be 'adamw' or 'lbfgs', got {optimizer!r}")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.automatic_optimization = optimizer == "adamw"
        self.iterations = iterations
        self.best_state: BestState | None = None

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return super().configure_optimizers()
        self.best_state = BestState(self.model)
        return make_lbfgs(self.model, self.iterations)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor | None:
        if self.automatic_optimization:
            return self._step("train", batch)
        self._lbfgs_step(batch)
        return None

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step("test", batch)

    def predict_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self(batch[0])

    def on_train_end(self) -> None:
        if self.best_state is not None:
            self.best_state.restore()

    def _lbfgs_step(self, batch: tuple[Tensor, Tensor]) -> None:
        optimizer = self.optimizers()
        assert self.best_state is not None
        assert not isinstance(optimizer, list)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self._loss(batch)
            self.manual_backward(loss)
            return loss.detach()

        try:
            optimizer.step(closure)
            with torch.no_grad():
                loss = self._loss(batch)
        except FloatingPointError:  # the run's own watch over losses and gradients was quicker
            loss = torch.tensor(float("nan"))
        if self.best_state.offer(float(loss)):
            self.log_all("train", {"loss": loss}, len(batch[0]))
            return
        self.best_state.restore()
        self.log("train/non_finite_epoch", float(self.current_epoch))
        self.trainer.should_stop = True

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return tenfold.metrics.mse(self(x).reshape(y.shape), y)

    def _step(self, stage: str, batch: tuple[Float[Tensor, "n d"], Float[Tensor, "n 1"]]) -> Tensor:
        x, y = batch
        prediction = self(x).reshape(y.shape)
        mse = tenfold.metrics.mse(prediction, y)
        metrics = {"loss": mse, "mse": mse, "rmse": mse.sqrt(), "mae": tenfold.metrics.mae(prediction, y)}
        self.log_all(stage, {k: v.detach() for k, v in metrics.items()}, len(y))
        return mse


class LitPINN(_LitNetwork):
    """Solves an equation on the unit ball (§5.4); logs relative L2 and L1 errors against the exact solution.

    Points and coordinates of a step come from (seed, global step, process), so that a resumed run draws what an
    uninterrupted one would.

    Args:
        net: maps (n, dim) to (n, 1); the boundary condition is put around it by `HardBallAnsatz`.
        equation: "poisson" or "allen_cahn".
        dim: dimension of the ball.
        n_points: collocation points a step.
        n_dims: coordinates a step for the Laplacian; null for all.
        loss: "square", or "product" for the unbiased estimate from two subsets (P15).
        rates, schedule: see `LitClassifier`; the reference lets the rate fall linearly to 0.
        problem_seed: draws the exact solution.
        seed: draws the points.
        n_test: fixed test points.
    """

    monitor = ("val/rel_l2", "min")

    def __init__(
        self,
        net: nn.Module,
        equation: Literal["poisson", "allen_cahn"] = "poisson",
        dim: int = 10,
        n_points: int = 100,
        n_dims: int | None = 4,
        loss: Literal["square", "product"] = "square",
        rates: Rates | None = None,
        schedule: Schedule = "linear",
        problem_seed: int = 0,
        seed: int = 0,
        n_test: int = 20_000,
    ):
        super().__init__(HardBallAnsatz(net), rates, schedule, 1.0)
        if equation not in PROBLEMS:
            raise ValueError(f"equation must be one of {', '.join(PROBLEMS)}, got {equation!r}")
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        for name, value in (
            ("n_points", n_points),
            ("n_test", n_test),
            ("n_dims", 1 if n_dims is None else n_dims),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.problem = PROBLEMS[equation](dim, problem_seed)
        self.n_points, self.n_dims, self.seed = n_points, n_dims, seed
        self.loss = LOSSES[loss]
        points = self.problem.sample(n_test, torch.Generator().manual_seed(problem_seed + 1))
        self.register_buffer("test_points", points, persistent=False)

    def training_step(self, batch: Any) -> Tensor:
        # torch's CPU generator looks at 32 bits of its seed only, so the three numbers are hashed into them.
        key = np.random.SeedSequence([self.seed, self.global_rank, self.global_step]).generate_state(1)
        generator = torch.Generator().manual_seed(int(key[0]))
        x = self.problem.sample(self.n_points, generator).to(self.device)
        loss = self.loss(self.problem, self.model, x, self.n_dims, generator)
        self.log_all("train", {"loss": loss.detach()}, self.n_points)
        return loss

    def validation_step(self, batch: Any) -> None:
        self._errors("val")

    def test_step(self, batch: Any) -> None:
        self._errors("test")

    def _errors(self, stage: str) -> None:
        points = self.test_points
        assert isinstance(points, Tensor)
        prediction = torch.cat([self.model(chunk) for chunk in points.split(4096)])
        l2, l1 = relative_errors(prediction, self.problem.exact(points))
        self.log_all(stage, {"loss": l2, "rel_l2": l2, "rel_l1": l1}, 1)
