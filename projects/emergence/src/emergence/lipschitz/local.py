"""‖J(x)‖₂ at each sample: power iteration, Lanczos, or the singular values of the whole Jacobian (§3.7, §3.8)."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_choice, check_open_unit, check_positive
from .estimates import LipEstimate
from .forward_ad import JacobianProducts, Map
from .krylov import gaussian, lanczos, lanczos_gap, power_factor

METHODS = ("power", "lanczos", "exact")
NORMS = ("l2", "l1", "linf")


def local_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    norm: str = "l2",
    method: str = "power",
    n_iter: int = 50,
    tol: float = 1e-4,
    n_vectors: int = 1,
    products: str = "forward",
    isolate: bool = True,
    failure: float = 1e-6,
    generator: torch.Generator | None = None,
) -> LipEstimate:
    """Bounds of ‖J(x)‖ for each sample; every one of them is a lower bound of Lip(fn) as a whole.

    - "power": v ← JᵀJ v / ‖·‖ from a random start of each sample; lower = ‖J v‖. The upper bound holds with
      probability 1 − `failure` a sample and is loose after few steps (see `krylov`); tol=0 spends all of n_iter on it.
    - "lanczos": the best estimate from the same products; needs fewer of them, gives tighter upper bounds, and stores
      n_iter vectors a sample.
    - "exact": all singular values; for d up to some hundreds. Also the norms "l1" (columns) and "linf" (rows).

    Args:
        fn: maps batches (b, *shape) to batches (b, *out); a module must be in eval mode and of the precision of x.
        x: samples (b, *shape), float32 or float64; sequences (b, s, d) count as one vector of s·d numbers.
        norm: of both spaces.
        method: as above.
        n_iter: most steps.
        tol: stop where the estimate moved by at most tol relatively, twice in a row, for all samples.
        n_vectors: vectors iterated together by "power" (orthogonalised at every step): more than one helps where the
            largest singular values lie close together.
        products: how J v is found, see `JacobianProducts`.
        isolate: False trusts `fn` not to mix samples; for modules vmap cannot run.
        failure: probability that an upper bound by "power" or "lanczos" fails.
        generator: draws the starts.

    Raises:
        ValueError: for values out of range, NaN, dropout in training mode, operations without derivative.
        TypeError: for half precision or mixed precision.

    Example:
        >>> layer = torch.nn.Linear(3, 3, bias=False)
        >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([3.0, 2.0, 1.0])))
        >>> estimate = local_lipschitz(layer, torch.randn(4, 3), method="exact")
        >>> estimate.lower.tolist()
        [3.0, 3.0, 3.0, 3.0]
    """
    check_choice("norm", norm, NORMS)
    check_choice("method", method, METHODS)
    check_positive(n_iter=n_iter, n_vectors=n_vectors)
    check_open_unit(failure=failure)
    if tol < 0:
        raise ValueError(f"tol must be at least 0, got {tol}")
    if norm != "l2" and method != "exact":
        raise ValueError(f"norm={norm!r} is computed from the whole Jacobian; use method='exact'")
    jacobian = JacobianProducts(fn, x, products=products, isolate=isolate)
    if method == "exact":
        return _exact(jacobian, norm)
    if method == "lanczos":
        return _lanczos(jacobian, n_iter, tol, failure, generator)
    return _power(jacobian, n_iter, tol, min(n_vectors, jacobian.d_in), failure, generator)


def smallest_singular_value(
    fn: Map, x: Float[Tensor, "b ..."], *, products: str = "forward", isolate: bool = True
) -> Float[Tensor, "b"]:
    """inf ‖J(x) v‖ over unit vectors v, exactly: the local version of l(T). Zero where fn loses dimensions.

    Args:
        fn: maps batches to batches.
        x: samples (b, *shape); the whole Jacobian is formed.
        products: see `JacobianProducts`.
        isolate: as in `local_lipschitz`.

    Example:
        >>> smallest_singular_value(lambda x: x * torch.tensor([3.0, 2.0]), torch.randn(1, 2))
        tensor([2.])
    """
    jacobian = JacobianProducts(fn, x, products=products, isolate=isolate)
    if jacobian.d_out < jacobian.d_in:
        return x.new_zeros(len(x))
    return torch.linalg.svdvals(jacobian.dense())[:, -1]


def _exact(jacobian: JacobianProducts, norm: str) -> LipEstimate:
    dense = jacobian.dense()
    if norm == "l2":
        value = torch.linalg.svdvals(dense)[:, 0]
    else:
        value = dense.abs().sum(1 if norm == "l1" else 2).amax(1)
    return LipEstimate(value, value, "exact", jacobian.n_evals, torch.ones_like(value, dtype=torch.bool))


def _power(
    jacobian: JacobianProducts,
    n_iter: int,
    tol: float,
    n_vectors: int,
    failure: float,
    generator: torch.Generator | None,
) -> LipEstimate:
    size, d = len(jacobian.x), jacobian.d_in
    v = _orthonormal(gaussian((n_vectors, size, d), jacobian.x, generator))
    sigma = jacobian.x.new_zeros(size)
    calm = torch.zeros(size, dtype=torch.long, device=sigma.device)
    for n_steps in range(1, n_iter + 1):  # noqa: B007 (read after the loop)
        u = jacobian.jvp(v)  # k b m
        top = _top_vector(u)  # k b: which combination of the vectors is stretched most
        new = torch.einsum("kb,kbm->bm", top, u).norm(dim=1)
        calm = torch.where((new - sigma).abs() <= tol * new, calm + 1, 0)
        sigma = torch.maximum(sigma, new)
        w = jacobian.vjp(u)
        back, ahead = (torch.einsum("kb,kbd->bd", top, part) for part in (w, v))
        square = (new**2).unsqueeze(1)
        residual = (back - square * ahead).norm(dim=1) / square.squeeze(1).clamp_min(
            torch.finfo(v.dtype).tiny
        )
        if bool((calm >= 2).all()):
            break
        v = _orthonormal(torch.where(w.norm(dim=2, keepdim=True) > 0, w, v))
    return LipEstimate(
        sigma,
        sigma * power_factor(n_steps, d, failure),
        "power",
        jacobian.n_evals,
        calm >= 2,
        residual,
    )


def _lanczos(
    jacobian: JacobianProducts, n_iter: int, tol: float, failure: float, generator: torch.Generator | None
) -> LipEstimate:
    def gram(v: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return jacobian.vjp(jacobian.jvp(v.unsqueeze(0))).squeeze(0)

    d = jacobian.d_in
    start = gaussian((len(jacobian.x), d), jacobian.x, generator)
    # The iteration is for σ², whose relative change is twice that of σ.
    ritz = lanczos(gram, start, n_iter, 2 * tol)
    lower = ritz.largest.clamp_min(0).sqrt()
    gap = lanczos_gap(ritz.size, d, failure)
    factor = float("inf") if gap >= 1 else (1 - gap) ** -0.5
    upper = torch.where(ritz.exhausted | (lower == 0), lower, lower * factor)
    return LipEstimate(lower, upper, "lanczos", jacobian.n_evals, ritz.converged)


def _orthonormal(v: Float[Tensor, "k b d"]) -> Float[Tensor, "k b d"]:
    """Vectors of each sample made orthonormal, the first one only normalised."""
    if len(v) == 1:
        return v / v.norm(dim=2, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
    return torch.linalg.qr(v.permute(1, 2, 0))[0].permute(2, 0, 1)  # b d k


def _top_vector(u: Float[Tensor, "k b m"]) -> Float[Tensor, "k b"]:
    """Unit coefficients of the combination of u with the largest norm, per sample."""
    if len(u) == 1:
        return torch.ones_like(u[:, :, 0])
    gram = torch.einsum("kbm,lbm->bkl", u, u)
    return torch.linalg.eigh(gram)[1][:, :, -1].T
