"""The LightningModule: loss, metrics, optimiser."""

import lightning
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.metrics import accuracy


class LitClassifier(lightning.LightningModule):
    """Trains a classifier with cross entropy and AdamW.

    Logs `<stage>/loss` and `<stage>/acc`; the best checkpoint is the one of the highest `val/acc`.

    Args:
        model: maps a batch to logits.
        lr: learning rate, above 0.

    Example:
        >>> LitClassifier(nn.Linear(4, 3))(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    monitor = ("val/acc", "max")

    def __init__(self, model: nn.Module, lr: float = 1e-3):
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        self.model = model
        self.lr = lr

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n n_classes"]:
        return self.model(x)

    def _step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, labels = batch
        logits = self(x)
        loss = F.cross_entropy(logits, labels)
        values = {f"{stage}/loss": loss, f"{stage}/acc": accuracy(logits, labels)}
        self.log_dict(values, prog_bar=True, on_epoch=True, on_step=False, batch_size=len(x))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("test", batch)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Int[Tensor, "n"]:
        return self(batch[0]).argmax(-1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)
