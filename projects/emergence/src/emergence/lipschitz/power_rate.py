"""The generalised Lipschitz radius ρ(T) = lim Lip(Tⁿ)^(1/n) (T1 of §3.2).

Lip(Tⁿ) behaves like C n^c ρⁿ (c counts Jordan blocks), so the roots converge like log(n)/n. Three powers determine the
three unknowns; that estimate is given next to the roots and ratios it improves upon.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import RateEstimate
from .forward_ad import Map, check_map
from .local import local_lipschitz
from .pairs import empirical_lipschitz


def lip_power_rate(
    fn: Map,
    x: Float[Tensor, "b ..."],
    powers: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    n_iter: int = 30,
    tol: float = 1e-7,
    margin: float = 0.01,
    isolate: bool = True,
    generator: torch.Generator | None = None,
) -> RateEstimate:
    """Lower bounds of Lip(fnⁿ) over the samples (Jacobians and pairs), and ρ.

    Args:
        fn: maps batches to batches of the same shape.
        x: samples (b, *shape).
        powers: n, ascending, at least three.
        n_iter: Lanczos steps for each power.
        tol: of these.
        margin: ρ within this of one is "inconclusive".
        isolate: as in `local_lipschitz`.
        generator: draws the starts.

    Raises:
        ValueError: for powers that do not ascend from 1 or above, or another shape of fn(x).

    Example:
        >>> a = torch.tensor([[0.9, 10.0], [0.0, 0.9]], dtype=torch.float64)
        >>> estimate = lip_power_rate(lambda x: x @ a.T, torch.randn(4, 2, dtype=torch.float64), (64, 128, 256))
        >>> round(estimate.rho, 3), round(float(estimate.roots[-1]), 3), estimate.verdict
        (0.9, 0.928, 'below')
    """
    powers = tuple(powers)
    if len(powers) < 3 or powers[0] < 1 or any(b <= a for a, b in pairwise(powers)):
        raise ValueError(f"powers must be at least three ascending numbers from 1, got {powers}")
    check_map(fn, x)
    with torch.no_grad():
        y = fn(x)
    if y.shape != x.shape:
        raise ValueError(
            f"fn(x) has shape {tuple(y.shape)} and x {tuple(x.shape)}; powers of fn need the same"
        )
    values = torch.stack(
        [
            _lip_of_power(fn, n, x, n_iter=n_iter, tol=tol, isolate=isolate, generator=generator)
            for n in powers
        ]
    )
    n = torch.tensor(powers, dtype=values.dtype)
    logs = values.log()
    roots = (logs / n).exp()
    ratios = ((logs[1:] - logs[:-1]) / (n[1:] - n[:-1])).exp()
    if not bool((values > 0).all()):  # some power is constant on the samples
        return RateEstimate(powers, values, roots, torch.nan_to_num(ratios, nan=0.0), 0.0, "below")
    rho = _extrapolate(powers[-3:], logs[-3:].tolist())
    last = float(ratios[-1])
    if max(rho, last) < 1 - margin:
        verdict = "below"
    elif min(rho, last) > 1 + margin:
        verdict = "above"
    else:
        verdict = "inconclusive"
    return RateEstimate(powers, values, roots, ratios, rho, verdict)


def _lip_of_power(
    fn: Map,
    n: int,
    x: Float[Tensor, "b ..."],
    *,
    n_iter: int,
    tol: float,
    isolate: bool,
    generator: torch.Generator | None,
) -> Float[Tensor, ""]:
    def power(z: Tensor) -> Tensor:
        for _ in range(n):
            z = fn(z)
        return z

    estimate = local_lipschitz(
        power, x, method="lanczos", n_iter=n_iter, tol=tol, isolate=isolate, generator=generator
    )
    value = estimate.best
    if len(torch.unique(x.flatten(1), dim=0)) > 1:
        pairs = "all" if len(x) <= 64 else "random"
        value = max(value, empirical_lipschitz(power, x, pairs=pairs, generator=generator).max)
    return x.new_tensor(value).cpu().double()


def _extrapolate(powers: Sequence[int], logs: Sequence[float]) -> float:
    """ρ of log Lip(Tⁿ) = a + c log n + n log ρ through three points."""
    system = np.array([[1.0, math.log(n), n] for n in powers])
    return float(np.exp(np.linalg.solve(system, np.asarray(logs))[2]))
