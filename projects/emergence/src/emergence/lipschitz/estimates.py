"""What the estimators return: bounds from both sides, one per sample, with how they were found (§3.7)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class LipEstimate:
    """Bounds of a constant at each sample: lower ≤ constant ≤ upper.

    For `local_lipschitz` the constant is ‖J(x)‖₂ at the sample x, whose largest value over samples is a lower bound
    of Lip(fn) as a whole; for `log_lipschitz` it is the largest eigenvalue of (J + Jᵀ)/2.

    Args:
        lower: lower bounds, always valid up to rounding.
        upper: upper bounds; `inf` where the method gives none.
        method: how they were found.
        n_evals: products with the Jacobian or its transpose spent on each sample.
        converged: whether the lower bound had stopped to move, per sample.
        residual: ‖JᵀJ v − σ² v‖ / σ² at the end, per sample: how far v is from a singular vector; empty if unknown.

    Example:
        >>> one = torch.ones(2)
        >>> LipEstimate(one, 2 * one, "power", 10, one > 0).best
        1.0
    """

    lower: Float[Tensor, "b"]
    upper: Float[Tensor, "b"]
    method: str
    n_evals: int
    converged: Bool[Tensor, "b"]
    residual: Float[Tensor, "r"] = field(default_factory=lambda: torch.empty(0))

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape or self.lower.dim() != 1:
            raise ValueError(
                f"lower and upper must both have one entry a sample, got {tuple(self.lower.shape)} "
                f"and {tuple(self.upper.shape)}"
            )
        wrong = self.lower > self.upper + 1e-6 * self.upper.abs() + 1e-12
        if bool(wrong.any()):
            i = int(wrong.nonzero()[0, 0])
            raise ValueError(
                f"sample {i} has the lower bound {float(self.lower[i])} above its upper bound {float(self.upper[i])}"
            )

    @property
    def best(self) -> float:
        """The largest lower bound over the samples, which bounds the constant over any set holding them."""
        return float(self.lower.max())


@dataclass(frozen=True)
class PairStats:
    """Ratios ‖Tx − Ty‖ / ‖x − y‖ over pairs of samples.

    `max` is a lower bound of Lip(T), `min` an upper bound of l(T), the least ratio.

    Args:
        max: largest ratio.
        median: median ratio.
        min: smallest ratio.
        n_pairs: pairs used.
        n_skipped: pairs left out because they (almost) coincide: their ratio is rounding error.
    """

    max: float
    median: float
    min: float
    n_pairs: int
    n_skipped: int


@dataclass(frozen=True)
class RateEstimate:
    """Growth of Lip(Tⁿ) with n, and the radius ρ(T) = lim Lip(Tⁿ)^(1/n) (T1 of §3.2).

    Args:
        powers: n, ascending.
        values: lower bounds of Lip(Tⁿ), the largest over the samples.
        roots: values^(1/n); their limit is ρ, reached slowly.
        ratios: (values[i+1] / values[i])^(1/(n[i+1] − n[i])), which forget a constant factor.
        rho: the estimate of ρ, with a power of n as the factor allowed for.
        verdict: "below" or "above" one when `rho` and the last ratio say so both; otherwise "inconclusive".
    """

    powers: tuple[int, ...]
    values: Float[Tensor, "k"]
    roots: Float[Tensor, "k"]
    ratios: Float[Tensor, "k-1"]
    rho: float
    verdict: str
