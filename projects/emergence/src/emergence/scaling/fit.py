"""Fits of scaling laws: start from the grid, descend from many starts, polish, and say how much the data determine (§3.5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float64

from .bootstrap import resample
from .forms import get_law
from .identifiability import unidentified
from .laws import Array, ScalingLaw, column
from .objective import Bounds, Objective, descend, polish
from .rows import check_rows
from .varpro import decay_range, starts

FROM_GRID = 16
"""Starts taken from the grid (§3.8); the others are the best of them, jittered."""

AGREEMENT = 1e-3
"""Starts agree that end within this relative distance of the best objective."""

_JITTER = 0.7


@dataclass(frozen=True)
class FitResult:
    """A fitted law with what there is to doubt it.

    Args:
        law: the law with its numbers.
        params: parameter name -> fitted value.
        objective: summed loss.
        residuals: log prediction − log observation, per row.
        aicc: Akaike's criterion, corrected for few rows.
        bic: Schwarz's criterion.
        r2: coefficient of determination of the logarithms.
        n_starts: starts tried.
        agreement: share of the starts that end within a relative 1e-3 of the best objective.
        unidentified: parameter -> why the data do not determine it.
        draws: bootstrap parameters, one row a resample; empty without bootstrap.
        level: of the intervals in `ci`.

    Both criteria use the distribution the loss stands for, with its scale as one more parameter: Laplace for Huber's
    loss (whose threshold is far below the residuals), Gauss for the squared one.
    """

    law: ScalingLaw
    params: Mapping[str, float]
    objective: float
    residuals: Float64[Array, "n"] = field(repr=False)
    aicc: float
    bic: float
    r2: float
    n_starts: int
    agreement: float
    unidentified: Mapping[str, str]
    draws: pd.DataFrame = field(repr=False)
    level: float = 0.95

    @property
    def identifiable(self) -> bool:
        """Whether the data determine every parameter."""
        return not self.unidentified

    @property
    def multimodal(self) -> bool:
        """Whether fewer than half of the starts find the best objective: distrust a fit with few starts."""
        return self.agreement < 0.5

    @cached_property
    def ci(self) -> dict[str, tuple[float, float]]:
        """Parameter -> percentile interval of the bootstrap; empty without bootstrap."""
        tail = (1 - self.level) / 2
        return {
            str(name): (float(self.draws[name].quantile(tail)), float(self.draws[name].quantile(1 - tail)))
            for name in self.draws
        }

    def predict(self, rows: pd.DataFrame) -> Float64[Array, "n"]:
        """Predicted losses."""
        return self.law.predict(rows)

    def band(self, rows: pd.DataFrame) -> tuple[Float64[Array, "n"], Float64[Array, "n"]]:
        """Lower and upper ends of the bootstrap's interval of the predictions.

        Raises:
            ValueError: the fit has no bootstrap.
        """
        if self.draws.empty:
            raise ValueError("the fit has no bootstrap; fit with bootstrap=200 or more")
        found = [
            self.law.with_params(dict(zip(self.law.names, draw, strict=True))).predict(rows)
            for draw in self.draws.to_numpy(dtype=float)
        ]
        tail = (1 - self.level) / 2
        low, high = np.quantile(found, (tail, 1 - tail), axis=0)
        return low, high


def fit_scaling_law(
    rows: pd.DataFrame,
    law: str | ScalingLaw | type[ScalingLaw],
    *,
    loss: str = "huber",
    delta: float = 1e-3,
    n_starts: int = 64,
    bootstrap: int = 0,
    seed: int = 0,
) -> FitResult:
    """Fit a law to a table of runs.

    Args:
        rows: one run a row; column `loss` and those the law reads.
        law: a name of `LAWS`, a class, or an instance such as `LimitLaw(terms=("depth", "data"), gamma=None)`.
        loss: "huber" or "squared", summed over rows, of residuals in log space.
        delta: Huber's threshold.
        n_starts: descents; the first sixteen start from the grid, the others from jittered copies of their best.
        bootstrap: resamples for confidence intervals; 0 for none. 200 take seconds, 4000 (for publication) a minute.
        seed: of jitter and bootstrap.

    Raises:
        TypeError, ValueError: see `check_rows`; n_starts below 1, negative bootstrap, an unknown law or loss.

    Example:
        >>> from emergence.scaling.forms import LimitLaw
        >>> grid = pd.MultiIndex.from_product([[1, 2, 4, 8], [1e3, 1e4, 1e5]], names=["n_blocks", "n_data"]).to_frame(index=False)
        >>> law = LimitLaw({"E": 1.0, "b": 2.0, "lam": 0.7, "c": 30.0}, terms=("depth", "data"))
        >>> fit = fit_scaling_law(grid.assign(loss=law.predict(grid)), law, n_starts=16)
        >>> round(fit.params["lam"], 4), fit.identifiable
        (0.7, True)
    """
    form = get_law(law)
    if n_starts < 1:
        raise ValueError(f"n_starts must be at least 1, got {n_starts}")
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be at least 0, got {bootstrap}")
    check_rows(rows, form)
    observed = column(rows, "loss")
    design = form.design(rows)
    centre = np.median(design, axis=0)
    objective = Objective(form, design - centre, np.log(observed), loss, delta)
    limits = bounds(form, design)
    theta, ends = search(objective, observed, limits, n_starts, np.random.default_rng(seed))
    best = objective.value(theta)
    draws = resample(objective, theta, limits, bootstrap, seed)
    params = form.natural(form.shifted(theta, centre))
    residuals = objective.residuals(theta)
    aicc, bic = criteria(objective, best, len(rows), len(form.names))
    spread = np.log(observed) - np.log(observed).mean()
    return FitResult(
        law=form.with_params(params),
        params=params,
        objective=best,
        residuals=residuals,
        aicc=aicc,
        bic=bic,
        r2=float(1 - residuals @ residuals / (spread @ spread)) if spread.any() else float("nan"),
        n_starts=n_starts,
        agreement=float(np.mean(np.array(ends) <= best * (1 + AGREEMENT) + 1e-15)),
        unidentified=unidentified(form, theta, design - centre),
        draws=pd.DataFrame(
            [form.natural(form.shifted(draw, centre)) for draw in draws], columns=list(form.names)
        )
        if len(draws)
        else pd.DataFrame(),
    )


def bounds(law: ScalingLaw, design: Float64[Array, "n j"]) -> Bounds:
    """Decay rates stay where the positions can tell them from a constant and from a spike; the rest is free."""
    limits: Bounds = [(None, None)] * len(law.names)
    for k, j in law.decays.items():
        low, high = decay_range(design[:, j])
        limits[k] = (float(np.log(low)), float(np.log(high)))
    return limits


def search(
    objective: Objective,
    observed: Float64[Array, "n"],
    limits: Bounds,
    n_starts: int,
    draw: np.random.Generator,
) -> tuple[Float64[Array, "k"], list[float]]:
    """Best coordinates, and the objective each start ended with."""
    grid = starts(objective.law, objective.design, observed, min(n_starts, FROM_GRID))
    ends = [descend(objective, start, limits) for start in grid]
    best = min(ends, key=lambda end: end[1])[0]
    for _ in range(n_starts - len(grid)):
        start = _clip(best + _JITTER * draw.standard_normal(len(best)), limits)
        ends.append(descend(objective, start, limits))
    ends.sort(key=lambda end: end[1])
    polished = [polish(objective, theta, limits) for theta, _ in ends[:2]]
    return min(polished, key=lambda end: end[1])[0], [value for _, value in ends]


def criteria(objective: Objective, value: float, n: int, k: int) -> tuple[float, float]:
    """AICc and BIC of a fit with k parameters and a fitted scale."""
    if objective.loss == "huber":
        scale = max(value / (n * objective.delta), 1e-300)
        deviance = 2 * n * (np.log(2 * scale) + 1)
    else:
        deviance = n * (np.log(2 * np.pi * max(2 * value / n, 1e-300)) + 1)
    k += 1
    correction = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf
    return float(deviance + 2 * k + correction), float(deviance + k * np.log(n))


def _clip(theta: Array, limits: Bounds) -> Array:
    low = [-np.inf if a is None else a for a, _ in limits]
    high = [np.inf if b is None else b for _, b in limits]
    return np.clip(theta, low, high)
