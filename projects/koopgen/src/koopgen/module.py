"""The LightningModule: trains any model of the package by the recipe of §5 and judges it by its valid prediction time."""

from typing import Any

import lightning
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from tenfold.runs import RunError

from .data import TrajectoryDataModule
from .latent import LatentModel
from .losses import CollapseDetector, KoopGenLoss
from .metrics import divergence_rate, rmse_curve, valid_prediction_time
from .model import GeneratorModel
from .objective import reconstruction_loss, window_loss
from .optim import Rates, make_adamw, make_schedule
from .parsimony import parsimony_penalty


class KoopGenModule(lightning.LightningModule):
    """Trains a latent model on windows, validates it on forecasts over the whole horizon.

    The first `pretrain_steps` steps reconstruct only (for every model alike, §7.3); then one cycle for each of the groups
    "main", "bases", "gate". The best checkpoint is that of the longest mean valid prediction time.

    Logged: `<stage>/loss`; the terms of the loss in training; in validation and test, from the first samples alone,
    `vpt` (units of time), `vpt_lyapunov` (Lyapunov times, where the system has an exponent), `vpt_cap_share` (share that
    stayed valid to the end), `rmse_start` and `rmse_end` (physical units), `diverged` (share); `train/collapsed` is 1
    while the relative prediction loss says that the output is zero: such a run is failed, not a result (10.7).

    Args:
        model: KoopGen or a baseline.
        loss: the loss of §3.6.
        rates: peak learning rates and weight decay.
        pretrain_steps: reconstruction-only steps before; 0 switches the warm-up off.
        pretrain_rate: their learning rate.
        threshold: ε of the valid prediction time; the error is compared with ε σ.
        sigma: the scalar σ, in units of the state; that of the training data (rms over channels) if None (10.8).
        loss_window: samples at the start of a validation trajectory that `val/loss` is measured over; as many as a
            training window has makes it comparable with `train/loss`.
        parsimony: weight of the regulariser ‖Δt G_d‖_F, "explain by rotation first" (§3.6); 0 leaves it out.
        collapse_after: epochs in a row above a relative prediction loss of 0.9 that mean collapse.

    Example:
        >>> from koopgen.model import KoopGen
        >>> module = KoopGenModule(KoopGen(2, 2, dt=0.05, hidden=8), sigma=1.17)
        >>> module(torch.zeros(4, 2)).shape
        torch.Size([4, 2, 2])
    """

    monitor = ("val/vpt", "max")

    def __init__(
        self,
        model: LatentModel,
        loss: KoopGenLoss | None = None,
        rates: Rates | None = None,
        pretrain_steps: int = 300,
        pretrain_rate: float = 1e-3,
        threshold: float = 0.3,
        sigma: float | None = None,
        loss_window: int = 30,
        parsimony: float = 0.0,
        collapse_after: int = 5,
    ):
        super().__init__()
        if pretrain_steps < 0:
            raise ValueError(f"pretrain_steps must be at least 0, got {pretrain_steps}")
        for name, value in (("pretrain_rate", pretrain_rate), ("threshold", threshold)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if sigma is not None and not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if loss_window < 2:
            raise ValueError(f"loss_window must be at least 2 samples, got {loss_window}")
        if parsimony < 0 or (parsimony > 0 and not isinstance(model, GeneratorModel)):
            raise ValueError(
                f"parsimony must be at least 0, and 0 for a model without a generator, got {parsimony} "
                f"with {type(model).__name__}"
            )
        self.model = model
        self.loss_window, self.parsimony = loss_window, parsimony
        self.loss = loss or KoopGenLoss()
        self.rates = rates or Rates()
        self.pretrain_steps, self.pretrain_rate = pretrain_steps, pretrain_rate
        self.threshold, self.given_sigma = threshold, sigma
        self.detector = CollapseDetector(threshold=0.9, patience=collapse_after)
        self.sigma = sigma
        self.lyapunov: float | None = None
        self._predictions: list[Tensor] = []

    def forward(self, x0: Float[Tensor, "b n_x"], steps: int = 1) -> Float[Tensor, "b n n_x"]:
        """Forecasts from single states; index 0 is the reconstruction."""
        return self.model.decode(self.model.rollout(self.model.encode(x0), steps=steps))

    def setup(self, stage: str) -> None:
        """Scales come from the training part of the data: the model's scaler, and σ unless it was given."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TrajectoryDataModule):
            if self.given_sigma is None:
                raise ValueError(
                    "sigma is not given, and there is no TrajectoryDataModule to take it from: set sigma, the scale of ε σ"
                )
            return
        train = data.parts["train"]
        self.sigma = train.sigma if self.given_sigma is None else self.given_sigma
        self.lyapunov = train.lyapunov
        if stage == "fit" and not bool(self.model.scaler.fitted):
            self.model.scaler.fit(torch.cat(train.trajectories).to(self.model.scaler.mean))

    def configure_optimizers(self) -> Any:
        total = int(self.trainer.estimated_stepping_batches)
        warm_up = 0 if self.trainer.fast_dev_run else self.pretrain_steps
        if warm_up >= total:
            raise RunError(
                f"the warm-up takes {warm_up} steps, but the run has {total} in all: train longer (max_epochs), or lower "
                "model.init_args.pretrain_steps"
            )
        optimizer = make_adamw(self.model, self.rates)
        schedule = make_schedule(optimizer, total, warm_up, self.pretrain_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        if getattr(self.model, "_compiled_call_impl", None) is not None:
            # `--compile` compiles what is called; a training step calls the networks, not the model as a whole.
            for network in (self.model.encoder, self.model.decoder):
                network.compile()

    def training_step(self, batch: Float[Tensor, "b t n_x"]) -> Tensor:
        if self.global_step < self.pretrain_steps and not self.trainer.fast_dev_run:
            loss = reconstruction_loss(self.model, batch[:, 0])
            self._log("train", {"loss": loss.detach()}, len(batch))
            return loss
        terms = window_loss(self.loss, self.model, batch)
        self._predictions.append(terms.prediction.detach())
        values = {"loss": terms.total, "prediction": terms.prediction, "linear": terms.linear}
        self._log("train", {name: value.detach() for name, value in values.items()}, len(batch))
        if self.parsimony == 0:
            return terms.total
        assert isinstance(self.model, GeneratorModel)
        penalty = parsimony_penalty(self.model, batch)
        self._log("train", {"parsimony": penalty.detach()}, len(batch))
        return terms.total + self.parsimony * penalty

    def on_train_epoch_end(self) -> None:
        if not self._predictions or self.loss.kind == "mse":
            return
        self.detector.update(torch.stack(self._predictions).mean())
        self._predictions.clear()
        self.log("train/collapsed", float(self.detector.collapsed))

    def on_train_end(self) -> None:
        if self.detector.collapsed:
            rank_zero_warn(
                "the model has collapsed: its relative prediction loss stayed above 0.9, as for an output of zero. This is a "
                "failed run, not a result; use pretrain_steps, or a lower rate"
            )

    def validation_step(self, batch: Float[Tensor, "b t n_x"]) -> None:
        self._judge("val", batch)

    def test_step(self, batch: Float[Tensor, "b t n_x"]) -> None:
        self._judge("test", batch)

    def predict_step(self, batch: Float[Tensor, "b t n_x"]) -> Float[Tensor, "b t n_x"]:
        return self(batch[:, 0], batch.shape[1] - 1)

    def _judge(self, stage: str, x: Float[Tensor, "b t n_x"]) -> None:
        assert self.sigma is not None
        forecast = self(x[:, 0], x.shape[1] - 1)
        loss = window_loss(self.loss, self.model, x[:, : self.loss_window]).total
        valid = valid_prediction_time(
            forecast,
            x,
            dt=float(self.model.dt),
            sigma=self.sigma,
            threshold=self.threshold,
            lyapunov=self.lyapunov,
        )
        error = rmse_curve(forecast, x)
        values: dict[str, Tensor | float] = {
            "loss": loss,
            "vpt": valid.mean,
            "vpt_cap_share": valid.cap_share,
            "rmse_start": error[0],
            "rmse_end": error[-1],
            "diverged": divergence_rate(forecast, self.sigma, x.mean((0, 1))),
        }
        in_lyapunov_times = valid.in_lyapunov_times
        if in_lyapunov_times is not None:
            values["vpt_lyapunov"] = in_lyapunov_times.mean
        self._log(stage, values, len(x))

    def _log(self, stage: str, values: dict[str, Any], n: int) -> None:
        for name, value in values.items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=name in ("loss", "vpt"),
                batch_size=n,
                on_epoch=True,
                on_step=False,
                sync_dist=True,
            )
