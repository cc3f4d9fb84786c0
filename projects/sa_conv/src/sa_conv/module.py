"""LightningModules: restoration with the L1 loss (super-resolution, denoising) and deraining by stages (sa_conv §5).

Images are in 0…255. Restored images are clamped and rounded to 8 bit before they are measured. What the hypernetwork
answers is logged as `val/w_theta_mean`, `val/w_theta_std`, `val/w_cx_…`, `val/w_cy_…`: a std near zero means that the
network does not adapt to its images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.convert import warm_start as warmed
from sa_conv.hyper import FeatureHyperNet, ImageHyperNet
from sa_conv.losses import deraining_loss
from sa_conv.models.rcdnet import RCDNet
from tenfold.callbacks import NonFiniteError
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_pretrained, load_weights
from tenfold.metrics import Protocol, restoration_psnr, restoration_ssim

W_NAMES = ("theta", "cx", "cy")


class RestorationModule(lightning.LightningModule):
    """L1 restoration with Adam and a learning rate that falls by `gamma` at `milestones`.

    Args:
        model: maps degraded images in 0…255 to restored ones, `scale` times as large.
        scale: factor of super-resolution, 1 otherwise.
        lr: learning rate of Adam (0.9, 0.999), without weight decay.
        milestones: epochs after which the learning rate falls.
        gamma: factor by which it falls.
        protocol: how test images are compared; see `tenfold.metrics.restoration_psnr`.
        eval_scale: the scale that sets the cropped border, if it is not `scale` (deraining crops 8 = 2 + 6).
        warm_start: weights to start from: a checkpoint of a run (`.ckpt`) or a folder of `save_pretrained`. B-/F-Conv
            weights start a TL-Conv network, TL-Conv weights an SA-Conv network: both compute what they were.
        freeze_backbone: train the hypernetwork only.

    Example:
        >>> module = RestorationModule(nn.Conv2d(3, 3, 3, padding=1))
        >>> module(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    monitor = ("val/psnr", "max")

    def __init__(
        self,
        model: nn.Module,
        scale: int = 1,
        lr: float = 1e-4,
        milestones: Sequence[int] = (100,),
        gamma: float = 0.5,
        protocol: Protocol = "benchmark",
        eval_scale: int | None = None,
        warm_start: str | None = None,
        freeze_backbone: bool = False,
    ):
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if list(milestones) != sorted(set(milestones)) or any(m < 1 for m in milestones):
            raise ValueError(f"milestones must be increasing positive epochs, got {list(milestones)}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {gamma}")
        self.model = model
        self.scale, self.lr, self.milestones, self.gamma = scale, lr, list(milestones), gamma
        self.protocol: Protocol = protocol
        self.eval_scale = scale if eval_scale is None else eval_scale
        self.warm_start = warm_start
        self.answers = HyperNetworkLog(self, model)
        if freeze_backbone:
            freeze_all_but_hypernetworks(model)

    def setup(self, stage: str) -> None:
        # before Lightning restores a checkpoint: a resumed run goes on from its own weights
        if stage == "fit" and self.warm_start is not None:
            start_from(self.model, self.warm_start)
            self.warm_start = None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c scaled_h scaled_w"]:
        return self.model(x)

    def loss(self, degraded: Tensor, clean: Tensor) -> Float[Tensor, ""]:
        """Mean absolute error in units of an 8-bit image."""
        return F.l1_loss(self(degraded), clean)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.loss(*batch)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        degraded, clean = batch
        self._log("val/loss", F.l1_loss(self(degraded), clean))
        restored = to_bytes(self(degraded)) / 255
        self._log(
            "val/psnr",
            restoration_psnr(restored, clean / 255, scale=self.scale, protocol="plain").mean(),
            True,
        )

    def on_validation_epoch_end(self) -> None:
        for name, value in self.answers.statistics().items():
            self.log(f"val/{name}", value)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        degraded, clean = batch
        restored = to_bytes(self(degraded)) / 255
        names = getattr(getattr(self.trainer, "datamodule", None), "test_names", None)
        where = names[dataloader_idx].lower() if names else str(dataloader_idx)
        for metric, compare in (("psnr", restoration_psnr), ("ssim", restoration_ssim)):
            value = compare(restored, clean / 255, scale=self.eval_scale, protocol=self.protocol)
            self._log(f"test/{metric}_{where}", value.mean(), True)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Restored images, 8-bit."""
        return to_bytes(self(batch[0])).to(torch.uint8)

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, self.lr)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, self.milestones, self.gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def _log(self, name: str, value: Tensor, prog_bar: bool = False) -> None:
        self.log(
            name,
            value,
            prog_bar=prog_bar,
            on_step=False,
            on_epoch=True,
            batch_size=1,
            add_dataloader_idx=False,
            sync_dist=True,
        )


class DerainingModule(RestorationModule):
    """RCDNet with the loss over all stages, `sa_conv.losses.deraining_loss`; h-flips belong to the data (§5).

    The published numbers compare RGB without a border of 8 pixels: protocol "div2k" with `eval_scale=2` (P15).

    Args:
        model: an RCDNet.
        lr … freeze_backbone: see `RestorationModule`; StepLR(45, 0.2) is milestones 45, 90 and gamma 0.2.
    """

    def __init__(
        self,
        model: RCDNet,
        lr: float = 4e-4,
        milestones: Sequence[int] = (45, 90),
        gamma: float = 0.2,
        protocol: Protocol = "div2k",
        eval_scale: int = 2,
        warm_start: str | None = None,
        freeze_backbone: bool = False,
    ):
        super().__init__(model, 1, lr, milestones, gamma, protocol, eval_scale, warm_start, freeze_backbone)

    def loss(self, degraded: Tensor, clean: Tensor) -> Float[Tensor, ""]:
        assert isinstance(self.model, RCDNet)
        return deraining_loss(self.model.stages(degraded), degraded, clean)


class HyperNetworkLog:
    """Collects w = (Δθ0, ΔCx, ΔCy) of every hypernetwork of a model while it is evaluated, and stops at NaN.

    Args:
        owner: the LightningModule, asked for the batch and whether it trains.
        model: the network; its hypernetworks are watched.

    Raises:
        NonFiniteError: in the forward pass, naming the image of the batch and the step.
    """

    def __init__(self, owner: lightning.LightningModule, model: nn.Module):
        self._answers: list[Tensor] = []
        # a closure over the list: a bound method would make Lightning copy this object with every deepcopy of a hook
        answers = self._answers

        def watch(module: nn.Module, inputs: Any, w: Tensor) -> None:
            bad = ~torch.isfinite(w).flatten(1).all(1)
            if bad.any():
                step = owner.global_step if owner._trainer is not None else 0
                raise NonFiniteError(
                    f"w of image {int(bad.nonzero()[0, 0])} of the batch is not finite at step {step}: {w[bad][0].tolist()}"
                )
            if not module.training:
                answers.append(w.detach().float().cpu())

        for module in model.modules():
            if isinstance(module, ImageHyperNet | FeatureHyperNet):
                module.register_forward_hook(watch)

    def statistics(self) -> dict[str, float]:
        """`w_theta_mean`, `w_theta_std`, … over the images seen since the last call; empty without hypernetworks."""
        if not self._answers:
            return {}
        w = torch.cat(self._answers)
        self._answers.clear()
        result = {}
        for name, column in zip(W_NAMES, w.unbind(1)):
            result[f"w_{name}_mean"] = column.mean().item()
            result[f"w_{name}_std"] = column.std(unbiased=False).item()
        return result


def to_bytes(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Clamped and rounded to what an 8-bit file would hold; still floating point."""
    return images.float().clamp(0, 255).round()


def freeze_all_but_hypernetworks(model: nn.Module) -> None:
    """Leave only the hypernetworks trainable.

    Raises:
        ValueError: if the model has none.
    """
    hypernetworks = [m for m in model.modules() if isinstance(m, ImageHyperNet | FeatureHyperNet)]
    if not hypernetworks:
        raise ValueError(f"freeze_backbone=True, but {type(model).__name__} has no hypernetwork to train")
    model.requires_grad_(False)
    for module in hypernetworks:
        module.requires_grad_(True)


def start_from(model: nn.Module, source: str | Path) -> None:
    """Load weights, converting B-/F-Conv to TL-Conv and TL-Conv to SA-Conv where the model is the richer one.

    Args:
        model: the network to fill.
        source: a `.ckpt` of a run, or a folder written by `save_pretrained`.

    Raises:
        CheckpointError: if the weights do not fit even after conversion.
    """
    path = Path(source)
    state = load_pretrained(path)[1] if path.is_dir() else load_lightning_weights(path)
    try:
        complete = warmed(state, model)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot start this {type(model).__name__}: {error}") from error
    load_weights(model, complete, source=str(path))
