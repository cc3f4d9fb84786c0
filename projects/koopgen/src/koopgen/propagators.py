"""One step of a frozen generator, z -> exp(tau G) z, in three ways that agree (NOTES: §3.5, Eqs. 2-4).

    expm      torch.matrix_exp, the reference
    taylor    y <- sum_{k<=m} (tau G/s)^k y / k!, s times, with s = ceil(||tau G||_1): only products of G with vectors
    cayley    (I - tau G/2)^-1 (I + tau G/2) z: keeps the norm under a skew G exactly, second order accurate

All take G (..., d, d), z (..., d) and the step tau; they are differentiable in G and z.
"""

import math
from functools import partial
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .arguments import check_choice, check_positive

MAX_SCALING = 64
PROPAGATORS = ("expm", "taylor", "cayley")


class Propagator(Protocol):
    """What `get_propagator` returns."""

    def __call__(self, G: Tensor, z: Tensor, *, tau: float = 1.0) -> Tensor: ...


def get_propagator(name: str, order: int | None = None, scaling: int | None = None) -> Propagator:
    """The propagator `name`: "expm", "taylor" or "cayley".

    `order` and `scaling` are those of `taylor_step`, None chooses; the other two have no order to choose.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> z = get_propagator("taylor")(turn, torch.tensor([1.0, 0.0]), tau=math.pi / 2)
        >>> torch.allclose(z, torch.tensor([0.0, 1.0]), atol=1e-6)
        True
    """
    check_choice("propagator", name, PROPAGATORS)
    if name != "taylor":
        if scaling is not None:
            raise ValueError(f"scaling={scaling} belongs to 'taylor', got {name!r}: leave it out")
        return expm_step if name == "expm" else cayley_step
    for key, value in (("order", order), ("scaling", scaling)):
        if value is not None:
            check_positive(**{key: value})
    return partial(taylor_step, order=order, scaling=scaling)


def expm_step(
    G: Float[Tensor, "*b d d"], z: Float[Tensor, "*b d"], *, tau: float = 1.0
) -> Float[Tensor, "*b d"]:
    """exp(tau G) z by the dense matrix exponential; its backward pass exponentiates blocks of 2d × 2d."""
    _check(G, z)
    return (torch.matrix_exp(tau * G) @ z[..., None])[..., 0]


def taylor_step(
    G: Float[Tensor, "*b d d"],
    z: Float[Tensor, "*b d"],
    order: int | None = 12,
    *,
    tau: float = 1.0,
    scaling: int | None = None,
) -> Float[Tensor, "*b d"]:
    """exp(tau G) z by scaling and a truncated Taylor series of the action; never forms an exponential.

    Args:
        G, z: generator and state; samples that are not finite come back as NaN and do not disturb the others.
        order: m, the highest power. 12 is round-off in float32, 18 in float64; None takes the one that fits z. Powers that
            cannot change the result at the precision of z are left out.
        tau: step.
        scaling: s, fixed; then all powers are computed and no value is read back from the device (CUDA graphs). None chooses
            s = ceil of the largest ||tau G||_1 in the batch.

    Raises:
        ValueError: if s would exceed 64: tau times G is too large to be a time step.
    """
    _check(G, z)
    if order is None:
        order = 18 if z.dtype == torch.float64 else 12
    check_positive(order=order)
    terms = order
    if scaling is None:
        scaling, terms = _scaling(G, tau, order)
    else:
        check_positive(scaling=scaling)
    batch, d = z.shape[:-1], z.shape[-1]
    rows = z.reshape(-1, 1, d)
    matrices = G.reshape(-1, d, d)
    return _TaylorAction.apply(matrices, rows, float(tau), terms, scaling).reshape(*batch, d)


def cayley_step(
    G: Float[Tensor, "*b d d"], z: Float[Tensor, "*b d"], *, tau: float = 1.0
) -> Float[Tensor, "*b d"]:
    """(I - tau G/2)^-1 (I + tau G/2) z, the rational approximation of exp(tau G) z with an error of order tau³.

    Raises:
        ValueError: if I - tau G/2 is singular to working precision, that is, an eigenvalue of tau G is at the pole 2.
    """
    _check(G, z)
    half = G * (tau / 2)
    identity = torch.eye(G.shape[-1], dtype=G.dtype, device=G.device)
    _guard_pole(half, tau)
    right = z + (half @ z[..., None])[..., 0]
    return torch.linalg.solve_ex(identity - half, right[..., None])[0][..., 0]


