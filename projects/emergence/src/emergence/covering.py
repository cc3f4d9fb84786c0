"""Covering numbers: measured on points, and bounded for deep models (§3.3).

    log N(ball of radius R in R^p, δ) ≤ p log(1 + 2R/δ)

A model of P blocks T_θ, ‖T_θ − T_θ'‖_∞ ≤ L_θ ‖θ − θ'‖ and Lip(T_θ) ≤ λ, inherits a cover from its blocks. With λ < 1 its
size does not grow with P: an infinite system with a finite realisation.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .arguments import check_above_zero, check_finite, check_open_unit, check_positive

MOST_POINTS = 4096
"""More points than this are thinned out at random before a cover is looked for (10.14)."""


def _points(points: Float[Tensor, "n ..."], generator: torch.Generator | None) -> Float[Tensor, "k d"]:
    """Float64 rows, thinned to `MOST_POINTS`."""
    if points.dim() < 2 or len(points) < 1:
        raise ValueError(f"points has shape {tuple(points.shape)}; give (n, d) with at least one point")
    check_finite("points", points)
    rows = points.detach().flatten(1).double()
    if len(rows) > MOST_POINTS:
        generator = generator or torch.Generator(rows.device).manual_seed(0)
        rows = rows[torch.randperm(len(rows), generator=generator, device=rows.device)[:MOST_POINTS]]
    return rows


def farthest_point_radii(
    points: Float[Tensor, "n d"], n_centres: int, generator: torch.Generator | None = None
) -> Float[Tensor, "n_centres"]:
    """Radii of the covers that farthest-point traversal finds: entry m − 1 is e_m, the distance of the farthest point
    from the first m centres. Each is at most twice the radius of the best cover with m balls (and never below it).

    Args:
        points: at most `MOST_POINTS` of them are used.
        n_centres: at least 1; from the number of points on, radii are 0.
        generator: draws the points that are kept when there are too many, and the first centre; without it the first
            centre is point 0 and the thinning has seed 0.

    Example:
        >>> farthest_point_radii(torch.tensor([[0.0], [1.0], [5.0]]), 3).tolist()
        [5.0, 1.0, 0.0]
    """
    check_positive(n_centres=n_centres)
    rows = _points(points, generator)
    first = 0 if generator is None else int(torch.randint(len(rows), (), generator=generator))
    nearest = (rows - rows[first]).norm(dim=1)
    radii = rows.new_zeros(n_centres)
    for m in range(min(n_centres, len(rows))):
        radii[m], farthest = nearest.max(0)
        nearest = torch.minimum(nearest, (rows - rows[farthest]).norm(dim=1))
    return radii


def covering_radius(points: Float[Tensor, "n d"], m: int, generator: torch.Generator | None = None) -> float:
    """Radius e_m with which m balls centred at points cover all points, by farthest-point traversal (3.6 (e)).

    At most twice the best radius. For any map T with Lipschitz constant L on the points,
    e_m(T(points)) ≤ 2 L e_m(points).

    Args:
        points: of shape (n, d) or (n, ...), flattened.
        m: number of balls.
        generator: see `farthest_point_radii`.

    Example:
        >>> covering_radius(torch.tensor([[0.0], [1.0], [5.0]]), 2)
        1.0
    """
    check_positive(m=m)
    return float(farthest_point_radii(points, m, generator)[m - 1])


def covering_profile(
    points: Float[Tensor, "n d"],
    sizes: Sequence[int] = (8, 32, 128),
    generator: torch.Generator | None = None,
) -> dict[int, float]:
    """e_m for several numbers m of balls in one traversal.

    Example:
        >>> covering_profile(torch.tensor([[0.0], [1.0], [5.0]]), sizes=(1, 2))
        {1: 5.0, 2: 1.0}
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes must be numbers of balls, each at least 1, got {tuple(sizes)}")
    radii = farthest_point_radii(points, max(sizes), generator)
    return {m: float(radii[m - 1]) for m in sizes}


def covering_number(
    points: Float[Tensor, "n d"], eps: float, generator: torch.Generator | None = None
) -> int:
    """How many balls of radius `eps`, centred at points, farthest-point traversal needs to cover all points.

    An upper bound of the covering number, and at most its packing number: no fewer than N(eps), no more than N(eps/2).

    Args:
        points: of shape (n, d) or (n, ...), flattened; at most `MOST_POINTS` are used.
        eps: radius, above 0.
        generator: see `farthest_point_radii`.

    Example:
        >>> covering_number(torch.tensor([[0.0], [1.0], [5.0]]), eps=1.0)
        2
    """
    check_above_zero(eps=eps)
    radii = farthest_point_radii(points, min(len(points), MOST_POINTS), generator)
    return int((radii > eps).sum()) + 1


