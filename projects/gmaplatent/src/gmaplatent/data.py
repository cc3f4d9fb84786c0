"""LightningDataModules. Data that need no download are for tests and the smoke preset."""

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tenfold.data import load_digits


class DigitsData(lightning.LightningDataModule):
    """The 1,797 handwritten digits of scikit-learn: every fifth for validation, the ones after these for test.

    Batches are images, flattened and scaled to [0, 1], of shape (n, 64), and labels of shape (n,).

    Args:
        batch_size: images a batch, at least 1.

    Example:
        >>> data = DigitsData()
        >>> data.setup()
        >>> len(data.parts["train"]), len(data.parts["val"]), len(data.parts["test"])
        (1077, 360, 360)
    """

    def __init__(self, batch_size: int = 64):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size = batch_size
        self.parts: dict[str, TensorDataset] = {}

    def setup(self, stage: str | None = None) -> None:
        images, labels = load_digits()
        x = torch.from_numpy(images).flatten(1) / 16
        y = torch.from_numpy(labels)
        fold = torch.arange(len(y)) % 5
        chosen = {"train": fold > 1, "val": fold == 0, "test": fold == 1}
        self.parts = {name: TensorDataset(x[mask], y[mask]) for name, mask in chosen.items()}

    def _loader(self, part: str, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.parts[part], self.batch_size, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("test")
