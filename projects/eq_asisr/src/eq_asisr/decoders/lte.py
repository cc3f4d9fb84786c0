"""LTE and its equivariant version: the features are amplitudes and frequencies of waves at the query (§3.3).

    z = f_row · row + f_col · col + phase(cell)          h = a ⊙ [cos πz ; sin πz]          f = MLP(h) (+ bilinear LR)

The equivariant version has waves for every orientation, which reads its own rotated coordinate, and sums over the
orientations behind the product.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eq_asisr.coords import CellMode, cell_matrices, require_cell_mode, rotation_matrices
from tenfold.groupconv import Basis, GroupConv2d, GroupLinear
from tenfold.groupconv.checks import require_positive
from tenfold.groups import CyclicGroup

from .decoder import (
    Decoder,
    LocalFunction,
    full_precision,
    relu_,
    require_multiple,
    sum_orientations,
    to_rows,
)
from .group_mlp import InvariantMLP


class LTE(Decoder):
    """The local texture estimator of Lee & Jin; 493,827 parameters with the defaults.

    Args:
        in_channels: channels of the features.
        hidden_dim: amplitudes and frequencies per pixel, even.
        hidden: widths of the perceptron, at least one.
        kernel_size: of the two convolutions, odd.
        cell_decode: let the cell shift the phases.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        out_channels: channels of the image.

    Example:
        >>> decoder = LTE(8, hidden_dim=16, hidden=(16,))
        >>> coord, cell = torch.rand(2, 5, 2) * 2 - 1, torch.full((2, 1, 2), 0.1)
        >>> decoder(torch.randn(2, 8, 6, 7), coord, cell).shape
        torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        in_channels: int = 64,
        hidden_dim: int = 256,
        hidden: Sequence[int] = (256, 256, 256),
        kernel_size: int = 3,
        cell_decode: bool = True,
        coord_scale: float = 1.0,
        upinput: bool = True,
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "hidden_dim": hidden_dim,
            "hidden": list(hidden),
            "kernel_size": kernel_size,
            "cell_decode": cell_decode,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "out_channels": out_channels,
        }
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=None, upinput=upinput
        )
        _require_waves(hidden_dim, kernel_size, 1)
        if not hidden:
            raise ValueError("hidden must hold at least one width, got none")
        for width in hidden:
            require_positive(hidden=width)
        self.coord_scale = coord_scale
        self.coef = nn.Conv2d(in_channels, hidden_dim, kernel_size, padding=kernel_size // 2)
        self.freq = nn.Conv2d(in_channels, hidden_dim, kernel_size, padding=kernel_size // 2)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False) if cell_decode else None
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([hidden_dim, *hidden, out_channels]))

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        return torch.cat([to_rows(self.coef(features)), to_rows(self.freq(features))], -1)

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        with full_precision(cell.device):
            phase = self._phase(cell)

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            cosine, sine, along_row, along_column = rows.chunk(4, -1)
            with full_precision(rows.device):
                row, column = (self.coord_scale * offset).unsqueeze(-2).unbind(-1)  # b q k 1
                cos, sin = _waves(along_row, along_column, row, column, phase)
            x = torch.cat([cosine * cos, sine * sin], -1).to(self.dtype)
            for i, layer in enumerate(self.layers):
                x = layer(x) if i == 0 else layer(relu_(x))
            return x

        return colours

    def _phase(self, cell: Float[Tensor, "#b #q 2"]) -> Float[Tensor, "#b #q 1 waves"] | None:
        return None if self.phase is None else F.linear(cell, self.phase.weight.to(cell.dtype)).unsqueeze(2)


class EqLTE(Decoder):
    """LTE that turns with the features; 354,179 parameters with the defaults.

    Args:
        in_channels: channels of the features in all, in_channels/t regular fields.
        t: orientations; the same as of the encoder.
        hidden_dim: amplitudes and frequencies per pixel in all, a multiple of 2t.
        hidden: widths behind the sum over the group.
        kernel_size: of the two group convolutions, odd, at least 3.
        cell_decode: let the cell shift the phases.
        cell_mode: "swap" stays equivariant where height and width are scaled differently, "scalar" is as published.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        basis: of the group convolutions, "bicubic" or "fourier".
        out_channels: channels of the image.

    Raises:
        ValueError: if a number of channels is no multiple of t, the kernel is even, or the cell mode is unknown.

    Example:
        >>> decoder, group = EqLTE(8, t=4, hidden_dim=16, hidden=(8,)), CyclicGroup(4)
        >>> features, cell = torch.randn(1, 8, 5, 5), torch.full((1, 1, 2), 0.1)
        >>> coord = torch.tensor([[[0.3, -0.6]]])
        >>> turned = torch.tensor([[[0.6, 0.3]]])  # (row, col) → (−col, row)
        >>> again = decoder(group.act_field(1, features), turned, cell)
        >>> torch.allclose(again, decoder(features, coord, cell), atol=1e-5)
        True
    """

    def __init__(
        self,
        in_channels: int = 64,
        t: int = 4,
        hidden_dim: int = 256,
        hidden: Sequence[int] = (256, 256, 256),
        kernel_size: int = 5,
        cell_decode: bool = True,
        cell_mode: CellMode = "swap",
        coord_scale: float = 1.0,
        upinput: bool = True,
        basis: Basis = "bicubic",
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "t": t,
            "hidden_dim": hidden_dim,
            "hidden": list(hidden),
            "kernel_size": kernel_size,
            "cell_decode": cell_decode,
            "cell_mode": cell_mode,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "basis": basis,
            "out_channels": out_channels,
        }
        group = CyclicGroup(t)
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=group, upinput=upinput
        )
        require_cell_mode(cell_mode)
        _require_waves(hidden_dim, kernel_size, t)
        require_multiple(group, hidden_dim=hidden_dim)
        self.order, self.cell_mode, self.coord_scale = t, cell_mode, coord_scale
        fields, waves = in_channels // t, hidden_dim // t
        self.coef = GroupConv2d(fields, waves, kernel_size, group, basis=basis)
        self.freq = GroupConv2d(fields, waves, kernel_size, group, basis=basis)
        self.phase = GroupLinear(2, waves // 2, group, bias=False) if cell_decode else None
        self.head = InvariantMLP(waves, group, hidden, out_channels)

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        halves = [half for conv in (self.coef, self.freq) for half in conv(features).chunk(2, 1)]
        return torch.cat([to_rows(half, self.order) for half in halves], -1)

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        with full_precision(cell.device):
            phase = self._phase(cell)
            turns = self.coord_scale * rotation_matrices(self.head.group, cell).flatten(0, 1).T
        maps = self.head.folded()

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            cosine, sine, along_row, along_column = rows.unflatten(-1, (4, self.order, -1)).unbind(-3)
            with full_precision(rows.device):
                seen = (offset @ turns).unflatten(-1, (-1, 1, 2))
                cos, sin = _waves(along_row, along_column, seen[..., 0], seen[..., 1], phase)
            summed = torch.cat([sum_orientations(cosine * cos), sum_orientations(sine * sin)], -1)
            return self.head.from_sum(summed.to(self.dtype), maps)

        return colours

    def _phase(self, cell: Float[Tensor, "#b #q 2"]) -> Float[Tensor, "#b #q 1 order waves"] | None:
        if self.phase is None:
            return None
        seen = cell_matrices(self.head.group, self.cell_mode, cell)
        cells = torch.einsum("kij,...j->...ik", seen, cell).flatten(-2)
        return (
            F.linear(cells, self.phase.dense_weight().to(cells.dtype))
            .unflatten(-1, (-1, self.order))
            .transpose(-1, -2)
            .unsqueeze(2)
        )


def _waves(
    along_row: Tensor, along_column: Tensor, row: Tensor, column: Tensor, phase: Tensor | None
) -> tuple[Tensor, Tensor]:
    """cos πz and sin πz, at least in float32."""
    dtype = torch.promote_types(along_row.dtype, torch.float32)
    z = along_row.to(dtype) * row + along_column.to(dtype) * column
    if phase is not None:
        z = z + phase
    z = math.pi * z
    return z.cos(), z.sin()


def _require_waves(hidden_dim: int, kernel_size: int, t: int) -> None:
    require_positive(hidden_dim=hidden_dim, kernel_size=kernel_size)
    if hidden_dim % (2 * t):
        multiple = f"a multiple of 2·t={2 * t}" if t > 1 else "even"
        raise ValueError(f"hidden_dim must be {multiple}, got {hidden_dim}")
    if kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size must be odd, got {kernel_size}: an even kernel has no centre pixel to turn about"
        )
