"""Starts of fits: the exact small least squares against scipy's, and a grid that comes close to the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls as scipy_nnls

from emergence.scaling.forms import LimitLaw
from emergence.scaling.laws import KaplanLaw
from emergence.scaling.varpro import decay_range, nnls, starts


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_nnls_is_scipys(m):
    draw = np.random.default_rng(m)
    matrices, targets = draw.normal(size=(40, 12, m)), draw.normal(size=(40, 12))
    gram = np.einsum("bni,bnj->bij", matrices, matrices)
    found = nnls(gram, np.einsum("bni,bn->bi", matrices, targets))
    expected = np.stack([scipy_nnls(a, y)[0] for a, y in zip(matrices, targets)])
    assert (expected == 0).any()  # some constraints are active
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_nnls_knows_its_limits():
    with pytest.raises(ValueError, match="at most 6 unknowns, got 7"):
        nnls(np.eye(7)[None], np.ones((1, 7)))


def test_the_range_of_decays():
    low, high = decay_range(np.array([4.0, 1.0, 2.0, 11.0]))
    assert low == pytest.approx(1e-4)
    assert high == pytest.approx(30.0)
    assert decay_range(np.linspace(0, 1, 1001))[1] == pytest.approx(
        30 * 50
    )  # gaps below a fiftieth do not count


@pytest.mark.parametrize("combine", ["sum", "quadrature"])
def test_the_best_start_predicts_a_surface_well(combine):
    rows = pd.MultiIndex.from_product(
        [[1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16], [256, 1024, 4096]], names=["n_steps", "n_blocks", "n_data"]
    ).to_frame(index=False)
    truth = {"E": 0.3, "a": 2.0, "beta": 0.85, "b": 1.5, "lam": 0.6, "c": 15.0, "gamma": 0.5}
    law = LimitLaw(truth, gamma=None, combine=combine)
    loss, design = law.predict(rows), law.design(rows)
    found = starts(law, design, loss, 16)
    assert len(found) == 16
    errors = [np.abs(law.log_prediction(theta, design)[0] - np.log(loss)).mean() for theta in found]
    assert errors[0] < 0.05
    assert errors[0] <= np.median(errors)
    assert np.isfinite(found).all()


def test_a_term_that_is_not_there_starts_small_but_alive():
    rows = pd.DataFrame({"n_blocks": [1.0, 2, 4, 8, 1, 2, 4, 8], "n_data": [10.0] * 4 + [1000.0] * 4})
    law = LimitLaw({"E": 1.0, "b": 0.0, "lam": 0.5, "c": 3.0}, terms=("depth", "data"))
    design = law.design(rows)
    theta = starts(law, design - design.mean(0), law.predict(rows), 1)[0]
    assert np.isfinite(theta).all()
    assert law.natural(theta)["b"] == pytest.approx(1e-4 * law.predict(rows).min(), rel=1e-6)


def test_kaplan_starts():
    draw = np.random.default_rng(0)
    design = np.stack([draw.uniform(-3, 3, 60), draw.uniform(-3, 3, 60)], axis=1)
    law = KaplanLaw({"Nc": 3.0, "alpha_N": 0.3, "Dc": 5.0, "alpha_D": 0.25})
    truth = law.coordinates(law.params)
    loss = np.exp(law.log_prediction(truth, design)[0])
    theta = starts(law, design, loss, 4)[0]
    assert np.abs(law.log_prediction(theta, design)[0] - np.log(loss)).max() < 0.05


def test_other_laws_are_refused():
    with pytest.raises(TypeError, match="starts knows sums of terms and the Kaplan law, got str"):
        starts("limit", np.zeros((2, 1)), np.ones(2), 1)
