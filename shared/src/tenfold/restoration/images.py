"""Reading images and degraded/clean pairs as 8-bit tensors; what would be misread is refused."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tenfold.imaging import crop_to_multiple, imresize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImagePair:
    """A clean image and its degraded version; `degraded` is None where it is to be made from the clean one."""

    name: str
    clean: Path
    degraded: Path | None = None


def read_image(path: str | Path, channels: Literal[1, 3] = 3) -> UInt8[Tensor, "channels h w"]:
    """An 8-bit grey or RGB image; grey is replicated to three channels, RGB is reduced to its luminance.

    Args:
        path: PNG, JPEG, BMP, … without transparency.
        channels: 3 for RGB, 1 for grey (0.299 R + 0.587 G + 0.114 B, rounded).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, is damaged, has an alpha channel or a palette, or has more than 8 bits.
    """
    from PIL import Image, UnidentifiedImageError

    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    path = Path(path)
    try:
        with Image.open(path) as image:
            _require_plain(image.mode, path)
            array = np.array(image.convert("RGB" if channels == 3 else "L"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image") from error
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    tensor = torch.from_numpy(array)
    return tensor[None] if channels == 1 else tensor.permute(2, 0, 1).contiguous()


def read_pair(
    pair: ImagePair, scale: int = 1, channels: Literal[1, 3] = 3
) -> tuple[UInt8[Tensor, "channels h w"], UInt8[Tensor, "channels scaled_h scaled_w"]]:
    """The degraded and the clean image of a pair, the clean one `scale` times as large.

    A clean image whose size is no multiple of the scale is cropped at the bottom and the right (logged). A missing
    low-resolution image is made by the MATLAB-compatible `imresize`, bit-identical to the distributed files.

    Raises:
        ValueError: if the sizes do not belong together, or there is no degraded image at scale 1.
    """
    clean = read_image(pair.clean, channels)
    height, width = clean.shape[1:]
    if height % scale or width % scale:
        logger.info("%s (%d×%d) is cropped to a multiple of %d", pair.clean, height, width, scale)
    clean = crop_to_multiple(clean, scale)
    if pair.degraded is None:
        if scale == 1:
            raise ValueError(f"pair {pair.name!r} has no degraded image, and none can be made at scale 1")
        return imresize(clean, 1 / scale), clean
    degraded = read_image(pair.degraded, channels)
    if clean.shape[1:] != (scale * degraded.shape[1], scale * degraded.shape[2]):
        raise ValueError(
            f"{pair.degraded} has {degraded.shape[1]}×{degraded.shape[2]} pixels, {pair.clean} has {height}×{width}; "
            f"at scale {scale} the clean image must be {scale} times as large"
        )
    return degraded, clean


def _require_plain(mode: str, path: Path) -> None:
    mend = {
        "RGBA": "has an alpha channel; flatten it first (image.convert('RGB'))",
        "LA": "has an alpha channel; flatten it first (image.convert('L'))",
        "P": "has a palette; convert it to RGB first (image.convert('RGB'))",
        "1": "has 1 bit per pixel; convert it to 8 bit first",
    }
    if mode in ("L", "RGB"):
        return
    sixteen = mode.startswith(("I", "F"))
    reason = "has more than 8 bits per channel; 8-bit images are read" if sixteen else mend.get(mode)
    raise ValueError(f"{path} {reason or f'has the colour mode {mode}; 8-bit grey and RGB images are read'}")
