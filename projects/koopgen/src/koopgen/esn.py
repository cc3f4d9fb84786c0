"""An echo-state network on reservoirpy: the cheap and strong baseline for chaotic systems (§9).

A fixed random network is driven by the states; a linear read-out of it, found by ridge regression, gives the next one:

    r_k = (1 − a) r_{k−1} + a tanh(W r_{k−1} + W_in x_k + b),     x_{k+1} ≈ W_out [r_k, r_k², x_k] + c

**It sees more than the other models.** They are given the one state x_0; an echo-state network must be driven by a
history of states before its forecast begins. Say so beside every number.
"""

import copy
import importlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .metrics import valid_prediction_time
from .trajectories import TrajectorySet

Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]
_CHUNK = 2_000_000  # numbers of features held at once


class EchoStateNetwork:
    """A leaky echo-state network that forecasts by feeding its output back.

    States are normalised by the mean and standard deviation of each channel of the training data.

    Args:
        units: neurons of the reservoir.
        spectral_radius: of the recurrent weights W.
        leak: a, in (0, 1].
        input_scaling: size of the drive W_in x of a normalised state, however many channels it has, and of the biases
            b, which break the symmetry x → −x.
        ridge: strength of the regularisation, per sample.
        connectivity: share of the recurrent weights that are not zero.
        washout: samples at the beginning of a trajectory that are not fitted, while the reservoir forgets its start.
        seed: of the random weights.

    Raises:
        ModuleNotFoundError: if reservoirpy is missing; it is the extra `esn`.
        ValueError: for parameters out of range.

    Example:
        >>> t = torch.arange(400) * 0.1
        >>> circle = TrajectorySet([torch.stack([t.cos(), t.sin()], -1)], dt=0.1)
        >>> network = EchoStateNetwork(units=50, seed=1).fit(circle)
        >>> forecast = network.forecast(circle[0][None, :100], steps=20)
        >>> bool((forecast - circle[0][None, 99:120]).abs().max() < 0.05)
        True
    """

    def __init__(
        self,
        units: int = 300,
        spectral_radius: float = 0.9,
        leak: float = 1.0,
        input_scaling: float = 0.5,
        ridge: float = 1e-6,
        connectivity: float = 0.1,
        washout: int = 20,
        seed: int = 0,
    ):
        for name, number in (("units", units), ("washout", washout)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        for name, value in (
            ("spectral_radius", spectral_radius),
            ("input_scaling", input_scaling),
            ("ridge", ridge),
        ):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name, value in (("leak", leak), ("connectivity", connectivity)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {value}")
        self.units, self.spectral_radius, self.leak = units, spectral_radius, leak
        self.input_scaling, self.ridge, self.connectivity = input_scaling, ridge, connectivity
        self.washout, self.seed = washout, seed
        self._nodes = _reservoirpy_nodes()
        self._readout: Any = None

    def fit(self, data: TrajectorySet) -> Self:
        """Fit the read-out to predict each next sample.

        Raises:
            ValueError: if no trajectory is longer than the washout and two samples.
        """
        self._prepare(data)
        self._solve(self._sums(data), self.ridge)
        return self

    def forecast(self, history: Float[Tensor, "B W n_x"], steps: int) -> Float[Tensor, "B samples n_x"]:
        """Run on from a history; the result has `steps` + 1 samples, the first is the last of the history.

        Args:
            history: at least `washout` samples, at the sampling interval of the training data.
            steps: sampling intervals to forecast.

        Raises:
            RuntimeError: before `fit`.
            ValueError: for a history that is too short or has another number of channels.
        """
        if self._readout is None:
            raise RuntimeError("the network is not fitted yet; call fit(data) first")
        if history.ndim != 3 or history.shape[2] != len(self._mean):
            raise ValueError(f"history must have shape (B, W, {len(self._mean)}), got {tuple(history.shape)}")
        if history.shape[1] < self.washout:
            raise ValueError(
                f"the history has {history.shape[1]} samples; the network needs {self.washout} to forget its start"
            )
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        past = self._normalise(history)
        r = np.zeros((self.units, len(past)))
        for k in range(past.shape[1]):
            x = past[:, k].T
            r = self._drive(r, x)
        out = np.empty((len(past), steps + 1, past.shape[2]))
        out[:, 0] = x.T
        with np.errstate(over="ignore", invalid="ignore"):  # a forecast may diverge; the metrics count it
            for k in range(steps):
                x = (self._features(r, x) @ self._readout.Wout + self._readout.bias).T
                out[:, k + 1] = x.T
                r = self._drive(r, x)
            out = out * self._std + self._mean
        return torch.from_numpy(out).to(history.dtype)

    def _prepare(self, data: TrajectorySet) -> None:
        """Scales and random weights; the weights are reservoirpy's."""
        self._mean, self._std = data.mean.double().numpy(), data.channel_std.double().numpy()
        if not (self._std > 0).all():
            raise ValueError(f"channel {int(np.argmin(self._std))} of the data is constant; remove it")
        bias = np.random.default_rng(self.seed).uniform(-self.input_scaling, self.input_scaling, self.units)
        self._reservoir = self._nodes.Reservoir(
            self.units,
            lr=self.leak,
            sr=self.spectral_radius,
            input_scaling=self.input_scaling / data.n_x**0.5,
            input_connectivity=1.0,
            rc_connectivity=self.connectivity,
            bias=bias,
            input_dim=data.n_x,
            seed=self.seed,
        )
        self._reservoir.initialize(np.zeros((1, data.n_x)))

    def _sums(self, data: TrajectorySet) -> list[Sums]:
        """What the ridge regression needs of the data, without keeping the features of all samples."""
        solver = self._nodes.Ridge()
        return [solver.worker(features, targets) for features, targets in self._samples(data)]

    def _solve(self, sums: Sequence[Sums], ridge: float) -> None:
        n_features, n_x = sums[0][1].shape
        n_samples = sum(part[4] for part in sums)
        readout = self._nodes.Ridge(ridge=ridge * n_samples, input_dim=n_features, output_dim=n_x)
        readout.master(sums)
        self._readout = readout

    def _samples(self, data: TrajectorySet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features (samples, features) and the next states, trajectories of the same length driven together."""
        lengths = data.lengths.tolist()
        if max(lengths) < self.washout + 2:
            raise ValueError(
                f"the longest trajectory has {max(lengths)} samples; give more than washout + 1 = {self.washout + 1}"
            )
        per_chunk = max(_CHUNK // ((2 * self.units + data.n_x) * max(lengths)), 1)
        for length in sorted(set(lengths)):
            if length < self.washout + 2:
                continue
            alike = [i for i, other in enumerate(lengths) if other == length]
            for first in range(0, len(alike), per_chunk):
                x = self._normalise(torch.stack([data[i] for i in alike[first : first + per_chunk]]))
                r = np.zeros((self.units, len(x)))
                features = []
                for k in range(length - 1):
                    r = self._drive(r, x[:, k].T)
                    if k >= self.washout:
                        features.append(self._features(r, x[:, k].T))
                targets = x[:, self.washout + 1 :].swapaxes(0, 1).reshape(-1, data.n_x)
                yield np.concatenate(features), targets

    def _drive(
        self, r: Float[np.ndarray, "units B"], x: Float[np.ndarray, "n_x B"]
    ) -> Float[np.ndarray, "units B"]:
        """One step of the reservoir for many trajectories at once; reservoirpy's own takes one at a time."""
        node = self._reservoir
        return (1 - self.leak) * r + self.leak * np.tanh(node.W @ r + node.Win @ x + node.bias[:, None])

    def _features(
        self, r: Float[np.ndarray, "units B"], x: Float[np.ndarray, "n_x B"]
    ) -> Float[np.ndarray, "B features"]:
        return np.concatenate([r, r**2, x]).T

    def _normalise(self, x: Float[Tensor, "B T n_x"]) -> Float[np.ndarray, "B T n_x"]:
        return (x.double().cpu().numpy() - self._mean) / self._std


@dataclass(frozen=True)
class Trial:
    """One setting and its mean valid prediction time on the validation data."""

    spectral_radius: float
    leak: float
    input_scaling: float
    ridge: float
    valid_time: float


def tune_echo_state(
    train: TrajectorySet,
    val: TrajectorySet,
    *,
    units: int = 300,
    spectral_radii: Sequence[float] = (0.1, 0.4, 0.9),
    leaks: Sequence[float] = (1.0,),
    input_scalings: Sequence[float] = (0.3, 1.0),
    ridges: Sequence[float] = (1e-9, 1e-7, 1e-5, 1e-3),
    washout: int = 20,
    threshold: float = 0.3,
    seed: int = 0,
) -> tuple[EchoStateNetwork, list[Trial]]:
    """The network whose forecasts stay valid longest on the validation data, and all that were tried.

    Each validation trajectory gives its first `washout` samples as history; the rest is forecast.

    Args:
        train: fitted on.
        val: equally long trajectories of more than `washout` samples.
        units: of the reservoir.
        spectral_radii, leaks, input_scalings, ridges: the grid; the ridges cost next to nothing.
        washout: samples of history.
        threshold: ε of the valid prediction time, in units of `train.sigma`.
        seed: of the random weights.
    """
    x = val.x
    if x.shape[1] < washout + 1:
        raise ValueError(f"val has {x.shape[1]} samples; give more than washout = {washout}")
    trials: list[Trial] = []
    best: EchoStateNetwork | None = None
    for radius, leak, scaling in itertools.product(spectral_radii, leaks, input_scalings):
        network = EchoStateNetwork(units, radius, leak, scaling, washout=washout, seed=seed)
        network._prepare(train)
        sums = network._sums(train)
        for ridge in ridges:
            network._solve(sums, ridge)
            forecast = network.forecast(x[:, :washout], x.shape[1] - washout)
            valid = valid_prediction_time(
                forecast, x[:, washout - 1 :], dt=val.dt, sigma=train.sigma, threshold=threshold
            )
            if best is None or valid.mean > max(trial.valid_time for trial in trials):
                network.ridge = ridge
                best = copy.copy(network)  # the read-out of the next ridge is another object
            trials.append(Trial(radius, leak, scaling, ridge, valid.mean))
    if best is None:
        raise ValueError("the grid is empty: give at least one value of each parameter")
    return best, trials


def _reservoirpy_nodes() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # Python says so when it compiles reservoirpy 0.4.2 for the first time; it is in a docstring there.
            warnings.filterwarnings("ignore", message="invalid escape sequence")
            return importlib.import_module("reservoirpy.nodes")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the echo-state network needs reservoirpy; install koopgen[esn]", name="reservoirpy"
        ) from error
