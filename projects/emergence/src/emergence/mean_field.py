"""Mean-field theory of wide tanh networks: where signals neither die nor become chaos (§3.8).

    q ← λ² E_z[tanh²(√q z)] + σ_b²,      χ = λ² E_z[sech⁴(√q z)],      ξ = 1 / |ln χ|,      z ~ N(0, 1)

q is the variance of pre-activations, χ the factor by which a small difference of two inputs (its square) grows a block, ξ
the number of blocks over which they forget or lose each other. χ = 1 is the edge.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

# Gauss–Hermite quadrature with 64 nodes misses the peak of sech⁴ from gains of 3 on; the trapezoidal rule does not.
_Z = np.linspace(-9.0, 9.0, 1801)
_WEIGHTS = np.exp(-(_Z**2) / 2)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class MeanField:
    """The fixed point of the variance map.

    Args:
        gain: λ.
        bias_std: σ_b.
        q: variance of the pre-activations at the fixed point.
        chi: χ there; below 1 inputs converge, above 1 they separate.
    """

    gain: float
    bias_std: float
    q: float
    chi: float

    @property
    def depth_scale(self) -> float:
        """ξ in blocks; infinite at the edge."""
        return math.inf if self.chi == 1 else 1 / abs(math.log(self.chi)) if self.chi > 0 else 0.0


def mean_field(gain: float, bias_std: float = 0.0) -> MeanField:
    """The fixed point of the variance map that is reached from above, as a root: the iteration itself is slow at the edge.

    Args:
        gain: λ, the standard deviation of a weight times the root of the width; above 0.
        bias_std: σ_b, at least 0.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> mean_field(0.8).chi < 1 < mean_field(1.5).chi
        True
    """
    if not gain > 0 or not math.isfinite(gain):
        raise ValueError(f"gain must be finite and above 0, got {gain}")
    if not bias_std >= 0 or not math.isfinite(bias_std):
        raise ValueError(f"bias_std must be finite and at least 0, got {bias_std}")
    if gain <= 1 and bias_std == 0:  # tanh² < z², so the only fixed point is 0
        return MeanField(gain, bias_std, 0.0, gain**2)
    q = _positive_root(gain, bias_std)
    slope = float(_WEIGHTS @ np.cosh(math.sqrt(q) * _Z) ** -4.0)
    return MeanField(gain, bias_std, q, gain**2 * slope)


def _positive_root(gain: float, bias_std: float) -> float:
    """map(q) / q − 1 falls from above 0 to below 0 (E tanh² is concave in q), so its root is the only one."""

    def excess(q: float) -> float:
        return variance_map(q, gain, bias_std) / q - 1

    low, high = 1e-12, gain**2 + bias_std**2
    return float(brentq(excess, low, high, xtol=1e-15, rtol=1e-12)) if excess(low) > 0 else low


def variance_map(q: float, gain: float, bias_std: float = 0.0) -> float:
    """Variance of the pre-activations one block later, λ² E[tanh²(√q z)] + σ_b².

    Example:
        >>> round(variance_map(1.0, gain=1.0), 4)
        0.3943
    """
    return gain**2 * float(_WEIGHTS @ np.tanh(math.sqrt(q) * _Z) ** 2) + bias_std**2


def critical_gain(bias_std: float = 0.0, low: float = 0.1, high: float = 5.0, tol: float = 1e-6) -> float:
    """The gain λ at which χ = 1, by bisection; 1 without bias, more with one.

    Args:
        bias_std: σ_b.
        low: a gain with χ < 1.
        high: a gain with χ > 1.
        tol: half the width of the last bracket.

    Raises:
        ValueError: if the bracket does not hold the edge.

    Example:
        >>> round(critical_gain(0.0), 3), critical_gain(0.3) > 1
        (1.0, True)
    """
    if not mean_field(low, bias_std).chi < 1 < mean_field(high, bias_std).chi:
        raise ValueError(
            f"χ = 1 is not between the gains low = {low} and high = {high} at bias_std = {bias_std}; widen them"
        )
    while high - low > 2 * tol:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_field(middle, bias_std).chi < 1 else (low, middle)
    return (low + high) / 2
