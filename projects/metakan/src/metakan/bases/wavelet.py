"""Mother wavelets with a scale and a translation per edge (WavKAN; notes section 3.7).

An edge carries three numbers (raw scale, translation, weight): phi(x) = weight * psi((x - translation) / scale),
scale = softplus(raw + softplus^-1(1)). A raw value of zero is scale one, so weights near zero, which a meta-learner
gives at first, never divide by zero (pitfall P9).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_choice
from .basis import Basis

_UNIT_SCALE = math.log(math.e - 1.0)  # softplus^-1(1)
_LEAST_SCALE = 1e-3  # softplus underflows to 0 for very negative raw values


def _mexican_hat(u: Tensor) -> Tensor:
    return 2.0 / (math.sqrt(3.0) * math.pi**0.25) * (u.square() - 1.0) * torch.exp(-0.5 * u.square())


def _morlet(u: Tensor) -> Tensor:
    return torch.cos(5.0 * u) * torch.exp(-0.5 * u.square())


def _difference_of_gaussians(u: Tensor) -> Tensor:
    return -u * torch.exp(-0.5 * u.square())


def _meyer(u: Tensor) -> Tensor:
    # sin(pi |u|) times Meyer's auxiliary step: 1 up to 1/2, 0 from 1, cos(pi/2 nu(2|u| - 1)) between
    v = u.abs()
    t = (2.0 * v - 1.0).clamp(0.0, 1.0)
    nu = t**4 * (35.0 - 84.0 * t + 70.0 * t**2 - 20.0 * t**3)
    return torch.sin(math.pi * v) * torch.cos(0.5 * math.pi * nu)


def _shannon(u: Tensor) -> Tensor:
    return torch.sinc(u) * (0.54 + 0.46 * torch.cos(math.pi * u.clamp(-1.0, 1.0)))


_MOTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mexican_hat": _mexican_hat,
    "morlet": _morlet,
    "dog": _difference_of_gaussians,
    "meyer": _meyer,
    "shannon": _shannon,
}


class WaveletBasis(Basis):
    """One mother wavelet psi, scaled and shifted per edge.

    Args:
        kind: "mexican_hat" 2/(sqrt(3) pi^(1/4)) (u^2 - 1) exp(-u^2/2), "morlet" (omega_0 = 5), "dog" (first
            derivative of a Gaussian), "meyer", or "shannon" (sinc under a Hamming window on [-1, 1]).

    Example:
        >>> basis = WaveletBasis()
        >>> basis(torch.zeros(4, 3)).shape, basis.n_weights(base=False)
        (torch.Size([4, 3, 1]), 3)
    """

    n_basis = 1

    def __init__(self, kind: str = "mexican_hat"):
        super().__init__()
        check_choice("kind", kind, tuple(_MOTHERS))
        self.kind = kind

    def n_weights(self, base: bool) -> int:
        """Three numbers an edge: raw scale, translation, weight. Wavelet edges have no base function."""
        if base:
            raise ValueError("wavelet edges have no base function; pass base_activation=None")
        return 3

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n 1"]:
        """The mother wavelet at every entry of x (scale 1, translation 0)."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return _MOTHERS[self.kind](wide).to(x.dtype)[..., None]

    def edges(self, x: Tensor, weight: Float[Tensor, "... 3"]) -> Tensor:
        """weight * psi((x - translation) / scale), broadcasting x against weight[..., 0]."""
        wide = torch.promote_types(x.dtype, torch.float32)
        raw, shift, amplitude = weight.to(wide).unbind(-1)
        u = (x.to(wide) - shift) / F.softplus(raw + _UNIT_SCALE).clamp_min(_LEAST_SCALE)
        return (amplitude * _MOTHERS[self.kind](u)).to(torch.promote_types(x.dtype, weight.dtype))

    def extra_repr(self) -> str:
        """Shown by print."""
        return repr(self.kind)
