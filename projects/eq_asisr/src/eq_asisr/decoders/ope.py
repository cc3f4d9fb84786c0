"""OPE and its equivariant version: the features are coefficients of a polynomial of sines and cosines (§3.3).

    f(F, x) = Σ_ab F[a, b] X_a(row) X_b(col) / 100       X(s) = [1, √2 cos ωs, √2 sin ωs, …, √2 cos Nωs, √2 sin Nωs]

with ω = π/2, a period of two LR pitches. Nothing is learned behind the convolution. The equivariant version has
coefficients for every orientation, which reads its own rotated coordinate, and averages over the orientations.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eq_asisr.coords import rotation_matrices
from tenfold.groupconv import Basis, GroupConv2d
from tenfold.groupconv.checks import require_positive
from tenfold.groups import CyclicGroup

from .decoder import Decoder, LocalFunction, full_precision, to_rows

_SCALE = 1 / 100


class OPE(Decoder):
    """The orthogonal position encoding of Song et al.; 84,819 parameters with the defaults.

    Args:
        in_channels: channels of the features.
        max_freq: N, the highest frequency; 2N + 1 functions an axis.
        kernel_size: of the convolution, odd.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        out_channels: channels of the image.

    Example:
        >>> decoder = OPE(8, max_freq=2)
        >>> coord, cell = torch.rand(2, 5, 2) * 2 - 1, torch.full((2, 1, 2), 0.1)
        >>> decoder(torch.randn(2, 8, 6, 7), coord, cell).shape
        torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        in_channels: int = 64,
        max_freq: int = 3,
        kernel_size: int = 3,
        coord_scale: float = 1.0,
        upinput: bool = False,
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "max_freq": max_freq,
            "kernel_size": kernel_size,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "out_channels": out_channels,
        }
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=None, upinput=upinput
        )
        _require_sizes(max_freq, kernel_size)
        self.max_freq, self.coord_scale = max_freq, coord_scale
        coefficients = out_channels * (2 * max_freq + 1) ** 2
        self.coefficients = nn.Conv2d(in_channels, coefficients, kernel_size, padding=kernel_size // 2)

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        return to_rows(self.coefficients(features))

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            with full_precision(rows.device):
                functions = position_encoding(self.coord_scale * offset, self.max_freq)
                return _SCALE * _products(rows, functions, self.out_channels)

        return colours


class EqOPE(Decoder):
    """OPE that turns with the features; 235,347 parameters with the defaults.

    Args:
        in_channels: channels of the features in all, in_channels/t regular fields.
        t: orientations; the same as of the encoder.
        max_freq: N, the highest frequency.
        kernel_size: of the group convolution, odd, at least 3.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        basis: of the group convolution, "bicubic" or "fourier".
        out_channels: channels of the image.

    Raises:
        ValueError: if in_channels is no multiple of t, or the kernel is even.

    Example:
        >>> decoder, group = EqOPE(8, t=4, max_freq=2), CyclicGroup(4)
        >>> features, cell = torch.randn(1, 8, 5, 5), torch.full((1, 1, 2), 0.1)
        >>> coord = torch.tensor([[[0.3, -0.6]]])
        >>> turned = torch.tensor([[[0.6, 0.3]]])  # (row, col) → (−col, row)
        >>> again = decoder(group.act_field(1, features), turned, cell)
        >>> torch.allclose(again, decoder(features, coord, cell), atol=1e-6)
        True
    """

    def __init__(
        self,
        in_channels: int = 64,
        t: int = 4,
        max_freq: int = 3,
        kernel_size: int = 5,
        coord_scale: float = 1.0,
        upinput: bool = False,
        basis: Basis = "bicubic",
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "t": t,
            "max_freq": max_freq,
            "kernel_size": kernel_size,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "basis": basis,
            "out_channels": out_channels,
        }
        symmetry = CyclicGroup(t)
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=symmetry, upinput=upinput
        )
        self.symmetry = symmetry
        _require_sizes(max_freq, kernel_size)
        self.max_freq, self.coord_scale = max_freq, coord_scale
        coefficients = out_channels * (2 * max_freq + 1) ** 2
        self.coefficients = GroupConv2d(in_channels // t, coefficients, kernel_size, symmetry, basis=basis)

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        maps = self.coefficients(features)  # (channel, a, b, orientation)
        order = self.symmetry.order
        by_channel = maps.unflatten(1, (self.out_channels, -1, order)).transpose(2, 3).flatten(1, 3)
        return to_rows(by_channel)

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        order = self.symmetry.order
        turns = self.coord_scale * rotation_matrices(self.symmetry, cell).flatten(0, 1).T

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            with full_precision(rows.device):
                seen = (offset @ turns).unflatten(-1, (-1, 2))
                functions = position_encoding(seen, self.max_freq).flatten(-2)
                return _SCALE / order * _products(rows, functions, self.out_channels)

        return colours


def position_encoding(x: Float[Tensor, "*n 2"], max_freq: int) -> Float[Tensor, "*n functions"]:
    """The products X_a(row) X_b(col), (2N + 1)² of them, orthonormal on a square of side four.

    >>> position_encoding(torch.zeros(2), 1).tolist()[:2]
    [1.0, 1.4142135381698608]
    """
    frequency = math.pi / 2 * torch.arange(1, max_freq + 1, dtype=x.dtype, device=x.device)
    angle = x.unsqueeze(-1) * frequency
    waves = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], -1).flatten(-2)
    axes = torch.cat([torch.ones_like(waves[..., :1]), waves], -1)  # n 2 a
    return (axes[..., 0, :, None] * axes[..., 1, None, :]).flatten(-2)


def _products(rows: Tensor, functions: Tensor, channels: int) -> Float[Tensor, "b q k channels"]:
    dtype = torch.promote_types(rows.dtype, torch.float32)
    coefficients = rows.to(dtype).unflatten(-1, (channels, -1))
    return (coefficients @ functions.to(dtype).unsqueeze(-1)).squeeze(-1).to(rows.dtype)


def _require_sizes(max_freq: int, kernel_size: int) -> None:
    require_positive(max_freq=max_freq, kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size must be odd, got {kernel_size}: an even kernel has no centre pixel to turn about"
        )
