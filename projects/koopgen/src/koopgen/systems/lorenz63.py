"""Lorenz' three equations of convection (1963): ẋ = σ(y − x), ẏ = x(ρ − z) − y, ż = xy − βz (§6)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .system import ODESystem, Reference, State

_BOX = np.array([[-18.0, -20.0, 0.0], [18.0, 20.0, 50.0]])


@dataclass(frozen=True, kw_only=True)
class Lorenz63(ODESystem):
    """The Lorenz system, state (x, y, z), on its attractor after the burn-in.

    Args:
        sigma: Prandtl number σ.
        rho: Rayleigh number ρ over its critical value.
        beta: geometric factor β.

    Example:
        >>> Lorenz63().generate(2, 10, seed=1).x.shape
        torch.Size([2, 11, 3])
    """

    name: str = "lorenz63"
    dt: float = 0.01
    burn_in: float = 10.0
    max_step: float = 0.005
    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8.0 / 3.0

    @property
    def n_x(self) -> int:
        return 3

    @property
    def reference(self) -> Reference:
        if (self.sigma, self.rho, self.beta) == (10.0, 28.0, 8.0 / 3.0):
            return Reference(mean=(0.0, 0.0, 23.6), std=(7.9, 9.0, 8.5), lyapunov=0.905, tolerance=0.002)
        return Reference()

    def rhs(self, x: State) -> State:
        out = np.empty_like(x)
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        out[..., 0] = self.sigma * (b - a)
        out[..., 1] = a * (self.rho - c) - b
        out[..., 2] = a * b - self.beta * c
        return out

    def sample_initial(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
        return rng.uniform(_BOX[0], _BOX[1], size=(n, 3))
