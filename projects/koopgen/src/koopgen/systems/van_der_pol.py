"""The van der Pol oscillator ẍ = μ (1 − x²) ẋ − x: every start but the origin ends on one limit cycle."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .system import ODESystem, Reference, State


@dataclass(frozen=True, kw_only=True)
class VanDerPol(ODESystem):
    """Van der Pol's oscillator, state (x, ẋ), released uniformly in a square.

    Args:
        mu: strength μ ≥ 0 of the nonlinear damping; at μ = 1 the limit cycle has the period 6.6633.
        half_width: initial x and ẋ lie in [−half_width, half_width].

    Example:
        >>> VanDerPol(mu=2.0).rhs(np.array([0.0, 1.0])).tolist()
        [1.0, 2.0]
    """

    name: str = "van_der_pol"
    dt: float = 0.1
    max_step: float = 0.01
    mu: float = 1.0
    half_width: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mu < 0:
            raise ValueError(f"mu must be at least 0, got {self.mu}")
        if self.half_width <= 0:
            raise ValueError(f"half_width must be positive, got {self.half_width}")

    @property
    def n_x(self) -> int:
        return 2

    @property
    def reference(self) -> Reference:
        return Reference(lyapunov=0.0)

    def rhs(self, x: State) -> State:
        out = np.empty_like(x)
        position, velocity = x[..., 0], x[..., 1]
        out[..., 0] = velocity
        out[..., 1] = self.mu * (1 - position**2) * velocity - position
        return out

    def sample_initial(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
        return rng.uniform(-self.half_width, self.half_width, size=(n, 2))
