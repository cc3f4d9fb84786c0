"""The solvable model: its limit, its three errors, and each of them alone."""

import itertools
import math

import pytest
import torch

from emergence.solvable import STATE_TOLERANCE, ErrorSplit, SolvableLimitModel, damped_newton

SMALL = {"n_test": 1500, "n_reference": 20_000}


@pytest.fixture(scope="module")
def model() -> SolvableLimitModel:
    return SolvableLimitModel(**SMALL)


def test_the_block_contracts_and_has_a_fixed_point(model):
    x = model.draw_inputs(200, stream=7)
    limit, drive = model.limit_state(x), model.drive(x)
    assert (model.block(limit, drive) - limit).norm(dim=1).max() <= 2 * STATE_TOLERANCE
    one, two = (torch.randn(200, 24, dtype=torch.float64) for _ in range(2))
    before = (one - two).norm(dim=1)
    assert (
        (model.block(one, drive) - model.block(two, drive)).norm(dim=1) <= model.lam * before + 1e-12
    ).all()


def test_the_target_is_normalised(model):
    _, clean = model._states(model.draw_inputs(20_000, stream=8), [1])
    assert float(clean.mean()) == pytest.approx(0, abs=0.05)
    assert float(clean.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("lam", [0.6, 0.9])
def test_a_linear_block_has_its_rate_exactly(lam):
    model = SolvableLimitModel(lam=lam, activation="linear", n_test=1, n_reference=100)
    errors = [model.state_error(p, n=64) for p in range(1, 8)]
    for before, after in itertools.pairwise(errors):
        assert after / before == pytest.approx(lam, abs=1e-6)


def test_the_tanh_block_is_faster_than_its_bound(model):
    """λ^P is an upper bound, not the rate: slopes of tanh are below 1."""
    errors = [model.state_error(p, n=256) for p in range(1, 12)]
    ratios = [after / before for before, after in itertools.pairwise(errors)]
    assert max(ratios) < model.lam - 0.02


def test_a_damped_newton_step_removes_a_fixed_share():
    features, targets = torch.randn(50, 4, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    path = damped_newton(features, targets, 0.3, 12)
    best = torch.linalg.lstsq(features, targets[:, None]).solution[:, 0]
    for k, weights in enumerate(path):
        torch.testing.assert_close(weights, (1 - 0.7**k) * best, rtol=0, atol=1e-12)


def test_the_grid_agrees_with_steps_that_are_really_taken(model):
    split = model.error(500, 3, 6, eta=0.2, n_seeds=1)
    train, test = (model.sample(n, [3], stream) for n, stream in ((500, 10), (model.n_test, 4)))
    weights = damped_newton(train.states[3], model.noisy(train.clean, 11), 0.2, 6)[-1]
    error = (test.states[3] @ weights - test.clean).square().mean().sqrt()
    assert split.total == pytest.approx(float(error), rel=1e-6)


def test_squares_of_the_three_errors_add_up(model):
    grid = model.error_grid([512, 4096], [1, 4, 16], [1, 4, 64], n_seeds=4)
    parts = (grid["opt"] ** 2 + grid["arch"] ** 2 + grid["sample"] ** 2) ** 0.5
    error = (parts / grid["total"] - 1).abs()
    assert error.max() < 0.1
    assert error.median() < 0.03


def test_each_error_falls_with_its_own_size(model):
    grid = model.error_grid([512, 8192], [1, 8], [1, 16], n_seeds=2)
    by = grid.set_index(["n_data", "n_blocks", "n_steps"])
    assert by.loc[(512, 8, 16), "arch"] < 0.3 * by.loc[(512, 1, 16), "arch"]
    assert by.loc[(8192, 8, 16), "sample"] < 0.5 * by.loc[(512, 8, 16), "sample"]
    ratio = by.loc[(512, 8, 16), "opt"] / by.loc[(512, 8, 1), "opt"]
    assert ratio == pytest.approx(0.8**15, rel=1e-9)


def test_at_their_limits_the_errors_vanish(model):
    split = model.error(2000, None, None)
    assert split.opt == 0
    assert split.arch < 1e-9
    assert split.sample == pytest.approx(split.total)
    assert split.sample == pytest.approx(0.3 * math.sqrt(25 / 1975), rel=0.35)
    quiet = SolvableLimitModel(noise=0.0, **SMALL).error(100, None, None, n_seeds=1)
    assert quiet.total < 1e-8


def test_a_model_is_its_seed():
    one, two, other = (SolvableLimitModel(seed=s, n_test=200, n_reference=500) for s in (1, 1, 2))
    assert one.error(100, 2, 3) == two.error(100, 2, 3)
    assert one.error(100, 2, 3) != other.error(100, 2, 3)
    assert isinstance(one.error(100, 2, 3), ErrorSplit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 1.0}, r"lam must lie in \(0, 1\) for the limit state to exist, got 1.0"),
        ({"lam": 0.0}, r"lam must lie in \(0, 1\)"),
        ({"noise": -0.1}, "noise must be finite and at least 0, got -0.1"),
        ({"d_state": 0}, "d_state must be at least 1, got 0"),
        ({"n_reference": 25}, "n_reference must exceed d_state \\+ 1 = 25 for a read-out, got 25"),
        ({"activation": "relu"}, "activation must be 'tanh' or 'linear', got 'relu'"),
    ],
)
def test_bad_models(options, message):
    with pytest.raises(ValueError, match=message):
        SolvableLimitModel(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((25, 1, 1), "n_data must exceed the 25 weights of the read-out, got 25"),
        ((100, 0, 1), r"n_blocks must be at least 1 \(or None for the limit\), got 0"),
        ((100, 1, -1), r"n_steps must be at least 0 \(or None for the limit\), got -1"),
        ((100, 1, 1, 1.0), r"eta must lie in \(0, 1\), got 1.0"),
        ((100, 1, 1, 0.2, 0), "n_seeds must be at least 1, got 0"),
    ],
)
def test_bad_sizes(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.error(*arguments)


def test_other_bad_input(model):
    with pytest.raises(ValueError, match="n_steps is empty"):
        model.error_grid([100], [1], [])
    with pytest.raises(ValueError, match="n_blocks must be at least 0, got -1"):
        model.state(torch.zeros(1, 6, dtype=torch.float64), -1)
    with pytest.raises(ValueError, match=r"eta must lie in \(0, 1\), got 0"):
        damped_newton(torch.eye(2), torch.ones(2), 0.0, 1)
    with pytest.raises(ValueError, match="n_steps must be at least 0, got -1"):
        damped_newton(torch.eye(2), torch.ones(2), 0.5, -1)
