"""Images as the super-resolution literature makes them: MATLAB's bicubic `imresize`, BT.601 luma, crops.

`imresize` reproduces the distributed ×2, ×3 and ×4 low-resolution files of Set5, Set14 and BSD100 bit for bit:
Keys' cubic kernel with a = −1/2, stretched by 1/scale when shrinking (antialiasing), weights normalised per output
pixel, rows before columns at equal scales, 8-bit images rounded and clipped after each of the two passes
(eq_asisr §6.2). Pillow, OpenCV and torch resize differently; mixing them costs up to a decibel.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Border = Literal["replicate", "symmetric"]
Interpolation = Literal["bicubic", "fourier"]


def keys_cubic(distance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Keys' interpolating cubic with a = −1/2, zero beyond a distance of 2 (sa_conv §3.1).

    >>> keys_cubic(torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]))
    tensor([ 1.0000,  0.5625,  0.0000, -0.0625,  0.0000])
    """
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


def imresize(
    image: Shaped[Tensor, "*batch h w"],
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    border: Border = "replicate",
    antialias: bool = True,
    round_passes: bool | None = None,
) -> Shaped[Tensor, "*batch new_h new_w"]:
    """Resize by bicubic interpolation, as MATLAB does.

    Args:
        image: uint8, or floating point in any range; the last two axes are resized.
        scale: factor for both axes; the new size is ceil(scale · old size).
        size: the new size instead of, or together with, `scale` (then `scale` places the sampling grid).
        border: "replicate" (older MATLAB; the distributed files) or "symmetric" (mirror; newer MATLAB).
        antialias: stretch the kernel when shrinking.
        round_passes: round to whole numbers and clip to 0…255 after each pass. None means: uint8 images are rounded,
            floating-point images are not.

    Returns:
        The resized image in the dtype of `image`.

    Raises:
        ValueError: if neither `scale` nor `size` is given, or one is not positive and finite, or `border` is unknown,
            or uint8 is to stay unrounded.
        TypeError: for dtypes other than uint8 and floating point.

    Example:
        >>> image = torch.arange(16.0).view(4, 4).square()
        >>> imresize(image, 0.5)
        tensor([[ 10.0616,  24.0946],
                [112.3368, 157.1320]])
    """
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"image must be uint8 or floating point, got {image.dtype}")
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ValueError(f"image must have a non-empty height and width, got shape {tuple(image.shape)}")
    if border not in get_args(Border):
        raise ValueError(f"border must be 'replicate' or 'symmetric', got {border!r}")
    rounded = image.dtype == torch.uint8 if round_passes is None else round_passes
    if image.dtype == torch.uint8 and not rounded:
        raise ValueError(
            "round_passes=False needs a floating-point image; convert the uint8 image with .double()"
        )
    new_size, scales = _resolve_size(image.shape[-2], image.shape[-1], scale, size)

    result = image.double()
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):  # smallest scale first, rows first on ties
        weights, indices = resize_weights(
            result.shape[axis - 2], new_size[axis], scales[axis], border, antialias
        )
        taps = result.movedim(axis - 2, -1)[..., indices.to(image.device)]  # … other new taps
        result = (taps * weights.to(image.device)).sum(-1).movedim(-1, axis - 2)
        if rounded:
            result = (result + 0.5).floor().clamp(0, 255)
    return result.to(image.dtype)


def resize_weights(
    length: int, new_length: int, scale: float, border: Border = "replicate", antialias: bool = True
) -> tuple[Float[Tensor, "new taps"], Int[Tensor, "new taps"]]:
    """Weights and source indices of one pass of `imresize`: output = Σ_tap weights · input[indices].

    P = ceil(4 / min(scale, 1)) + 2 taps start at floor(u − width/2), u = x/scale + (1 − 1/scale)/2 with 1-based x.
    """
    stretch = min(scale, 1.0) if antialias else 1.0
    width = 4 / stretch
    x = torch.arange(1, new_length + 1, dtype=torch.float64)
    u = x / scale + 0.5 * (1 - 1 / scale)
    taps = torch.arange(math.ceil(width) + 2)
    position = (u - width / 2).floor()[:, None] + taps  # 1-based
    weights = stretch * keys_cubic(stretch * (u[:, None] - position))
    weights = weights / weights.sum(1, keepdim=True)
    indices = position.long() - 1
    if border == "replicate":
        return weights, indices.clamp(0, length - 1)
    mirrored = indices.remainder(2 * length)
    return weights, torch.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)


