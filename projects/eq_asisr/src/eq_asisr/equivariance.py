"""How far a super-resolution model is from commuting with rotations.

`rot90_error`: turning the LR image and turning the result, ‖SR(rot90ᵏ x) − rot90ᵏ SR(x)‖ / ‖SR(x)‖ (§8, C1). Quarter turns
move pixels to pixels, so an exact model gives rounding.

`rotation_spread`: how much the PSNR of an image depends on its orientation.

`local_function_error`: rotations by any angle, free of interpolation (§3.6). The image is a formula, sampled anew for every
angle, and what is compared is the continuous function that the model draws inside the centre pixel, the one pixel that
every rotation leaves in its place: f_{RI}(u) against f_I(R⁻¹u).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.equivariance import EquivarianceError, GaussianBlobs
from tenfold.metrics import Protocol, restoration_psnr

from .model import ASISR, denormalize

Renderer = Callable[..., Tensor]


def rot90_error(
    model: ASISR | Renderer,
    lr: Float[Tensor, "b 3 h w"],
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    *,
    turns: Sequence[int] = (1, 2, 3),
) -> EquivarianceError:
    """Measure the equivariance of an up-scaling under quarter turns, before values are clamped to [0, 1].

    Args:
        model: an `ASISR`, or a function as its `render`: (images, scale=…, size=…) → larger images.
        lr: low-resolution images in [0, 1].
        scale: the scale, or
        size: the output size (height, width); odd quarter turns exchange the two.
        turns: numbers of quarter turns, counter-clockwise.

    Raises:
        ValueError: if not exactly one of scale and size is given, or the output is zero, not finite, or of a wrong size.

    Example:
        >>> from torch.nn.functional import interpolate
        >>> def bilinear(lr, scale=None, size=None):
        ...     return interpolate(lr, size, scale, mode="bilinear")
        >>> rot90_error(bilinear, torch.rand(1, 3, 6, 8), scale=2).worst < 1e-6
        True
        >>> sheared = lambda lr, **to: bilinear(lr, **to).cumsum(-1)
        >>> rot90_error(sheared, torch.rand(1, 3, 6, 8), size=(9, 20)).worst > 1e-2
        True
    """
    if (scale is None) == (size is None):
        raise ValueError(f"give either scale or size, got scale={scale} and size={size}")
    render = model.render if isinstance(model, ASISR) else model
    l2, largest = [], []
    with _measuring(model):
        reference = render(lr, scale=scale, size=size)
        if not reference.isfinite().all() or not reference.any():
            raise ValueError("the output is zero or not finite, so a relative error is not defined")
        for turn in turns:
            turned_size = size[::-1] if size is not None and turn % 2 else size
            turned = render(torch.rot90(lr, turn, (-2, -1)), scale=scale, size=turned_size)
            expected = torch.rot90(reference, turn, (-2, -1))
            if turned.shape != expected.shape:
                raise ValueError(
                    f"the output for the turned image has shape {tuple(turned.shape)}, not {tuple(expected.shape)}"
                )
            difference = turned - expected
            l2.append((torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(reference)).item())
            largest.append((difference.abs().max() / reference.abs().max()).item())
    return EquivarianceError(tuple(f"{90 * turn}°" for turn in turns), tuple(l2), tuple(largest))


def local_function_error(
    model: ASISR,
    image: GaussianBlobs,
    size: int,
    degrees: Sequence[float],
    *,
    n_points: int = 64,
    scale: float = 4.0,
    window: int | None = None,
    seed: int = 0,
) -> Float[Tensor, "angles b"]:
    """Measure the equivariance of the function drawn inside one pixel under rotations by any angle (§3.6).

    The model must answer each query from the nearest pixel alone (no local ensemble), otherwise neighbours have a say.

    Args:
        model: an `ASISR` without local ensemble, in eval mode while it is measured.
        image: analytic images with three channels.
        size: odd number of pixels a side that the image is sampled at; the mesh is h = 2/(size − 1).
        degrees: angles, counter-clockwise.
        n_points: points of the function, drawn uniformly from the disk of radius 0.48 pixels.
        scale: the nominal scale, which gives the cell.
        window: encode only so many central pixels (odd); the same result at less cost where the receptive field of the
            encoder is no larger.
        seed: of the points.

    Returns:
        Root mean square of the difference over the spread of f_I about its mean over u, per angle and image.

    Raises:
        ValueError: if size or window is even, window exceeds size, the model has a local ensemble, or its function is
            constant.

    Example:
        >>> from eq_asisr.pairs import build
        >>> sizes = {"encoder_options": {"n_feats": 16, "n_blocks": 1}, "local_ensemble": False}
        >>> model = build(encoder="eq_edsr", decoder="eq_liif", group=8, **sizes)
        >>> error = local_function_error(model, GaussianBlobs.random(2, 3, seed=0), 17, [30, 90])
        >>> bool((error[0] > 1e-3).all()), bool((error[1] < 1e-3).all())
        (True, True)
    """
    window = size if window is None else window
    for name, value in (("size", size), ("window", window)):
        if value % 2 == 0:
            raise ValueError(
                f"{name} must be odd, so that a pixel lies at the centre of rotation, got {value}"
            )
    if window > size:
        raise ValueError(f"window must not exceed size={size}, got {window}")
    if model.local_ensemble:
        raise ValueError(
            "the model has a local ensemble; build it with local_ensemble=False to measure one pixel"
        )
    like = next(model.parameters())
    points = _disk(n_points, 0.48, seed)
    errors = []
    with _measuring(model):
        draw = _PixelFunction(model, image, size, window, scale, like)
        reference = draw(0.0, points)
        spread = (reference - reference.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
        if not bool((spread > 0).all()):
            raise ValueError(
                "the function inside the pixel is constant or not finite, so a relative error is not defined"
            )
        for angle in degrees:
            # f_{RI}(u) − f_I(R⁻¹u) with u = Rv: the points turn with the image and the reference stays.
            turned = draw(angle, _turned(points, angle))
            errors.append((turned - reference).square().mean((1, 2)).sqrt() / spread)
    return torch.stack(errors)


def rotation_spread(
    upscale: Renderer,
    lr: Float[Tensor, "b 3 h w"],
    hr: Float[Tensor, "b 3 new_h new_w"],
    scale: int,
    protocol: Protocol = "benchmark",
) -> Float[Tensor, " b"]:
    """Largest minus smallest PSNR in decibels over the four orientations of each image: 0 where orientation has no say.

    Args:
        upscale: as `ASISR.upscale`: (images, size=…) → larger images.
        lr: low-resolution images in [0, 1].
        hr: the true images.
        scale: sets the border that the protocol leaves out.
        protocol: see `tenfold.metrics.restoration_psnr`.

    Example:
        >>> nearest = lambda lr, size: lr.repeat_interleave(2, -1).repeat_interleave(2, -2)
        >>> lr, hr = torch.rand(1, 3, 12, 10), torch.rand(1, 3, 24, 20)
        >>> bool(rotation_spread(nearest, lr, hr, scale=2) < 1e-4)
        True
    """
    scores = []
    for turn in range(4):
        true = torch.rot90(hr, turn, (-2, -1))
        large = upscale(torch.rot90(lr, turn, (-2, -1)), size=(true.shape[-2], true.shape[-1]))
        scores.append(restoration_psnr(large, true, scale=scale, protocol=protocol))
    return torch.stack(scores).amax(0) - torch.stack(scores).amin(0)


def perturb(model: nn.Module, seed: int, strength: float = 0.3) -> None:
    """Multiply every parameter by noise, 1 + strength · N(0, 1), and shift it, so that zeros become something too (§8, C1).

    What is equivariant only because parameters that should be tied happen to be equal at the start, is not afterwards.

    Args:
        model: changed in place; the global random state is left alone.
        seed: of the noise.
        strength: standard deviation of the factors; that of the shifts is half of it, in units of the parameter's mean
            size or 0.05, whichever is more: nearly vanishing layers begin to count.

    >>> layer = nn.LayerNorm(8)
    >>> perturb(layer, seed=0)
    >>> bool(layer.weight.std() > 0.1), bool(layer.bias.abs().min() > 0)
    (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(2, *parameter.shape, generator=generator, dtype=torch.float64)
            factor, shift = noise.to(parameter)
            size = max(parameter.abs().mean().item(), 0.05)
            parameter.mul_(1 + strength * factor).add_(shift, alpha=strength * size / 2)


class _PixelFunction:
    """Colours at points of the centre pixel, given in pixels from its centre as (row, col), of the image turned by an angle."""

    def __init__(
        self, model: ASISR, image: GaussianBlobs, size: int, window: int, scale: float, like: Tensor
    ):
        self.model, self.image, self.size, self.window, self.like = model, image, size, window, like
        self.cell = torch.full((2,), 2 / (scale * window)).to(like)

    def __call__(self, degrees: float, points: Float[Tensor, "n 2"]) -> Float[Tensor, "b n 3"]:
        border = (self.size - self.window) // 2
        inside = slice(border, border + self.window)
        lr = denormalize(self.image.sample(self.size, degrees)[..., inside, inside]).to(self.like)
        coord = (points * 2 / self.window).to(self.like)
        return self.model.query(self.model.encode(lr), coord, self.cell).double()


def _turned(points: Float[Tensor, "n 2"], degrees: float) -> Float[Tensor, "n 2"]:
    """Points (row, col) after a rotation counter-clockwise on the screen; 90° moves (row, col) to (−col, row)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    row, column = points.unbind(-1)
    return torch.stack([cos * row - sin * column, sin * row + cos * column], -1)


def _disk(n: int, radius: float, seed: int) -> Float[Tensor, "n 2"]:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    length, angle = radius * uniform[:, 0].sqrt(), 2 * math.pi * uniform[:, 1]
    return torch.stack([length * angle.sin(), length * angle.cos()], -1)


@contextmanager
def _measuring(model: Any) -> Iterator[None]:
    """Eval mode and no gradients; every submodule gets its own mode back."""
    modes = {m: m.training for m in model.modules()} if isinstance(model, nn.Module) else {}
    for module in modes:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
