"""The LightningModule: trains the language models of the package by the recipe of §5; and the data of its largest preset."""

import math
from typing import Any

import lightning
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .data.module import _TokenDataModule
from .models.config import GPTConfig
from .models.looped_gpt import build_model
from .optim import Optim, make_adamw, make_schedule
from .web_tokens import VOCAB, load_web_tokens

IGNORED = -100
"""Target of a token that does not count."""


class LitLanguageModel(lightning.LightningModule):
    """Trains a `TinyGPT` or, where the configuration has loops, a `LoopedGPT`.

    Batches are tokens (b, s) and targets (b, s); targets of −100 do not count. Logged: `<stage>/loss` in nats a token,
    `<stage>/acc` over the tokens that count, and in validation and test `bits`, the loss in bits a token.

    Args:
        config: sizes and style of the model.
        optim: learning rate, warm-up, decay.

    Example:
        >>> import torch
        >>> lit = LitLanguageModel(GPTConfig(n_blocks=1), Optim(lr=3e-3))
        >>> lit(torch.zeros(2, 8, dtype=torch.long)).shape
        torch.Size([2, 8, 65])
    """

    monitor = ("val/loss", "min")

    def __init__(self, config: GPTConfig, optim: Optim | None = None):
        super().__init__()
        self.model = build_model(config)
        self.optim = optim or Optim()

    def forward(self, tokens: Int[Tensor, "b s"]) -> Float[Tensor, "b s vocab"]:
        return self.model(tokens)

    def _step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        tokens, targets = batch
        logits = self(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        counted = targets != IGNORED
        accuracy = (logits.argmax(-1) == targets)[counted].float().mean()
        values = {f"{stage}/loss": loss, f"{stage}/acc": accuracy}
        if stage != "train":
            values[f"{stage}/bits"] = loss.detach() / math.log(2)
        self.log_dict(
            values, prog_bar=True, on_epoch=True, on_step=False, batch_size=len(tokens), sync_dist=True
        )
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("test", batch)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Int[Tensor, "b s"]:
        return self(batch[0]).argmax(-1)

    def configure_optimizers(self) -> Any:
        optimizer = make_adamw(self.model, self.optim)
        steps = self.optim.steps or int(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(optimizer, self.optim, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WebTokensDataModule(_TokenDataModule):
    """Windows of the user's own corpus of GPT-2 tokens, `web-tokens/{train,val}.bin` below the data folder.

    Args:
        ctx: tokens a window.
        batch_size: windows a batch.
        steps_per_epoch: batches an epoch.
        val_size: windows for validation, and as many for test.
        root: the data folder; `tenfold.data.root()` if None.
    """

    def __init__(
        self,
        ctx: int = 1024,
        batch_size: int = 16,
        steps_per_epoch: int = 1000,
        val_size: int = 512,
        root: str | None = None,
    ):
        super().__init__(batch_size, steps_per_epoch, val_size)
        self.ctx, self.root = ctx, root

    @property
    def vocab(self) -> int:
        return VOCAB

    def setup(self, stage: str | None = None) -> None:
        self._windows(load_web_tokens("train", self.root), load_web_tokens("val", self.root), self.ctx)
