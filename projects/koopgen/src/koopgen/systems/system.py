"""What a dynamical system offers: how it moves on, where it starts, and what is known about it (§6).

States are float64 arrays (..., n_x). Generation moves all trajectories together, in blocks that stay in the cache of
the processor; the memory is laid out channel by channel, so that `x[..., i]` is one contiguous run.
"""

import dataclasses
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

from ..trajectories import TrajectorySet

State = Float[np.ndarray, "... n_x"]
_BLOCK = 8192  # numbers in a block: 64 KiB of float64, and its temporaries fit the second-level cache


class DivergedError(ArithmeticError):
    """An integration left the finite numbers: the step is too long, or the start lies outside the basin."""


@dataclass(frozen=True)
class Reference:
    """Constants of a system's long-run behaviour, for tests and for the scales of metrics (§6).

    Args:
        mean: of each channel, or one number for all.
        std: standard deviation of each channel, or one number for all.
        lyapunov: largest Lyapunov exponent per unit of time; 0 for motion that is not chaotic.
        tolerance: of the Lyapunov exponent.
    """

    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    lyapunov: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class System(ABC):
    """A dynamical system with the way it is sampled.

    Args:
        name: of the preset.
        dt: time between two samples.
        burn_in: time that passes between the initial condition and the first sample.
    """

    name: str
    dt: float
    burn_in: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt must be positive, got {self.dt}")
        if not (math.isfinite(self.burn_in) and self.burn_in >= 0):
            raise ValueError(f"burn_in must be a time of at least 0, got {self.burn_in}")

    @property
    @abstractmethod
    def n_x(self) -> int:
        """Number of channels of the state."""

    @property
    def reference(self) -> Reference:
        """What is known about the long run at these parameters; empty fields where nothing is."""
        return Reference()

    @property
    def caveat(self) -> str | None:
        """Something a user must know before comparing numbers made with this preset; warned of when generating."""
        return None

    @abstractmethod
    def advance(self, x: State, time: float | None = None) -> State:
        """The states `time` later (one sampling interval if None)."""

    @abstractmethod
    def sample_initial(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n_x"]:
        """`n` initial conditions, before the burn-in."""

    def with_options(self, **options: Any) -> Self:
        """The same system with other parameters; what is known about it follows them."""
        return dataclasses.replace(self, **options)

    def trajectory(self, x0: State, steps: int) -> Float[np.ndarray, "... samples n_x"]:
        """Samples 0 … `steps` of the trajectories that start at `x0`, in float64.

        Raises:
            ValueError: for fewer than one step or a wrong number of channels.
            DivergedError: if the numbers are not finite any more.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        x = self._channel_major(x0)
        out = np.empty((*x.shape[:-1], steps + 1, self.n_x))
        out[..., 0, :] = x
        for k in range(steps):
            x = self.advance(x)
            out[..., k + 1, :] = x
        self._check_finite(x)
        return out

    def generate(self, n: int, steps: int, seed: int = 0) -> TrajectorySet:
        """`n` trajectories of `steps` sampling intervals, that is `steps` + 1 samples, after the burn-in.

        The result depends on the parameters, `n`, `steps` and `seed` only, bit by bit.

        Raises:
            ValueError: for a size below 1 or a negative seed.
            DivergedError: if a trajectory leaves the finite numbers.
        """
        for argument, value, least in (("n", n, 1), ("steps", steps, 1), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"{argument} must be at least {least}, got {value}")
        if self.caveat is not None:
            warnings.warn(f"{self.name}: {self.caveat}", UserWarning, stacklevel=2)
        initial = self.sample_initial(n, np.random.default_rng(seed))
        out = np.empty((n, steps + 1, self.n_x), dtype=np.float32)
        block = max(_BLOCK // self.n_x, 1)
        for first in range(0, n, block):
            rows = slice(first, first + block)
            x = self._channel_major(initial[rows])
            if self.burn_in > 0:
                x = self.advance(x, self.burn_in)
            with np.errstate(over="ignore"):  # numbers beyond float32 are infinite, and reported
                out[rows, 0] = x
                for k in range(steps):
                    x = self.advance(x)
                    out[rows, k + 1] = x
            self._check_finite(out[rows, -1])
        return TrajectorySet(
            torch.from_numpy(out), self.dt, self.reference.lyapunov, self.description(n, steps, seed)
        )

    def description(self, n: int, steps: int, seed: int) -> dict[str, Any]:
        """Everything a generated set depends on."""
        parameters = {"kind": type(self).__name__, **dataclasses.asdict(self)}
        return {"system": self.name, "params": parameters, "n": n, "steps": steps, "seed": seed}

    def _channel_major(self, x: State) -> State:
        x = np.asarray(x, dtype=np.float64)
        if x.ndim < 1 or x.shape[-1] != self.n_x:
            raise ValueError(f"states of {self.name} have {self.n_x} channels, got shape {x.shape}")
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1)

    def _check_finite(self, x: State) -> None:
        if not np.isfinite(x).all():
            raise DivergedError(
                f"{self.name} left the finite numbers; shorten the step of the integrator or check the start"
            )


@dataclass(frozen=True, kw_only=True)
class ODESystem(System):
    """An autonomous ordinary differential equation ẋ = F(x), integrated by the classical Runge–Kutta method.

    Args:
        max_step: longest step of the integrator; a sampling interval takes the fewest equal steps that respect it.
    """

    max_step: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.max_step) and self.max_step > 0):
            raise ValueError(f"max_step must be positive, got {self.max_step}")

    @abstractmethod
    def rhs(self, x: State) -> State:
        """F(x)."""

    def advance(self, x: State, time: float | None = None) -> State:
        time = self.dt if time is None else time
        n_steps = max(math.ceil(time / self.max_step - 1e-9), 1)
        h = time / n_steps
        with np.errstate(over="ignore", invalid="ignore"):  # `generate` and `trajectory` report what diverges
            for _ in range(n_steps):
                x = rk4_step(self.rhs, x, h)
        return x


def rk4_step(rhs: Any, x: State, h: float) -> State:
    """One step of the classical fourth-order Runge–Kutta method.

    >>> float(rk4_step(lambda x: -x, np.array([1.0]), 0.1)[0]) - math.exp(-0.1) < 1e-7
    True
    """
    k1 = rhs(x)
    k2 = rhs(x + 0.5 * h * k1)
    k3 = rhs(x + 0.5 * h * k2)
    k4 = rhs(x + h * k3)
    k2 += k3
    k2 *= 2.0
    k2 += k1
    k2 += k4
    k2 *= h / 6.0
    k2 += x
    return k2
