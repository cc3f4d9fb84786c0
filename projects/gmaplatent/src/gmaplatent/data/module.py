"""LightningDataModule of one domain: images with labels."""

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from .domains import DOMAINS, load_domain
from .images import Parts


class DomainData(lightning.LightningDataModule):
    """One domain in batches of images (n, c, h, w) in [0, 1] and labels (n,).

    Args:
        domain: a key of `gmaplatent.data.DOMAINS`.
        size: height and width; the domain's own if None.
        batch_size: images a batch, at least 1.
        root: the data folder; `tenfold.data.root()` if None.
        num_workers: processes that load; the images are in memory, so 0 is fast.

    Example:
        >>> data = DomainData("digits_a", batch_size=16)
        >>> data.setup()
        >>> next(iter(data.train_dataloader()))[0].shape
        torch.Size([16, 1, 32, 32])
    """

    def __init__(
        self,
        domain: str = "digits_a",
        size: int | None = None,
        batch_size: int = 256,
        root: str | None = None,
        num_workers: int = 0,
    ):
        super().__init__()
        if domain not in DOMAINS:
            raise ValueError(f"unknown domain {domain!r}; known: {', '.join(DOMAINS)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.domain, self.size, self.root = domain, size, root
        self.batch_size, self.num_workers = batch_size, num_workers
        self.parts: Parts | None = None

    def setup(self, stage: str | None = None) -> None:
        if self.parts is None:
            self.parts = load_domain(self.domain, self.root, self.size)

    def _loader(self, part: str, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
        if self.parts is None:
            raise RuntimeError("the data are not loaded yet: call setup() first")
        data = getattr(self.parts, part)
        return DataLoader(
            TensorDataset(data.images, data.labels),
            min(self.batch_size, len(data)),
            shuffle=shuffle,
            # A last batch of one image has no variance for batch normalisation.
            drop_last=shuffle,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("test")
