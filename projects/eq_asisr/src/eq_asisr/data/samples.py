"""Training samples: a low-resolution image, some coordinates of the high-resolution one, and its colours there (§5).

    s ~ U(1, 4); high-resolution crop of round(48·s) pixels; low-resolution 48×48 by Pillow's bicubic; flips and transpose;
    2,304 = 48² high-resolution pixels drawn without replacement, with their coordinates, and the cell 2/round(48·s)

A sample is a pure function of (seed, draw number): the same whatever the number of workers or devices, and the same
after a run was killed and resumed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from eq_asisr.coords import coord_of_pixels, make_cell, make_coord

from .folders import ImageFolder, PairedImageFolders
from .resize import pillow_bicubic

Augmentation = Literal["hflip", "vflip", "transpose", "rot90"]


class Batch(NamedTuple):
    """One sample, or with a leading batch axis several.

    Args:
        lr: low-resolution image in [0, 1].
        coord: (row, col) of the queries in [−1, 1].
        cell: height and width of a high-resolution pixel in these units; one for all queries of an image.
        colour: of the high-resolution image at the queries, in [0, 1].
    """

    lr: Float[Tensor, "*b 3 h w"]
    coord: Float[Tensor, "*b q 2"]
    cell: Float[Tensor, "*b 1 2"]
    colour: Float[Tensor, "*b q 3"]

    def to(self, device: torch.device) -> "Batch":
        """All of it on a device."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class SRDownsampled(Dataset[Batch]):
    """Draw number i → a patch of a random image at a random scale, shrunk by Pillow's bicubic.

    Args:
        images: high-resolution images.
        inp_size: side of the low-resolution patch.
        scale_min: smallest scale, at least 1.
        scale_max: largest scale.
        sample_q: queries per sample, drawn without replacement; None: all pixels, which cannot be batched unless
            scale_min = scale_max.
        augment: each of "hflip", "vflip", "transpose" is applied with probability ½; "rot90" draws one of four turns.
        seed: of the draws.

    Raises:
        ValueError: for sizes or scales out of range, more queries than the smallest patch has pixels, an unknown
            augmentation; on access, if an image is smaller than the patch: it is named.

    Example:
        >>> images = ImageFolder([torch.randint(0, 256, (3, 60, 70), dtype=torch.uint8)])
        >>> sample = SRDownsampled(images, inp_size=12, sample_q=100)[7]
        >>> [tuple(x.shape) for x in sample]
        [(3, 12, 12), (100, 2), (1, 2), (100, 3)]
    """

    def __init__(
        self,
        images: ImageFolder,
        inp_size: int = 48,
        scale_min: float = 1.0,
        scale_max: float = 4.0,
        sample_q: int | None = 2304,
        augment: Sequence[Augmentation] = ("hflip", "vflip", "transpose"),
        *,
        seed: int = 0,
    ):
        if inp_size < 1:
            raise ValueError(f"inp_size must be at least 1, got {inp_size}")
        if not 1 <= scale_min <= scale_max < math.inf:
            raise ValueError(
                f"scales must satisfy 1 <= scale_min <= scale_max, got {scale_min} and {scale_max}"
            )
        pixels = round(inp_size * scale_min) ** 2
        if sample_q is not None and not 1 <= sample_q <= pixels:
            raise ValueError(
                f"sample_q must lie between 1 and {pixels}, the pixels of a patch of {inp_size} at scale {scale_min:g}, "
                f"got {sample_q}"
            )
        self.images, self.inp_size, self.sample_q, self.seed = images, inp_size, sample_q, seed
        self.scale_min, self.scale_max = scale_min, scale_max
        self.augment = require_augmentations(augment)

    def __len__(self) -> int:
        """Images; draw numbers go on without end."""
        return len(self.images)

    def __getitem__(self, draw: int) -> Batch:
        generator = generator_of(self.seed, draw)
        index = _below(len(self.images), generator)
        span = self.scale_max - self.scale_min
        scale = self.scale_min + span * torch.rand((), generator=generator, dtype=torch.float64).item()
        side = round(self.inp_size * scale)
        image = self.images[index]
        if min(image.shape[1:]) < side:
            raise ValueError(
                f"{self.images.name(index)} has {image.shape[1]}×{image.shape[2]} pixels, a patch of {self.inp_size} at "
                f"scale {scale:.2f} needs {side}×{side}; leave such images out (min_side) or lower inp_size or scale_max"
            )
        top, left = (_below(length - side + 1, generator) for length in image.shape[1:])
        high = image[:, top : top + side, left : left + side]
        low = pillow_bicubic(high, (self.inp_size, self.inp_size))
        low, high = augmented((low, high), self.augment, generator)
        return sample(low, high, self.sample_q, generator)

    def batch(self, draws: Sequence[int]) -> Batch:
        """The samples of several draws, stacked."""
        return Batch(*(torch.stack(parts) for parts in zip(*(self[draw] for draw in draws))))


