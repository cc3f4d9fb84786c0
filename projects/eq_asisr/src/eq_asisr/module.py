"""The LightningModule: L1 on normalised colours at random coordinates, Adam, steps or a cosine for the learning rate (§5)."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import lightning
import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.metrics import restoration_psnr, restoration_ssim

from .data.samples import Batch
from .model import ASISR, denormalize, normalize
from .schedules import warm_cosine

Schedule = Literal["steps", "cosine"]


class LitASISR(lightning.LightningModule):
    """Trains an `ASISR`.

    Logs `train/loss`, `val/loss`, `val/psnr` (RGB at the drawn pixels) and, while testing, `test/psnr_<set>_x<scale>` and
    `test/ssim_<set>_x<scale>` under the protocol of the set.

    Args:
        model: the network.
        lr: learning rate of Adam (0.9, 0.999), without weight decay.
        schedule: "steps" multiplies it by `gamma` at `milestones`, as published; "cosine" warms up over a share `warmup`
            of all steps and falls to zero, for short trainings.
        milestones: epochs.
        gamma: factor at each milestone.
        warmup: share of the steps, for "cosine".
        chunk: queries worked on at a time while testing.

    Raises:
        ValueError: for a learning rate, milestones, gamma, warmup or chunk out of range, or an unknown schedule.

    Example:
        >>> from eq_asisr.pairs import build
        >>> module = LitASISR(build("edsr", "liif", encoder_options={"n_feats": 8, "n_blocks": 1}))
        >>> module(torch.rand(1, 3, 6, 6), torch.zeros(1, 5, 2), torch.full((1, 1, 2), 0.1)).shape
        torch.Size([1, 5, 3])
    """

    monitor = ("val/psnr", "max")

    def __init__(
        self,
        model: ASISR,
        lr: float = 1e-4,
        schedule: Schedule = "steps",
        milestones: Sequence[int] = (200, 400, 600, 800),
        gamma: float = 0.5,
        warmup: float = 0.03,
        chunk: int = 30_000,
    ):
        super().__init__()
        if not 0 < lr < math.inf:
            raise ValueError(f"lr must be positive, got {lr}")
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be one of {', '.join(get_args(Schedule))}, got {schedule!r}")
        if list(milestones) != sorted(set(milestones)) or any(m < 1 for m in milestones):
            raise ValueError(f"milestones must be increasing positive epochs, got {list(milestones)}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {gamma}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must lie in [0, 1), got {warmup}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self.model = model
        self.lr, self.schedule, self.milestones, self.gamma = lr, schedule, list(milestones), gamma
        self.warmup, self.chunk = warmup, chunk

    def forward(
        self, lr: Float[Tensor, "b 3 h w"], coord: Float[Tensor, "b q 2"], cell: Float[Tensor, "b #q 2"]
    ) -> Float[Tensor, "b q 3"]:
        return self.model(lr, coord, cell)

    def loss(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, "b q 3"]]:
        """Mean absolute error of the normalised colours, and the colours."""
        lr, coord, cell, colour = batch
        answer = self(lr, coord, cell)
        return (answer - normalize(colour)).abs().mean(), answer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _ = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, answer = self.loss(batch)
        error = (denormalize(answer.float()).clamp(0, 1) - batch[3]).square().mean((1, 2))
        options: dict[str, Any] = {
            "on_step": False,
            "on_epoch": True,
            "batch_size": len(batch[0]),
            "sync_dist": True,
        }
        self.log("val/loss", loss, **options)
        self.log("val/psnr", (-10 * error.log10()).mean(), prog_bar=True, **options)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        lr, hr = batch
        tests = self.trainer.datamodule.tests  # type: ignore[attr-defined]
        where, images = list(tests.items())[dataloader_idx]
        large = self._upscaled(lr, hr)
        for metric, compare in (("psnr", restoration_psnr), ("ssim", restoration_ssim)):
            value = compare(large, hr, scale=math.ceil(images.scale), protocol=images.protocol).mean()
            self.log(
                f"test/{metric}_{where.lower()}",
                value,
                prog_bar=metric == "psnr",
                on_step=False,
                on_epoch=True,
                batch_size=1,
                add_dataloader_idx=False,
                sync_dist=True,
            )

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Images as large as the true ones, 8-bit."""
        return (self._upscaled(*batch) * 255).round().to(torch.uint8)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        if self.schedule == "steps":
            steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, self.milestones, self.gamma)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": steps, "interval": "epoch"}}
        total = int(self.trainer.estimated_stepping_batches)
        cosine = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_cosine(step, total, self.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}

    def _upscaled(self, lr: Tensor, hr: Tensor) -> Tensor:
        return self.model.upscale(lr, size=(hr.shape[-2], hr.shape[-1]), chunk=self.chunk).float()
