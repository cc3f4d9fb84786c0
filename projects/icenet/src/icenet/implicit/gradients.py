"""Gradients through a fixed point F* = f(F*; u), θ and u inside f (§3.5).

implicit   w = Jᵀ w + dℓ/dF*, then wᵀ ∂f/∂(θ, u): the exact gradient, for one more evaluation and a linear solve
jfb        (dℓ/dF*)ᵀ ∂f/∂(θ, u): the first term of the Neumann series
phantom    k damped steps F ← (1-δ) F + δ f(F) from F*, differentiated
unroll     plain iteration from the start, differentiated: memory grows with its length
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from .solvers import SelectableMap, SolverConfig, SolveResult, relative_residual, solve

DAMPING = 0.5  # δ of the phantom gradient

Report = Callable[[SolveResult], None]


def parse_gradient(grad: str) -> tuple[str, int]:
    """("phantom", k) for "phantom:k"; (name, 0) for "ift", "jfb" and "unroll"."""
    name, colon, count = grad.partition(":")
    if name == "phantom" and count.isdigit() and int(count) > 0:
        return name, int(count)
    if name in ("ift", "jfb", "unroll") and not colon:
        return name, 0
    raise ValueError(f"grad must be 'ift', 'jfb', 'phantom:k' with k at least 1, or 'unroll', got {grad!r}")


def implicit(
    f: Callable[[Tensor], Tensor],
    z: Float[Tensor, "b ..."],
    backward: SolverConfig,
    report: Report | None = None,
) -> Float[Tensor, "b ..."]:
    """f(z), whose gradient is that of the fixed point near z.

    Args:
        f: the map; if it has `linearise(z) -> (f(z), v ↦ Jᵀ v)`, this is used, else J comes from the graph of f(z).
        z: the fixed point as a solver found it; no gradient passes through it.
        backward: solver of the adjoint fixed point; each sample's gradient is scaled to norm 1 first, so that its
            tolerance is relative and the scale of the loss does not matter.
        report: called with the result of the adjoint solve.
    """
    linearise = getattr(f, "linearise", None)
    if linearise is not None:
        value, adjoint = linearise(z.detach())
    else:
        leaf = z.detach().requires_grad_()
        value = f(leaf)
        adjoint = _graph_adjoint(value, leaf)
    return _Implicit.apply(value, adjoint, backward, report)


def jfb(f: Callable[[Tensor], Tensor], z: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """f(z) with z held: the Jacobian-free gradient."""
    return f(z.detach())


def phantom(
    f: Callable[[Tensor], Tensor], z: Float[Tensor, "b ..."], steps: int, damping: float = DAMPING
) -> Float[Tensor, "b ..."]:
    """`steps` damped iterations from z, differentiated."""
    z = z.detach()
    for _ in range(steps):
        z = (1 - damping) * z + damping * f(z)
    return z


def unroll(
    f: Callable[[Tensor], Tensor], z0: Float[Tensor, "b ..."], limits: Float[Tensor, "b"], tau: int
) -> tuple[Float[Tensor, "b ..."], SolveResult]:
    """Plain iteration from z0, differentiated; each sample stands still after its first hit."""
    b = len(z0)
    z = z0
    done = torch.zeros(b, dtype=torch.bool, device=z0.device)
    nfe = torch.full((b,), tau, dtype=torch.long, device=z0.device)
    residual = z0.new_full((b,), torch.inf)
    trace: list[Tensor] = []
    for k in range(1, tau + 1):
        fx = f(z)
        with torch.no_grad():
            r = relative_residual(fx.flatten(1), (fx - z).flatten(1))
            trace.append(torch.where(done, torch.nan, r))
            residual = torch.where(done, residual, r)
            hit = (r < limits) & ~done
        z = torch.where(done.view(-1, *[1] * (z.dim() - 1)), z, fx) if bool(done.any()) else fx
        nfe = torch.where(hit, k, nfe)
        done = done | hit
        if bool(done.all()):
            break
    zeros = torch.zeros_like(nfe)
    steps = len(trace)
    return z, SolveResult(
        z.detach(), residual, nfe, done, torch.stack(trace, 1), steps, steps * b, zeros, zeros
    )


class _Implicit(torch.autograd.Function):
    """The identity, whose gradient g becomes the solution w of w = Jᵀ w + g."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, adjoint: Any, backward: SolverConfig, report: Report | None
    ) -> Tensor:
        ctx.adjoint, ctx.solver, ctx.report = adjoint, backward, report
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        norm = gradient.flatten(1).norm(dim=1)
        norm = torch.where(norm > 0, norm, 1.0).view(-1, *[1] * (gradient.dim() - 1))
        unit = gradient / norm
        selectable = isinstance(ctx.adjoint, SelectableMap)
        affine = _Affine(ctx.adjoint, unit) if selectable else lambda v: ctx.adjoint(v) + unit
        result = solve(affine, unit, ctx.solver)
        if ctx.report is not None:
            ctx.report(result)
        return result.z * norm, None, None, None


class _Affine:
    """v -> Jᵀ v + g."""

    def __init__(self, adjoint: SelectableMap, g: Tensor):
        self.adjoint, self.g = adjoint, g

    def __call__(self, v: Tensor) -> Tensor:
        return self.adjoint(v) + self.g

    def select(self, rows: Tensor) -> "_Affine":
        return _Affine(self.adjoint.select(rows), self.g[rows])


def _graph_adjoint(value: Tensor, leaf: Tensor) -> Callable[[Tensor], Tensor]:
    def adjoint(v: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(value, leaf, v, retain_graph=True)[0]

    return adjoint
