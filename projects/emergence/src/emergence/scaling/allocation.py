"""How to divide a compute budget between the size of a model and its data: where the laws differ most (§3.5, §3.8).

Under the limit law with cost n_blocks·n_data = C the optimal depth grows only like log C / (2 log 1/λ) and nearly all
compute goes into data; under the Chinchilla law with cost 6·n_params·n_tokens = C the size takes a fixed share of the
exponent, n_params ∝ C^(β/(α+β)). The contrast is the sharpest prediction of the limit law that data can refute.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from .forms import ChinchillaLaw, LimitLaw
from .laws import ScalingLaw


class DepthAllocation(NamedTuple):
    """Best use of n_blocks·n_data = C.

    Args:
        n_blocks: depth, not rounded.
        n_data: samples.
    """

    n_blocks: float
    n_data: float


class SizeAllocation(NamedTuple):
    """Best use of 6·n_params·n_tokens = C.

    Args:
        n_params: parameters.
        n_tokens: tokens.
    """

    n_params: float
    n_tokens: float


def optimal_allocation(law: ScalingLaw, compute: float) -> DepthAllocation | SizeAllocation:
    """The minimum of a fitted law at a given compute.

    Args:
        law: a `LimitLaw` with terms of depth and data, or a `ChinchillaLaw`, with numbers.
        compute: C, blocks × samples for the limit law, floating-point operations for Chinchilla's.

    Raises:
        TypeError: another law.
        ValueError: a law without numbers or without these terms; a budget that is not above 0 (of at least one block and
            one sample for the limit law).

    Example:
        >>> law = LimitLaw({"E": 0.0, "b": 1.0, "lam": 0.5, "c": 1.0}, terms=("depth", "data"))
        >>> [round(optimal_allocation(law, c).n_blocks, 1) for c in (1e4, 1e6, 1e8)]
        [8.7, 12.2, 15.7]
    """
    if not 0 < compute < math.inf:
        raise ValueError(f"compute must be finite and above 0, got {compute}")
    if not isinstance(law, LimitLaw | ChinchillaLaw):
        raise TypeError(f"optimal_allocation knows LimitLaw and ChinchillaLaw, got {type(law).__name__}")
    if law.params is None:
        raise ValueError(f"the {law.name} law has no parameters yet; fit it, or give params=")
    if isinstance(law, ChinchillaLaw):
        return _chinchilla(law, compute)
    return _limit(law, compute)


def _chinchilla(law: ChinchillaLaw, compute: float) -> SizeAllocation:
    """A α n^(−α) = B β D^(−β) on n·D = C/6."""
    assert law.params is not None
    a, alpha, b, beta = (law.params[name] for name in ("A", "alpha", "B", "beta"))
    product = compute / 6
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    n_params = ratio * product ** (beta / (alpha + beta))
    return SizeAllocation(n_params, product / n_params)


def _limit(law: LimitLaw, compute: float) -> DepthAllocation:
    """Stationarity b κ λ^P P = c γ N^(−γ) with N = C/P and κ = log 1/λ, or the boundary P = 1."""
    assert law.params is not None
    lacking = [name for name in ("b", "lam", "c") if name not in law.params]
    if lacking:
        raise ValueError('the limit law needs the terms "depth" and "data" for an allocation between them')
    if compute < 1:
        raise ValueError(f"compute must be at least 1 (one block, one sample), got {compute}")
    power = law.power
    fixed = next(term.fixed for term in law.terms if term.rate == "gamma")
    gamma = power * (law.params["gamma"] if fixed is None else fixed)
    b, c = law.params["b"] ** power, law.params["c"] ** power
    kappa = -power * math.log(law.params["lam"])

    def cost(depth: float) -> float:
        return b * math.exp(-kappa * depth) + c * (depth / compute) ** gamma

    def excess(depth: float) -> float:
        """log of the gain from depth over the loss from fewer data."""
        return (
            math.log(b * kappa)
            - kappa * depth
            + (1 - gamma) * math.log(depth)
            + gamma * math.log(compute)
            - math.log(c * gamma)
        )

    if b == 0 or c == 0:
        depth = 1.0 if b == 0 else compute
        return DepthAllocation(depth, compute / depth)
    peak = max((1 - gamma) / kappa, 1.0)
    if peak >= compute or excess(peak) <= 0:
        return DepthAllocation(1.0, compute)
    depth = _root_above(excess, peak, compute)
    best = min((1.0, depth), key=cost)
    return DepthAllocation(best, compute / best)


def _root_above(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from above 0 at `low` crosses 0, or `high` if it does not."""
    if function(high) > 0:
        return high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return 0.5 * (low + high)
