"""The echo-state network: reservoirpy's own numbers, what it learns, and what it refuses."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from koopgen.esn import EchoStateNetwork, tune_echo_state
from koopgen.metrics import valid_prediction_time
from koopgen.systems import Lorenz63
from koopgen.trajectories import TrajectorySet

pytestmark = pytest.mark.skipif(find_spec("reservoirpy") is None, reason="reservoirpy is not installed")


@pytest.fixture(scope="module")
def lorenz():
    system = Lorenz63(dt=0.02)
    return system.generate(40, 250, seed=0), system.generate(10, 250, seed=1)


def test_driving_is_reservoirpys(lorenz):
    """Our step for many trajectories at once gives the states that Reservoir.run gives one by one."""
    train, _ = lorenz
    network = EchoStateNetwork(units=40, leak=0.7, seed=3).fit(train)
    x = network._normalise(train.x[:3, :30])
    r = np.zeros((40, 3))
    for k in range(30):
        r = network._drive(r, x[:, k].T)
    for i in range(3):
        network._reservoir.reset()
        np.testing.assert_allclose(network._reservoir.run(x[i])[-1], r[:, i], rtol=1e-12, atol=1e-12)


def test_read_out_is_the_ridge_regression(lorenz):
    train, _ = lorenz
    network = EchoStateNetwork(units=30, ridge=1e-4, washout=10).fit(train)
    features, targets = (np.concatenate(parts) for parts in zip(*network._samples(train)))
    assert len(features) == 40 * (251 - 11)
    centred = features - features.mean(0)
    weights = np.linalg.solve(
        centred.T @ centred + 1e-4 * len(features) * np.eye(features.shape[1]),
        centred.T @ (targets - targets.mean(0)),
    )
    np.testing.assert_allclose(network._readout.Wout, weights, rtol=1e-6, atol=1e-9)


def test_targets_are_the_next_states():
    data = TrajectorySet([torch.arange(30.0)[:, None], 100 + torch.arange(25.0)[:, None]], dt=1.0)
    network = EchoStateNetwork(units=5, washout=4).fit(data)
    for features, targets in network._samples(data):
        step = (targets - features[:, -1:]) * network._std  # the last feature is the state itself
        np.testing.assert_allclose(step, 1.0)


def test_it_forecasts_lorenz(lorenz):
    train, val = lorenz
    network = EchoStateNetwork(units=150, ridge=1e-9).fit(train)
    forecast = network.forecast(val.x[:, :50], steps=150)
    assert forecast.shape == (10, 151, 3)
    torch.testing.assert_close(forecast[:, 0], val.x[:, 49])
    valid = valid_prediction_time(
        forecast, val.x[:, 49:200], dt=0.02, sigma=train.sigma, lyapunov=val.lyapunov
    )
    assert valid.in_lyapunov_times.mean > 1.0
    frozen = val.x[:, 49:50].expand(-1, 151, -1)  # control: to predict no change is far worse
    assert valid_prediction_time(frozen, val.x[:, 49:200], dt=0.02, sigma=train.sigma).mean < valid.mean / 4


def test_forecast_uses_the_history_only(lorenz):
    train, val = lorenz
    network = EchoStateNetwork(units=30).fit(train)
    history = val.x[:, :60]
    one, more = (network.forecast(history, steps) for steps in (5, 9))
    torch.testing.assert_close(one, more[:, :6])
    alone = network.forecast(history[3:4], 5)
    torch.testing.assert_close(alone, one[3:4])


def test_same_seed_same_network(lorenz):
    train, val = lorenz
    a, b, c = (
        EchoStateNetwork(units=30, seed=seed).fit(train).forecast(val.x[:, :30], 5) for seed in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_tuning_takes_the_best_on_validation(lorenz):
    train, val = lorenz
    network, trials = tune_echo_state(
        train,
        val,
        units=40,
        spectral_radii=(0.4, 0.9),
        input_scalings=(0.5,),
        ridges=(1e-7, 10.0),
        threshold=0.5,
    )
    assert len(trials) == 4
    best = max(trials, key=lambda trial: trial.valid_time)
    assert (network.spectral_radius, network.ridge) == (best.spectral_radius, best.ridge)
    forecast = network.forecast(val.x[:, :20], 251 - 20)
    valid = valid_prediction_time(forecast, val.x[:, 19:], dt=val.dt, sigma=train.sigma, threshold=0.5)
    assert valid.mean == pytest.approx(best.valid_time)  # the network handed out is the one that was measured
    assert best.ridge == 1e-7
    assert best.valid_time > 2 * min(trial.valid_time for trial in trials)


def test_divergence_does_not_raise(lorenz):
    """A forecast may leave the finite numbers; the metrics count it."""
    train, val = lorenz
    network = EchoStateNetwork(units=20).fit(train)
    network._readout.Wout = network._readout.Wout * 50
    forecast = network.forecast(val.x[:, :30], 400)
    assert not forecast.isfinite().all()


def test_without_reservoirpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "reservoirpy.nodes", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs reservoirpy; install koopgen\[esn\]"):
        EchoStateNetwork()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units must be at least 1"),
        ({"washout": 0}, "washout must be at least 1"),
        ({"spectral_radius": 0.0}, "spectral_radius must be positive"),
        ({"input_scaling": -1.0}, "input_scaling must be positive"),
        ({"ridge": 0.0}, "ridge must be positive"),
        ({"leak": 1.5}, r"leak must lie in \(0, 1\]"),
        ({"connectivity": 0.0}, r"connectivity must lie in \(0, 1\]"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        EchoStateNetwork(**options)


def test_bad_use(lorenz):
    train, val = lorenz
    network = EchoStateNetwork(units=10)
    with pytest.raises(RuntimeError, match="not fitted yet"):
        network.forecast(val.x, 5)
    network.fit(train)
    for history, steps, message in (
        (val.x[:, :10], 5, "the history has 10 samples; the network needs 20"),
        (val.x[..., :2], 5, r"history must have shape \(B, W, 3\)"),
        (val.x[0], 5, r"history must have shape \(B, W, 3\)"),
        (val.x, 0, "steps must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            network.forecast(history, steps)
    with pytest.raises(ValueError, match="the longest trajectory has 20 samples"):
        network.fit(TrajectorySet(train.x[:, :20], train.dt))
    with pytest.raises(ValueError, match="channel 1 of the data is constant"):
        network.fit(TrajectorySet(train.x * torch.tensor([1.0, 0.0, 1.0]), train.dt))
    with pytest.raises(ValueError, match="val has 15 samples; give more than washout = 20"):
        tune_echo_state(train, TrajectorySet(val.x[:, :15], val.dt))
    with pytest.raises(ValueError, match="the grid is empty"):
        tune_echo_state(train, val, units=5, ridges=())
