"""The LightningModules: an autoencoder of one domain, and the classifier that judges translations into it (§5)."""

import lightning
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tenfold.metrics import accuracy

from .models.autoencoder import Autoencoder, Loss, reconstruction_loss
from .models.classifier import ImageClassifier


class LitAutoencoder(lightning.LightningModule):
    """Trains an autoencoder on the images of one domain with Adam, without augmentation.

    Logs `<stage>/loss`, `<stage>/reconstruction`, `<stage>/mse` and, with a cluster head, `<stage>/clusters`; the best
    checkpoint is that of the lowest `val/loss`.

    Args:
        model: grey or colour.
        lr: learning rate, above 0.
        loss: "mse", or "bce" for grey images.
        sparsity: weight of the mean ‖z‖₁; 1e-5 in AE-OT.
        cluster_weight: of the auxiliary head; 0 without one.

    Example:
        >>> from gmaplatent.models import GreyAutoencoder
        >>> LitAutoencoder(GreyAutoencoder(d=2))(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 1, 32, 32])
    """

    def __init__(
        self,
        model: Autoencoder,
        lr: float = 1e-3,
        loss: Loss = "mse",
        sparsity: float = 1e-5,
        cluster_weight: float = 0.0,
    ):
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        if loss not in ("mse", "bce"):
            raise ValueError(f"loss must be 'mse' or 'bce', got {loss!r}")
        if sparsity < 0:
            raise ValueError(f"sparsity must be at least 0, got {sparsity}")
        if (cluster_weight > 0) != (model.head is not None):
            raise ValueError(
                f"cluster_weight is {cluster_weight}, and the model has {'a' if model.head else 'no'} cluster head: "
                "give n_clusters to the model and a weight above 0, or neither"
            )
        self.model = model
        self.lr, self.loss, self.sparsity, self.cluster_weight = lr, loss, sparsity, cluster_weight

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Reconstructions."""
        return self.model(x)

    def on_fit_start(self) -> None:
        if getattr(self.model, "_compiled_call_impl", None) is not None:
            # `--compile` compiles what is called; a training step calls the two halves, not the model as a whole.
            for half in (self.model.encoder, self.model.decoder):
                half.compile()

    def _step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        loss, terms = reconstruction_loss(
            self.model,
            images,
            labels,
            kind=self.loss,
            sparsity=self.sparsity,
            cluster_weight=self.cluster_weight,
        )
        values = {"loss": loss.detach()} | {name: term.detach() for name, term in terms.items()}
        for name, value in values.items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=name == "loss",
                on_epoch=True,
                on_step=False,
                batch_size=len(images),
                sync_dist=True,
            )
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("test", batch)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Float[Tensor, "n d"]:
        return self.model.encode(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class LitClassifier(lightning.LightningModule):
    """Trains the classifier of a domain with cross entropy and AdamW.

    Logs `<stage>/loss` and `<stage>/acc`; the best checkpoint is the one of the highest `val/acc`.

    Args:
        model: maps images to logits.
        lr: learning rate, above 0.

    Example:
        >>> LitClassifier(ImageClassifier(1, 10))(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
    """

    monitor = ("val/acc", "max")

    def __init__(self, model: ImageClassifier, lr: float = 1e-3):
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        self.model, self.lr = model, lr

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n n_classes"]:
        """Logits."""
        return self.model(x)

    def _step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        values = {f"{stage}/loss": loss.detach(), f"{stage}/acc": accuracy(logits.detach(), labels)}
        self.log_dict(
            values, prog_bar=True, on_epoch=True, on_step=False, batch_size=len(images), sync_dist=True
        )
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