class SRPaired(Dataset[Batch]):
    """Draw number i → a patch of a random pair of low- and high-resolution images.

    Args:
        pairs: images at one scale.
        inp_size: side of the low-resolution patch; None: whole images.
        sample_q: queries per sample, drawn without replacement; None: all pixels.
        augment: as for `SRDownsampled`.
        seed: of the draws.

    Raises:
        ValueError: as `SRDownsampled`.
    """

    def __init__(
        self,
        pairs: PairedImageFolders,
        inp_size: int | None = 48,
        sample_q: int | None = 2304,
        augment: Sequence[Augmentation] = ("hflip", "vflip", "transpose"),
        *,
        seed: int = 0,
    ):
        if inp_size is not None and inp_size < 1:
            raise ValueError(f"inp_size must be at least 1, or None, got {inp_size}")
        self.pairs, self.inp_size, self.sample_q, self.seed = pairs, inp_size, sample_q, seed
        self.augment = require_augmentations(augment)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: int) -> Batch:
        generator = generator_of(self.seed, draw)
        index = _below(len(self.pairs), generator)
        low, high = self.pairs[index]
        scale, side = self.pairs.scale, self.inp_size
        if side is not None:
            if min(low.shape[1:]) < side:
                name = self.pairs.pairs[index].degraded
                raise ValueError(f"{name} has {low.shape[1]}×{low.shape[2]} pixels, inp_size is {side}")
            top, left = (_below(length - side + 1, generator) for length in low.shape[1:])
            low = low[:, top : top + side, left : left + side]
            high = high[:, scale * top : scale * (top + side), scale * left : scale * (left + side)]
        if self.sample_q is not None and self.sample_q > high[0].numel():
            raise ValueError(f"sample_q is {self.sample_q}, the patch has {high[0].numel()} pixels")
        low, high = augmented((low, high), self.augment, generator)
        return sample(low, high, self.sample_q, generator)


class NoGT(Dataset[tuple[Tensor, tuple[int, int]]]):
    """Low-resolution images without a high-resolution one: the image in [0, 1] and the size to bring it to.

    Args:
        images: low-resolution images.
        scale: any number of at least 1.

    Example:
        >>> images = NoGT(ImageFolder([torch.zeros(3, 20, 30, dtype=torch.uint8)]), scale=2.5)
        >>> tuple(images[0][0].shape), images[0][1]
        ((3, 20, 30), (50, 75))
    """

    def __init__(self, images: ImageFolder, scale: float):
        if not (math.isfinite(scale) and scale >= 1):
            raise ValueError(f"scale must be a finite number of at least 1, got {scale}")
        self.images, self.scale = images, scale

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], tuple[int, int]]:
        image = self.images[index]
        return as_float(image), (round(image.shape[1] * self.scale), round(image.shape[2] * self.scale))


class DrawSampler(Sampler[int]):
    """Draw numbers of one epoch: epoch · length + 0 … length − 1, never the same twice.

    Args:
        length: draws per epoch.
        epoch: says which epoch it is when an iteration starts (the trainer's counter, so that resuming goes on).

    >>> list(DrawSampler(3, lambda: 2))
    [6, 7, 8]
    """

    def __init__(self, length: int, epoch: Callable[[], int]):
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length, self.epoch = length, epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        start = self.epoch() * self.length
        return iter(range(start, start + self.length))


def sample(
    low: UInt8[Tensor, "3 h w"],
    high: UInt8[Tensor, "3 H W"],
    sample_q: int | None,
    generator: torch.Generator,
) -> Batch:
    """Coordinates and colours of `sample_q` pixels of `high`, or of all of them."""
    size = (high.shape[1], high.shape[2])
    colours = high.flatten(1).T
    if sample_q is None:
        coord = make_coord(size)
    else:
        index = torch.randperm(len(colours), generator=generator)[:sample_q]
        coord, colours = coord_of_pixels(index, size), colours[index]
    return Batch(as_float(low), coord, make_cell(size).unsqueeze(0), as_float(colours))


def augmented(
    images: tuple[Tensor, Tensor], augment: Sequence[Augmentation], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same random symmetry on both images."""
    low, high = images
    for name in augment:
        if name == "rot90":
            turns = _below(4, generator)
            low, high = (torch.rot90(image, turns, (-2, -1)) for image in (low, high))
        elif torch.rand((), generator=generator) < 0.5:
            low, high = (_FLIPS[name](image) for image in (low, high))
    return low, high


def require_augmentations(names: Sequence[Augmentation]) -> tuple[Augmentation, ...]:
    """Raise ValueError for an unknown one."""
    known = (*_FLIPS, "rot90")
    for name in names:
        if name not in known:
            raise ValueError(f"augment: {name!r} is unknown; known: {', '.join(known)}")
    return tuple(names)


def as_float(image: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """From 8 bit to [0, 1]."""
    return image.float() / 255


def generator_of(seed: int, draw: int) -> torch.Generator:
    # Neighbouring seeds give related Mersenne states; multipliers with many bits keep draws apart.
    mixed = (seed * 0x9E3779B97F4A7C15 + draw * 0xD1342543DE82EF95) % 2**63
    return torch.Generator().manual_seed(mixed)


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


_FLIPS: dict[str, Callable[[Tensor], Tensor]] = {
    "hflip": lambda image: image.flip(-1),
    "vflip": lambda image: image.flip(-2),
    "transpose": lambda image: image.mT,
}
