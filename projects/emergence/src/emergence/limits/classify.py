"""`classify_block`: contractive, critical or expansive, and whether the limit of infinite depth exists (§3.2, §3.8).

Lip(Tⁿ) → 0  ⇔  ρ(T) = lim Lip(Tⁿ)^(1/n) < 1      (sharp; Lip(T) < 1 is only sufficient)
ρ = 1: the one case in which the limit can exist *and* depend on the input; it need not exist (−I, rotations)
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..arguments import check_above_zero, check_points, check_positive
from ..bounds.calculus import UnboundedLipschitzError
from ..bounds.compositional import lipschitz_bound
from ..lipschitz.local import local_lipschitz
from .evidence import OrbitEvidence, bootstrap_rho, gather_evidence
from .iterate import Block
from .report import BlockReport
from .trace import geometric_rate

LEAST_STARTS = 16
SETTLED = 1e-3
"""Steps below this part of the first one have died out."""


def classify_block(
    fn: Block | nn.Module,
    x: Float[Tensor, "b ..."],
    *,
    n_steps: int = 64,
    tau: float = 0.01,
    lip_upper: float | None = None,
    injected: bool = False,
    n_bootstrap: int = 200,
    n_points: int = 16,
    isolate: bool = True,
    generator: torch.Generator | None = None,
) -> BlockReport:
    """Judge a block by its orbits from the samples x.

    1. Iterate it; a value that is not finite means expansive.
    2. ρ from the growth of Tⁿ over pairs and tangent vectors, with a bootstrap interval; Lip from Jacobians (below) and
       by composition (above, if every part has a bound).
    3. Contractive if the upper bound is below 1 or the interval of ρ below 1 − tau; expansive if it is above 1 + tau;
       inconclusive if it reaches over both; else critical.
    4. A critical block has a limit if its steps die out, or fall at least as k^(-1/2); none if they stay; unknown else.

    ρ is seen on these orbits only: it is a lower bound for the whole space.

    Args:
        fn: maps a batch to a batch of the same shape, sample by sample.
        x: at least 16 starts, in float32 or float64 (better).
        n_steps: applications, at least 8.
        tau: width of the critical band.
        lip_upper: an upper bound of Lip(fn), where one is known; by default looked for by composition.
        injected: the input enters every application (fn closes over it), so that a limit does not forget it.
        n_bootstrap: resamplings for the interval.
        n_points: points of the orbits at which ‖J‖₂ is taken.
        isolate: see `local_lipschitz`; False for modules that vmap cannot run.
        generator: of all draws; seed 0 without one.

    Raises:
        ValueError: for fewer starts, coinciding starts, or a block that changes the shape.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> x = torch.randn(16, 2, dtype=torch.float64)
        >>> report = classify_block(lambda z: z @ turn, x)
        >>> report.regime, report.limit_exists
        ('critical', False)
        >>> classify_block(lambda z: 0.5 * (z + z @ turn), x).regime
        'contractive'
    """
    check_points("x", x, least=LEAST_STARTS)
    check_positive(n_steps=n_steps, n_bootstrap=n_bootstrap, n_points=n_points)
    check_above_zero(tau=tau)
    if n_steps < 8:
        raise ValueError(f"n_steps must be at least 8, got {n_steps}: the rate is read off three doublings")
    if not bool((torch.pdist(x.detach().flatten(1)) > 0).any()):
        raise ValueError("all starts of x coincide: growth is a ratio of distances between different starts")
    generator = generator or torch.Generator(x.device).manual_seed(0)
    evidence = gather_evidence(fn, x.detach(), n_steps, generator)
    upper = _upper_bound(fn, x) if lip_upper is None else lip_upper
    if not evidence.powers:
        return BlockReport(
            "expansive",
            False,
            math.inf,
            (math.inf, math.inf),
            math.inf,
            upper,
            math.nan,
            math.nan,
            injected,
            evidence,
        )
    rho, low, high = bootstrap_rho(evidence, n_bootstrap, generator)
    lower = max(evidence.growth[0], _local(fn, evidence, n_points, isolate, generator))
    regime = _regime(evidence, upper, low, high, tau)
    return BlockReport(
        regime=regime,
        limit_exists=_limit_exists(regime, evidence),
        rho=rho,
        rho_interval=(low, high),
        lip_lower=lower,
        lip_upper=upper,
        retention=float(evidence.spread[-1]),
        rate=_rate(evidence, x.dtype),
        injected=injected,
        evidence=evidence,
    )


def _upper_bound(fn: Block | nn.Module, x: Tensor) -> float:
    """By composition; infinite for a plain function, and where a part has no bound (UnboundedLipschitzError) or no rule
    (TypeError)."""
    if not isinstance(fn, nn.Module):
        return math.inf
    try:
        return lipschitz_bound(fn, seq_len=x.shape[1] if x.dim() == 3 else None).value
    except (UnboundedLipschitzError, TypeError):
        return math.inf


def _local(
    fn: Block | nn.Module, evidence: OrbitEvidence, n_points: int, isolate: bool, generator: torch.Generator
) -> float:
    """Largest ‖J‖₂ at states spread over the orbits."""
    stride = max(1, len(evidence.points) // n_points)
    return local_lipschitz(
        fn, evidence.points[::stride][:n_points], isolate=isolate, generator=generator
    ).best


def _regime(
    evidence: OrbitEvidence, upper: float, low: float, high: float, tau: float
) -> Literal["contractive", "critical", "expansive", "inconclusive"]:
    if not evidence.finite or low > 1 + tau:
        return "expansive"
    if upper < 1 or high < 1 - tau:
        return "contractive"
    if low < 1 - tau and high > 1 + tau:
        return "inconclusive"
    return "critical"


def _limit_exists(regime: str, evidence: OrbitEvidence) -> bool | None:
    if regime in ("contractive", "expansive"):
        return regime == "contractive"
    return steps_die_out(evidence.deltas.double().mean(1))


def steps_die_out(deltas: Float[Tensor, "n"]) -> bool | None:
    """Whether ‖T^k x − T^(k−1) x‖ dies out: True, False, or None where n steps do not tell.

    True if the last one is below a thousandth of the first, or they fall as k^(-1/2) or faster (R² above 0.95 in log-log
    over the last three quarters); False if they hardly fall at all.

    Example:
        >>> k = torch.arange(1, 65).double()
        >>> steps_die_out(k**-0.5), steps_die_out(torch.ones(64)), steps_die_out(k**-0.2)
        (True, False, None)
    """
    if bool((deltas == 0).all()) or float(deltas[-1]) < SETTLED * float(deltas[0]):
        return True
    k = torch.arange(1, len(deltas) + 1, dtype=deltas.dtype, device=deltas.device)
    start = len(deltas) // 4
    x, y = k[start:].log(), deltas[start:].clamp(min=torch.finfo(deltas.dtype).tiny).log()
    x, y = x - x.mean(), y - y.mean()
    slope = float((x * y).sum() / x.square().sum())
    if slope > -0.1:
        return False
    fit = 1 - float((y - slope * x).square().sum() / y.square().sum())
    return True if slope <= -0.5 + 0.02 and fit > 0.95 else None


def _rate(evidence: OrbitEvidence, dtype: torch.dtype) -> float:
    """Factor by which the steps shrink; NaN where they vanish at once."""
    try:
        return geometric_rate(evidence.deltas.double().mean(1), float(evidence.norms.max()), dtype)
    except ValueError:
        return math.nan
