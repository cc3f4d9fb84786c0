"""Ratios of distances after and before a map, over pairs of samples (§3.6d, §3.7).

The largest ratio is a lower bound of Lip(T) that sees finite distances, where the Jacobian sees infinitesimal ones: a
local isometry may shrink every pair.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import check_choice, check_points, check_positive
from .estimates import PairStats
from .forward_ad import Map, check_map


def empirical_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    pairs: str = "all",
    n_pairs: int = 4096,
    min_dist: float = 1e-4,
    generator: torch.Generator | None = None,
) -> PairStats:
    """Statistics of ‖fn(x_i) − fn(x_j)‖ / ‖x_i − x_j‖ over pairs of samples.

    Args:
        fn: maps batches to batches.
        x: samples (b, *shape), at least two.
        pairs: "all", or "random" for `n_pairs` draws with replacement.
        n_pairs: number of draws.
        min_dist: pairs nearer than this times the median distance are skipped: their ratio is rounding error.
        generator: draws the pairs.

    Raises:
        ValueError: if fewer than two samples are distinct, or fn(x) is not finite.

    Example:
        >>> empirical_lipschitz(lambda x: 3 * x, torch.randn(10, 4, dtype=torch.float64)).n_pairs
        45
    """
    check_map(fn, x)
    with torch.no_grad():
        y = fn(x)
    return pair_statistics(x, y, pairs=pairs, n_pairs=n_pairs, min_dist=min_dist, generator=generator)


def pair_statistics(
    x: Float[Tensor, "b ..."],
    y: Float[Tensor, "b ..."],
    *,
    pairs: str = "all",
    n_pairs: int = 4096,
    min_dist: float = 1e-4,
    generator: torch.Generator | None = None,
) -> PairStats:
    """The same for points x whose images y are at hand, e.g. the tokens of two successive layers."""
    check_points("x", x, least=2)
    check_points("y", y, least=2)
    check_choice("pairs", pairs, ("all", "random"))
    check_positive(n_pairs=n_pairs)
    if len(x) != len(y):
        raise ValueError(f"x and y must hold as many samples, got {len(x)} and {len(y)}")
    if min_dist < 0:
        raise ValueError(f"min_dist must be at least 0, got {min_dist}")
    if pairs == "all":
        before, after = torch.pdist(x.flatten(1)), torch.pdist(y.flatten(1))
    else:
        i, j = _draw_pairs(len(x), n_pairs, x.device, generator)
        before, after = ((z[i] - z[j]).flatten(1).norm(dim=1) for z in (x, y))
    apart = before > 0
    if bool(apart.any()):
        apart = apart & (before >= min_dist * before[apart].median())
    if not bool(apart.any()):
        raise ValueError(
            f"x holds fewer than 2 distinct samples among {len(x)}; ratios need pairs that differ"
        )
    ratios = after[apart] / before[apart]
    return PairStats(
        float(ratios.max()),
        float(ratios.median()),
        float(ratios.min()),
        int(apart.sum()),
        int((~apart).sum()),
    )


def _draw_pairs(
    size: int, n_pairs: int, device: torch.device, generator: torch.Generator | None
) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
    """Ordered pairs of different indices, with replacement."""
    where = device if generator is None else generator.device
    i = torch.randint(size, (n_pairs,), device=where, generator=generator)
    shift = torch.randint(1, size, (n_pairs,), device=where, generator=generator)
    return i.to(device), ((i + shift) % size).to(device)
