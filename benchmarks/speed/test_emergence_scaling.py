"""Fits of scaling laws against the usual grid of starts, and the time of the solvable model.

    uv run pytest benchmarks/speed/test_emergence_scaling.py -n0 --benchmark-enable

One thread.
"""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from emergence.claims.public_data import generated, with_depth
from emergence.scaling.fit import fit_scaling_law
from emergence.scaling.forms import LimitLaw
from emergence.scaling.laws import ScalingLaw
from emergence.scaling.objective import Objective
from emergence.solvable import SolvableLimitModel

AXES = {
    "chinchilla": [np.linspace(0, 25, 6), np.linspace(0, 2, 5), np.linspace(0, 25, 6), np.linspace(0, 2, 5)],
    "limit": [np.linspace(-2, 2, 15), np.log(np.linspace(0.02, 1, 15)), np.linspace(0, 25, 4)],
}
"""Hoffmann et al.'s grid of starts, coordinates of A, α, B, β with five values of E: 4,500; the same number for b, λ, c."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def runs() -> pd.DataFrame:
    """240 runs with residuals like those of the published extraction."""
    rows = with_depth(generated())
    return rows.assign(loss=rows["loss"] * np.exp(0.01 * np.random.default_rng(0).laplace(size=len(rows))))


def naive(rows: pd.DataFrame, law: ScalingLaw, starts: np.ndarray) -> float:
    """The lowest Huber sum of L-BFGS from every start, with the same gradients as ours and scipy's settings."""
    objective = Objective(law, law.design(rows), np.log(rows["loss"].to_numpy()))

    def scaled(theta: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(all="ignore"):
            value, gradient = objective(np.clip(theta, -50, 50))
        return (value, gradient) if np.isfinite(value) else (1e12, np.zeros_like(theta))

    found = [minimize(scaled, start, jac=True, method="L-BFGS-B") for start in starts]
    return min(float(result.fun) for result in found) * objective.unit


def grid(name: str) -> np.ndarray:
    """4,500 starts; the exponents of the first axis of rates are logarithms in our coordinates."""
    axes = [np.linspace(-1, 1, 5), *AXES[name]]
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    if name == "chinchilla":
        starts[:, [2, 4]] = np.log(np.maximum(starts[:, [2, 4]], 1e-3))
    return starts


@pytest.mark.parametrize("name", ["chinchilla", "limit"])
def test_law_fit_against_a_grid_of_starts(versus, name):
    """240 rows: 64 starts of ours take at most a fifth of the time of 4,500, and the objective is never worse."""
    rows = runs()
    law = LimitLaw(terms=("depth", "data")) if name == "limit" else "chinchilla"
    started = time.perf_counter()
    fit = fit_scaling_law(rows, law, n_starts=64)
    seconds = time.perf_counter() - started
    assert seconds < 10
    starts = grid(name)
    assert len(starts) == 4500
    peer = partial(naive, rows, fit.law, starts)
    few = naive(rows, fit.law, starts[::90])
    assert fit.objective <= few * (1 + 1e-9)
    reached: list[float] = []
    ratio = versus(
        partial(fit_scaling_law, rows, law, n_starts=64), lambda: reached.append(peer()),
        rounds=3, warmup=1, peer="L-BFGS from a grid of 4,500 starts (scipy)", law=name, rows=240, objective=fit.objective,
        threads=1, limit=1 / 5,
    )  # fmt: skip
    assert fit.objective <= min(reached) * (1 + 1e-9)
    assert ratio.ratio <= 1 / 5


def test_the_solvable_grid_takes_less_than_a_minute(benchmark):
    """6 sizes of data × 8 depths × 7 numbers of steps × 4 samples, with the 200,000 samples that stand for infinity."""

    def measure() -> float:
        started = time.perf_counter()
        data, blocks = [256 * 2**k for k in range(6)], [1, 2, 3, 4, 6, 8, 12, 16]
        SolvableLimitModel().error_grid(data, blocks, [2**k for k in range(7)], n_seeds=4)
        return time.perf_counter() - started

    if not benchmark.enabled:
        pytest.skip("timings need --benchmark-enable -n0")
    assert benchmark.pedantic(measure, rounds=1) < 60