def growth_bound(name: str, tau_rate: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A bound of log(||z₊|| / ||z||) for one step, given tau times the largest eigenvalue of the self-adjoint part (P3).

    The exponential grows by at most exp(tau rate). The Cayley step grows by at most (1 + r/2)/(1 - r/2) for
    0 <= r = tau rate < 2, by at most 1 for r < 0; beyond r = 2 nothing bounds it.
    """
    if name != "cayley":
        return tau_rate
    r = tau_rate.clamp(min=0)
    bound = torch.log1p(r / 2) - torch.log1p(-(r / 2).clamp(max=1))
    return torch.where(r < 2, bound, torch.inf)


def _check(G: Tensor, z: Tensor) -> None:
    if G.dim() < 2 or z.dim() < 1 or G.shape[-1] != G.shape[-2] or G.shape[:-1] != z.shape:
        raise ValueError(
            f"G must have shape (..., d, d) and z (..., d) with the same leading axes, got {tuple(G.shape)} and {tuple(z.shape)}"
        )


def _scaling(G: Tensor, tau: float, order: int) -> tuple[int, int]:
    """(s, number of powers that matter at the precision of G) for the largest finite norm of the batch."""
    if G.numel() == 0:
        return 1, 1
    norms = G.detach().abs().sum(-2).amax(-1)
    theta = abs(tau) * float(norms.amax())
    if not math.isfinite(theta):
        finite = norms[torch.isfinite(norms)]
        theta = abs(tau) * float(finite.amax()) if finite.numel() else 0.0
    precision = torch.finfo(G.dtype).eps / 2
    # Norms up to `reach` need no more than `order` powers to be exact at this precision: 1.3 in float32 with order 12.
    reach = max(1.0, (math.factorial(order) * precision) ** (1 / order))
    scaling = max(1, math.ceil(theta / reach))
    if scaling > MAX_SCALING:
        raise ValueError(
            f"tau = {tau:g} times the 1-norm of G is {theta:.3g}, above {MAX_SCALING}: too large for the Taylor propagator. "
            "Use smaller steps (substeps=, dt=), a smaller time_scale, or propagator='expm'"
        )
    terms, last = (
        1,
        theta / scaling,
    )  # the derivative in G needs one power more: the last one kept is already too small
    while terms < order and last > precision:
        terms += 1
        last *= theta / scaling / terms
    return scaling, terms


def _powers(
    z: Float[Tensor, "b 1 d"], transposed: Float[Tensor, "b d d"], c: float, terms: int
) -> list[Tensor]:
    """v_0 = z and v_k = (c/k) G v_{k-1} up to k = terms, or until they no longer change the sum.

    The norm of a matrix is a bound; most powers are far smaller. Once v_k is below round-off of z, so is the rest, because
    c ||G||/k < 1/2 from k = 4 on. Only where asking pays: for small matrices, and on a GPU, another power is cheaper.
    """
    powers, limit = [z], None
    if transposed.numel() >= 2**15 and z.device.type == "cpu" and not torch.compiler.is_compiling():
        limit = z.detach().abs().sum(-1) * (torch.finfo(z.dtype).eps / 2)
    for k in range(1, terms + 1):
        v = torch.baddbmm(powers[-1], powers[-1], transposed, beta=0, alpha=c / k)
        powers.append(v)
        if limit is not None and 4 <= k < terms and bool((v.abs().sum(-1) <= limit).all()):
            break
    return powers


class _TaylorAction(torch.autograd.Function):
    """Scaled Taylor series of the action on row vectors, keeping its powers for a backward pass of the same cost.

    With c_k = tau/(s k), v_k = c_k G v_{k-1} and y = sum v_k in each of the s stages, the adjoints are
    u_K = ȳ, u_{k-1} = ȳ + c_k Gᵀ u_k, and Ḡ = sum_k c_k u_k v_{k-1}ᵀ: one product of matrices for all powers.
    Products of a row with a matrix that lies row by row in memory are the fast ones, hence one transposed copy.
    """

    @staticmethod
    def forward(ctx: Any, G: Tensor, z: Tensor, tau: float, terms: int, stages: int) -> Tensor:
        transposed = G.mT.contiguous()
        kept, y = [], z
        for _ in range(stages):
            kept.append(torch.cat(_powers(y, transposed, tau / stages, terms), 1))
            y = kept[-1].sum(1, keepdim=True)
        ctx.step = tau / stages
        ctx.save_for_backward(G, z, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        G, z, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: the powers depend on G and z
            kept = _differentiable(z, G, ctx.step, [stage.shape[1] - 1 for stage in kept])
        rows, u = G.contiguous(), gradient.contiguous()
        adjoints, factors = [], []
        for stage in reversed(kept):
            first = u
            for k in range(stage.shape[1] - 1, 0, -1):
                adjoints.append(u)
                factors.append(ctx.step / k)
                u = torch.baddbmm(first, u, rows, alpha=factors[-1])
        grad_G = None
        if ctx.needs_input_grad[0]:
            scales = torch.tensor(factors[::-1], dtype=u.dtype, device=u.device)[:, None]
            powers = torch.cat([stage[:, :-1] for stage in kept], 1)
            grad_G = (torch.cat(adjoints[::-1], 1) * scales).mT @ powers
        return grad_G, u, None, None, None


def _differentiable(z: Tensor, G: Tensor, c: float, counts: list[int]) -> list[Tensor]:
    """The same powers again, as ordinary operations of autograd."""
    kept, y = [], z
    for terms in counts:
        powers = [y]
        for k in range(1, terms + 1):
            powers.append(powers[-1] @ G.mT * (c / k))
        kept.append(torch.cat(powers, 1))
        y = kept[-1].sum(1, keepdim=True)
    return kept


def _guard_pole(half: Tensor, tau: float) -> None:
    """Raise if I - half is singular; a 1-norm below 1 rules it out at no cost."""
    suspects = half.detach().abs().sum(-2).amax(-1) >= 1
    if not bool(suspects.any()):
        return
    matrices = half.detach()[suspects]
    matrices = matrices[torch.isfinite(matrices).all(-1).all(-1)]
    identity = torch.eye(half.shape[-1], dtype=half.dtype, device=half.device)
    values = torch.linalg.svdvals(identity - matrices)
    limit = 8 * half.shape[-1] * torch.finfo(half.dtype).eps
    singular = values[..., -1] <= limit * values[..., 0]
    if bool(singular.any()):
        eigenvalues = 2 * torch.linalg.eigvals(matrices[singular][0])
        pole = complex(eigenvalues[(eigenvalues - 2).abs().argmin()])
        raise ValueError(
            f"the Cayley step has a pole: tau G has the eigenvalue {pole.real:.6g}{pole.imag:+.2g}j at tau = {tau:g}, "
            "where I - tau G/2 is singular. Use smaller steps (substeps=), dissipation='nonpositive', or propagator='taylor'"
        )
