"""Every system against its equations, an independent integrator, and the constants of §6."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from koopgen.systems import (
    SYSTEMS,
    DampedPendulum,
    DivergedError,
    Duffing,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    ODESystem,
    Pendulum,
    VanDerPol,
    cached_trajectories,
    duffing,
    get_system,
    pendulum,
)
from koopgen.systems.cache import cache_folder, cache_path
from koopgen.systems.system import rk4_step

ODES = [name for name, system in SYSTEMS.items() if isinstance(system, ODESystem)]
QUICK = {name: {"burn_in": min(system.burn_in, 1.0)} for name, system in SYSTEMS.items()}

# The equations once more, written differently: one state, loops, no slices.
EQUATIONS = {
    "pendulum": lambda x, s: [x[1], -np.sin(x[0])],
    "damped_pendulum": lambda x, s: [x[1], -np.sin(x[0]) - 0.1 * x[1]],
    "duffing": lambda x, s: [x[1], x[0] - x[0] ** 3 - 0.5 * x[1]],
    "van_der_pol": lambda x, s: [x[1], (1 - x[0] ** 2) * x[1] - x[0]],
    "lorenz63": lambda x, s: [10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]],
    "lorenz96": lambda x, s: [(x[(i + 1) % 40] - x[i - 2]) * x[i - 1] - x[i] + 8 for i in range(40)],
    "lorenz96_d5": lambda x, s: [(x[(i + 1) % 5] - x[i - 2]) * x[i - 1] - x[i] + 8 for i in range(5)],
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_right_hand_side(name):
    system = SYSTEMS[name]
    states = system.sample_initial(6, np.random.default_rng(0))
    expected = np.array([EQUATIONS[name](x, system) for x in states])
    np.testing.assert_allclose(system.rhs(states), expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(system.rhs(states[0]), expected[0], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(system.rhs(np.asfortranarray(states)), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ODES)
def test_integrator_agrees_with_dop853(name):
    """One sampling interval of every preset, to a few units of the float32 round-off with which sets are kept."""
    system = SYSTEMS[name]
    for x in system.sample_initial(3, np.random.default_rng(1)):
        exact = solve_ivp(lambda t, y: system.rhs(y), (0, system.dt), x, "DOP853", rtol=1e-13, atol=1e-13).y[
            :, -1
        ]
        np.testing.assert_allclose(system.advance(x), exact, rtol=0, atol=2e-6 * max(1, np.abs(exact).max()))


@pytest.mark.parametrize("system", [Pendulum(), Lorenz63(), Lorenz96(dimension=6)], ids=lambda s: s.name)
def test_runge_kutta_is_of_fourth_order(system):
    x = system.sample_initial(4, np.random.default_rng(0))
    x = system.advance(x, 1.0)
    time = 0.2
    exact = system.with_options(max_step=time / 640).advance(x, time)
    errors = [
        np.abs(system.with_options(max_step=time / n).advance(x, time) - exact).max() for n in (10, 20, 40)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(orders - 4) < 0.4).all(), orders


def test_euler_would_fail_the_order_test():
    """Control: the measurement of the order tells a first-order method from a fourth-order one."""
    x, errors = np.array([1.0]), []
    for n in (10, 20):
        y = x
        for _ in range(n):
            y = y + (1 / n) * -y
        errors.append(abs(float(y[0]) - np.exp(-1)))
    assert np.log2(errors[0] / errors[1]) < 1.2
    assert abs(rk4_step(lambda y: -y, x, 0.1)[0] - np.exp(-0.1)) < 1e-7


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "ks_8pi_sibling"])
def test_generation_is_bit_identical(name):
    system = SYSTEMS[name].with_options(**QUICK[name])
    first, again, other = (system.generate(3, 4, seed) for seed in (7, 7, 8))
    assert first.x.shape == (3, 5, system.n_x)
    assert first.x.dtype == torch.float32
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    assert first.dt == system.dt
    assert first.meta["system"] == name
    assert first.meta["seed"] == 7


def test_blocks_do_not_change_the_result():
    """More trajectories than fit one block give what each would give alone."""
    system = Lorenz96(dimension=40, burn_in=0.0)
    n = 8192 // 40 + 3
    together = system.generate(n, 2, seed=0)
    initial = system.sample_initial(n, np.random.default_rng(0))
    alone = np.stack([system.trajectory(x, 2) for x in initial]).astype(np.float32)
    np.testing.assert_array_equal(together.x.numpy(), alone)


def test_trajectory_keeps_float64_and_its_start():
    x0 = np.array([0.5, -0.25])
    out = Pendulum().trajectory(x0, 3)
    assert out.dtype == np.float64
    assert out.shape == (4, 2)
    np.testing.assert_array_equal(out[0], x0)
    np.testing.assert_array_equal(out[1], Pendulum().advance(x0))


@pytest.mark.parametrize("name", ["lorenz63", "lorenz96", "lorenz96_d10", "lorenz96_d5", "pendulum"])
def test_long_run_mean_and_standard_deviation(name):
    """The table of §6, within a few per cent of the standard deviation."""
    system = SYSTEMS[name]
    data = system.generate(300, 200, seed=0)
    known = np.broadcast_to(system.reference.std, data.n_x)
    np.testing.assert_allclose(data.channel_std.numpy(), known, rtol=0.06)
    mean = np.broadcast_to(system.reference.mean, data.n_x)
    assert np.abs((data.mean.numpy() - mean) / known).max() < 0.1


def test_pendulum_conserves_energy_and_respects_its_cap():
    system = Pendulum()
    start = system.sample_initial(200, np.random.default_rng(0))
    assert pendulum.energy(start).max() <= 0.99
    path = system.trajectory(start, 200)
    drift = np.abs(pendulum.energy(path) - pendulum.energy(path[:, :1]))
    assert drift.max() < 1e-8
    damped = DampedPendulum().trajectory(start, 200)
    assert (pendulum.energy(damped[:, -1]) < pendulum.energy(damped[:, 0])).all()


@pytest.mark.parametrize("amplitude", [0.1, 1.0, 2.0, 3.0])
def test_pendulum_frequency_law(amplitude):
    """P10: after one period 2π/ω(E) by the elliptic integral, the integrated pendulum is back."""
    start = np.array([amplitude, 0.0])
    omega = pendulum.frequency(pendulum.energy(start))
    np.testing.assert_allclose(Pendulum().advance(start, 2 * np.pi / omega), start, atol=1e-7)
    assert omega < 1


@pytest.mark.parametrize("energy", [1.0, 2.0, -1.5])
def test_frequency_outside_the_oscillations(energy):
    with pytest.raises(ValueError, match=r"energy must lie in \[−1, 1\)"):
        pendulum.frequency(np.array(energy))


def test_damped_pendulum_decays_at_half_its_friction():
    """Small swings shrink as exp(−γ t / 2), by a factor over one whole period."""
    system = DampedPendulum(damping=0.1)
    period = 2 * np.pi / np.sqrt(1 - 0.05**2)
    end = system.advance(np.array([1e-4, 0.0]), period)
    assert np.log(end[0] / 1e-4) / period == pytest.approx(-0.05, rel=1e-5)


def test_duffing_energy():
    start = Duffing().sample_initial(50, np.random.default_rng(0))
    kept = SYSTEMS["duffing_conservative"].trajectory(start, 100)
    assert np.abs(duffing.energy(kept) - duffing.energy(kept[:, :1])).max() < 1e-6
    lost = Duffing().trajectory(start, 400)
    np.testing.assert_allclose(np.abs(lost[:, -1, 0]), 1.0, atol=1e-3)  # the bottom of one of the wells


def test_van_der_pol_period():
    """At μ = 1 every start reaches the cycle of period 6.6633 and amplitude 2.0086 (textbook values)."""
    system = VanDerPol()
    on_cycle = system.advance(np.array([[0.1, 0.0], [3.0, 3.0]]), 60.0)
    np.testing.assert_allclose(system.advance(on_cycle, 6.6632869), on_cycle, atol=1e-5)
    path = system.trajectory(on_cycle, 70)
    np.testing.assert_allclose(np.abs(path[..., 0]).max(1), 2.0086, atol=0.01)


def test_cache_is_read_and_named_by_content(tmp_path, monkeypatch):
    system = Pendulum()
    first = cached_trajectories(system, 5, 6, seed=1, folder=tmp_path)
    path = cache_path(system, 5, 6, 1, tmp_path)
    assert list(tmp_path.rglob("*.*")) == [path]  # nothing half written beside it
    monkeypatch.setattr(Pendulum, "generate", lambda *_: pytest.fail("generated again"))
    again = cached_trajectories(system, 5, 6, seed=1, folder=tmp_path)
    assert torch.equal(first.x, again.x)
    assert (again.dt, again.lyapunov, again.meta) == (first.dt, first.lyapunov, first.meta)
    others = [
        cache_path(system, 5, 6, 2, tmp_path),
        cache_path(system, 6, 6, 1, tmp_path),
        cache_path(system, 5, 7, 1, tmp_path),
        cache_path(Pendulum(energy_cap=0.5), 5, 6, 1, tmp_path),
    ]
    assert len({path, *others}) == 5


def test_cache_says_what_is_damaged(tmp_path):
    path = cache_path(Pendulum(), 5, 6, 0, tmp_path)
    cached_trajectories(Pendulum(), 5, 6, folder=tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        cached_trajectories(Pendulum(), 5, 6, folder=tmp_path)


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "pendulum").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="pendulum"):
        cached_trajectories(Pendulum(), 5, 6, folder=tmp_path)


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tenfold" / "koopgen"


def test_presets_carry_their_own_names():
    assert all(system.name == name for name, system in SYSTEMS.items())
    assert get_system("lorenz96", dimension=7).n_x == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        SYSTEMS["lorenz63"].rho = 99.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_system("lorenz84"), "unknown system 'lorenz84'; known: pendulum"),
        (lambda: get_system("lorenz63", forcing=8.0), "lorenz63 has no parameter forcing; it has beta"),
        (lambda: Pendulum(energy_cap=-1.0), "energy_cap -1.0 excludes the whole box"),
        (lambda: Pendulum(max_angle=0.0), "max_angle must be positive"),
        (lambda: DampedPendulum(damping=-0.1), "damping must be at least 0"),
        (lambda: Duffing(damping=-1.0), "damping must be at least 0"),
        (lambda: Duffing(half_width=0.0), "half_width must be positive"),
        (lambda: VanDerPol(mu=-1.0), "mu must be at least 0"),
        (lambda: VanDerPol(half_width=0.0), "half_width must be positive"),
        (lambda: Lorenz96(dimension=3), "dimension must be at least 4, got 3"),
        (lambda: Lorenz63(dt=0.0), "dt must be positive"),
        (lambda: Lorenz63(dt=float("nan")), "dt must be positive"),
        (lambda: Lorenz63(burn_in=-1.0), "burn_in must be a time of at least 0"),
        (lambda: Lorenz63(max_step=0.0), "max_step must be positive"),
        (lambda: KuramotoSivashinsky(points=63), "points must be even"),
        (lambda: KuramotoSivashinsky(length=-1.0), "length must be positive"),
        (lambda: Lorenz63().generate(0, 5), "n must be at least 1"),
        (lambda: Lorenz63().generate(5, 0), "steps must be at least 1"),
        (lambda: Lorenz63().generate(5, 5, seed=-1), "seed must be at least 0"),
        (lambda: Lorenz63().trajectory(np.zeros(3), 0), "steps must be at least 1"),
        (lambda: Lorenz63().trajectory(np.zeros(4), 1), "states of lorenz63 have 3 channels"),
        (
            lambda: KuramotoSivashinsky().trajectory(np.zeros(4), 1),
            "states of kuramoto_sivashinsky have 64 points",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_cap_that_leaves_almost_nothing(monkeypatch):
    monkeypatch.setattr(pendulum, "_MAX_DRAWS", 3)
    with pytest.raises(ValueError, match="leaves too little of the box"):
        Pendulum(energy_cap=-1 + 1e-12).generate(10, 1)


def test_divergence_is_an_error():
    blown_up = Duffing(damping=0.0, half_width=1e6, max_step=0.1)
    with pytest.raises(DivergedError, match="duffing left the finite numbers"):
        blown_up.generate(3, 5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("name", ["lorenz63", "lorenz96_d5", "pendulum", "duffing", "van_der_pol"])
def test_right_hand_side_acts_on_the_last_axis(name, shape):
    system = SYSTEMS[name]
    x = np.random.default_rng(0).standard_normal((*shape, system.n_x))
    flat = np.array([system.rhs(state) for state in x.reshape(-1, system.n_x)])
    np.testing.assert_allclose(system.rhs(x), flat.reshape(x.shape), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(
        system.advance(x), np.reshape([system.advance(s) for s in x.reshape(-1, system.n_x)], x.shape)
    )
