"""Pooling over the group, and down-sampling that commutes with it."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.checks import (
    require_group,
    require_maps,
    require_positive,
    require_symmetric_sampling,
)
from tenfold.groups import Group

PoolMode = Literal["max", "mean", "mean_max", "norm"]


class GroupPool(nn.Module):
    """Pool every regular field over the group to one invariant channel (two for "mean_max").

    Args:
        group: the symmetry group.
        mode: "max", "mean", "mean_max" (means, then maxima) or "norm" (Euclidean norm over the group).
        dim: the channel axis; 1 for maps (b, channels, h, w), −1 for tokens.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> GroupPool(CyclicGroup(4))(torch.randn(2, 12, 5, 5)).shape
        torch.Size([2, 3, 5, 5])
    """

    def __init__(self, group: Group, mode: PoolMode = "max", dim: int = 1):
        super().__init__()
        require_group(group)
        if mode not in get_args(PoolMode):
            raise ValueError(f"mode must be one of {', '.join(get_args(PoolMode))}, got {mode!r}")
        self.group, self.mode, self.dim = group, mode, dim

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*pooled"]:
        fields = self.group.split(x, self.dim)
        axis = self.dim + 1 if self.dim >= 0 else self.dim
        if self.mode == "max":
            return fields.amax(axis)
        if self.mode == "mean":
            return fields.mean(axis)
        if self.mode == "norm":
            return torch.linalg.vector_norm(fields, dim=axis)
        return torch.cat([fields.mean(axis), fields.amax(axis)], self.dim)

    def extra_repr(self) -> str:
        return f"{self.group}, mode={self.mode!r}"


class AntialiasedAvgPool2d(nn.Module):
    """Average pooling with a Gaussian window, σ = (kernel_size − 1)/6, on every channel by itself.

    Args:
        kernel_size: odd, at least 3.
        stride: sampling step of the output.
        padding: zeros added on each side; None is (kernel_size − 1)/2.
        exact: refuse maps whose sampling lattice is not symmetric about the centre (see `ConvOptions`).

    Example:
        >>> AntialiasedAvgPool2d(5, stride=2)(torch.randn(1, 8, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
    """

    window: Tensor

    def __init__(self, kernel_size: int, stride: int = 2, padding: int | None = None, exact: bool = True):
        super().__init__()
        require_positive(kernel_size=kernel_size, stride=stride)
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
        self.kernel_size, self.stride, self.exact = kernel_size, stride, exact
        self.padding = (kernel_size - 1) // 2 if padding is None else padding
        self.register_buffer("window", self._exact_window().to(torch.get_default_dtype()), persistent=False)

    def _exact_window(self) -> Float[Tensor, "p p"]:
        radius = (self.kernel_size - 1) // 2
        offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
        bell = torch.exp(-offset.square() / (2 * (radius / 3) ** 2))
        bell = bell / bell.sum()
        return bell[:, None] * bell

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels new_h new_w"]:
        require_maps(x)
        if self.exact:
            require_symmetric_sampling(x, self.kernel_size, self.stride, self.padding)
        kernel = self.window.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, None, self.stride, self.padding, groups=x.shape[1])

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"
