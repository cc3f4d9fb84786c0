"""A layer whose output is a fixed point: F* = f_θ(F*; u), with gradients by the implicit function theorem (§3.2–3.5)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from .solvers import SolveResult, SolverConfig

BACKWARD = SolverConfig(eps=1e-4, tau=20, ridge="relative")


class ImplicitLayer(nn.Module):
    """Iterates a cell to its fixed point.

    Args:
        f: the cell, called as f(z, u) with z and u of the same batch.
        config: the solver of the forward pass.
        grad: "ift", "jfb", "phantom:k" (k damped steps), or "unroll" (plain iteration, kept whole).
        backward: the solver of the adjoint fixed point, for "ift".
    """

    def __init__(
        self, f: nn.Module, config: SolverConfig = SolverConfig(), grad: str = "ift", backward: SolverConfig = BACKWARD  # noqa: B008
    ):  # fmt: skip
        super().__init__()

    def forward(
        self,
        u: Float[Tensor, "b ..."],
        z0: Float[Tensor, "b ..."] | None = None,
        *,
        eps: float | Float[Tensor, "b"] | None = None,
        tau: int | None = None,
    ) -> tuple[Float[Tensor, "b ..."], SolveResult]:
        """F* and how it was found; begins at z0, or at 0."""
        raise NotImplementedError
