"""Bootstrap of a fit: rows drawn with replacement, each resample fitted from where the fit ended (§3.5)."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from .laws import Array
from .objective import Bounds, Objective, descend


def resample(
    objective: Objective, theta: Float64[Array, "k"], limits: Bounds, count: int, seed: int
) -> list[Float64[Array, "k"]]:
    """Coordinates fitted to `count` resamples of the rows.

    A resample is a vector of how often each row counts, so nothing is copied. Starting where the fit ended makes a
    resample cheap; a fit whose starts disagree (`FitResult.multimodal`) has intervals that are too narrow for it.

    Args:
        objective: of the fit.
        theta: where it ended.
        limits: of the coordinates.
        count: number of resamples; 0 for none.
        seed: of the draws.
    """
    draw = np.random.default_rng([seed, 1])
    n = len(objective.log_loss)
    found = []
    for _ in range(count):
        weights = np.bincount(draw.integers(n, size=n), minlength=n).astype(float)
        found.append(descend(replace(objective, weights=weights), theta, limits)[0])
    return found
