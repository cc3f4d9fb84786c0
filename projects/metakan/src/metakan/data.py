"""LightningDataModules: digits, MNIST and its relatives, CIFAR-10, function regression, collocation steps.

The image modules hold the whole set in memory as bytes and normalise a batch at a time, to [−1, 1] by default.
"""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .augment import AUGMENTATIONS, Augmentation
from .functions import target_function
from .images import (
    STATISTICS,
    IdxName,
    Normalisation,
    load_cifar10,
    load_digits,
    load_idx,
    normalise_images,
    split_indices,
)


class ImageDataset(Dataset[Any]):
    """Images in memory, normalised (and augmented) a batch at a time.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,).
        dataset: name of the data set, for its normalisation.
        normalisation: see `normalise_images`.
        flatten: give (n, c·h·w) instead of (n, c, h, w), for fully connected networks.
        augment: maps one image (c, h, w) uint8 to another.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n c h w"],
        labels: Int[Tensor, "n"],
        dataset: str,
        normalisation: Normalisation = "grid",
        flatten: bool = False,
        augment: Augmentation | None = None,
    ):
        self.images, self.labels = images, labels
        self.dataset, self.normalisation, self.flatten, self.augment = (
            dataset,
            normalisation,
            flatten,
            augment,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        images = self.images[chosen]
        if self.augment is not None:
            images = torch.stack([self.augment(image) for image in images])
        images = normalise_images(images, self.dataset, self.normalisation)
        return (images.flatten(1) if self.flatten else images), self.labels[chosen]


def _as_is(batch: Any) -> Any:
    return batch


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


class _ImageData(lightning.LightningDataModule):
    """What the image data modules share: split, normalisation, loaders. Subclasses give `load(train)`."""

    dataset: str

    def __init__(
        self,
        batch_size: int,
        val_fraction: float,
        normalisation: Normalisation,
        flatten: bool,
        augment: str | None,
        seed: int,
        num_workers: int,
    ):
        super().__init__()
        _check_batch_size(batch_size)
        split_indices(0, val_fraction, 0)
        if normalisation not in ("grid", "paper"):
            raise ValueError(f"normalisation must be 'grid' or 'paper', got {normalisation!r}")
        if augment is not None and augment not in AUGMENTATIONS:
            raise ValueError(f"augment must be one of {', '.join(AUGMENTATIONS)} or null, got {augment!r}")
        self.batch_size, self.val_fraction, self.seed, self.num_workers = (
            batch_size,
            val_fraction,
            seed,
            num_workers,
        )
        self.normalisation, self.flatten, self.augment = normalisation, flatten, augment
        self.parts: dict[str, ImageDataset] = {}

    def load(self, train: bool) -> tuple[UInt8[Tensor, "n c h w"], Int[Tensor, "n"]]:
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read the files once and split. Without a validation share the test images are the validation set too."""
        if self.parts:
            return
        test = self._part(*self.load(train=False))
        images, labels = self.load(train=True)
        fit, held_out = split_indices(len(labels), self.val_fraction, self.seed)
        augment = AUGMENTATIONS[self.augment]() if self.augment else None
        self.parts["train"] = self._part(images[fit], labels[fit], augment)
        self.parts["val"] = self._part(images[held_out], labels[held_out]) if len(held_out) else test
        self.parts["test"] = test

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        return self._loader("test")

    def _part(self, images: Tensor, labels: Tensor, augment: Augmentation | None = None) -> ImageDataset:
        return ImageDataset(images, labels, self.dataset, self.normalisation, self.flatten, augment)

    def _loader(self, part: str, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(
            self.parts[part],
            batch_size=self.batch_size,
            shuffle=shuffle,
            collate_fn=_as_is,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )


class IdxImageData(_ImageData):
    """MNIST and its relatives from their idx files, (n, 1, 28, 28) or (n, 784).

    Args:
        name: "mnist", "fashion_mnist", "kmnist", or "kmnist-t10k" (KMNIST's test file, 8,000 train / 2,000 test).
        batch_size: images a step.
        val_fraction: share of the training images held out for validation; 0 validates on the test images, which is
            the paper's protocol (P11).
        normalisation: "grid" for [−1, 1], "paper" for the reference's mean and std.
        flatten: vectors of 784 for fully connected networks.
        augment: "mnist" for the reference's convolutional recipe (§5.2), or null.
        seed: of the validation split.
        num_workers: loader processes.
    """

    def __init__(
        self,
        name: IdxName = "mnist",
        batch_size: int = 128,
        val_fraction: float = 1 / 12,
        normalisation: Normalisation = "grid",
        flatten: bool = False,
        augment: str | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__(batch_size, val_fraction, normalisation, flatten, augment, seed, num_workers)
        if name not in STATISTICS or name == "cifar10":
            raise ValueError(f"name must be mnist, fashion_mnist, kmnist or kmnist-t10k, got {name!r}")
        self.dataset = name

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        return load_idx(self.dataset, train)


class CIFAR10Data(_ImageData):
    """CIFAR-10, (n, 3, 32, 32); arguments as `IdxImageData`, `augment="cifar10"` for the recipe of §5.2.

    `size` resizes the images (28 for the fully connected [2352, 32, 10] of the paper).
    """

    dataset = "cifar10"

    def __init__(
        self,
        batch_size: int = 128,
        val_fraction: float = 0.1,
        normalisation: Normalisation = "grid",
        flatten: bool = False,
        augment: str | None = None,
        size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__(batch_size, val_fraction, normalisation, flatten, augment, seed, num_workers)
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size = size

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = load_cifar10(train)
        if self.size != 32:
            size = (self.size, self.size)
            images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
        return images, labels


class DigitsData(_ImageData):
    """The 1,797 digits of scikit-learn, 8×8, pixels 0–16 mapped to [−1, 1]; needs no download.

    Args:
        batch_size: images a step.
        test_fraction: share held out for testing, drawn with `seed`.
        val_fraction: share of the rest held out for validation; 0 validates on the test images.
        flatten: vectors of 64 for fully connected networks.
        seed: of both splits.
    """

    dataset = "digits"

    def __init__(
        self,
        batch_size: int = 64,
        test_fraction: float = 0.3,
        val_fraction: float = 0.1,
        flatten: bool = True,
        seed: int = 0,
    ):
        super().__init__(batch_size, val_fraction, "grid", flatten, None, seed, 0)
        split_indices(0, test_fraction, 0)
        if test_fraction == 0:
            raise ValueError("test_fraction must be above 0")
        self.test_fraction = test_fraction

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = load_digits()
        fit, held_out = split_indices(len(labels), self.test_fraction, self.seed)
        chosen = fit if train else held_out
        return images[chosen], labels[chosen]


class FunctionData(lightning.LightningDataModule):
    """Points of a target function, uniform in its box; validation and test on the test points.

    Args:
        function: a Feynman name ("I.12.5"), "exp_sin", "product" or "high_dim_exp(100)".
        n_train: training points.
        n_test: test points.
        batch_size: points a step; null for full batches (L-BFGS).
        normalise: map the box to [−1, 1]^d, the grid range of a spline layer.
        seed: of the points.
    """

    def __init__(
        self,
        function: str = "I.12.5",
        n_train: int = 1000,
        n_test: int = 1000,
        batch_size: int | None = None,
        normalise: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        _check_batch_size(n_train if batch_size is None else batch_size)
        for argument, value in (("n_train", n_train), ("n_test", n_test)):
            if value < 1:
                raise ValueError(f"{argument} must be at least 1, got {value}")
        self.function = target_function(function)
        self.n_train, self.n_test, self.batch_size = n_train, n_test, batch_size
        self.normalise, self.seed = normalise, seed
        self.parts: dict[str, TensorDataset] = {}

    def setup(self, stage: str | None = None) -> None:
        if self.parts:
            return
        generator = torch.Generator().manual_seed(self.seed)
        for part, n in (("train", self.n_train), ("test", self.n_test)):
            x, y = self.function.sample(n, generator)
            x = self.function.normalise(x) if self.normalise else x
            self.parts[part] = TensorDataset(x, y[:, None])

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["train"], batch_size=self.batch_size or self.n_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["test"], batch_size=self.n_test)

    test_dataloader = predict_dataloader = val_dataloader


class CollocationSteps(lightning.LightningDataModule):
    """The clock of a physics-informed run: an epoch of `steps` batches that hold only their number.

    `LitPINN` draws fresh points from (seed, global step), so that a resumed run sees the same points as one that was
    never interrupted; the fixed test points are `LitPINN`'s too.

    Args:
        steps: steps an epoch, after which the solution is validated.
    """

    def __init__(self, steps: int = 250):
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.arange(self.steps)), batch_size=1)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(1)), batch_size=1)

    test_dataloader = val_dataloader
