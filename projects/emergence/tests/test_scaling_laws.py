"""Forms of laws: values against the formulas, derivatives against differences, what a column may hold."""

import math

import numpy as np
import pandas as pd
import pytest

from emergence.scaling.forms import LAWS, ChinchillaLaw, LimitLaw, PowerStepLaw, effective_depth, get_law
from emergence.scaling.laws import KaplanLaw, SumLaw, Term, column

ROWS = pd.DataFrame(
    {
        "n_steps": [1.0, 4, 16, 64, 3],
        "n_blocks": [1.0, 2, 8, 16, 5],
        "n_data": [256.0, 512, 4096, 8192, 1000],
        "n_params": [1e6, 3e7, 2e8, 1e9, 5e6],
        "n_tokens": [1e8, 3e7, 2e9, 1e10, 7e8],
    }
)
LIMIT = {"E": 0.5, "a": 1.5, "beta": 0.8, "b": 2.0, "lam": 0.7, "c": 20.0, "gamma": 0.45}
NUMBERED = {
    "limit": LimitLaw(LIMIT, gamma=None),
    "limit, gamma fixed": LimitLaw(LIMIT),
    "limit, quadrature": LimitLaw(LIMIT, gamma=None, combine="quadrature"),
    "limit, no floor": LimitLaw(LIMIT, gamma=None, floor=False, terms=("depth", "data")),
    "power-step": PowerStepLaw({**LIMIT, "eta": 0.6}, gamma=None),
    "chinchilla": ChinchillaLaw({"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}),
    "kaplan": KaplanLaw({"Nc": 6.4e13, "alpha_N": 0.076, "Dc": 1.8e13, "alpha_D": 0.103}),
}


def test_the_formulas():
    r, p = ROWS, LIMIT
    steps, depth = p["a"] * p["beta"] ** r.n_steps, p["b"] * p["lam"] ** r.n_blocks
    data = p["c"] * r.n_data ** -p["gamma"]
    expected = {
        "limit": p["E"] + steps + depth + data,
        "limit, gamma fixed": p["E"] + steps + depth + p["c"] * r.n_data**-0.5,
        "limit, quadrature": np.sqrt(p["E"] ** 2 + steps**2 + depth**2 + data**2),
        "limit, no floor": depth + data,
        "power-step": p["E"] + p["a"] * r.n_steps**-0.6 + depth + data,
        "chinchilla": 1.8 + 480 * r.n_params**-0.35 + 2100 * r.n_tokens**-0.37,
        "kaplan": ((6.4e13 / r.n_params) ** (0.076 / 0.103) + 1.8e13 / r.n_tokens) ** 0.103,
    }
    for name, law in NUMBERED.items():
        np.testing.assert_allclose(law.predict(ROWS), expected[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", NUMBERED)
def test_derivatives_against_central_differences(name):
    law = NUMBERED[name]
    theta, design = law.coordinates(law.params), law.design(ROWS)
    _, jacobian = law.log_prediction(theta, design)
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = 1e-6
        up, down = (law.log_prediction(theta + sign * step, design)[0] for sign in (1, -1))
        np.testing.assert_allclose(jacobian[:, k], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", NUMBERED)
def test_coordinates_go_back_and_forth_and_follow_a_shift(name):
    law = NUMBERED[name]
    theta, design = law.coordinates(law.params), law.design(ROWS)
    back = law.natural(theta)
    assert list(back) == list(law.names)
    assert all(back[key] == pytest.approx(law.params[key], rel=1e-12) for key in back)
    by = np.linspace(0.3, 2, design.shape[1])
    moved = law.log_prediction(law.shifted(theta, by), design)[0]
    np.testing.assert_allclose(moved, law.log_prediction(theta, design - by)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NUMBERED)
def test_shares_are_those_of_the_prediction(name):
    """The share of a coefficient is the derivative of the log prediction by its logarithm (times αN or αD for Kaplan)."""
    law = NUMBERED[name]
    theta, design = law.coordinates(law.params), law.design(ROWS)
    shares, jacobian = law.shares(theta, design), law.log_prediction(theta, design)[1]
    factor = {"Nc": 0.076, "Dc": 0.103}
    for k, parameter in enumerate(law.names):
        if (
            parameter not in ("beta", "lam", "gamma", "eta", "alpha", "alpha_N", "alpha_D")
            or parameter == "B"
        ):
            np.testing.assert_allclose(
                shares[parameter] * factor.get(parameter, 1.0), jacobian[:, k], rtol=1e-9, err_msg=parameter
            )


def test_laws_by_name():
    assert [get_law(name).name for name in LAWS] == list(LAWS)
    assert get_law(LimitLaw) == LimitLaw()
    law = LimitLaw(gamma=None)
    assert get_law(law) is law
    with pytest.raises(
        ValueError, match=r"unknown law 'hoffmann'; known: limit, power-step, chinchilla, kaplan"
    ):
        get_law("hoffmann")


def test_numbers_are_put_in_without_changing_the_form():
    form = LimitLaw(terms=("depth", "data"))
    law = form.with_params({"E": 1.0, "b": 1.0, "lam": 0.5, "c": 0.0})
    assert form.params is None
    assert law.terms == form.terms
    assert law.predict(ROWS)[0] == pytest.approx(1.5)  # a coefficient of 0 is a term that is not there


def test_effective_depth():
    np.testing.assert_allclose(effective_depth(np.array([1e6, 8e6, 1e9])), [1, 2, 10])
    with pytest.raises(ValueError, match="n_params must be above 0, got -1"):
        effective_depth(-1.0)


def test_a_law_without_numbers_does_not_predict():
    with pytest.raises(ValueError, match="chinchilla law has no parameters yet; fit it"):
        ChinchillaLaw().predict(ROWS)
    with pytest.raises(ValueError, match="params lacks alpha, B, beta"):
        ChinchillaLaw({"E": 1.0, "A": 1.0}).predict(ROWS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LimitLaw(terms=("width",)), "terms must be some of steps, depth, data, got 'width'"),
        (lambda: LimitLaw(terms=()), "terms must be some of steps, depth, data, got none"),
        (lambda: LimitLaw(gamma=0.0), "gamma must be finite and above 0, got 0"),
        (lambda: LimitLaw(combine="product"), "combine must be 'sum' or 'quadrature', got 'product'"),
        (SumLaw, "terms is empty"),
        (lambda: Term("a", "r", "x", "linear"), "kind must be 'exponential' or 'power', got 'linear'"),
        (lambda: Term("a", "r", "x", "exponential", fixed=1.0), r"r must lie in \(0, 1\), got 1.0"),
        (
            lambda: SumLaw(terms=(Term("a", "r", "x", "power"), Term("a", "s", "y", "power"))),
            "parameter names must differ, got E, a, r, a, s",
        ),
        (lambda: LimitLaw({**LIMIT, "lam": 1.2}).predict(ROWS), r"lam must lie in \(0, 1\), got 1.2"),
        (
            lambda: LimitLaw({**LIMIT, "a": -1.0}).predict(ROWS),
            "coefficients must be finite and at least 0, got -1",
        ),
    ],
)
def test_bad_forms(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [
        (
            {"n_params": [1e6]},
            "n_blocks",
            r"no column 'n_blocks'; they have n_params; .* effective_depth\(n_params\)",
        ),
        ({"loss": [1.0]}, "n_steps", r"no column 'n_steps'.*LimitLaw\(terms=…\)"),
        ({"n_blocks": [7e9]}, "n_blocks", r"reaches 7e\+09: that is a number of parameters"),
        ({"loss": [1.0, 0.0]}, "loss", "column 'loss' must be above 0, its smallest value is 0"),
        (
            {"n_params": [1.0, -3.0]},
            "n_params",
            "column 'n_params' must be above 0, its smallest value is -3",
        ),
        ({"loss": [1.0, math.nan, math.inf]}, "loss", "column 'loss' has 2 missing or infinite values"),
    ],
)
def test_bad_columns(rows, name, message):
    with pytest.raises(ValueError, match=message):
        column(pd.DataFrame(rows), name)
