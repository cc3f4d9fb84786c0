"""Kuramoto–Sivashinsky: exactness of the linear part, order, conservation, statistics, warnings."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from koopgen.systems import SYSTEMS, KuramotoSivashinsky
from koopgen.systems.kuramoto_sivashinsky import _kept, _scheme, etdrk4_step


def test_small_waves_grow_as_the_linear_equation_says():
    system = KuramotoSivashinsky()
    grid = 2 * np.pi * np.arange(64) / 64
    for k in (1, 2, 4, 10):
        q = system.wavenumbers[k]
        end = system.advance(1e-9 * np.cos(k * grid), 1.0)
        np.testing.assert_allclose(end, 1e-9 * np.exp(q**2 - q**4) * np.cos(k * grid), rtol=0, atol=1e-15)


def test_right_hand_side_against_an_independent_integrator():
    """The equation on the kept modes, written with explicit derivatives and integrated by DOP853."""
    system = KuramotoSivashinsky(length=12.0, points=24, burn_in=20.0)
    q = system.wavenumbers
    keep = np.arange(13) < _kept(24)
    x = system.advance(system.sample_initial(1, np.random.default_rng(0)), 20.0)[0]

    def rhs(t, u):
        v = np.fft.rfft(u)
        steep = np.fft.irfft(np.where(keep, np.fft.rfft(u**2) * 1j * q, 0), n=24)
        return -0.5 * steep + np.fft.irfft((q**2 - q**4) * v, n=24)

    exact = solve_ivp(rhs, (0, 1.0), x, "DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    ours = system.with_options(step=0.01).advance(x, 1.0)
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-7)


def test_etdrk4_is_of_fourth_order():
    system = KuramotoSivashinsky()
    x = system.advance(system.sample_initial(4, np.random.default_rng(0)), 100.0)
    exact = system.with_options(step=1 / 1024).advance(x, 1.0)
    # Longer steps see about third order: the stiff modes are not resolved yet.
    errors = [np.abs(system.with_options(step=1 / n).advance(x, 1.0) - exact).max() for n in (64, 128, 256)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(orders - 4) < 0.4).all(), orders


def test_error_of_the_usual_step():
    """One sampling interval with h = 0.25, on a field of standard deviation 1.2."""
    system = KuramotoSivashinsky()
    x = system.advance(system.sample_initial(4, np.random.default_rng(0)), 100.0)
    assert np.abs(system.advance(x) - system.with_options(step=1 / 512).advance(x)).max() < 1e-3


def test_coefficients_do_not_depend_on_the_contour():
    """Where h·L is of size one the φ-functions can be evaluated directly; the contour integral agrees."""
    scheme = _scheme(22.0, 64, 0.25)
    q = 2 * np.pi / 22.0 * np.arange(33)
    r = 0.25 * (q**2 - q**4)
    large = np.abs(r) > 0.5
    e = np.exp(r[large])
    direct = 0.25 * (-4 - r[large] + e * (4 - 3 * r[large] + r[large] ** 2)) / r[large] ** 3
    np.testing.assert_allclose(scheme.first[large], direct, rtol=1e-9)


def test_mean_is_conserved():
    system = KuramotoSivashinsky()
    x = system.sample_initial(5, np.random.default_rng(0))
    np.testing.assert_allclose(system.trajectory(x, 50).mean(-1), 0.0, atol=1e-13)
    shifted = system.trajectory(x + 0.5, 50)  # Galilean: a mean stays as it is
    np.testing.assert_allclose(shifted.mean(-1), 0.5, atol=1e-12)


def test_modes_left_out_stay_empty():
    x = KuramotoSivashinsky().generate(2, 2, seed=0).x.double().numpy()
    power = np.abs(np.fft.rfft(x)) ** 2
    assert power[..., _kept(64) :].max() / power.max() < 1e-12  # float32 storage
    v = np.fft.rfft(np.random.default_rng(0).standard_normal(64))
    scheme = _scheme(22.0, 64, 0.25)
    np.testing.assert_array_equal(etdrk4_step(scheme, v, 64)[_kept(64) :], (scheme.whole * v)[_kept(64) :])


@pytest.mark.parametrize("name", ["kuramoto_sivashinsky", "ks_35", "ks_60"])
def test_standard_deviation_of_the_field(name):
    system = SYSTEMS[name]
    data = system.generate(60, 60, seed=0)
    assert data.sigma == pytest.approx(system.reference.std, rel=0.05)


def test_sibling_preset_warns():
    with pytest.warns(UserWarning, match="ks_8pi_sibling: at L = 8π long trajectories lock onto a wave"):
        data = SYSTEMS["ks_8pi_sibling"].generate(3, 2)
    assert data.lyapunov == 0.0
    assert data.n_x == 128


def test_sibling_preset_starts_tiny():
    system = SYSTEMS["ks_8pi_sibling"]
    assert system.sample_initial(50, np.random.default_rng(0)).std() < 0.1


def test_long_trajectories_at_eight_pi_stop_being_chaotic():
    """The reason of the warning: after a long burn-in the amplitude spectrum of most runs no longer changes."""
    system = SYSTEMS["ks_8pi_sibling"].with_options(points=48)
    x = system.advance(system.sample_initial(30, np.random.default_rng(0)), 1000.0)
    early, late = (np.abs(np.fft.rfft(y)) for y in (x, system.advance(x, 20.0)))
    change = np.linalg.norm(late - early, axis=1) / np.linalg.norm(early, axis=1)
    assert (change < 1e-3).mean() > 0.8
    chaotic = KuramotoSivashinsky()
    y = chaotic.advance(chaotic.sample_initial(30, np.random.default_rng(0)), 300.0)
    early, late = (np.abs(np.fft.rfft(z)) for z in (y, chaotic.advance(y, 20.0)))
    assert (np.linalg.norm(late - early, axis=1) / np.linalg.norm(early, axis=1) > 1e-2).mean() > 0.8


def test_under_resolved_grids_warn():
    with pytest.warns(UserWarning, match="is under-resolved: .* raise points above 32"):
        KuramotoSivashinsky(points=32).generate(4, 2)
