"""LIIF and its equivariant version: a perceptron of the features, the relative coordinate and the cell (§3.3).

    LIIF      f(F, x) = MLP(unfold(F), x, cell)
    EqLIIF    f(F, x) = ψ(Σ_B relu(Σ_A W^{B⁻¹A} [F^A, cell_A, s·A⁻¹x]))

The first layer is linear, so its feature part is computed on the LR grid. There, unfolding 3×3 neighbours and mapping them
linearly is a 3×3 convolution.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eq_asisr.coords import CellMode, cell_matrices, require_cell_mode, rotation_matrices
from tenfold.groupconv import GroupConv2d
from tenfold.groupconv.checks import require_positive
from tenfold.groups import CyclicGroup

from .decoder import Decoder, LocalFunction, add_linear_, full_precision, relu_, to_rows
from .group_mlp import GroupMLP


class LIIF(Decoder):
    """The local implicit image function of Chen et al.; 346,883 parameters with the defaults.

    Args:
        in_channels: channels of the features.
        hidden: widths of the hidden layers, at least one.
        feat_unfold: read the features of the 3×3 pixels around each pixel.
        cell_decode: read the cell.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        out_channels: channels of the image.

    Example:
        >>> decoder = LIIF(8, hidden=(16, 16))
        >>> coord, cell = torch.rand(2, 5, 2) * 2 - 1, torch.full((2, 1, 2), 0.1)
        >>> decoder(torch.randn(2, 8, 6, 7), coord, cell).shape
        torch.Size([2, 5, 3])
    """

    def __init__(
        self,
        in_channels: int = 64,
        hidden: Sequence[int] = (256, 256, 256, 256),
        feat_unfold: bool = True,
        cell_decode: bool = True,
        coord_scale: float = 1.0,
        upinput: bool = False,
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "hidden": list(hidden),
            "feat_unfold": feat_unfold,
            "cell_decode": cell_decode,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "out_channels": out_channels,
        }
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=None, upinput=upinput
        )
        if not hidden:
            raise ValueError("hidden must hold at least one width, got none")
        for width in hidden:
            require_positive(hidden=width)
        self.feat_unfold, self.cell_decode, self.coord_scale = feat_unfold, cell_decode, coord_scale
        self.n_features = in_channels * (9 if feat_unfold else 1)
        inputs = self.n_features + (4 if cell_decode else 2)
        self.first = nn.Linear(inputs, hidden[0])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([*hidden, out_channels]))

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        side = 3 if self.feat_unfold else 1
        kernel = self.first.weight[:, : self.n_features].unflatten(1, (-1, side, side))
        return to_rows(F.conv2d(features, kernel, self.first.bias, padding=side // 2))

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        weight = self.first.weight[:, self.n_features :]

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            inputs = self.coord_scale * offset
            if self.cell_decode:
                inputs = torch.cat([inputs, cell.unsqueeze(2).expand_as(offset)], -1)
            x = add_linear_(rows, inputs, weight)
            for layer in self.layers:
                x = layer(relu_(x))
            return x

        return colours


class EqLIIF(Decoder):
    """LIIF that turns with the features; 175,747 parameters with the defaults.

    Args:
        in_channels: channels of the features in all, in_channels/t regular fields.
        t: orientations; the same as of the encoder.
        group_hidden: channels behind the group-linear layers in all, multiples of t.
        hidden: widths behind the sum over the group.
        feat_unfold: a 5×5 group convolution to nine times the channels and a ReLU, in the place of unfolding, which does
            not turn; not in the published model.
        cell_decode: read the cell.
        cell_mode: "swap" stays equivariant where height and width are scaled differently, "scalar" is as published.
        coord_scale: factor of the coordinates.
        upinput: add the bilinearly upsampled LR image.
        out_channels: channels of the image.

    Raises:
        ValueError: if a number of channels is no multiple of t, or the cell mode is unknown.

    Example:
        >>> decoder, group = EqLIIF(8, t=4, group_hidden=(16,), hidden=(8,)), CyclicGroup(4)
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
        group_hidden: Sequence[int] = (512,),
        hidden: Sequence[int] = (256, 256, 256),
        feat_unfold: bool = False,
        cell_decode: bool = True,
        cell_mode: CellMode = "swap",
        coord_scale: float = 0.1,
        upinput: bool = False,
        out_channels: int = 3,
    ):
        config = {
            "in_channels": in_channels,
            "t": t,
            "group_hidden": list(group_hidden),
            "hidden": list(hidden),
            "feat_unfold": feat_unfold,
            "cell_decode": cell_decode,
            "cell_mode": cell_mode,
            "coord_scale": coord_scale,
            "upinput": upinput,
            "out_channels": out_channels,
        }
        group = CyclicGroup(t)
        super().__init__(
            config, in_channels=in_channels, out_channels=out_channels, group=group, upinput=upinput
        )
        require_cell_mode(cell_mode)
        self.cell_decode, self.cell_mode, self.coord_scale = cell_decode, cell_mode, coord_scale
        fields = in_channels // t
        self.unfold = GroupConv2d(fields, 9 * fields, 5, group) if feat_unfold else None
        self.n_fields = fields * (9 if feat_unfold else 1)
        inputs = self.n_fields + (4 if cell_decode else 2)
        self.mlp = GroupMLP(inputs, group, group_hidden, hidden, out_channels)

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        self.require_features(features)
        if self.unfold is not None:
            features = F.relu(self.unfold(features))
        weight = self.mlp.first_weight()[:, :, : self.n_fields].flatten(2).flatten(0, 1)
        return F.linear(to_rows(features), weight, self.mlp.first_bias())

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        with full_precision(cell.device):
            weight = self._query_weight()
        maps = self.mlp.head.folded()

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            inputs = offset
            if self.cell_decode:
                inputs = torch.cat([cell.unsqueeze(2).expand_as(offset), offset], -1)
            return self.mlp.after_first_(add_linear_(rows, inputs, weight), maps)

        return colours

    def _query_weight(self) -> Float[Tensor, "width inputs"]:
        """What the first layer makes of cell and coordinate: both are linear in what the orientations see of them."""
        weight = self.mlp.first_weight()[:, :, self.n_fields :]  # s o i k
        group = self.mlp.group
        seen = self.coord_scale * rotation_matrices(group, weight)
        parts = [torch.einsum("soik,kij->soj", weight[:, :, -2:], seen)]
        if self.cell_decode:
            cells = cell_matrices(group, self.cell_mode, weight)
            parts.insert(0, torch.einsum("soik,kij->soj", weight[:, :, :2], cells))
        return torch.cat(parts, -1).flatten(0, 1)
