"""The nonlinear pendulum θ̈ = −sin θ: its frequency falls with its amplitude, a continuous spectrum (§6, P10).

E = ½ θ̇² − cos θ        ω(E) = π / (2 K(k)),  k² = (E + 1) / 2
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ellipk

from .system import ODESystem, Reference, State

_MAX_DRAWS = 10_000  # rounds of rejection before a box is called (almost) forbidden by its cap


@dataclass(frozen=True, kw_only=True)
class Pendulum(ODESystem):
    """The pendulum, state (θ, θ̇); released uniformly in a box, below an energy cap that excludes rotations.

    Args:
        max_angle: initial angles lie in [−max_angle, max_angle].
        max_velocity: initial velocities lie in [−max_velocity, max_velocity].
        energy_cap: draws above this energy are rejected; the separatrix is at 1, rest at −1.

    Raises:
        ValueError: if the cap excludes the whole box.

    Example:
        >>> data = Pendulum().generate(4, 20, seed=0)
        >>> data.x.shape, data.dt
        (torch.Size([4, 21, 2]), 0.05)
    """

    name: str = "pendulum"
    dt: float = 0.05
    max_step: float = 0.01
    max_angle: float = 3.1
    max_velocity: float = 2.0
    energy_cap: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument in ("max_angle", "max_velocity"):
            if getattr(self, argument) <= 0:
                raise ValueError(f"{argument} must be positive, got {getattr(self, argument)}")
        if self.energy_cap <= -1:
            raise ValueError(
                f"energy_cap {self.energy_cap} excludes the whole box: the pendulum at rest has energy −1; raise the cap"
            )

    @property
    def n_x(self) -> int:
        return 2

    @property
    def reference(self) -> Reference:
        if (self.max_angle, self.max_velocity, self.energy_cap) == (3.1, 2.0, 0.99):
            return Reference(mean=0.0, std=(1.34, 0.94), lyapunov=0.0)
        return Reference(lyapunov=0.0)

    def rhs(self, x: State) -> State:
        out = np.empty_like(x)
        out[..., 0] = x[..., 1]
        np.sin(x[..., 0], out=out[..., 1])
        np.negative(out[..., 1], out=out[..., 1])
        return out

    def sample_initial(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
        box = np.array([self.max_angle, self.max_velocity])
        accepted = np.empty((0, 2))
        for _ in range(_MAX_DRAWS):
            draws = rng.uniform(-box, box, size=(2 * n, 2))
            accepted = np.concatenate([accepted, draws[energy(draws) <= self.energy_cap]])
            if len(accepted) >= n:
                return accepted[:n]
        raise ValueError(
            f"energy_cap {self.energy_cap} leaves too little of the box: {len(accepted)} of {_MAX_DRAWS * 2 * n} draws "
            "were accepted; raise the cap or shrink the box"
        )


@dataclass(frozen=True, kw_only=True)
class DampedPendulum(Pendulum):
    """The pendulum with friction, θ̈ = −sin θ − γ θ̇; small swings decay as exp(−γ t / 2) (§8, claim 6).

    Args:
        damping: γ, at least 0.

    Example:
        >>> float(DampedPendulum().rhs(np.array([0.0, 1.0]))[1])
        -0.1
    """

    name: str = "damped_pendulum"
    damping: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.damping < 0:
            raise ValueError(f"damping must be at least 0, got {self.damping}")

    @property
    def reference(self) -> Reference:
        return Reference(lyapunov=0.0)

    def rhs(self, x: State) -> State:
        out = super().rhs(x)
        out[..., 1] -= self.damping * x[..., 1]
        return out


def energy(x: State) -> Float[np.ndarray, "..."]:
    """E = ½ θ̇² − cos θ of states (θ, θ̇)."""
    return 0.5 * x[..., 1] ** 2 - np.cos(x[..., 0])


def frequency(energy: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Angular frequency of the oscillation with energy E in (−1, 1), by the elliptic integral (P10).

    >>> bool(np.isclose(frequency(np.array(-1 + 1e-12)), 1.0))
    True
    """
    energy = np.asarray(energy, dtype=np.float64)
    if ((energy < -1) | (energy >= 1)).any():
        raise ValueError("energy must lie in [−1, 1): at 1 and above the pendulum does not oscillate")
    return np.pi / (2 * ellipk((energy + 1) / 2))
