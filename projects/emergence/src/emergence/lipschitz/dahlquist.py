"""Dahlquist's constant M(F) = sup_x λ_max((J + Jᵀ)/2) (T7 of §3.2). Skeleton."""

import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import LipEstimate
from .forward_ad import Map


def log_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    method: str = "lanczos",
    n_iter: int = 50,
    tol: float = 1e-6,
    generator: torch.Generator | None = None,
) -> LipEstimate:
    """λ_max((J + Jᵀ)/2) at each sample; may be negative. Methods: lanczos, exact."""
    raise NotImplementedError
