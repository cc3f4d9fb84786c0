"""Where training images come from, by name: bsds500, t91, div2k, builtin, or a folder of one's own."""

from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor

from tenfold import restoration
from tenfold.data import root as data_root

from .folders import ImageFolder

Source = Literal["bsds500", "t91", "div2k", "builtin", "folder"]
TRAINED = ("retina", "hubble_deep_field", "rocket", "immunohistochemistry")
TESTED = ("astronaut", "coffee", "chelsea")
PHOTOGRAPHS = TRAINED + TESTED
"""Colour photographs that scikit-image ships; source "builtin" trains on the former, the set "builtin" tests on the latter."""


def photographs(names: tuple[str, ...] = PHOTOGRAPHS) -> dict[str, UInt8[Tensor, "3 h w"]]:
    """Photographs that scikit-image ships.

    Raises:
        ValueError: for a name that is not among them.

    >>> {name: tuple(image.shape) for name, image in photographs(("chelsea",)).items()}
    {'chelsea': (3, 300, 451)}
    """
    import skimage.data

    images = {}
    for name in names:
        if name not in PHOTOGRAPHS:
            raise ValueError(f"names: {name!r} is not a photograph; known: {', '.join(PHOTOGRAPHS)}")
        array = torch.from_numpy(getattr(skimage.data, name)().copy())
        images[name] = array.permute(2, 0, 1).contiguous()
    return images


def training_images(
    source: str,
    n_val: int,
    *,
    root: str | Path | None = None,
    folder: str | Path | None = None,
    min_side: int = 1,
    cache: bool = True,
) -> tuple[ImageFolder, ImageFolder]:
    """Images to train on, and the ones held out to watch the training.

    Args:
        source: "bsds500" (train and test, 399 photographs; val is BSD100), "t91", "div2k" (800; validated on the first of
            the 100 others), "builtin" (four of scikit-image, no download), or "folder".
        n_val: how many are held out, the last ones.
        root: the data folder; `tenfold.data.root()` if None.
        folder: where the images lie, with source "folder".
        min_side: leave out images with a shorter side.
        cache: keep decoded images in memory.

    Raises:
        DataNotFoundError: if a data set is missing; nothing else is taken in its place.
        ValueError: for an unknown source, a folder without source "folder", or if nothing is left to train on.

    >>> train, val = training_images("builtin", n_val=2)
    >>> len(train), len(val)
    (2, 2)
    """
    if source not in get_args(Source):
        raise ValueError(f"source must be one of {', '.join(get_args(Source))}, got {source!r}")
    if (source == "folder") != (folder is not None):
        raise ValueError(f"folder belongs to source='folder', got source={source!r} and folder={folder}")
    if n_val < 1:
        raise ValueError(f"n_val must be at least 1, got {n_val}")
    if source == "div2k":
        parts = (
            restoration.div2k(1, 800, root=data_root() if root is None else root),
            restoration.div2k(801, 800 + n_val, root=data_root() if root is None else root),
        )
        train, val = (
            ImageFolder([pair.clean for pair in part], min_side=min_side, cache=cache) for part in parts
        )
        return train, val
    images: list[Path | Tensor]
    if source == "bsds500":
        images = list(restoration.bsds500(root=root))
    elif source == "t91":
        images = list(restoration.t91(root))
    elif source == "builtin":
        images = list(photographs(TRAINED).values())
    else:
        assert folder is not None
        images = list(ImageFolder(folder).files)
    kept = ImageFolder(images, min_side=min_side, cache=cache).items
    if n_val >= len(kept):
        raise ValueError(f"n_val is {n_val}, but source {source!r} has only {len(kept)} images")
    return ImageFolder(kept[:-n_val], cache=cache), ImageFolder(kept[-n_val:], cache=cache)
