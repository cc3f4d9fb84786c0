"""Gradient ascent on ‖J(x)‖₂ over x: a better lower bound of the global constant (§3.7)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_above_zero, check_count
from .estimates import LipEstimate
from .forward_ad import JacobianProducts, Map, explained, one_by_one
from .krylov import gaussian
from .local import local_lipschitz


def ascend_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    n_steps: int = 50,
    step: float = 0.1,
    project: Callable[[Tensor], Tensor] | None = None,
    isolate: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[LipEstimate, Float[Tensor, "b ..."]]:
    """Walks each sample to where ‖J‖₂ is larger; its own value never falls.

    The direction is the gradient of ‖J(x)ᵀ u‖ with u the current left singular vector. A step that gains is kept and the
    next one is longer, one that does not is undone and the next one is half as long.

    Args:
        fn: maps batches to batches, twice differentiable.
        x: where to begin (b, *shape).
        n_steps: steps tried.
        step: length of the first one, relative to the norm of the sample (or to 1 at the origin).
        project: brings points back into the set D on which Lip is asked for.
        isolate: as in `local_lipschitz`.
        generator: draws the first v.

    Returns:
        the estimate at the points reached, and the points.

    Example:
        >>> start = torch.tensor([[1.0]])
        >>> estimate, reached = ascend_lipschitz(torch.tanh, start)
        >>> bool(estimate.best > 0.99), bool(reached.abs() < 0.1)
        (True, True)
    """
    check_count(n_steps=n_steps)
    check_above_zero(step=step)
    best = x.detach() if project is None else project(x.detach())
    v = gaussian((len(x), x[0].numel()), x, generator)
    value, v, u = _stretch(fn, best, v / v.norm(dim=1, keepdim=True), 10, isolate)
    norms = best.flatten(1).norm(dim=1)
    length = step * torch.where(norms > 0, norms, 1.0)
    for _ in range(n_steps):
        slope = _slope(fn, best, u, isolate)
        size = slope.norm(dim=1, keepdim=True)
        move = torch.where(size > 0, slope / size.clamp_min(torch.finfo(size.dtype).tiny), 0.0)
        tried = best + (length.unsqueeze(1) * move).reshape(best.shape)
        tried = tried if project is None else project(tried)
        new_value, new_v, new_u = _stretch(fn, tried, v, 3, isolate)
        gains = new_value > value
        best = torch.where(gains.reshape(-1, *[1] * (best.dim() - 1)), tried, best)
        v, u = (torch.where(gains.unsqueeze(1), new, old) for new, old in ((new_v, v), (new_u, u)))
        value = torch.maximum(value, new_value)
        length = length * torch.where(gains, 1.3, 0.5)
    return local_lipschitz(fn, best, method="lanczos", isolate=isolate, generator=generator), best


def _stretch(
    fn: Map, x: Tensor, v: Float[Tensor, "b d"], n_iter: int, isolate: bool
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b d"], Float[Tensor, "b m"]]:
    """‖J v‖ after some power steps from v, and the singular vectors on both sides."""
    jacobian = JacobianProducts(fn, x, isolate=isolate)
    value = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for _ in range(n_iter):
        u = jacobian.jvp(v.unsqueeze(0))[0]
        value = torch.maximum(value, u.norm(dim=1))
        v = _unit(jacobian.vjp(u.unsqueeze(0))[0], v)
    return value, v, _unit(u, u)


def _unit(x: Float[Tensor, "b d"], otherwise: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    size = x.norm(dim=1, keepdim=True)
    return torch.where(size > 0, x / size.clamp_min(torch.finfo(x.dtype).tiny), otherwise)


def _slope(fn: Map, x: Tensor, u: Float[Tensor, "b m"], isolate: bool) -> Float[Tensor, "b d"]:
    """The gradient of ‖J(x)ᵀ u‖ in x at fixed u, which is that of ‖J(x)‖₂ at its singular vector."""
    applied = one_by_one(fn) if isolate else fn
    with explained(), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        product = (applied(leaf).flatten(1) * u).sum()
        (pulled,) = torch.autograd.grad(product, leaf, create_graph=True)
        if not pulled.requires_grad:  # fn is linear: J is the same everywhere
            return x.new_zeros(len(x), x[0].numel())
        slope = torch.autograd.grad(pulled.flatten(1).norm(dim=1).sum(), leaf, allow_unused=True)[0]
    return x.new_zeros(len(x), x[0].numel()) if slope is None else slope.flatten(1)
