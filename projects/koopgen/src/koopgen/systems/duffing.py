"""The unforced Duffing oscillator ẍ = x − x³ − δ ẋ: two wells, and a saddle between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .system import ODESystem, Reference, State


@dataclass(frozen=True, kw_only=True)
class Duffing(ODESystem):
    """Duffing's oscillator, state (x, ẋ), released uniformly in a square.

    The two wells have basins that wind around each other for δ > 0; for δ = 0 the energy ½ẋ² − ½x² + ¼x⁴ is conserved
    and the frequency depends on it, as in the pendulum.

    Args:
        damping: δ, at least 0.
        half_width: initial x and ẋ lie in [−half_width, half_width].

    Example:
        >>> Duffing().rhs(np.array([1.0, 0.0])).tolist()  # the bottom of a well
        [0.0, 0.0]
    """

    name: str = "duffing"
    dt: float = 0.1
    max_step: float = 0.01
    damping: float = 0.5
    half_width: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.damping < 0:
            raise ValueError(f"damping must be at least 0, got {self.damping}")
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
        out[..., 1] = position - position**3 - self.damping * velocity
        return out

    def sample_initial(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
        return rng.uniform(-self.half_width, self.half_width, size=(n, 2))


def energy(x: State) -> Float[np.ndarray, "..."]:
    """½ẋ² − ½x² + ¼x⁴ of states (x, ẋ); conserved for δ = 0, falling for δ > 0."""
    position, velocity = x[..., 0], x[..., 1]
    return 0.5 * velocity**2 - 0.5 * position**2 + 0.25 * position**4
