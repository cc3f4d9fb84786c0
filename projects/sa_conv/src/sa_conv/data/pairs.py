"""Degraded/clean image pairs, and random patches of them.

A patch is a pure function of (seed, draw number): the same whatever the number of workers or devices, and the same
after a run was killed and resumed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tenfold.imaging import crop_to_multiple, imresize
from tenfold.restoration import ImagePair, read_image, read_pair

Degrade = Callable[[UInt8[Tensor, "c h w"], int], UInt8[Tensor, "c h w"]]
PatchDegrade = Callable[[UInt8[Tensor, "c h w"], torch.Generator], UInt8[Tensor, "c h w"]]
Augmentation = Literal["hflip", "vflip", "transpose"]


class PairedImages(Dataset[tuple[Tensor, Tensor]]):
    """Degraded and clean images in 0…255, float32; the clean ones `scale` times as large.

    Args:
        items: pairs of files, or clean images as uint8 tensors (c, h, w).
        degrade: makes the degraded image from the clean one and its index. None: the degraded file of the pair, or at
            scale > 1 the image shrunk by `imresize`.
        scale: of super-resolution, 1 for the other tasks.
        channels: 3, or 1 for grey.
        cache: keep decoded images in memory.

    Raises:
        ValueError: if there are no items.

    Example:
        >>> pairs = PairedImages([torch.zeros(3, 12, 16, dtype=torch.uint8)], scale=2)
        >>> [tuple(image.shape) for image in pairs[0]]
        [(3, 6, 8), (3, 12, 16)]
    """

    def __init__(
        self,
        items: Sequence[ImagePair | UInt8[Tensor, "c h w"]],
        degrade: Degrade | None = None,
        *,
        scale: int = 1,
        channels: Literal[1, 3] = 3,
        cache: bool = True,
    ):
        if not items:
            raise ValueError("items is empty: there is nothing to train or test on")
        if scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        self.items = list(items)
        self.degrade = degrade
        self.scale = scale
        self.channels: Literal[1, 3] = channels
        self._cache: dict[int, tuple[Tensor, Tensor]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.items)

    def bytes_at(self, index: int) -> tuple[UInt8[Tensor, "c h w"], UInt8[Tensor, "c sh sw"]]:
        """The pair as stored, 8-bit."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        pair = self._read(index)
        if self._cache is not None:
            self._cache[index] = pair
        return pair

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c sh sw"]]:
        degraded, clean = self.bytes_at(index)
        return degraded.float(), clean.float()

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        item = self.items[index]
        if self.degrade is None and isinstance(item, ImagePair):
            return read_pair(item, self.scale, self.channels)
        clean = read_image(item.clean, self.channels) if isinstance(item, ImagePair) else item
        if len(clean) != self.channels:
            raise ValueError(
                f"items[{index}] has {len(clean)} channels, channels={self.channels} was asked for"
            )
        clean = crop_to_multiple(clean, self.scale)
        if self.degrade is not None:
            return self.degrade(clean, index), clean
        return (imresize(clean, 1 / self.scale) if self.scale > 1 else clean), clean


class RandomPatches(Dataset[tuple[Tensor, Tensor]]):
    """Draw number i → one random patch of one random image, degraded and clean, float32 in 0…255.

    Args:
        pairs: where patches are cut from.
        patch_size: side of the clean patch in pixels, a multiple of the scale.
        augment: each of "hflip", "vflip", "transpose" is applied with probability ½.
        degrade: applied to the 8-bit degraded patch, with the generator of the draw: fresh noise.
        seed: of the draws.

    Raises:
        ValueError: if the patch size is no multiple of the scale, or an augmentation is unknown;
            on access, if an image is smaller than the patch.

    Example:
        >>> pairs = PairedImages([torch.arange(768).view(3, 16, 16).to(torch.uint8)], scale=2)
        >>> patches = RandomPatches(pairs, patch_size=8, augment=("hflip",), seed=0)
        >>> [tuple(patch.shape) for patch in patches[123]]
        [(3, 4, 4), (3, 8, 8)]
    """

    def __init__(
        self,
        pairs: PairedImages,
        patch_size: int,
        *,
        augment: Sequence[Augmentation] = (),
        degrade: PatchDegrade | None = None,
        seed: int = 0,
    ):
        if patch_size < 1 or patch_size % pairs.scale:
            raise ValueError(
                f"patch_size must be a positive multiple of scale={pairs.scale}, got {patch_size}"
            )
        unknown = [name for name in augment if name not in ("hflip", "vflip", "transpose")]
        if unknown:
            raise ValueError(f"augment: {unknown[0]!r} is unknown; known: hflip, vflip, transpose")
        self.pairs = pairs
        self.patch_size = patch_size
        self.augment = tuple(augment)
        self.degrade = degrade
        self.seed = seed

    def __getitem__(self, draw: int) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c sh sw"]]:
        # Neighbouring seeds give related Mersenne states; a multiplier with many bits keeps draws apart.
        generator = torch.Generator().manual_seed(
            (self.seed * 0x9E3779B97F4A7C15 + draw * 0xD1342543DE82EF95) % 2**63
        )
        index = int(torch.randint(len(self.pairs), (), generator=generator))
        degraded, clean = self.pairs.bytes_at(index)
        degraded, clean = self._crop(degraded, clean, generator)
        for name in self.augment:
            if torch.rand((), generator=generator) < 0.5:
                degraded, clean = (_AUGMENTATIONS[name](image) for image in (degraded, clean))
        if self.degrade is not None:
            degraded = self.degrade(degraded, generator)
        return degraded.float(), clean.float()

    def batch(self, draws: Sequence[int]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c sh sw"]]:
        """The patches of several draws, stacked."""
        degraded, clean = zip(*(self[draw] for draw in draws))
        return torch.stack(degraded), torch.stack(clean)

    def _crop(self, degraded: Tensor, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        scale = self.pairs.scale
        side = self.patch_size // scale
        height, width = degraded.shape[1:]
        if min(height, width) < side:
            raise ValueError(
                f"patch_size is {self.patch_size}, but an image has only {scale * height}×{scale * width} pixels"
            )
        top = int(torch.randint(height - side + 1, (), generator=generator))
        left = int(torch.randint(width - side + 1, (), generator=generator))
        low = degraded[:, top : top + side, left : left + side]
        top, left, side = scale * top, scale * left, self.patch_size
        return low, clean[:, top : top + side, left : left + side]


_AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hflip": lambda image: image.flip(-1),
    "vflip": lambda image: image.flip(-2),
    "transpose": lambda image: image.mT,
}


class PatchSampler(Sampler[int]):
    """Draw numbers of one epoch: epoch · length + 0 … length − 1, never the same twice.

    Args:
        length: draws per epoch.
        epoch: says which epoch it is when an iteration starts (the trainer's counter, so that resuming goes on).
    """

    def __init__(self, length: int, epoch: Callable[[], int]):
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length = length
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        start = self.epoch() * self.length
        return iter(range(start, start + self.length))