def counted_blocks(R: float, L_theta: float, lam: float, eps: float) -> float:
    """J, the number of blocks nearest the output that count at resolution eps, for untied blocks with λ < 1 (§3.3).

        J = 2 log(R L_θ / ((1 − √λ) ε)) / log(1/λ)

    A block farther from the output may be replaced by a fixed one without an error above its share of ε.

    Args:
        R: radius of the ball of parameters of a block.
        L_theta: Lipschitz constant of a block's output in its parameters.
        lam: Lipschitz constant λ of a block, below 1.
        eps: resolution.

    Example:
        >>> round(counted_blocks(R=1.0, L_theta=1.0, lam=0.25, eps=0.01), 2)
        7.64
    """
    check_above_zero(R=R, L_theta=L_theta, lam=lam, eps=eps)
    if lam >= 1:
        raise ValueError(f"lam must be below 1, got {lam}: from 1 on every block counts")
    return max(0.0, 2 * math.log(R * L_theta / ((1 - math.sqrt(lam)) * eps)) / -math.log(lam))


def covering_number_bound(
    p: int, R: float, L_theta: float, lam: float, n_blocks: int, eps: float, tied: bool = True
) -> float:
    """Upper bound of log N(F_P, ε), the log covering number of the models with P blocks (§3.3).

    Tied blocks: p log(1 + 2 R L_θ S_P / ε) with S_P = Σ_{i<P} λ^i. It saturates in P for λ < 1, grows as p log P at λ = 1
    and as p P log λ above. Untied blocks: the block at distance j from the output gets the share δ_j of the resolution,
    Σ_j λ^j δ_j ≤ ε, and a net of its own unless δ_j ≥ R L_θ. It saturates for λ < 1 (`counted_blocks`), grows as
    P log P at λ = 1 and as P² above.

    Args:
        p: parameters of a block.
        R: radius of the ball of parameters of a block.
        L_theta: Lipschitz constant of a block's output in its parameters, uniformly over the inputs.
        lam: Lipschitz constant λ of a block in its input.
        n_blocks: depth P.
        eps: resolution in the supremum norm.
        tied: whether all blocks share their parameters.

    Returns:
        Natural logarithm of the bound.

    Example:
        >>> round(covering_number_bound(10, R=1.0, L_theta=1.0, lam=0.5, n_blocks=64, eps=0.1), 3)
        37.136
    """
    check_above_zero(p=p, R=R, L_theta=L_theta, lam=lam, eps=eps)
    check_positive(n_blocks=n_blocks)
    if tied:
        return p * _log1p_exp(math.log(2 * R * L_theta / eps) + _log_geometric_sum(lam, n_blocks))
    radius = R * L_theta
    total = 0.0
    for j in range(n_blocks):
        log_share = _log_share(lam, n_blocks, j) + math.log(eps)
        if log_share < math.log(radius):  # otherwise one element covers the block's whole ball
            total += p * _log1p_exp(math.log(2 * radius) - log_share)
        elif lam < 1:
            break  # shares only grow with the distance from the output
    return total


def _log1p_exp(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _log_geometric_sum(lam: float, n: int) -> float:
    """log Σ_{i<n} λ^i without overflow."""
    if lam == 1:
        return math.log(n)
    if lam < 1:
        return math.log(-math.expm1(n * math.log(lam))) - math.log1p(-lam)
    return n * math.log(lam) + math.log(-math.expm1(-n * math.log(lam))) - math.log(lam - 1)


def _log_share(lam: float, n_blocks: int, j: int) -> float:
    """log(δ_j / ε) of the block at distance j from the output."""
    if lam < 1:
        return math.log1p(-math.sqrt(lam)) - j / 2 * math.log(lam)
    return -j * math.log(lam) - math.log(n_blocks)


def generalization_bound(
    log_covering: float,
    n_data: int,
    eps: float | None = None,
    loss_bound: float = 1.0,
    confidence: float = 0.95,
) -> float:
    """Upper bound of sup |risk − empirical risk| over the models, with the given probability (§3.3).

        2 ε + B √(2 (log N(F, ε) + log(2/δ)) / n),      δ = 1 − confidence

    for a loss that is 1-Lipschitz in the prediction and takes values in an interval of length B. With ε = 1/√n it falls
    as n^(-1/2) up to a logarithm.

    Args:
        log_covering: log N(F, ε), of `covering_number_bound` at the same ε.
        n_data: number n of samples.
        eps: resolution; 1/√n where it is not given.
        loss_bound: B.
        confidence: between 0 and 1.

    Example:
        >>> log_covering = covering_number_bound(10, R=1.0, L_theta=1.0, lam=0.5, n_blocks=64, eps=0.01)
        >>> round(generalization_bound(log_covering, n_data=10_000), 3)
        0.133
    """
    check_positive(n_data=n_data)
    check_open_unit(confidence=confidence)
    if log_covering < 0:
        raise ValueError(f"log_covering must be at least 0, got {log_covering}")
    eps = n_data**-0.5 if eps is None else eps
    check_above_zero(eps=eps, loss_bound=loss_bound)
    deviation = 2 * (log_covering + math.log(2 / (1 - confidence))) / n_data
    return 2 * eps + loss_bound * math.sqrt(deviation)
