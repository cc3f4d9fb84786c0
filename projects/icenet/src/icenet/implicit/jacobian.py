"""The Jacobian J = ∂f/∂F at the fixed point: its size as a penalty, its spectral radius as a diagnosis (§3.5).

penalty   E_v ‖Jᵀ v‖² / dim = ‖J‖_F² / dim,  v ~ N(0, I), one sample
radius    ρ(J) = lim ‖(Jᵀ)ⁿ v‖^(1/n): below 1, plain iteration converges near F*
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def jacobian_penalty(
    f: Callable[[Tensor], Tensor], z: Float[Tensor, "b ..."], generator: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """‖Jᵀ v‖² / dim with one v ~ N(0, I), mean over the batch; differentiable in θ and u, not in z.

    Args:
        f: the map of the batch.
        z: where J is taken.
        generator: of v; None takes the global one.

    Example:
        >>> round(float(jacobian_penalty(lambda z: 0.5 * z, torch.zeros(100, 1000))), 2)  # J = I/2
        0.25
    """
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        v = torch.randn(leaf.shape, dtype=leaf.dtype, device=leaf.device, generator=generator)
        product = torch.autograd.grad(f(leaf), leaf, v, create_graph=True)[0]
        return product.square().mean()


def spectral_radius(
    f: Callable[[Tensor], Tensor],
    z: Float[Tensor, "b ..."],
    iterations: int = 60,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b"]:
    """ρ(J) of each sample: the mean growth of ‖(Jᵀ)ⁿ v‖ over the second half of the iterations.

    Args:
        f: the map of the batch; samples must not depend on each other.
        z: where J is taken, usually the fixed point.
        iterations: at least 2; 30 to 100 are usual.
        generator: of the start; None takes the global one.

    Example:
        >>> rotation = torch.tensor([[0.0, -0.5], [0.5, 0.0]])  # eigenvalues ±0.5 i
        >>> spectral_radius(lambda z: z @ rotation, torch.zeros(1, 2))
        tensor([0.5000])
    """
    if iterations < 2:
        raise ValueError(f"iterations must be at least 2, got {iterations}")
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        value = f(leaf)
    v = torch.randn(leaf.shape, dtype=leaf.dtype, device=leaf.device, generator=generator)
    growth = torch.zeros(len(z), dtype=z.dtype, device=z.device)
    for k in range(iterations):
        norm = v.flatten(1).norm(dim=1)
        if k >= (iterations + 1) // 2:
            growth = growth + norm.log()
        v = v / torch.where(norm > 0, norm, 1.0).view(-1, *[1] * (z.dim() - 1))
        v = torch.autograd.grad(value, leaf, v, retain_graph=True)[0]
    growth = growth + v.flatten(1).norm(dim=1).log()
    return (growth / (iterations + 1 - (iterations + 1) // 2)).exp()
