"""Scenes of stripes and edges whose orientations lie near one axis (§8, C3).

A scene is piecewise constant: a Voronoi partition into cells, each filled with hard-edged stripes of two colours. The
direction of the stripes is drawn per cell from U(−spread, spread) about the axis; the edges between cells run along or
across them.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def oriented_scene(
    size: int,
    seed: int,
    *,
    axis: float = 0.0,
    spread: float = 20.0,
    cells: int = 6,
    period: tuple[float, float] = (5.0, 16.0),
) -> UInt8[Tensor, "3 size size"]:
    """One scene, 8-bit, drawn at four times the resolution and averaged.

    Args:
        size: side in pixels.
        seed: of everything in it.
        axis: direction of the stripes in degrees, counter-clockwise from the vertical.
        spread: how far directions stray from it, in degrees.
        cells: regions.
        period: shortest and longest period of the stripes in pixels.

    Raises:
        ValueError: for sizes below 1, a spread outside [0, 90], or periods that are not positive and increasing.

    >>> scene = oriented_scene(32, seed=0)
    >>> scene.shape, scene.dtype
    (torch.Size([3, 32, 32]), torch.uint8)
    """
    if size < 1 or cells < 1:
        raise ValueError(f"size and cells must be at least 1, got {size} and {cells}")
    if not 0 <= spread <= 90:
        raise ValueError(f"spread must lie between 0 and 90 degrees, got {spread}")
    if not 0 < period[0] <= period[1] < math.inf:
        raise ValueError(f"period must be two positive increasing lengths, got {period}")
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    fine = 4 * size
    position = (torch.arange(fine, dtype=torch.float64) + 0.5) / 4
    down, right = torch.meshgrid(position, position, indexing="ij")
    base = math.radians(axis)
    # Regions: nearest of a few random centres in a metric with axis-parallel level sets, turned to the axis.
    across = math.cos(base) * right - math.sin(base) * down
    along = math.sin(base) * right + math.cos(base) * down
    centres = uniform(cells, 2) * size
    centre_across = math.cos(base) * centres[:, 1] - math.sin(base) * centres[:, 0]
    centre_along = math.sin(base) * centres[:, 1] + math.cos(base) * centres[:, 0]
    distance = torch.maximum(
        2 * (across - centre_across.view(-1, 1, 1)).abs(), (along - centre_along.view(-1, 1, 1)).abs()
    )
    region = distance.argmin(0)
    angle = base + math.radians(spread) * (2 * uniform(cells) - 1)
    length = period[0] + (period[1] - period[0]) * uniform(cells)
    phase, share = uniform(cells), 0.3 + 0.4 * uniform(cells)
    colours = uniform(cells, 2, 3)
    offset = angle.cos()[region] * right - angle.sin()[region] * down
    stripe = ((offset / length[region] + phase[region]).frac().remainder(1.0) < share[region]).long()
    picture = colours[region, stripe].permute(2, 0, 1)  # c h w
    averaged = torch.nn.functional.avg_pool2d(picture.unsqueeze(0), 4)[0]
    return (255 * averaged).round().to(torch.uint8)


def oriented_scenes(n: int, size: int, seed: int, **options: float) -> list[UInt8[Tensor, "3 size size"]]:
    """Several scenes; no two of one seed, or of different seeds, are the same.

    >>> len(oriented_scenes(3, 16, seed=1))
    3
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return [oriented_scene(size, 1_000_003 * (seed + 1) + i, **options) for i in range(n)]  # type: ignore[arg-type]


def orientation(image: UInt8[Tensor, "3 h w"]) -> Float[Tensor, ""]:
    """Share of the squared gradient that runs across the rows' direction: 1 for vertical stripes, 0 for horizontal ones.

    >>> stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(4).expand(3, 8, 8)
    >>> orientation(stripes).item()
    1.0
    """
    x = image.double()
    horizontal = x.diff(dim=-1).square().sum()
    vertical = x.diff(dim=-2).square().sum()
    return horizontal / (horizontal + vertical)
