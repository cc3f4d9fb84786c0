"""The equivariant perceptron of §3.3: regular fields in, numbers out that do not change when the fields turn.

    H(B)  = relu(Σ_A W^{B⁻¹A} F^A)            input and intermediate layers, block-circulant
    f     = ψ(Σ_A W₁ H(A))                    output layer: sum over the group, then an ordinary perceptron ψ

As published, nothing stands between W₁ and the first layer of ψ. Two linear maps in a row are one, so their product is
formed once per call where that is cheaper than applying both.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv import GroupLinear, ProjectionLinear
from tenfold.groupconv.checks import require_positive
from tenfold.groups import CyclicGroup

from .decoder import full_precision, relu_, require_multiple, sum_orientations

LinearMaps = list[tuple[Tensor, Tensor]]


class InvariantMLP(nn.Module):
    """The output layer: sum over the group, a linear map, then linear layers with ReLUs between them.

    Args:
        in_fields: number of regular input fields.
        group: the symmetry group.
        hidden: widths behind the sum; () goes straight to the output.
        out_channels: numbers that come out.

    Example:
        >>> import torch
        >>> group = CyclicGroup(4)
        >>> mlp, x = InvariantMLP(6, group, (16, 16), 3), torch.randn(5, 24)
        >>> torch.allclose(mlp(group.act_regular(1, x)), mlp(x), atol=1e-6)
        True
    """

    def __init__(self, in_fields: int, group: CyclicGroup, hidden: Sequence[int], out_channels: int = 3):
        super().__init__()
        for width in hidden:
            require_positive(hidden=width)
        sizes = [*hidden, out_channels]
        self.group = group
        self.projection = ProjectionLinear(in_fields, sizes[0], group)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Float[Tensor, "*n channels"]) -> Float[Tensor, "*n out_channels"]:
        return self.from_sum(self.group.split(x, -1).sum(-1))

    def folded(self) -> LinearMaps:
        """Weights and biases of the linear maps between the ReLUs, the sum over the group taken."""
        maps = [(layer.weight, layer.bias) for layer in (self.projection, *self.layers)]
        if len(maps) > 1:
            (first, bias), (second, shift) = maps[:2]
            if second.shape[0] * first.shape[1] > first.numel() + second.numel():
                return [(first, bias), *maps[1:]]  # what stands between them is narrow
            with full_precision(first.device):
                maps[:2] = [(second @ first, F.linear(bias, second, shift))]
        return maps

    def from_sum(
        self, x: Float[Tensor, "*n in_fields"], maps: LinearMaps | None = None
    ) -> Float[Tensor, "*n out_channels"]:
        """The same for fields that are summed over the group already; `maps` is what `folded` returned."""
        maps = self.folded() if maps is None else maps
        linear = len(self.layers) + 1 - len(maps)  # 1: the first two are one
        for i, (weight, bias) in enumerate(maps):
            x = F.linear(x, weight, bias)
            if 0 < i + linear < len(self.layers):
                x = relu_(x)
        return x


class GroupMLP(nn.Module):
    """Group-linear layers with ReLUs, then an `InvariantMLP`.

    `group_hidden=(512,), hidden=(256, 256, 256)` is the published "e_mlp_2" of LIIF; several group layers and
    `hidden=()` its fully equivariant alternative "e_mlp".

    Args:
        in_fields: number of regular input fields.
        group: the symmetry group.
        group_hidden: channels behind the group-linear layers in all, multiples of the group's order; at least one.
        hidden: widths behind the sum over the group.
        out_channels: numbers that come out.

    Raises:
        ValueError: if a width is no multiple of the group's order.

    Example:
        >>> import torch
        >>> group = CyclicGroup(8)
        >>> mlp, x = GroupMLP(5, group, (32, 16), (8,)), torch.randn(7, 40)
        >>> torch.allclose(mlp(group.act_regular(3, x)), mlp(x), atol=1e-6)
        True
    """

    def __init__(
        self,
        in_fields: int,
        group: CyclicGroup,
        group_hidden: Sequence[int] = (512,),
        hidden: Sequence[int] = (256, 256, 256),
        out_channels: int = 3,
    ):
        super().__init__()
        if not group_hidden:
            raise ValueError("group_hidden must hold at least one width, got none")
        for width in group_hidden:
            require_multiple(group, group_hidden=width)
        fields = [width // group.order for width in group_hidden]
        self.group = group
        self.first = GroupLinear(in_fields, fields[0], group)
        self.intermediate = nn.ModuleList(GroupLinear(a, b, group) for a, b in pairwise(fields))
        self.head = InvariantMLP(fields[-1], group, hidden, out_channels)

    def forward(self, x: Float[Tensor, "*n channels"]) -> Float[Tensor, "*n out_channels"]:
        x = F.relu(self.first(x))
        for layer in self.intermediate:
            x = F.relu(layer(x))
        return self.head(x)

    def after_first_(
        self, x: Float[Tensor, "*n channels"], maps: LinearMaps
    ) -> Float[Tensor, "*n out_channels"]:
        """The rest, from the first layer's output before the ReLU, laid out (orientation, field). Overwrites `x`."""
        order = self.group.order
        x = relu_(x).unflatten(-1, (order, -1))
        if not self.intermediate:
            return self.head.from_sum(sum_orientations(x), maps)
        x = x.transpose(-1, -2).flatten(-2)
        for layer in self.intermediate:
            x = relu_(layer(x))
        return self.head.from_sum(self.group.split(x, -1).sum(-1), maps)

    def first_weight(self) -> Float[Tensor, "order fields in_fields order"]:
        """The dense weight of the first layer, [orientation, field] × [input field, orientation]."""
        dense = self.first.dense_weight()
        order = self.group.order
        return dense.unflatten(0, (-1, order)).transpose(0, 1).unflatten(-1, (-1, order))

    def first_bias(self) -> Float[Tensor, " channels"]:
        """The bias of the first layer, laid out (orientation, field)."""
        assert self.first.bias is not None
        return self.first.bias.repeat(self.group.order)
