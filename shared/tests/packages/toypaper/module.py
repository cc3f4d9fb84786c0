"""Everything that makes resumption hard: dropout, batch norm, momentum, two schedulers, noise from every generator."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    """Points of a plane with noise that is drawn when they are read."""

    def __init__(self, n: int, noise: float, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 4, generator=generator)
        self.y = (self.x[:, :2].prod(1) > 0).long()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if not self.noise:
            return self.x[i], self.y[i]
        jitter = torch.randn(4) + float(np.random.normal()) + random.gauss(0, 1)  # noqa: NPY002
        return self.x[i] + self.noise * jitter, self.y[i]


class Points(LightningDataModule):
    def __init__(self, batch_size: int = 16, workers: int = 0, noise: float = 0.1, poison: bool = False):
        super().__init__()
        self.batch_size, self.workers, self.noise, self.poison = batch_size, workers, noise, poison

    def train_dataloader(self) -> DataLoader:
        data = Noisy(64, self.noise, seed=1)
        if self.poison:
            data.x[:] = float("nan")
        return DataLoader(data, batch_size=self.batch_size, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Noisy(32, 0.0, seed=2), batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(Noisy(32, 0.0, seed=3), batch_size=self.batch_size)

    def predict_dataloader(self) -> DataLoader:
        return self.test_dataloader()


class Classifier(LightningModule):
    """`TOY_KILL_AT=n` kills the process in step n; `explode` is "loss", "gradient" or "".

    `TOY_CLOCK=file` writes the CPU seconds spent before the first step, and whether the network is compiled.
    """

    monitor = ("val/acc", "max")

    def __init__(
        self, width: int = 8, dropout: float = 0.2, lr: float = 0.05, norm: bool = True, explode: str = ""
    ):
        super().__init__()
        self.save_hyperparameters()
        middle = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.model = nn.Sequential(
            nn.Linear(4, width), middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 2)
        )
        self.explode = explode

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.global_step == int(os.environ.get("TOY_KILL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.global_step == 0 and "TOY_CLOCK" in os.environ:
            compiled = getattr(self.model, "_compiled_call_impl", None) is not None
            Path(os.environ["TOY_CLOCK"]).write_text(f"{time.process_time()} {compiled}")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        if self.global_step == 2 and self.explode == "loss":
            return loss * float("inf")
        if self.global_step == 2 and self.explode == "gradient":
            return (
                loss + (self.model[4].bias * 0).sqrt().sum()
            )  # finite value, infinite derivative times zero
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self(batch[0]).argmax(1)

    def _evaluate(self, batch: tuple[Tensor, Tensor], part: str) -> None:
        x, y = batch
        logits = self(x)
        self.log(f"{part}/loss", F.cross_entropy(logits, y), sync_dist=True)
        self.log(f"{part}/acc", (logits.argmax(1) == y).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)}


class TwoRates(Classifier):
    """The schedule changes at every step."""

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WithoutNetwork(Classifier):
    """Has no attribute `model`, so that `--compile` has nothing to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.network = self.model
        del self.model

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)
