"""Images with a symmetry knob: exactly rotation symmetric, symmetric up to one linear map, or up to one per image.

The knob is `mode` (sa_conv §6):

- "iso": the distribution is invariant to rotations, G = SO(2).
- "dataset": every image is stretched along the same axis, so the set is symmetric to one conjugated group D G D⁻¹.
- "sample": every image has its own axis; each one is symmetric to its own conjugated group.

Everything is drawn from the given seed, in float64 on the CPU, and does not depend on the number of cores.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

Mode = Literal["iso", "dataset", "sample"]


class AnisotropicTextures(Dataset[Tensor]):
    """Stationary Gaussian fields of unit variance whose correlation is an ellipse.

    White noise on a periodic grid of twice the size is filtered to the power spectrum
    (1 + 4(8ρu)² + 4(8v/ρ)²)^(−3/2), (u, v) in cycles per pixel along axes turned by the angle a, then cropped.

    Args:
        n: number of images.
        size: side in pixels.
        ratio: ρ ≥ 1; the correlation lengths along the two axes differ by ρ². Ignored by mode "iso", where ρ = 1.
        mode: "iso"; "dataset": the axis is `angle` in every image; "sample": the axis is uniform in [0, π) per image.
        angle: the axis of mode "dataset" in radians, from the x-axis towards the (downward) y-axis.
        seed: of the noise and the axes.

    Attributes:
        images: (n, 1, size, size), float32.
        angles: the axis of each image in radians, (n,), float32.

    Example:
        >>> textures = AnisotropicTextures(4, size=32, ratio=2.5, mode="sample", seed=0)
        >>> textures[0].shape, textures.angles.shape
        (torch.Size([1, 32, 32]), torch.Size([4]))
    """

    def __init__(
        self,
        n: int,
        size: int = 32,
        ratio: float = 2.5,
        mode: Mode = "sample",
        *,
        angle: float = 0.4,
        seed: int = 0,
    ):
        _require_positive(n=n, size=size)
        if not (math.isfinite(ratio) and ratio >= 1):
            raise ValueError(f"ratio must be finite and at least 1, got {ratio}")
        generator = torch.Generator().manual_seed(seed)
        self.angles = _axis_angles(n, mode, angle, generator).float()
        self.ratio = 1.0 if mode == "iso" else float(ratio)
        spectrum = texture_spectrum(2 * size, self.ratio, self.angles.double())  # n h w
        noise = torch.randn(n, 2 * size, 2 * size, generator=generator, dtype=torch.float64)
        fields = torch.fft.ifft2(torch.fft.fft2(noise) * spectrum.sqrt()).real
        self.images = fields[:, None, :size, :size].float()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Float[Tensor, "1 size size"]:
        return self.images[index]


def texture_spectrum(size: int, ratio: float, angles: Float[Tensor, "n"]) -> Float[Tensor, "n size size"]:
    """Power spectrum of `AnisotropicTextures` on the frequencies of an FFT, with mean 1 (unit variance).

    >>> texture_spectrum(8, 1.0, torch.zeros(1)).mean().item()
    1.0...
    """
    frequency = torch.fft.fftfreq(size, dtype=angles.dtype)
    v, u = torch.meshgrid(frequency, frequency, indexing="ij")
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    along, across = cos * u + sin * v, cos * v - sin * u
    power = (1 + 4 * (8 * ratio * along).square() + 4 * (8 * across / ratio).square()) ** -1.5
    return power / power.mean((1, 2), keepdim=True)


class StretchedMotifs(Dataset[Tensor]):
    """Rings, crosses and square frames in random places, drawn in stretched coordinates.

    The plane [−1, 1]² is turned by an axis angle and stretched by (√λ, 1/√λ), log λ ~ U(−stretch, stretch) per image;
    there, seven motifs at uniform positions and rotations are painted one over the other.

    Args:
        n: number of images.
        size: side in pixels.
        mode: "iso": λ = 1; "dataset": λ = exp(stretch) and the axis `angle` for all; "sample": both drawn per image.
        stretch: half-width of log λ.
        angle: the axis of mode "dataset" in radians.
        motifs: how many are painted per image.
        seed: of everything random.

    Attributes:
        images: (n, 1, size, size) in [0, 1], float32.
        angles, log_ratios: the axis (radians) and log λ of each image, (n,).

    Example:
        >>> motifs = StretchedMotifs(2, size=32, seed=0)
        >>> motifs.images.shape, bool((motifs.images >= 0).all() and (motifs.images <= 1).all())
        (torch.Size([2, 1, 32, 32]), True)
    """

    def __init__(
        self,
        n: int,
        size: int = 48,
        mode: Mode = "sample",
        *,
        stretch: float = 0.7,
        angle: float = 0.4,
        motifs: int = 7,
        seed: int = 0,
    ):
        _require_positive(n=n, size=size, motifs=motifs)
        if not (math.isfinite(stretch) and stretch >= 0):
            raise ValueError(f"stretch must be finite and at least 0, got {stretch}")
        generator = torch.Generator().manual_seed(seed)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, dtype=torch.float64)

        self.angles = _axis_angles(n, mode, angle, generator)
        drawn = stretch * (2 * uniform(n) - 1)
        self.log_ratios = {
            "iso": torch.zeros_like(drawn),
            "dataset": torch.full_like(drawn, stretch),
            "sample": drawn,
        }[mode]
        plane = _stretched_plane(size, self.angles, self.log_ratios)  # n 2 h w

        image = (0.3 * uniform(n))[:, None, None].expand(n, size, size)
        for _ in range(motifs):
            # positions are uniform in the picture, then carried into the stretched plane
            centre = _to_stretched(2 * uniform(n, 2) - 1, self.angles, self.log_ratios)
            local = _rotate(plane - centre[:, :, None, None], 2 * math.pi * uniform(n))
            kind = torch.randint(3, (n,), generator=generator)
            level = (0.3 + 0.7 * uniform(n))[:, None, None]
            alpha = torch.sigmoid(-60 * _signed_distance(local, kind))
            image = image + alpha * (level - image)
        self.images = image[:, None].float()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Float[Tensor, "1 size size"]:
        return self.images[index]


# The pictures that come inside scikit-image, without a download.
BUILTIN_COLOUR = (
    "retina",
    "immunohistochemistry",
    "hubble_deep_field",
    "rocket",
    "astronaut",
    "coffee",
    "chelsea",
)
BUILTIN_GREY = ("camera", "brick", "grass", "gravel", "text", "page", "coins", "moon", "clock")


def builtin_images(names: tuple[str, ...] | None = None) -> dict[str, UInt8[Tensor, "3 h w"]]:
    """The photographs and textures that scikit-image ships, grey ones replicated to three channels.

    Args:
        names: which; None for all of `BUILTIN_COLOUR` and `BUILTIN_GREY`.

    Raises:
        ValueError: for a name that scikit-image does not ship.

    >>> {name: tuple(image.shape) for name, image in builtin_images(("coffee", "camera")).items()}
    {'coffee': (3, 400, 600), 'camera': (3, 512, 512)}
    """
    import skimage.data

    known = BUILTIN_COLOUR + BUILTIN_GREY
    images = {}
    for name in known if names is None else names:
        if name not in known:
            raise ValueError(f"names: {name!r} is not shipped with scikit-image; known: {', '.join(known)}")
        array = torch.from_numpy(getattr(skimage.data, name)().copy())
        images[name] = (
            array.expand(3, -1, -1).clone() if array.ndim == 2 else array.permute(2, 0, 1).contiguous()
        )
    return images


def rain_layer(
    height: int,
    width: int,
    *,
    angle: float,
    length: float = 13.0,
    thickness: float = 0.7,
    density: float = 0.01,
    intensity: float = 120.0,
    seed: int = 0,
) -> Float[Tensor, "1 height width"]:
    """A layer of parallel streaks: sparse impulses of random strength, convolved with one oriented streak.

    Args:
        height, width: size in pixels.
        angle: inclination from the vertical in radians; positive leans towards +x going down.
        length: of a streak in pixels.
        thickness: standard deviation across the streak in pixels.
        density: probability of a streak starting at a pixel.
        intensity: brightness of the strongest streaks, in units of an 8-bit image.
        seed: of the impulses.

    Returns:
        Non-negative rain in 0…255 units, periodic at the border, float32.

    Example:
        >>> rain_layer(32, 48, angle=0.3).shape
        torch.Size([1, 32, 48])
    """
    _require_positive(height=height, width=width)
    for name, value in (("length", length), ("thickness", thickness), ("intensity", intensity)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if not 0 < density < 1:
        raise ValueError(f"density must lie between 0 and 1, got {density}")
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, height, width, generator=generator, dtype=torch.float64)
    impulses = (draw[0] < density) * (0.3 + 0.7 * draw[1])
    streak = _streak(height, width, angle, length, thickness)
    spectrum = torch.fft.rfft2(impulses) * torch.fft.rfft2(streak)
    rain = torch.fft.irfft2(spectrum, s=(height, width)).clamp(min=0)
    return (intensity * rain)[None].float()


def _streak(height: int, width: int, angle: float, length: float, thickness: float) -> Tensor:
    """The oriented streak, centred at pixel (0, 0) of a periodic grid, with peak 1."""
    y = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64)[:, None]
    x = torch.fft.fftfreq(width, 1 / width, dtype=torch.float64)[None, :]
    along = y * math.cos(angle) + x * math.sin(angle)
    across = x * math.cos(angle) - y * math.sin(angle)
    beyond = (along.abs() - length / 2).clamp(min=0)
    return torch.exp(-(across / thickness).square() / 2 - beyond.square() / 2)


def _axis_angles(n: int, mode: str, angle: float, generator: torch.Generator) -> Float[Tensor, "n"]:
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be 'iso', 'dataset' or 'sample', got {mode!r}")
    drawn = math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return {"iso": torch.zeros_like(drawn), "dataset": torch.full_like(drawn, angle), "sample": drawn}[mode]


def _stretched_plane(size: int, angles: Tensor, log_ratios: Tensor) -> Float[Tensor, "n 2 size size"]:
    """Coordinates of every pixel of [−1, 1]² in the stretched plane of each image."""
    axis = torch.linspace(-1, 1, size, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y], -1).flatten(0, 1).expand(len(angles), -1, -1)  # n hw 2
    mapped = torch.stack([_to_stretched(p, a, s) for p, a, s in zip(points, angles, log_ratios)])
    return mapped.movedim(-1, 1).unflatten(2, (size, size))


def _to_stretched(points: Tensor, angles: Tensor, log_ratios: Tensor) -> Float[Tensor, "... 2"]:
    """diag(√λ, 1/√λ) R(a) applied to points (…, 2)."""
    x, y = points.unbind(-1)
    cos, sin, root = angles.cos(), angles.sin(), (log_ratios / 2).exp()
    return torch.stack([root * (cos * x - sin * y), (sin * x + cos * y) / root], -1)


def _rotate(points: Float[Tensor, "n 2 h w"], angles: Float[Tensor, "n"]) -> Float[Tensor, "n 2 h w"]:
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    x, y = points.unbind(1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], 1)


def _signed_distance(points: Float[Tensor, "n 2 h w"], kind: Tensor) -> Float[Tensor, "n h w"]:
    """Signed distance (negative inside) to a ring (0), a cross (1) or a square frame (2), by image."""
    x, y = points.unbind(1)
    ring = ((x.square() + y.square()).sqrt() - 0.35).abs() - 0.06
    bars = [torch.maximum(a.abs() - 0.45, b.abs() - 0.06) for a, b in ((x, y), (y, x))]
    frame = (torch.maximum(x.abs(), y.abs()) - 0.30).abs() - 0.05
    shapes = torch.stack([ring, torch.minimum(*bars), frame], 1)  # n 3 h w
    return shapes[torch.arange(len(kind)), kind]


def _require_positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
