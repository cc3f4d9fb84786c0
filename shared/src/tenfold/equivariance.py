"""How far a map is from commuting with rotations and reflections: ‖Φ(L_g x) − L_g Φ(x)‖ / ‖Φ(x)‖.

`equivariance_error` transforms a given input. Quarter turns and flips are exact there; other angles read between the
pixels, and what is measured then includes the error of that interpolation. `analytic_equivariance_error` has no such
error: the image is a formula, sampled anew at every angle, and the outputs are compared where no resampling is needed,
at the centre pixel (eq_asisr §3.6).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groups import Group
from tenfold.imaging import Interpolation

Kind = Literal["image", "field", "vector", "fibre"]


@dataclass(frozen=True)
class EquivarianceError:
    """Errors of a map, one entry per group element.

    Args:
        elements: names of the elements.
        relative_l2: ‖Φ(L_g x) − L_g Φ(x)‖₂ / ‖Φ(x)‖₂ of each.
        relative_max: the same with maximum norms.
    """

    elements: tuple[str, ...]
    relative_l2: tuple[float, ...]
    relative_max: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest `relative_max`, the number that exactness is judged by."""
        return max(self.relative_max)


def equivariance_error(
    module: Callable[[Tensor], Tensor],
    x: Float[Tensor, "b *shape"],
    group: Group,
    output: Kind = "image",
    *,
    input: Kind = "image",
    elements: Iterable[int] | None = None,
    interpolation: Interpolation | None = None,
    crop: int = 0,
) -> EquivarianceError:
    """Measure how far a map is from commuting with a group.

    For maps from images to images or invariant vectors, the group need not be the network's: `CyclicGroup(36)` tests
    every 10°. A module is measured in eval mode, without gradients, and put back into its mode.

    Args:
        module: the map, from a batch to a batch.
        x: input of kind `input`.
        group: the group whose action is tested.
        output: what the map returns: "image" (…, h, w) of scalar channels; "field" (b, C·|G|, h, w) of regular fields;
            "vector": numbers that should not change; "fibre" (…, C·|G|): regular fields without pixels.
        input: what the map takes, in the same words.
        elements: the elements to test; None is all but the identity (the identity if there is no other).
        interpolation: needed if an element does not map pixels to pixels; see `Group.act`. Such elements are compared
            inside the inscribed disk only.
        crop: pixels to leave out along the border (of the disk) of the output.

    Raises:
        ValueError: for unknown kinds, outputs that are zero or not finite, or a crop that leaves nothing.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> mean = lambda x: x.mean((-2, -1))
        >>> equivariance_error(mean, torch.rand(2, 3, 8, 8), CyclicGroup(4), "vector").worst < 1e-6
        True
        >>> equivariance_error(lambda x: x.cumsum(-1), torch.rand(2, 3, 8, 8), CyclicGroup(4)).worst > 0.1
        True
    """
    for name, kind in (("output", output), ("input", input)):
        if kind not in get_args(Kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    tested = tuple(elements) if elements is not None else (tuple(group.elements)[1:] or (0,))
    errors = []
    with _measuring(module):
        reference = module(x)
        _require_meaningful(reference)
        for g in tested:
            transformed = module(_act(group, g, x, input, interpolation))
            expected = _act(group, g, reference, output, interpolation)
            if transformed.shape != expected.shape:
                raise ValueError(
                    f"output has shape {tuple(transformed.shape)} for the transformed input, expected "
                    f"{tuple(expected.shape)}"
                )
            region = _region(expected, output, crop, exact=group.maps_lattice(g))
            errors.append(_relative(transformed * region, expected * region))
    names = tuple(group.element_name(g) for g in tested)
    l2, largest = zip(*errors)
    return EquivarianceError(names, l2, largest)


@dataclass(frozen=True)
class GaussianBlobs:
    """Images that are formulas: sums of Gaussians, to be sampled at any size and angle without resampling.

    Args:
        centres: (b, n, 2) as (X to the right, Y down); the sampled square is [−1, 1]².
        widths: (b, n) standard deviations.
        heights: (b, n, channels).

    Example:
        >>> image = GaussianBlobs.random(batch=2, channels=3, seed=0)
        >>> turned = image.sample(33, degrees=90)
        >>> torch.allclose(turned, torch.rot90(image.sample(33), 1, (-2, -1)))
        True
    """

    centres: Float[Tensor, "b n 2"]
    widths: Float[Tensor, "b n"]
    heights: Float[Tensor, "b n channels"]

    @classmethod
    def random(cls, batch: int, channels: int = 1, *, n_blobs: int = 12, seed: int) -> "GaussianBlobs":
        """Blobs of widths 0.1 … 0.3 in the disk of radius 0.7, in float64."""
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(batch, n_blobs, 3, generator=generator, dtype=torch.float64)
        radius, angle = 0.7 * uniform[..., 0].sqrt(), 2 * math.pi * uniform[..., 1]
        centres = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        heights = torch.randn(batch, n_blobs, channels, generator=generator, dtype=torch.float64)
        return cls(centres, 0.1 + 0.2 * uniform[..., 2], heights)

    def sample(
        self, size: int, degrees: float = 0.0, reflect: bool = False
    ) -> Float[Tensor, "b channels size size"]:
        """The image, first mirrored left to right if `reflect`, then turned counter-clockwise, on size×size pixels.

        Pixel centres run from −1 to 1, so the mesh size is h = 2/(size − 1).
        """
        axis = torch.linspace(-1, 1, size, dtype=self.centres.dtype)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        mirror = -1.0 if reflect else 1.0
        x, y = mirror * self.centres[..., 0], self.centres[..., 1]
        x, y = cos * x + sin * y, -sin * x + cos * y  # the blobs move with the image; Y points down
        scale = 2 * self.widths.square()
        along_x = torch.exp(-(axis - x.unsqueeze(-1)).square() / scale.unsqueeze(-1))
        along_y = torch.exp(-(axis - y.unsqueeze(-1)).square() / scale.unsqueeze(-1))
        return torch.einsum("bni,bnj,bnc->bcij", along_y, along_x, self.heights)


def analytic_equivariance_error(
    module: Callable[[Tensor], Tensor],
    image: GaussianBlobs,
    size: int,
    degrees: float | Sequence[float],
    output: Literal["image", "vector", "field"] = "image",
    *,
    input: Literal["image", "field"] = "image",
    group: Group | None = None,
) -> EquivarianceError:
    """Equivariance error under rotations by any angle, free of interpolation error (eq_asisr §3.6).

    The image is sampled anew for every angle. Maps are compared at their centre pixel, which every rotation fixes,
    over the batch; the error is relative to the spread (root mean square about the mean) of those values over the
    batch for the unrotated images, so that a constant does not hide it.

    Args:
        module: the map, from (b, channels, size, size) to maps of odd size or to vectors.
        image: a batch of at least two analytic images.
        size: odd number of pixels a side.
        degrees: angles, counter-clockwise.
        output: "image", "vector", or "field"; with fields every angle must belong to `group`.
        input: "image", or "field" to read the channels of the images as regular fields.
        group: the group of the fields.

    Raises:
        ValueError: if the size of input or output is even, the batch has fewer than two images, or an angle is not in
            the group of the fields.

    Example:
        >>> from tenfold.groupconv import LiftingConv2d
        >>> from tenfold.groups import CyclicGroup
        >>> layer = LiftingConv2d(1, 4, 5, CyclicGroup(8)).double()
        >>> image = GaussianBlobs.random(batch=16, seed=0)
        >>> error = analytic_equivariance_error(layer, image, 33, [45, 90], "field", group=CyclicGroup(8))
        >>> error.relative_l2[0] > 1e-3, error.relative_l2[1] < 1e-12  # sampled filters; exact
        (True, True)
    """
    if size % 2 == 0:
        raise ValueError(f"size must be odd, so that a pixel lies at the centre of rotation, got {size}")
    if len(image.centres) < 2:
        raise ValueError(
            "image must be a batch of at least two, the error is relative to the spread over the batch"
        )
    angles = [degrees] if isinstance(degrees, int | float) else list(degrees)
    errors = []
    with _measuring(module):
        reference = _at_centre(module(image.sample(size)), output)
        _require_meaningful(reference - reference.mean(0))
        for angle in angles:
            x, expected = image.sample(size, angle), reference
            if input == "field":
                x = _fields(group).act_regular(_element_at(_fields(group), angle), x, dim=1)
            if output == "field":
                expected = _fields(group).act_regular(_element_at(_fields(group), angle), reference)
            turned = _at_centre(module(x), output)
            difference, spread = turned - expected, reference - reference.mean(0)
            errors.append(_ratios(difference, spread))
    l2, largest = zip(*errors)
    return EquivarianceError(tuple(f"{angle:g}°" for angle in angles), l2, largest)


@contextmanager
def _measuring(module: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Eval mode and no gradients; every submodule gets its own mode back."""
    modes = {m: m.training for m in module.modules()} if isinstance(module, nn.Module) else {}
    for m in modes:
        m.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for m, training in modes.items():
            m.training = training


def _act(group: Group, g: int, x: Tensor, kind: Kind, interpolation: Interpolation | None) -> Tensor:
    if kind == "image":
        return group.act(g, x, interpolation)
    if kind == "field":
        return group.act_field(g, x, interpolation)
    return x if kind == "vector" else group.act_regular(g, x)


def _region(y: Tensor, output: Kind, crop: int, exact: bool) -> Tensor:
    """Ones where the comparison is meant, zeros elsewhere."""
    if output in ("vector", "fibre"):
        return torch.ones((), dtype=y.dtype, device=y.device)
    height, width = y.shape[-2:]
    if crop < 0 or 2 * crop >= min(height, width):
        raise ValueError(
            f"crop must be at least 0 and less than half the output ({height}×{width}), got {crop}"
        )
    rows = (torch.arange(height, device=y.device) - (height - 1) / 2).abs()
    columns = (torch.arange(width, device=y.device) - (width - 1) / 2).abs()
    if exact:
        inside = (rows[:, None] < height / 2 - crop) & (columns < width / 2 - crop)
    else:
        inside = (rows[:, None].square() + columns.square()).sqrt() < min(height, width) / 2 - crop
    return inside.to(y.dtype)


def _relative(actual: Tensor, expected: Tensor) -> tuple[float, float]:
    return _ratios(actual - expected, expected)


def _ratios(difference: Tensor, scale: Tensor) -> tuple[float, float]:
    l2 = torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(scale)
    return l2.item(), (difference.abs().max() / scale.abs().max()).item()


def _require_meaningful(output: Tensor) -> None:
    if not output.isfinite().all():
        raise ValueError("the module's output is not finite")
    if not output.any():
        raise ValueError("the module's output is zero (or constant), so a relative error is not defined")


def _at_centre(y: Tensor, output: str) -> Float[Tensor, "b channels"]:
    if output == "vector":
        return y
    if y.shape[-1] % 2 == 0 or y.shape[-2] % 2 == 0:
        raise ValueError(f"output must have a centre pixel, got {tuple(y.shape[-2:])} pixels")
    return y[..., y.shape[-2] // 2, y.shape[-1] // 2]


def _fields(group: Group | None) -> Group:
    if group is None:
        raise ValueError("group must be given where input or output is 'field'")
    return group


def _element_at(group: Group, degrees: float) -> int:
    steps = degrees * group.n_rotations / 360
    if abs(steps - round(steps)) > 1e-9:
        raise ValueError(f"{degrees:g}° is no element of {group}, so regular fields have no action for it")
    return round(steps) % group.n_rotations
