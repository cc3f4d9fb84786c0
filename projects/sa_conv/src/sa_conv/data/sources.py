"""Clean images by the name of their source, with the last ones held out for model selection."""

from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from sa_conv.synthetic import BUILTIN_COLOUR, builtin_images
from tenfold import restoration
from tenfold.restoration import ImagePair

Source = Literal["bsds500", "div2k", "t91", "builtin"]
Item = ImagePair | Tensor
Channels = Literal[1, 3]


def clean_source(
    source: str, n_val: int, scale: int = 1, root: str | Path | None = None, channels: Channels = 3
) -> tuple[list[Item], list[Item]]:
    """Training and validation items of a source of clean images.

    Raises:
        ValueError: for an unknown source, or if nothing is left to train on.
    """
    if source == "div2k":
        return list(restoration.div2k(1, 800, scale, root)), list(
            restoration.div2k(801, 800 + n_val, scale, root)
        )
    items: list[Item]
    if source == "bsds500":
        items = [ImagePair(file.stem, file) for file in restoration.bsds500(root=root)]
    elif source == "t91":
        items = [ImagePair(file.stem, file) for file in restoration.t91(root)]
    elif source == "builtin":
        if channels != 3:
            raise ValueError(f"source 'builtin' holds colour images; channels must be 3, got {channels}")
        items = list(builtin_images(BUILTIN_COLOUR).values())
    else:
        raise ValueError(f"source must be one of {', '.join(get_args(Source))}, got {source!r}")
    return hold_out(items, n_val, source)


def hold_out(items: list[Item], n_val: int, source: str) -> tuple[list[Item], list[Item]]:
    if n_val >= len(items):
        raise ValueError(f"n_val is {n_val}, but source {source!r} has only {len(items)} images")
    return items[:-n_val], items[-n_val:]
