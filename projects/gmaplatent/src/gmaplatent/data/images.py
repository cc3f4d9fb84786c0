"""What every domain of images is: pictures in [0, 1] with labels, in three parts that share nothing."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one domain.

    Args:
        images: values in [0, 1].
        labels: 0 … K-1.
        groups: what must not be split between parts (writers); None where every image stands for itself.

    Raises:
        ValueError: for shapes that do not fit, no images, values outside [0, 1], or labels below 0.

    Example:
        >>> import torch
        >>> LabelledImages(torch.rand(4, 1, 8, 8), torch.arange(4)).n_clusters
        4
    """

    images: Float32[Tensor, "n c h w"]
    labels: Int[Tensor, "n"]
    groups: Int[Tensor, "n"] | None = None

    def __post_init__(self) -> None:
        require_images(self.images)
        for name, values in (("labels", self.labels), ("groups", self.groups)):
            if values is not None and values.shape != (len(self.images),):
                raise ValueError(
                    f"{name} must have shape ({len(self.images)},), one an image, got {tuple(values.shape)}"
                )
        if int(self.labels.min()) < 0:
            raise ValueError(f"labels must be at least 0, got {int(self.labels.min())}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: slice | Int[Tensor, "m"] | Bool[Tensor, "n"]) -> "LabelledImages":
        groups = None if self.groups is None else self.groups[chosen]
        return LabelledImages(self.images[chosen], self.labels[chosen], groups)

    @property
    def n_clusters(self) -> int:
        """The largest label and one."""
        return int(self.labels.max()) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


class Parts(NamedTuple):
    """A domain in three parts: `train` to fit on, `val` to choose by, `test` to report."""

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages


def require_images(images: Tensor, name: str = "images") -> None:
    """Refuse what are not images in [0, 1].

    Raises:
        TypeError: if they are not floating point.
        ValueError: for another shape than (n, c, h, w), no images, numbers that are not finite or outside [0, 1].
    """
    if not images.is_floating_point():
        raise TypeError(f"{name} must be floating point in [0, 1], got {images.dtype}; divide bytes by 255")
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"{name} must have shape (n, c, h, w) with n >= 1, got {tuple(images.shape)}")
    least, most = images.aminmax()
    # NaN is neither: the comparison is written so that it fails.
    if not (least >= 0 and most <= 1):
        raise ValueError(f"{name} must be in [0, 1], got values from {float(least):.4g} to {float(most):.4g}")


def resized(images: Float[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c size size"]:
    """Square images of another size: means over blocks if it divides the old one, else bilinear with anti-aliasing.

    Example:
        >>> import torch
        >>> resized(torch.eye(4)[None, None], 2)[0, 0].tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    if height == width and height % size == 0:
        return F.avg_pool2d(images, height // size)
    grown = F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return grown.clamp(0, 1)