def resample(
    image: Float[Tensor, "*batch h w"], inverse: Float[Tensor, "2 2"], interpolation: Interpolation
) -> Float[Tensor, "*batch h w"]:
    """Transform an image linearly about its centre: result(x) = image(inverse · x), zero outside the image.

    Args:
        image: floating point, any range.
        inverse: maps the coordinates (X, Y) of the result, X to the right and Y down, to those of the image.
        interpolation: "bicubic" (Keys, a = −1/2, third order) or "fourier" (the trigonometric interpolant, exact where
            the image is periodic and band-limited; rings at edges).

    Raises:
        ValueError: for unknown interpolations or matrices of another shape.
        TypeError: if the image is not floating point.

    Example:
        >>> image = torch.rand(5, 5, dtype=torch.float64)
        >>> half_turn = -torch.eye(2, dtype=torch.float64)
        >>> torch.allclose(resample(image, half_turn, "bicubic"), image.flip(0, 1))
        True
    """
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be 'bicubic' or 'fourier', got {interpolation!r}")
    if not image.is_floating_point():
        raise TypeError(f"image must be floating point to be interpolated, got {image.dtype}")
    if inverse.shape != (2, 2):
        raise ValueError(f"inverse must be a 2×2 matrix, got shape {tuple(inverse.shape)}")
    height, width = image.shape[-2:]
    device, f64 = image.device, torch.float64
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=f64) - (height - 1) / 2,
        torch.arange(width, device=device, dtype=f64) - (width - 1) / 2,
        indexing="ij",
    )
    source = inverse.to(device, f64) @ torch.stack([x.flatten(), y.flatten()])
    columns, rows = source[0] + (width - 1) / 2, source[1] + (height - 1) / 2
    cardinal = _keys_weights if interpolation == "bicubic" else _dirichlet_weights
    row_weights = cardinal(rows, height).to(image.dtype)  # p i
    column_weights = cardinal(columns, width).to(image.dtype)  # p j
    planes = image.reshape(-1, height, width)
    chunk = max(1, 2**22 // max(1, planes.shape[0] * width))  # bounds the memory of (planes, p, j)
    parts = [
        torch.einsum("pi,bij,pj->bp", wi, planes, wj)
        for wi, wj in zip(row_weights.split(chunk), column_weights.split(chunk))
    ]
    return torch.cat(parts, 1).reshape(image.shape)


def _keys_weights(position: Float[Tensor, " p"], length: int) -> Float[Tensor, "p length"]:
    """Weight of sample i at each position; samples beyond the ends count as zero."""
    return keys_cubic(position[:, None] - torch.arange(length, device=position.device))


def _dirichlet_weights(position: Float[Tensor, " p"], length: int) -> Float[Tensor, "p length"]:
    """Periodic sinc: the trigonometric interpolant of a unit sample; zero at positions outside the image."""
    distance = position[:, None] - torch.arange(length, device=position.device)
    angle = math.pi * distance / length
    denominator = angle.sin() if length % 2 else angle.tan()
    at_sample = angle.sin().abs() < 1e-12
    kernel = (math.pi * distance).sin() / (length * torch.where(at_sample, 1.0, denominator))
    kernel = torch.where(at_sample, 1.0, kernel)
    inside = (position > -0.5) & (position < length - 0.5)
    return kernel * inside[:, None]


def luma(image: Float[Tensor, "*batch 3 h w"], *, peak: float = 1.0) -> Float[Tensor, "*batch 1 h w"]:
    """BT.601 luma Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255 for 8-bit RGB, in the range of the input.

    Args:
        image: RGB in [0, peak].
        peak: 1.0 or 255.0.

    Raises:
        ValueError: if the third axis from the end does not hold three channels.
        TypeError: if the image is not floating point.

    >>> luma(torch.full((3, 1, 1), 255.0), peak=255.0).item()
    235.0
    """
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"image must have shape (…, 3, h, w), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise TypeError(f"image must be floating point, got {image.dtype}; divide 8-bit images by 255")
    red, green, blue = image.unbind(-3)
    y = (65.481 * red + 128.553 * green + 24.966 * blue + 16 * peak) / 255
    return y.unsqueeze(-3)


def crop_border(image: Shaped[Tensor, "*batch h w"], border: int) -> Shaped[Tensor, "*batch new_h new_w"]:
    """Cut `border` pixels off each of the four sides.

    Raises:
        ValueError: if the border is negative or leaves nothing of the image.

    >>> crop_border(torch.zeros(3, 10, 12), 2).shape
    torch.Size([3, 6, 8])
    """
    height, width = image.shape[-2:]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(
            f"border must be at least 0 and less than half the image ({height}×{width}), got {border}"
        )
    return image[..., border : height - border, border : width - border]


def crop_to_multiple(
    image: Shaped[Tensor, "*batch h w"], multiple: int
) -> Shaped[Tensor, "*batch new_h new_w"]:
    """Cut rows off the bottom and columns off the right until both sizes are divisible by `multiple`.

    Raises:
        ValueError: if `multiple` is less than 1 or larger than the image.

    >>> crop_to_multiple(torch.zeros(3, 10, 13), 4).shape
    torch.Size([3, 8, 12])
    """
    height, width = image.shape[-2:]
    if not 1 <= multiple <= min(height, width):
        raise ValueError(f"multiple must lie between 1 and the image size ({height}×{width}), got {multiple}")
    return image[..., : height - height % multiple, : width - width % multiple]


def _resolve_size(
    height: int, width: int, scale: float | None, size: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """New size and the scale of each axis."""
    if scale is None and size is None:
        raise ValueError("give scale, size, or both")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), got {size}")
    if size is None:
        assert scale is not None
        # 1e-9: 1/3 of 9 pixels is 3, though 9 * (1/3) may exceed it by rounding
        size = (math.ceil(height * scale - 1e-9), math.ceil(width * scale - 1e-9))
    scales = (size[0] / height, size[1] / width) if scale is None else (scale, scale)
    return size, scales
