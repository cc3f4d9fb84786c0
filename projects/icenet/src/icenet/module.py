"""The LightningModule: trains any network of the package by a recipe of §5 and says whether its solves converge (10.1)."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import lightning
import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from tenfold.checkpoint import CheckpointError

from .data import Batch
from .estimators.base import NetworkEstimator
from .estimators.icenet import ICENet
from .metrics import decibels, nmse
from .ofdm.config import OFDMConfig

Loss = Literal["nmse", "mse", "huber"]
Schedule = Literal["cosine", "halve"]
QUANTILES = (0.5, 0.9, 0.99)
"""Of the residuals; the last says whether a few slots are left behind."""
WARM_UP_DEPTH = 4
LOOSE = 1e-2
"""The tolerance that at least 95 % of the slots must reach, whatever the model's own is (claim C1)."""


class LitChannelEstimator(lightning.LightningModule):
    """Trains a channel estimator; Adam, a schedule, and honest numbers about the fixed points of implicit models.

    Logged: `<stage>/loss`; in validation and test `nmse_db`, the mean over SNRs of the NMSE in decibels, and
    `nmse_db_at_<SNR>`; for a model with an implicit layer also `nfe` (mean first-hit count), `nfe_at_<SNR>`,
    `residual_p50`, `residual_p90`, `residual_p99`, `converged` (share below the model's ε) and `converged_1e-2`. A network
    that was trained with few iterations can have a good NMSE without having a fixed point: less than `min_converged` at the
    end of training is a warning, and such a run is no equilibrium network.

    Args:
        model: a network of `icenet.estimators`.
        lr: peak learning rate.
        final_lr: of the last step of the cosine; not used by "halve".
        schedule: "cosine" over all steps, or "halve" every `halve_every` epochs, the predecessor's.
        halve_every: epochs.
        loss: "nmse" (ratio of sums over the batch), "mse", or "huber" with δ = 1 (attention models, §5).
        weight_decay: L2 penalty on the weights.
        warm_up_steps: first steps in which a model with an implicit layer is trained as `WARM_UP_DEPTH` plain iterations
            with ordinary backpropagation, cheaper while its features still mean nothing (§5).
        min_converged: least share of validation slots that must reach 1e-2.
        snr_bin: width in dB of the bins that SNRs are reported in.

    Example:
        >>> from icenet.estimators.simplenet import SimpleNet
        >>> module = LitChannelEstimator(SimpleNet("nr_v2x_15"))
        >>> module(torch.zeros(2, 36, 4, dtype=torch.complex64)).shape
        torch.Size([2, 72, 14])
    """

    monitor = ("val/nmse_db", "min")

    def __init__(
        self,
        model: NetworkEstimator,
        lr: float = 1e-3,
        final_lr: float = 1e-5,
        schedule: Schedule = "cosine",
        halve_every: int = 20,
        loss: Loss = "nmse",
        weight_decay: float = 0.0,
        warm_up_steps: int = 0,
        min_converged: float = 0.95,
        snr_bin: float = 5.0,
    ):
        super().__init__()
        for name, value in (("lr", lr), ("snr_bin", snr_bin), ("halve_every", halve_every)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 <= final_lr <= lr:
            raise ValueError(f"final_lr must lie between 0 and lr = {lr}, got {final_lr}")
        if weight_decay < 0 or not 0 <= min_converged <= 1:
            raise ValueError(
                f"weight_decay must be at least 0 and min_converged between 0 and 1, got {weight_decay} and {min_converged}"
            )
        if warm_up_steps < 0 or (warm_up_steps and not isinstance(model, ICENet)):
            raise ValueError(
                f"warm_up_steps must be at least 0, and 0 for a model without an implicit layer, got {warm_up_steps} "
                f"with {type(model).__name__}"
            )
        for name, choice, allowed in (("schedule", schedule, Schedule), ("loss", loss, Loss)):
            if choice not in get_args(allowed):
                raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, got {choice!r}")
        self.model = model
        self.lr, self.final_lr, self.weight_decay = lr, final_lr, weight_decay
        self.schedule, self.halve_every, self.warm_up_steps = schedule, halve_every, warm_up_steps
        self.loss_name, self.min_converged, self.snr_bin = loss, min_converged, snr_bin
        self.converged: float | None = None
        self._seen = _Tally()

    def forward(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: Float[Tensor, "b"] | None = None
    ) -> Complex[Tensor, "b k s"]:
        return self.model(ls, noise_var)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if isinstance(self.model, ICENet):
            warming_up = self.global_step < self.warm_up_steps
            with _unrolled(self.model, warming_up) as stop:
                h_hat, info = self.model(batch["ls"], batch["noise_var"], return_info=True, **stop)
            penalty = info.penalty
            self._log("train", {"nfe": info.nfe.double().mean(), "penalty": penalty.detach()})
        else:
            h_hat, penalty = self.model(batch["ls"], batch["noise_var"]), 0.0
        loss = self.loss(h_hat, batch["h"])
        self._log("train", {"loss": loss.detach()})
        return loss + penalty

    def loss(self, h_hat: Complex[Tensor, "b k s"], h: Complex[Tensor, "b k s"]) -> Float[Tensor, ""]:
        """What is minimised, over real and imaginary parts where it is a mean."""
        if self.loss_name == "nmse":
            return nmse(h_hat, h)
        pair = torch.view_as_real(h_hat), torch.view_as_real(h)
        return F.mse_loss(*pair) if self.loss_name == "mse" else F.huber_loss(*pair)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._judge("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._judge("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Complex[Tensor, "b k s"]:
        return self.model(batch["ls"], batch["noise_var"])

    def _judge(self, stage: str, batch: Batch) -> None:
        info = None
        if isinstance(self.model, ICENet):
            h_hat, info = self.model(batch["ls"], batch["noise_var"], return_info=True)
        else:
            h_hat = self.model(batch["ls"], batch["noise_var"])
        self._log(stage, {"loss": self.loss(h_hat, batch["h"])}, len(batch["h"]))
        self._seen.add(h_hat, batch, info, self.snr_bin)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _report(self, stage: str) -> None:
        numbers = self._seen.numbers()
        self._seen = _Tally()
        if stage == "val":
            self.converged = numbers.get("converged_1e-2")
        self._log(stage, numbers)

    def on_train_end(self) -> None:
        if self.converged is not None and self.converged < self.min_converged:
            rank_zero_warn(
                f"{self.converged:.1%} of the validation slots reach a residual of {LOOSE:g}, less than "
                f"{self.min_converged:.0%}: this is no equilibrium network, whatever its NMSE; use cell='contractive', or "
                "jac_reg above 0, or more iterations in training (tau)"
            )

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "halve":
            halve = torch.optim.lr_scheduler.StepLR(optimizer, self.halve_every, gamma=0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halve, "interval": "epoch"}}
        steps = int(self.trainer.estimated_stepping_batches)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, self.final_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ofdm"] = self.model.ofdm.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "ofdm" not in checkpoint:
            raise CheckpointError("the checkpoint does not say which grid it was trained on (key 'ofdm')")
        theirs = OFDMConfig.from_dict(checkpoint["ofdm"])
        if theirs != self.model.ofdm:
            raise CheckpointError(
                "the checkpoint was trained on another grid ('there') than the model's: "
                + "; ".join(self.model.ofdm.diff(theirs))
            )

    def _log(self, stage: str, values: dict[str, Any], n: int | None = None) -> None:
        for name, value in values.items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=name in ("loss", "nmse_db", "converged"),
                batch_size=n or 1,
                on_epoch=True,
                on_step=False,
                sync_dist=True,
            )


