"""Dahlquist's constant, the logarithmic Lipschitz constant (T7 of §3.2).

    M(F) = lim_{h↓0} (Lip(I + hF) − 1)/h = sup_x λ_max((J_F + J_Fᵀ)/2)        in ℓ₂

It can be negative, and decides about residual blocks: Lip(I + hF)² ≤ 1 + 2h M(F) + h² Lip(F)².
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_choice, check_open_unit, check_positive
from .estimates import LipEstimate
from .forward_ad import JacobianProducts, Map
from .krylov import gaussian, lanczos, lanczos_gap


def log_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    method: str = "lanczos",
    n_iter: int = 50,
    tol: float = 1e-6,
    products: str = "forward",
    isolate: bool = True,
    failure: float = 1e-6,
    generator: torch.Generator | None = None,
) -> LipEstimate:
    """Bounds of λ_max((J + Jᵀ)/2) at each sample; the largest is a lower bound of M(fn).

    Args:
        fn: maps batches to batches of the same shape.
        x: samples (b, *shape).
        method: "lanczos", whose upper bound holds with probability 1 − `failure` a sample, or "exact" (eigenvalues of
            the whole matrix).
        n_iter: most Lanczos steps.
        tol: stop where both ends of the spectrum moved by at most tol of its size, twice in a row.
        products: see `JacobianProducts`.
        isolate: as in `local_lipschitz`.
        failure: probability that an upper bound by "lanczos" fails.
        generator: draws the starts.

    Raises:
        ValueError: if fn(x) has another shape than x, and as `local_lipschitz`.

    Example:
        >>> round(log_lipschitz(lambda x: -2 * x, torch.randn(3, 5)).best, 6)
        -2.0
    """
    check_choice("method", method, ("lanczos", "exact"))
    check_positive(n_iter=n_iter)
    check_open_unit(failure=failure)
    jacobian = JacobianProducts(fn, x, products=products, isolate=isolate)
    if jacobian.y.shape != x.shape:
        raise ValueError(
            f"fn(x) has shape {tuple(jacobian.y.shape)} and x {tuple(x.shape)}; M(fn) needs the same"
        )
    if method == "exact":
        dense = jacobian.dense()
        value = torch.linalg.eigvalsh((dense + dense.mT) / 2)[:, -1]
        return LipEstimate(value, value, "exact", jacobian.n_evals, torch.ones_like(value, dtype=torch.bool))

    def symmetric(v: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        v = v.unsqueeze(0)
        return (jacobian.jvp(v) + jacobian.vjp(v)).squeeze(0) / 2

    start = gaussian((len(x), jacobian.d_in), jacobian.x, generator)
    ritz = lanczos(symmetric, start, n_iter, tol)
    # Both ends are within gap · (λ_max − λ_min) of the truth, hence the spread is at most this:
    gap = lanczos_gap(ritz.size, jacobian.d_in, failure / 2)
    spread = (
        (ritz.largest - ritz.smallest) / (1 - 2 * gap)
        if gap < 0.5
        else torch.full_like(ritz.largest, torch.inf)
    )
    upper = torch.where(ritz.exhausted, ritz.largest, ritz.largest + gap * spread)
    return LipEstimate(ritz.largest, upper, "lanczos", jacobian.n_evals, ritz.converged)
