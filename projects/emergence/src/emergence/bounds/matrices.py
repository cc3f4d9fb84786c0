"""Upper certificates of ‖W‖₂ (§3.7).

An iterate of the power method is too small at every step, and a bound built on it would not be one. From above:

    ‖W‖₂ ≤ ‖(WᵀW)^(2^k)‖_F^(1/2^(k+1)) ≤ rank(W)^(1/2^(k+2)) ‖W‖₂

takes k matrix products (repeated squaring of the Gram matrix), is differentiable, and is within 0.2 % of ‖W‖₂
for k = 10 and rank 1000. For k = 0 it is close to the Frobenius norm.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_count, check_finite


def spectral_norm_upper(weight: Float[Tensor, "m n"], n_squarings: int = 10) -> Float[Tensor, ""]:
    """An upper bound of ‖weight‖₂ by repeated squaring, differentiable, never below the norm.

    Raises:
        ValueError: if `weight` is no matrix.

    Example:
        >>> round(float(spectral_norm_upper(torch.diag(torch.tensor([3.0, 1.0])))), 3)
        3.0
    """
    check_count(n_squarings=n_squarings)
    if weight.dim() != 2:
        raise ValueError(f"weight must be a matrix, got shape {tuple(weight.shape)}")
    tiny = torch.finfo(weight.dtype).tiny
    unit = weight.detach().abs().amax().clamp_min(tiny)  # squares of large entries would overflow
    weight = weight / unit
    gram = weight.mT @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.mT
    log_scale = weight.new_zeros(())
    for _ in range(n_squarings):
        size = gram.norm().clamp_min(tiny)
        log_scale = 2 * (log_scale + size.log())
        gram = gram / size
        gram = gram @ gram
    log_norm = (log_scale + gram.norm().clamp_min(tiny).log()) / 2 ** (n_squarings + 1)
    # Rounding of the products, each of relative size n·ε, must not undo the certificate.
    slack = 1 + 4 * max(weight.shape) * torch.finfo(weight.dtype).eps
    return unit * log_norm.exp() * slack


def spectral_norm(weight: Float[Tensor, "m n"]) -> float:
    """‖weight‖₂ by singular values in float64, raised by the rounding error of that: an upper bound tight to 1e-12."""
    check_finite("weight", weight)
    matrix = weight.detach().double()
    slack = 1 + 4 * max(matrix.shape) * torch.finfo(torch.float64).eps
    return float(torch.linalg.svdvals(matrix)[0]) * slack