@contextmanager
def _unrolled(model: ICENet, active: bool) -> Iterator[dict[str, Any]]:
    """If active, the model with ordinary backpropagation through its iterations; gives the arguments that make them few."""
    if not active:
        yield {}
        return
    layer = model.layer
    grad, layer.grad = layer.grad, "unroll"
    try:
        yield {"eps": 0.0, "tau": WARM_UP_DEPTH}
    finally:
        layer.grad = grad


class _Tally:
    """Sums over an evaluation, for each bin of the SNR, and the residuals of all slots."""

    def __init__(self) -> None:
        self.error: defaultdict[float, float] = defaultdict(float)
        self.energy: defaultdict[float, float] = defaultdict(float)
        self.nfe: defaultdict[float, list[Tensor]] = defaultdict(list)
        self.residual: list[Tensor] = []
        self.converged: list[Tensor] = []

    def add(self, h_hat: Tensor, batch: Batch, info: Any, width: float) -> None:
        error = torch.view_as_real(h_hat - batch["h"]).double().square().flatten(1).sum(1)
        energy = torch.view_as_real(batch["h"]).double().square().flatten(1).sum(1)
        place = (batch["snr_db"] / width).round()
        for index in place.unique().tolist():
            here, snr = place == index, index * width
            self.error[snr] += float(error[here].sum())
            self.energy[snr] += float(energy[here].sum())
            if info is not None:
                self.nfe[snr].append(info.nfe[here])
        if info is not None:
            self.residual.append(info.residual)
            self.converged.append(info.converged)

    def numbers(self) -> dict[str, float]:
        """What is logged, JSON values."""
        each = {snr: decibels(self.error[snr] / self.energy[snr]) for snr in sorted(self.energy)}
        found = {"nmse_db": sum(each.values()) / len(each) if each else math.nan}
        found |= {f"nmse_db_at_{snr:g}": value for snr, value in each.items()}
        if not self.residual:
            return found
        residual = torch.cat(self.residual).double()
        for q in QUANTILES:
            found[f"residual_p{100 * q:g}"] = float(torch.quantile(residual, q))
        counts = {snr: torch.cat(parts).double() for snr, parts in self.nfe.items()}
        found["nfe"] = float(torch.cat(list(counts.values())).mean())
        found |= {f"nfe_at_{snr:g}": float(counts[snr].mean()) for snr in sorted(counts)}
        found["converged"] = float(torch.cat(self.converged).double().mean())
        found["converged_1e-2"] = float((residual < LOOSE).double().mean())
        return found
