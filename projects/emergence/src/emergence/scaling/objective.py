"""What a fit minimises: the sum over rows of a loss of the residual log prediction − log observation (§3.5).

Sums, not means: with residuals of 1e-2 and a Huber threshold of 1e-3 the whole objective is of size 1e-3, and an
optimiser with the tolerances of size-one problems stops before it has begun (§10.12). The optimiser is therefore given
the objective in units of what a single row contributes at the threshold, δ².
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize

from .laws import ScalingLaw

Array = np.ndarray

_ROUNDS = 6
"""Restarts of the polish: a Huber sum has kinks that end a line search early."""


@dataclass(frozen=True)
class Objective:
    """Summed loss of a law on rows.

    Args:
        law: the form.
        design: positions of its terms, centred.
        log_loss: logarithms of the observed losses.
        loss: "huber" or "squared".
        delta: Huber's threshold between square and absolute value, in log units.
        weights: how often each row counts.

    Raises:
        ValueError: an unknown loss, or a threshold that is not above 0.
    """

    law: ScalingLaw
    design: Float64[Array, "n j"]
    log_loss: Float64[Array, "n"]
    loss: str = "huber"
    delta: float = 1e-3
    weights: Float64[Array, "n"] | None = None

    def __post_init__(self) -> None:
        if self.loss not in ("huber", "squared"):
            raise ValueError(f"loss must be 'huber' or 'squared', got {self.loss!r}")
        if not 0 < self.delta < np.inf:
            raise ValueError(f"delta must be finite and above 0, got {self.delta}")

    @property
    def unit(self) -> float:
        """What the optimiser takes for one."""
        return self.delta**2 if self.loss == "huber" else 1e-6

    def residuals(self, theta: Float64[Array, "k"]) -> Float64[Array, "n"]:
        """log prediction − log observation."""
        return self.law.log_prediction(theta, self.design)[0] - self.log_loss

    def value(self, theta: Float64[Array, "k"]) -> float:
        """The sum, in the units of the data: ½ r² inside the threshold, δ(|r| − δ/2) outside."""
        return self._value_and_slope(self.residuals(theta))[0]

    def _value_and_slope(self, r: Float64[Array, "n"]) -> tuple[float, Float64[Array, "n"]]:
        if self.loss == "huber":
            slope = np.clip(r, -self.delta, self.delta)
            rho = slope * (r - 0.5 * slope)
        else:
            slope, rho = r, 0.5 * r * r
        if self.weights is not None:
            slope, rho = self.weights * slope, self.weights * rho
        return float(rho.sum()), slope

    def __call__(self, theta: Float64[Array, "k"]) -> tuple[float, Float64[Array, "k"]]:
        """Value and gradient in `unit`s, as scipy wants them."""
        prediction, jacobian = self.law.log_prediction(theta, self.design)
        value, slope = self._value_and_slope(prediction - self.log_loss)
        return value / self.unit, (slope @ jacobian) / self.unit


Bounds = list[tuple[float | None, float | None]]


def descend(
    objective: Objective, start: Float64[Array, "k"], bounds: Bounds, steps: int = 300
) -> tuple[Array, float]:
    """Coordinates and value where L-BFGS with bounds ends."""
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-9, "gtol": 1e-8, "maxcor": 20},
    )
    return found.x, float(found.fun) * objective.unit


def polish(objective: Objective, start: Float64[Array, "k"], bounds: Bounds) -> tuple[Array, float]:
    """The bottom of the valley `start` is in: full BFGS and L-BFGS in turn, until neither gains a relative 1e-12."""
    best, value = np.array(start), objective.value(start)
    for _ in range(_ROUNDS):
        before = value
        for attempt in (_bfgs, _tight):
            theta = attempt(objective, best, bounds)
            reached = objective.value(theta)
            if reached < value and _inside(theta, bounds):
                best, value = theta, reached
        if before - value <= 1e-12 * before:
            break
    return best, value


def _bfgs(objective: Objective, start: Array, bounds: Bounds) -> Array:
    return minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 500}).x


def _tight(objective: Objective, start: Array, bounds: Bounds) -> Array:
    options = {"maxiter": 1000, "maxfun": 3000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30}
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _inside(theta: Array, bounds: Bounds) -> bool:
    return all(
        (low is None or t >= low) and (high is None or t <= high)
        for t, (low, high) in zip(theta, bounds, strict=True)
    )
