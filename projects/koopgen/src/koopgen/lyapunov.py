"""The largest Lyapunov exponent by Benettin's method, for true systems and learned ones alike (§6, §8)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Advance = Callable[[Float[np.ndarray, "n n_x"]], Float[np.ndarray, "n n_x"]]


@dataclass(frozen=True)
class LyapunovEstimate:
    """A Lyapunov exponent with its statistical error.

    Args:
        value: per unit of time.
        standard_error: from the scatter between the trajectories.
    """

    value: float
    standard_error: float


def lyapunov_max(
    advance: Advance,
    x0: Float[np.ndarray, "n n_x"],
    interval: float,
    steps: int,
    *,
    settle: int = 0,
    distance: float = 1e-7,
    seed: int = 0,
) -> LyapunovEstimate:
    """Mean logarithmic growth rate of a small distance between two trajectories, renormalised at every step.

        λ₁ = 1/(steps·interval) Σ_k log(‖y_k − x_k‖ / distance)

    Args:
        advance: moves states on by `interval`; `System.advance`, or a model's step.
        x0: states on the attractor, at least two; the exponents of all are averaged.
        interval: time of one step.
        steps: how many to measure over.
        settle: steps before, in which the difference turns into the fastest growing direction.
        distance: between the two trajectories, small against the attractor and large against round-off.
        seed: of the first direction.

    Raises:
        ValueError: for sizes out of range.
        ArithmeticError: if a trajectory leaves the finite numbers or the two meet.

    Example:
        >>> grow = lambda x: x * np.exp([0.3 * 0.1, -1.0 * 0.1])  # exponents 0.3 and −1
        >>> round(lyapunov_max(grow, np.ones((2, 2)) * 0, 0.1, 100, settle=300).value, 6)
        0.3
    """
    x = np.asarray(x0, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x0 must hold at least two states (n, n_x), got shape {x.shape}")
    for name, value, least in (("steps", steps, 1), ("settle", settle, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if interval <= 0 or distance <= 0:
        raise ValueError(f"interval and distance must be positive, got {interval} and {distance}")
    # Channel by channel in memory, as the systems like it, and both trajectories in one array: one call a step.
    n = len(x)
    direction = np.random.default_rng(seed).standard_normal(x.shape)
    direction *= distance / np.linalg.norm(direction, axis=1, keepdims=True)
    pair = np.asfortranarray(np.concatenate([x, x + direction]))
    growth = np.zeros(n)
    for k in range(settle + steps):
        pair = advance(pair)
        difference = pair[n:] - pair[:n]
        length = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        if not (np.isfinite(length) & (length > 0)).all():
            raise ArithmeticError(
                f"after {k + 1} steps the distance of a pair is zero or not finite; choose another distance, "
                "or check that the trajectories stay bounded"
            )
        if k >= settle:
            growth += np.log(length / distance)
        pair[n:] = pair[:n] + difference * (distance / length)[:, None]
    rates = growth / (steps * interval)
    return LyapunovEstimate(float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(n)))
