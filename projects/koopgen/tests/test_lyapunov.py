"""λ₁ of the table of §6 by our own method and integrators."""

import numpy as np
import pytest

from koopgen.lyapunov import lyapunov_max
from koopgen.systems import SYSTEMS


def measure(name, n, time, interval, settle, **options):
    system = SYSTEMS[name].with_options(**options)
    start = system.advance(
        np.asfortranarray(system.sample_initial(n, np.random.default_rng(0))), system.burn_in
    )
    return lyapunov_max(
        lambda x: system.advance(x, interval),
        start,
        interval,
        round(time / interval),
        settle=round(settle / interval),
    )


def agrees(name, estimate, widest):
    """Within the tolerance of the table and three standard errors; `widest` keeps the statistics honest."""
    known = SYSTEMS[name].reference
    assert estimate.standard_error < widest
    assert abs(estimate.value - known.lyapunov) < known.tolerance + 3 * estimate.standard_error, estimate


@pytest.mark.parametrize(
    ("name", "n", "time", "interval", "options", "widest"),
    [
        ("lorenz63", 400, 100, 0.1, {"max_step": 0.01}, 0.002),
        ("lorenz96_d10", 200, 60, 0.1, {"max_step": 0.02}, 0.015),
        ("kuramoto_sivashinsky", 40, 300, 1.0, {"points": 48}, 0.003),
    ],
)
def test_exponents(name, n, time, interval, options, widest):
    agrees(name, measure(name, n, time, interval, 100 if "kura" in name else 20, **options), widest)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "time", "interval", "widest"),
    [
        ("lorenz63", 1000, 200, 0.1, 0.0006),
        ("lorenz96", 200, 60, 0.1, 0.01),
        ("lorenz96_strong", 200, 60, 0.1, 0.01),
        ("lorenz96_d20", 300, 80, 0.1, 0.01),
        ("lorenz96_d10", 500, 100, 0.1, 0.006),
        ("lorenz96_d5", 1000, 100, 0.1, 0.003),
        ("kuramoto_sivashinsky", 100, 1000, 1.0, 0.0008),
        ("ks_35", 100, 600, 1.0, 0.001),
        ("ks_60", 30, 400, 1.0, 0.0015),
    ],
)
def test_exponents_at_length(name, n, time, interval, widest):
    agrees(name, measure(name, n, time, interval, 100), widest)


def test_no_chaos_no_exponent():
    """Control: motion on a limit cycle and the pendulum have none."""
    assert abs(measure("van_der_pol", 20, 100, 0.1, 30).value) < 0.02
    assert abs(measure("pendulum", 20, 200, 0.1, 50).value) < 0.05


def test_linear_maps_have_their_largest_eigenvalue():
    rates = np.array([-0.5, 0.2, -2.0])
    estimate = lyapunov_max(lambda x: x * np.exp(0.1 * rates), np.zeros((5, 3)), 0.1, 50, settle=400)
    assert estimate.value == pytest.approx(0.2, abs=1e-9)
    assert estimate.standard_error < 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x0": np.zeros(3)}, "at least two states"),
        ({"x0": np.zeros((1, 3))}, "at least two states"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"settle": -1}, "settle must be at least 0"),
        ({"interval": 0.0}, "interval and distance must be positive"),
        ({"distance": 0.0}, "interval and distance must be positive"),
    ],
)
def test_bad_input(options, message):
    good = {"x0": np.zeros((2, 3)), "interval": 0.1, "steps": 5}
    with pytest.raises(ValueError, match=message):
        lyapunov_max(lambda x: x, **{**good, **options})


@pytest.mark.parametrize("advance", [lambda x: x * 0, lambda x: x * np.nan])
def test_distances_that_vanish_or_are_no_numbers(advance):
    with pytest.raises(ArithmeticError, match="after 1 steps the distance of a pair"):
        lyapunov_max(advance, np.zeros((2, 3)), 0.1, 5)
