"""Optimal allocations against brute force, and how they grow with the budget."""

import math

import numpy as np
import pandas as pd
import pytest

from emergence.scaling.allocation import optimal_allocation
from emergence.scaling.forms import ChinchillaLaw, LimitLaw, PowerStepLaw

TERMS = ("depth", "data")


@pytest.mark.parametrize("compute", [1e2, 1e4, 1e8])
@pytest.mark.parametrize("combine", ["sum", "quadrature"])
@pytest.mark.parametrize(
    ("lam", "c", "gamma"),
    [(0.5, 1.0, 0.5), (0.9, 3.0, 0.5), (0.8, 0.2, 0.3), (0.7, 2.0, 1.4), (0.8, 50.0, 0.5)],
)
def test_brute_force(lam, c, gamma, combine, compute):
    law = LimitLaw(
        {"E": 0.1, "b": 1.5, "lam": lam, "c": c, "gamma": gamma}, terms=TERMS, gamma=None, combine=combine
    )
    found = optimal_allocation(law, compute)
    assert found.n_blocks * found.n_data == pytest.approx(compute)
    depths = np.geomspace(1, compute, 40_001)
    losses = law.predict(pd.DataFrame({"n_blocks": np.minimum(depths, 9999), "n_data": compute / depths}))
    losses = losses[depths <= 9999]
    mine = law.predict(pd.DataFrame({"n_blocks": [found.n_blocks], "n_data": [found.n_data]}))[0]
    assert mine <= losses.min() * (1 + 1e-9)


def test_depth_grows_like_the_logarithm_and_size_like_a_power():
    """The contrast that data can decide: P* gains log(100)/(2 log 1/λ) per factor 100, n_params* a fixed factor."""
    limit = LimitLaw({"E": 0.0, "b": 1.0, "lam": 0.5, "c": 1.0}, terms=TERMS)
    depths = [optimal_allocation(limit, 10.0**k).n_blocks for k in (12, 14, 16, 18)]
    gains = np.diff(depths)
    np.testing.assert_allclose(gains, math.log(100) / (2 * math.log(2)), rtol=0.1)
    chinchilla = ChinchillaLaw({"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37})
    sizes = [optimal_allocation(chinchilla, c).n_params for c in (1e20, 1e22, 1e24)]
    np.testing.assert_allclose(np.divide(sizes[1:], sizes[:-1]), 100 ** (0.37 / 0.72), rtol=1e-9)


def test_chinchilla_against_brute_force():
    law = ChinchillaLaw({"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37})
    found = optimal_allocation(law, 1e21)
    assert 6 * found.n_params * found.n_tokens == pytest.approx(1e21)
    sizes = np.geomspace(1e7, 1e12, 20_001)
    losses = law.predict(pd.DataFrame({"n_params": sizes, "n_tokens": 1e21 / 6 / sizes}))
    assert found.n_params == pytest.approx(sizes[losses.argmin()], rel=1e-3)


def test_a_budget_too_small_for_depth_goes_into_data():
    law = LimitLaw({"E": 0.0, "b": 0.01, "lam": 0.5, "c": 10.0}, terms=TERMS)
    assert optimal_allocation(law, 100.0) == (1.0, 100.0)
    without = LimitLaw({"E": 0.0, "b": 0.0, "lam": 0.5, "c": 10.0}, terms=TERMS)
    assert optimal_allocation(without, 100.0) == (1.0, 100.0)


@pytest.mark.parametrize(
    ("law", "compute", "error", "message"),
    [
        (ChinchillaLaw({"E": 1.0}), 0.0, ValueError, "compute must be finite and above 0, got 0"),
        (ChinchillaLaw(), 1.0, ValueError, "chinchilla law has no parameters yet"),
        (PowerStepLaw(), 1.0, TypeError, "knows LimitLaw and ChinchillaLaw, got PowerStepLaw"),
        (LimitLaw({"E": 1.0}, terms=("data",)), 10.0, ValueError, 'needs the terms "depth" and "data"'),
        (LimitLaw({"b": 1.0, "lam": 0.5, "c": 1.0}), 0.5, ValueError, "compute must be at least 1"),
    ],
)
def test_bad_input(law, compute, error, message):
    with pytest.raises(error, match=message):
        optimal_allocation(law, compute)
