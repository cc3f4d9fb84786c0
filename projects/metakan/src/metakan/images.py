"""Images as tensors: read, mapped to the range of a spline grid, split. No training framework is needed here.

Images are mapped to [−1, 1], the grid of a spline layer: standardised MNIST reaches +2.82, beyond the last knot, where
only the SiLU branch of an edge is alive (pitfall P12). `normalisation="paper"` gives the reference's mean and std.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tenfold.data import load_cifar10 as load_cifar10_arrays
from tenfold.data import load_digits as load_digits_arrays
from tenfold.data import load_idx_images

Normalisation = Literal["grid", "paper"]
IdxName = Literal["mnist", "fashion_mnist", "kmnist", "kmnist-t10k"]

STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "kmnist": ((0.1918,), (0.3483,)),
    "kmnist-t10k": ((0.1918,), (0.3483,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Mean and standard deviation of pixels in [0, 1] (§5.1)."""

WHITE = {"digits": 16}
"""Largest pixel value where it is not 255."""


def normalise_images(
    images: UInt8[Tensor, "n c h w"], dataset: str, normalisation: Normalisation = "grid"
) -> Float[Tensor, "n c h w"]:
    """Bytes to floats: [−1, 1] for "grid", (x/255 − mean)/std of §5.1 for "paper".

    Raises:
        ValueError: if the normalisation is unknown, or the paper has none for this data set.
    """
    if normalisation == "grid":
        return images.float() / (WHITE.get(dataset, 255) / 2) - 1
    if normalisation != "paper":
        raise ValueError(f"normalisation must be 'grid' or 'paper', got {normalisation!r}")
    if dataset not in STATISTICS:
        raise ValueError(
            f"normalisation 'paper' exists for {', '.join(STATISTICS)}, not for {dataset!r}; use 'grid'"
        )
    mean, std = (torch.tensor(v, device=images.device).view(-1, 1, 1) for v in STATISTICS[dataset])
    return (images.float() / 255 - mean) / std


def split_indices(n: int, fraction: float, seed: int) -> tuple[Int[Tensor, "a"], Int[Tensor, "b"]]:
    """A random split of range(n) into the rest and a part of size round(fraction · n), by `seed` alone.

    Raises:
        ValueError: if the fraction is not in [0, 1).

    Example:
        >>> rest, part = split_indices(10, 0.3, seed=0)
        >>> len(rest), len(part), sorted([*rest.tolist(), *part.tolist()]) == list(range(10))
        (7, 3, True)
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be at least 0 and below 1, got {fraction}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held_out = round(fraction * n)
    return order[held_out:], order[:held_out]


def load_digits() -> tuple[UInt8[Tensor, "n 1 8 8"], Int[Tensor, "n"]]:
    """The 1,797 digits of scikit-learn, pixels 0–16."""
    pixels, labels = load_digits_arrays()
    return torch.from_numpy(pixels).byte()[:, None], torch.from_numpy(labels)


def load_idx(name: str, train: bool) -> tuple[UInt8[Tensor, "n 1 28 28"], Int[Tensor, "n"]]:
    """MNIST, Fashion-MNIST, KMNIST, or "kmnist-t10k" (KMNIST's test file, split 8,000/2,000).

    Raises:
        DataNotFoundError: if the files are not in the data folder; the message says which and where to get them.
    """
    images, labels = load_idx_images(name, train)
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels)


def load_cifar10(train: bool) -> tuple[UInt8[Tensor, "n 3 32 32"], Int[Tensor, "n"]]:
    """CIFAR-10 in whatever layout the data folder has; raises DataNotFoundError as `load_idx`."""
    images, labels = load_cifar10_arrays(train)
    return torch.from_numpy(images).movedim(-1, 1).contiguous(), torch.from_numpy(labels)
