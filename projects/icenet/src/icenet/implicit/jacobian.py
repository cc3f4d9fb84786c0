"""The Jacobian J = ∂f/∂F at the fixed point: its size as a penalty, its spectral radius as a diagnosis (§3.5)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def jacobian_penalty(
    f: Callable[[Tensor], Tensor], z: Float[Tensor, "b ..."], generator: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """‖Jᵀ v‖² / dim with one v ~ N(0, I), mean over the batch: an unbiased estimate of ‖J‖_F² / dim, differentiable in θ."""
    raise NotImplementedError


def spectral_radius(
    f: Callable[[Tensor], Tensor], z: Float[Tensor, "b ..."], iterations: int = 60
) -> Float[Tensor, "b"]:
    """ρ(J) of each sample by power iteration on Jᵀ: growth of the norm over the second half of the iterations."""
    raise NotImplementedError
