"""Low-resolution images by Pillow's bicubic resampling: 8-bit, antialiased, as in training and beyond ×4 (§5, §6.2b).

It differs from MATLAB's (`tenfold.imaging.imresize`, the distributed ×2, ×3, ×4 files) by one grey level in every fifth pixel.
"""

import math

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


def pillow_bicubic(image: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "3 new_h new_w"]:
    """Resize with `PIL.Image.resize(…, BICUBIC)`.

    Args:
        image: 8-bit RGB.
        size: new height and width, at least 1.

    Raises:
        TypeError: if the image is not uint8.
        ValueError: for other shapes, or a size below 1.

    >>> pillow_bicubic(torch.full((3, 8, 12), 7, dtype=torch.uint8), (2, 3)).unique().tolist()
    [7]
    """
    from PIL import Image

    if image.dtype != torch.uint8:
        raise TypeError(f"image must be uint8, got {image.dtype}")
    if image.ndim != 3 or len(image) != 3 or 0 in image.shape:
        raise ValueError(f"image must have shape (3, h, w), got {tuple(image.shape)}")
    if min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), got {tuple(size)}")
    array = image.permute(1, 2, 0).contiguous().numpy()
    small = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()


def pillow_pair(
    image: UInt8[Tensor, "3 H W"], scale: float
) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "3 cropped_h cropped_w"]]:
    """A low-resolution image and the part of `image` it shows: h = ⌊H/s⌋, cropped to round(h·s), likewise in width (§6.2).

    Raises:
        ValueError: if the scale is below 1 or not finite, or leaves no pixel.

    >>> low, high = pillow_pair(torch.zeros(3, 25, 20, dtype=torch.uint8), 3.5)
    >>> tuple(low.shape), tuple(high.shape)
    ((3, 7, 5), (3, 24, 18))
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise ValueError(f"scale must be a finite number of at least 1, got {scale}")
    low = [math.floor(side / scale + 1e-9) for side in image.shape[1:]]
    if min(low) < 1:
        raise ValueError(f"scale {scale:g} leaves no pixel of an image of {image.shape[1]}×{image.shape[2]}")
    high = image[:, : round(low[0] * scale), : round(low[1] * scale)]
    return pillow_bicubic(high, (low[0], low[1])), high
