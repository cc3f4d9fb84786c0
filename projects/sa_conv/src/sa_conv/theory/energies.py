"""Prior energies R[r]: what "symmetric" is measured with. All are means over the pixels of each image.

The paper's regulariser is R[r] ∝ ∫∫ k_R(x) r(x−y) dx dy; `filter_bank_energy` is its discrete form with |·|, the other two are the
classical priors. Any function from images (n, c, h, w) to energies (n,) can be used in their place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PriorEnergy = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, " n"]]


def tikhonov_energy(lambda_x: float = 1.0, lambda_y: float = 1.0) -> PriorEnergy:
    """λx‖∂x r‖² + λy‖∂y r‖² by forward differences; invariant under quarter turns iff λx = λy.

    Example:
        >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)  # grows along x
        >>> tikhonov_energy(2.0, 1.0)(ramp), tikhonov_energy(2.0, 1.0)(ramp.mT)
        (tensor([2.]), tensor([1.]))
    """

    def energy(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        along_x = images.diff(dim=-1).square().mean((1, 2, 3))
        along_y = images.diff(dim=-2).square().mean((1, 2, 3))
        return lambda_x * along_x + lambda_y * along_y

    return energy


def total_variation_energy() -> PriorEnergy:
    """Anisotropic total variation |∂x r| + |∂y r|: invariant under quarter turns, not under finer rotations.

    Example:
        >>> total_variation_energy()(torch.arange(4.0).expand(1, 1, 4, 4))
        tensor([1.])
    """

    def energy(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return images.diff(dim=-1).abs().mean((1, 2, 3)) + images.diff(dim=-2).abs().mean((1, 2, 3))

    return energy


def filter_bank_energy(filters: Float[Tensor, "m p q"]) -> PriorEnergy:
    """Σ_m |k_m ∗ r| over the positions where the filters fit into the image.

    Example:
        >>> edge = torch.tensor([[[-1.0, 1.0]]])
        >>> filter_bank_energy(edge)(torch.arange(4.0).expand(1, 1, 4, 4))
        tensor([1.])
    """
    if filters.ndim != 3:
        raise ValueError(f"filters must have shape (m, p, q), got {tuple(filters.shape)}")

    def energy(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        planes = images.flatten(0, 1).unsqueeze(1)
        responses = F.conv2d(planes, filters.to(images).unsqueeze(1)).abs().sum(1).mean((-2, -1))
        return responses.unflatten(0, images.shape[:2]).mean(1)

    return energy


def named_energy(prior_energy: str | PriorEnergy) -> PriorEnergy:
    """The energy called "tikhonov" or "total_variation", or the function given."""
    if not isinstance(prior_energy, str):
        return prior_energy
    known = {"tikhonov": tikhonov_energy, "total_variation": total_variation_energy}
    if prior_energy not in known:
        raise ValueError(
            f"prior_energy must be a function or one of {', '.join(known)}, got {prior_energy!r}"
        )
    return known[prior_energy]()


def checked_energies(energy: PriorEnergy, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """The energies of images, with an error where the function does not answer one number per image."""
    values = energy(images)
    if not isinstance(values, torch.Tensor) or values.shape != images.shape[:1]:
        raise ValueError(
            f"prior_energy must return one number per image, shape ({len(images)},), got "
            f"{tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__}"
        )
    return values
