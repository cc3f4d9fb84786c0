"""A layer whose output is a fixed point: F* = f_θ(F*; u), with a choice of gradients (§3.2–3.5)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .gradients import implicit, jfb, parse_gradient, phantom, unroll
from .precision import full_precision
from .solvers import Measure, SolverConfig, SolveResult, sample_limits, solve

FORWARD = SolverConfig()
BACKWARD = SolverConfig(eps=1e-4, tau=20)


class ImplicitLayer(nn.Module):
    """Iterates a cell to its fixed point.

    In training, the result is one more evaluation at the fixed point, which carries the gradient; it is not counted.

    Args:
        f: the cell, called as f(z, u) with z and u of the same batch; if it has `bind(u)`, this gives the map instead.
        config: the solver of the forward pass; a `SolverConfig` or a mapping of its fields.
        grad: "ift", "jfb", "phantom:k" (k damped steps), or "unroll" (plain iteration, differentiated).
        backward: the solver of the adjoint fixed point, for "ift".

    Attributes:
        adjoint: what that solver found in the last backward pass; None before.

    Example:
        >>> class Affine(nn.Module):
        ...     def forward(self, z, u):
        ...         return 0.5 * z + u
        >>> u = torch.ones(2, 3, requires_grad=True)
        >>> z, result = ImplicitLayer(Affine(), backward=SolverConfig(eps=1e-6))(u)
        >>> z.sum().backward()
        >>> torch.allclose(z, 2 * u, rtol=1e-3), torch.allclose(u.grad, torch.full((2, 3), 2.0))
        (True, True)
    """

    adjoint: SolveResult | None

    def __init__(
        self,
        f: nn.Module,
        config: SolverConfig | Mapping[str, Any] = FORWARD,
        grad: str = "ift",
        backward: SolverConfig | Mapping[str, Any] = BACKWARD,
    ):
        super().__init__()
        self.f = f
        self.config, self.backward = solver_config(config), solver_config(backward)
        self.grad, self.steps = parse_gradient(grad)
        self.adjoint = None

    def forward(
        self,
        u: Float[Tensor, "b ..."],
        z0: Float[Tensor, "b ..."] | None = None,
        *,
        eps: float | Float[Tensor, "b"] | None = None,
        tau: int | None = None,
        measure: Measure | None = None,
    ) -> tuple[Float[Tensor, "b ..."], SolveResult]:
        """F* and how it was found.

        Args:
            u: what the cell is conditioned on.
            z0: where to begin; None: at 0, of the shape of u.
            eps, tau, measure: see `solve`.
        """
        with full_precision(u.device):
            f = self.bind(u)
            z0 = torch.zeros_like(u) if z0 is None else z0
            differentiable = torch.is_grad_enabled() and (
                u.requires_grad or any(p.requires_grad for p in self.f.parameters())
            )
            if differentiable and self.grad == "unroll":
                limits = sample_limits(self.config.eps if eps is None else eps, z0)
                return unroll(f, z0, limits, self.config.tau if tau is None else tau)
            result = solve(f, z0, self.config, eps=eps, tau=tau, measure=measure)
            if not differentiable:
                return result.z, result
            if self.grad == "ift":
                return implicit(f, result.z, self.backward, self._keep), result
            return jfb(f, result.z) if self.grad == "jfb" else phantom(f, result.z, self.steps), result

    def bind(self, u: Float[Tensor, "b ..."]) -> Callable[[Tensor], Tensor]:
        """The map F -> f(F; u)."""
        return self.f.bind(u) if hasattr(self.f, "bind") else _Conditioned(self.f, u)  # type: ignore[operator]

    def _keep(self, result: SolveResult) -> None:
        self.adjoint = result


def solver_config(config: SolverConfig | Mapping[str, Any]) -> SolverConfig:
    """A `SolverConfig` from itself or from a mapping of its fields, as saved models hold it."""
    return config if isinstance(config, SolverConfig) else SolverConfig(**config)


def solver_fields(config: SolverConfig) -> dict[str, Any]:
    """The fields of a `SolverConfig` as JSON values."""
    return asdict(config)


class _Conditioned:
    """F -> f(F, u) of a module that knows nothing of `bind`."""

    def __init__(self, f: nn.Module, u: Tensor):
        self.f, self.u = f, u

    def __call__(self, z: Tensor) -> Tensor:
        return self.f(z, self.u)

    def select(self, rows: Int[Tensor, "n"]) -> "_Conditioned":
        return _Conditioned(self.f, self.u[rows])
