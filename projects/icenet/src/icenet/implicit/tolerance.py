"""When a sample is accurate enough: strategies for the stopping tolerance ε_i of each sample (§3.4).

The choice of the threshold is named an open problem by the paper; here it is an object.

    Fixed          ε_i = ε
    NoiseAware     ε_i = clip(κ σ_i, ε_min, ε_max): no use in computing more exactly than the noise allows
    ChannelDomain  stop when the estimated channel moves less than the noise: ‖ĥ(F) - ĥ(X)‖² < κ σ_i² ‖ĥ(F)‖²
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Tolerance(Protocol):
    """Gives the limit of each sample's residual.

    `domain` says whose residual: "features", of the fixed point, or "channel", of the estimate computed from it.
    """

    domain: str

    def __call__(self, noise_var: Float[Tensor, "b"] | None, batch: int) -> Float[Tensor, "b"]:
        """ε_i for σ_i² per resource element of unit mean channel power; None where it is not known."""
        ...


@dataclass(frozen=True)
class Fixed:
    """The same ε for every sample.

    Example:
        >>> Fixed(1e-3)(None, 2)
        tensor([0.0010, 0.0010])
    """

    eps: float
    domain = "features"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise ValueError(f"eps must be finite and not negative, got {self.eps}")

    def __call__(self, noise_var: Float[Tensor, "b"] | None, batch: int) -> Float[Tensor, "b"]:
        return torch.full((batch,), self.eps)


@dataclass(frozen=True)
class NoiseAware:
    """ε_i = clip(κ σ_i, ε_min, ε_max), with σ_i the standard deviation of the noise: noisy slots stop early.

    Args:
        kappa: κ, above 0.
        eps_min, eps_max: bounds of ε_i, 0 <= eps_min <= eps_max.

    Example:
        >>> NoiseAware(0.1, 1e-3, 5e-2)(torch.tensor([1.0, 0.01, 1e-8]), 3)
        tensor([0.0500, 0.0100, 0.0010])
    """

    kappa: float
    eps_min: float = 1e-4
    eps_max: float = 1e-1
    domain = "features"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise ValueError(f"kappa must be finite and above 0, got {self.kappa}")
        if not 0 <= self.eps_min <= self.eps_max < math.inf:
            raise ValueError(f"0 <= eps_min <= eps_max must hold, got {self.eps_min} and {self.eps_max}")

    def __call__(self, noise_var: Float[Tensor, "b"] | None, batch: int) -> Float[Tensor, "b"]:
        return (self.kappa * _known(noise_var, self).sqrt()).clamp(self.eps_min, self.eps_max)


@dataclass(frozen=True)
class ChannelDomain:
    """Stop when one more evaluation moves the estimated channel by less than κ σ_i² of its energy.

    Args:
        kappa: κ, above 0.

    Example:
        >>> ChannelDomain(0.01)(torch.tensor([1.0, 0.01]), 2)  # limits of the relative change of amplitudes
        tensor([0.1000, 0.0100])
    """

    kappa: float
    domain = "channel"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise ValueError(f"kappa must be finite and above 0, got {self.kappa}")

    def __call__(self, noise_var: Float[Tensor, "b"] | None, batch: int) -> Float[Tensor, "b"]:
        return (self.kappa * _known(noise_var, self)).sqrt()


def _known(noise_var: Float[Tensor, "b"] | None, tolerance: Tolerance) -> Float[Tensor, "b"]:
    if noise_var is None:
        raise ValueError(
            f"{type(tolerance).__name__} needs noise_var, the noise variance of each slot; give it, or a fixed eps"
        )
    return noise_var
