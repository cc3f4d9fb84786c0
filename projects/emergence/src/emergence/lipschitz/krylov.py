"""Extreme eigenvalues of symmetric maps from random starts, and how far off they can be (§3.7).

Power and Lanczos iterations from a random unit vector b can only be too small. By how much is known with a probability
that does not depend on the matrix: b₁ = ⟨b, top eigenvector⟩ is the coordinate of a uniform point of the sphere, so
|b₁| ≥ t = η / √(2d/π) with probability at least 1 − η, and then, at every step k at once,

    power, λ ≥ 0:     λ_max ≤ (estimate) · t^(−2/(2k−1))                                             (Hölder)
    Lanczos:          λ_max − estimate ≤ δ (λ_max − λ_min),  δ = min_ε [ε + 1 / (t T_{k−1}((1+ε)/(1−ε)))²]

with T the Chebyshev polynomial: its square, as a weight of the eigenvalues, is at most 1 on the lower part of the
spectrum and huge at its top.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def gaussian(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers on the device of `like`, drawn where the generator lives."""
    device = like.device if generator is None else generator.device
    return torch.randn(shape, dtype=like.dtype, device=device, generator=generator).to(like.device)


def least_overlap(dim: int, failure: float) -> float:
    """t: a uniform point of the sphere in R^dim has |first coordinate| ≥ t but with probability `failure`."""
    return min(failure / math.sqrt(2 * dim / math.pi), 1.0)


def power_factor(n_iter: int, dim: int, failure: float) -> float:
    """σ_max ≤ factor · ‖J v_k‖ after n_iter steps of the power method for JᵀJ."""
    return least_overlap(dim, failure) ** (-1 / (2 * n_iter - 1))


def lanczos_gap(n_iter: int, dim: int, failure: float) -> float:
    """δ: the largest Ritz value is within δ of the spread of the spectrum; 0 once the whole space is spanned."""
    if n_iter >= dim:
        return 0.0
    log_t = math.log(least_overlap(dim, failure))
    best = 1.0
    for i in range(1, 400):
        eps = 10 ** (-i / 40)
        growth = (n_iter - 1) * math.acosh((1 + eps) / (1 - eps)) - math.log(2)  # log T from below
        best = min(best, eps + math.exp(min(0.0, -2 * (growth + log_t))))
    return best


@dataclass(frozen=True)
class RitzValues:
    """Extreme eigenvalues of a symmetric map restricted to a Krylov space, per sample.

    Args:
        largest: at most the largest eigenvalue.
        smallest: at least the smallest one.
        size: dimension of the space.
        converged: whether both had stopped to move.
        exhausted: whether the space holds all that the map makes of its start, so that nothing is missing.
    """

    largest: Float[Tensor, "b"]
    smallest: Float[Tensor, "b"]
    size: int
    converged: Bool[Tensor, "b"]
    exhausted: Bool[Tensor, "b"]


def lanczos(
    apply: Callable[[Float[Tensor, "b d"]], Float[Tensor, "b d"]],
    start: Float[Tensor, "b d"],
    n_iter: int,
    tol: float,
) -> RitzValues:
    """Lanczos with full orthogonalisation for a batch of symmetric maps.

    Args:
        apply: the maps, one a row.
        start: first vectors.
        n_iter: largest dimension of the Krylov space.
        tol: stop when both ends of the spectrum moved by at most tol · max|eigenvalue|, twice in a row.
    """
    size, d = start.shape
    n_iter = min(n_iter, d)
    basis = start.new_zeros(n_iter, size, d)
    projected = start.new_zeros(size, n_iter, n_iter)
    q = start / start.norm(dim=1, keepdim=True)
    ends = start.new_zeros(size, 2)
    calm = torch.zeros(size, dtype=torch.long, device=start.device)
    exhausted = torch.zeros(size, dtype=torch.bool, device=start.device)
    for k in range(n_iter):
        basis[k] = q
        w = apply(q)
        held = basis[: k + 1]
        for _ in range(2):  # twice is enough
            overlap = torch.einsum("kbd,bd->bk", held, w)
            w = w - torch.einsum("kbd,bk->bd", held, overlap)
            projected[:, : k + 1, k] += overlap
        block = projected[:, : k + 1, : k + 1]
        values = torch.linalg.eigvalsh((block + block.mT).double() / 2)[:, [0, -1]].to(start.dtype)
        values = torch.where(exhausted.unsqueeze(1), ends, values)  # what comes after is rounding error
        reach = values.abs().amax(1)
        still = (values - ends).abs().amax(1) <= tol * reach
        calm = torch.where(still & (k > 0), calm + 1, 0)
        ends = values
        length = w.norm(dim=1)
        exhausted |= (length <= 10 * torch.finfo(w.dtype).eps * reach) | (k + 1 == d)
        if bool(((calm >= 2) | exhausted).all()) or k + 1 == n_iter:
            break
        q = w / length.clamp_min(torch.finfo(w.dtype).tiny).unsqueeze(1)
        projected[:, k + 1, k] = length
    return RitzValues(ends[:, 1], ends[:, 0], k + 1, (calm >= 2) | exhausted, exhausted)
