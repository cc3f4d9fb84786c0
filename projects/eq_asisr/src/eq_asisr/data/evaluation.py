"""Evaluation sets: pairs of low- and high-resolution images at a scale, by the protocols of the literature (§6).

×2, ×3 and ×4: the distributed low-resolution files; where there are none they are made by MATLAB's `imresize`, which gives
the same bytes. Other scales: Pillow's bicubic, the image cropped as LIIF crops it.

Set5, Set14, B100 and Urban100 are compared under `benchmark` (luma, `scale` pixels cropped), DIV2K under `div2k`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from tenfold import restoration
from tenfold.data import DataNotFoundError
from tenfold.imaging import crop_to_multiple, imresize
from tenfold.metrics import Protocol
from tenfold.restoration import ImagePair, read_image, read_pair

from .resize import pillow_pair
from .samples import as_float
from .sources import TESTED, photographs

Name = Literal["Set5", "Set14", "B100", "Urban100", "DIV2K", "builtin"]
Lowres = Literal["matlab", "pillow"]
SETS: tuple[str, ...] = get_args(Name)


@dataclass(frozen=True)
class EvaluationPair:
    """A low-resolution image, the high-resolution one, both in [0, 1], and what they are called."""

    name: str
    lr: Float[Tensor, "3 h w"]
    hr: Float[Tensor, "3 H W"]


class EvaluationSet(Dataset[EvaluationPair]):
    """The images of a set at one scale.

    Args:
        name: "Set5", "Set14", "B100" (= BSD100 = BSDS500 val), "Urban100", "DIV2K" (801–900), or "builtin" (photographs of
            scikit-image).
        scale: at least 1; whole for "matlab".
        lowres: "matlab" (files or `imresize`) or "pillow"; None: "matlab" at 2, 3, 4 and "pillow" otherwise.
        root: the data folder; `tenfold.data.root()` if None.
        partial: accept fewer images than the set has.
        first: only so many images.

    Raises:
        DataNotFoundError: if the set is missing.
        ValueError: for an unknown set, a wrong number of images, a scale below 1, or one that `lowres` does not fit.

    Example:
        >>> pair = EvaluationSet("builtin", 3)[1]
        >>> pair.name, tuple(pair.lr.shape), tuple(pair.hr.shape)
        ('coffee', (3, 133, 200), (3, 399, 600))
    """

    def __init__(
        self,
        name: str,
        scale: float,
        *,
        lowres: Lowres | None = None,
        root: str | Path | None = None,
        partial: bool = False,
        first: int | None = None,
    ):
        name = "B100" if name == "BSD100" else name
        if name not in SETS:
            raise ValueError(f"name must be one of {', '.join(SETS)}, BSD100, got {name!r}")
        if not (math.isfinite(scale) and scale >= 1):
            raise ValueError(f"scale must be a finite number of at least 1, got {scale}")
        whole = float(scale).is_integer()
        if lowres is None:
            lowres = "matlab" if scale in (2, 3, 4) else "pillow"
        if lowres not in get_args(Lowres):
            raise ValueError(f"lowres must be 'matlab' or 'pillow', got {lowres!r}")
        if lowres == "matlab" and (not whole or scale < 2):
            raise ValueError(f"lowres='matlab' needs a whole scale of at least 2, got {scale:g}")
        if first is not None and first < 1:
            raise ValueError(f"first must be at least 1, got {first}")
        self.name, self.scale, self.lowres = name, (int(scale) if whole else scale), lowres
        self.protocol: Protocol = "div2k" if name == "DIV2K" else "benchmark"
        self.items = _items(name, self.scale if lowres == "matlab" else 1, root, partial)[:first]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> EvaluationPair:
        name, item = self.items[index]
        if self.lowres == "pillow":
            image = read_image(item.clean) if isinstance(item, ImagePair) else item
            low, high = pillow_pair(image, self.scale)
        elif isinstance(item, ImagePair):
            low, high = read_pair(item, int(self.scale))
        else:
            high = crop_to_multiple(item, int(self.scale))
            low = imresize(high, 1 / int(self.scale))
        return EvaluationPair(name, as_float(low), as_float(high))

    @property
    def files(self) -> list[Path]:
        """The high-resolution files."""
        return [item.clean for _, item in self.items if isinstance(item, ImagePair)]


def evaluation_sets(
    names: Sequence[str], scales: Sequence[float], root: str | Path | None = None, partial: bool = False
) -> dict[str, EvaluationSet]:
    """Every set at every scale, by names like "Set5_x2"."""
    return {
        f"{name}_x{scale:g}": EvaluationSet(name, scale, root=root, partial=partial)
        for name in names
        for scale in scales
    }


def _items(
    name: str, scale: float, root: str | Path | None, partial: bool
) -> list[tuple[str, ImagePair | Tensor]]:
    """Names with pairs, or with tensors where there are no files."""
    if name == "builtin":
        return [(key, image) for key, image in photographs(TESTED).items()]
    if name == "DIV2K":
        pairs = restoration.div2k(801, 900, int(scale), root)
    else:
        try:
            pairs = restoration.benchmark(name, int(scale), root, partial=partial)
        except DataNotFoundError:
            if scale == 1:
                raise
            # a portion without files of this scale: the low-resolution images are made from the clean ones
            clean = restoration.benchmark(name, 1, root, partial=partial)
            pairs = tuple(ImagePair(pair.name, pair.clean) for pair in clean)
    return [(pair.name, pair) for pair in pairs]
