"""Gaussian radial basis functions on equidistant centres (FastKAN; notes section 3.7)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..arguments import check_positive, check_range
from .basis import Basis


class RBFBasis(Basis):
    """exp(-((x - g_m) / delta)^2) with centres g_m equidistant on `value_range`, delta = width / (n_centers - 1).

    The centres are frozen parameters, as in the published code, which counts them.

    Args:
        n_centers: number of centres, at least 2.
        value_range: (low, high) of the centres.

    Example:
        >>> RBFBasis(8)(torch.zeros(4, 3)).shape
        torch.Size([4, 3, 8])
    """

    def __init__(self, n_centers: int = 8, value_range: tuple[float, float] = (-2.0, 2.0)):
        super().__init__()
        check_positive(n_centers=n_centers)
        if n_centers < 2:
            raise ValueError(f"n_centers must be at least 2 (the width is their distance), got {n_centers}")
        low, high = check_range("value_range", value_range)
        self.n_basis = n_centers
        self.value_range = (low, high)
        self.delta = (high - low) / (n_centers - 1)
        self.centers = nn.Parameter(torch.linspace(low, high, n_centers), requires_grad=False)

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of the Gaussians; inputs of half precision are computed in float32."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        u = (wide[..., None] - self.centers.to(wide.dtype)) / self.delta
        return torch.exp(-u.square()).to(x.dtype)

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.n_basis}, value_range={self.value_range}"
