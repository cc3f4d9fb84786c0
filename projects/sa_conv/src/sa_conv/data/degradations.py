"""What is done to a clean image: white noise, rain, shrinking (`imresize`, from `tenfold.imaging`).

Every function is a pure function of the image and a seed.
"""

import math

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from sa_conv.synthetic import rain_layer
from tenfold.imaging import imresize

__all__ = ["add_noise", "add_rain", "as_it_is", "fresh_noise", "imresize", "noisy", "rainy"]

LARGEST_RAIN_ANGLE = math.pi / 4


def add_noise(
    img: Shaped[Tensor, "c h w"], sigma: float, seed: int | torch.Generator = 0, *, quantize: bool = True
) -> Shaped[Tensor, "c h w"]:
    """Additive white Gaussian noise, the same σ on every channel (sa_conv §5).

    Args:
        img: 8-bit, or floating point in 0…255.
        sigma: standard deviation in units of an 8-bit image; the paper's experiment fits σ = 50.
        seed: a whole number, or a generator that is advanced.
        quantize: round to whole numbers and clip to 0…255, as the paper's noisy PNG files are. Grey-level benchmarks
            of the literature (DnCNN's BSD68) keep the noise unclipped.

    Returns:
        uint8 for uint8 images (which need `quantize`), else the dtype of the image.

    Raises:
        ValueError: if σ is negative or not finite, the image is not (c, h, w), or uint8 is to stay unrounded.

    Example:
        >>> flat = torch.full((3, 64, 64), 128, dtype=torch.uint8)
        >>> noisy = add_noise(flat, sigma=10, seed=0)
        >>> noisy.dtype, round(noisy.float().std().item())
        (torch.uint8, 10)
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be at least 0 and finite, got {sigma}")
    if img.ndim != 3:
        raise ValueError(f"img must have shape (c, h, w), got {tuple(img.shape)}")
    if img.dtype == torch.uint8 and not quantize:
        raise ValueError("quantize=False needs a floating-point image; convert the uint8 image with .float()")
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    noisy = img.float() + sigma * torch.randn(img.shape, generator=generator)
    if quantize:
        noisy = noisy.round().clamp(0, 255)
    return noisy.to(img.dtype)


def add_rain(
    img: UInt8[Tensor, "3 h w"],
    seed: int,
    *,
    angle: float | None = None,
    density: float = 0.008,
    intensity: float = 120.0,
) -> UInt8[Tensor, "3 h w"]:
    """The image with one layer of parallel streaks added: O = clip(B + rain).

    Args:
        img: clean 8-bit image.
        seed: of the direction and the streaks.
        angle: from the vertical in radians; None draws it from U(−45°, 45°): a symmetry broken per image.
        density, intensity: as in `rain_layer`.

    Raises:
        ValueError: if the image is not 8-bit RGB.

    Example:
        >>> rainy = add_rain(torch.zeros(3, 32, 32, dtype=torch.uint8), seed=1)
        >>> rainy.shape, bool(rainy.max() > 0)
        (torch.Size([3, 32, 32]), True)
    """
    if img.ndim != 3 or len(img) != 3 or img.dtype != torch.uint8:
        raise ValueError(f"img must be a uint8 tensor of shape (3, h, w), got {img.dtype} {tuple(img.shape)}")
    if angle is None:
        draw = torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).item()
        angle = LARGEST_RAIN_ANGLE * (2 * draw - 1)
    rain = rain_layer(
        img.shape[1], img.shape[2], angle=angle, density=density, intensity=intensity, seed=seed + 1_000_003
    )
    return (img.float() + rain).round().clamp(0, 255).to(torch.uint8)


def as_it_is(image: Tensor, index: int) -> Tensor:
    """For training patches that are degraded when they are drawn."""
    return image


def noisy(image: Tensor, index: int, sigma: float, first_seed: int) -> Tensor:
    """`add_noise` with a realisation of its own for every image of a set."""
    if len(image) == 3 and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2]):
        # a grey file read as RGB gets grey noise: three independent draws would make the task easier than it is
        return add_noise(image[:1], sigma, first_seed + index).expand(3, -1, -1)
    return add_noise(image, sigma, first_seed + index)


def fresh_noise(patch: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
    """`add_noise` with the generator of a draw."""
    return add_noise(patch, sigma, generator)


def rainy(image: Tensor, index: int, density: float, intensity: float, first_seed: int) -> Tensor:
    """`add_rain` with a direction and streaks of its own for every image of a set."""
    return add_rain(image, first_seed + index, density=density, intensity=intensity)
