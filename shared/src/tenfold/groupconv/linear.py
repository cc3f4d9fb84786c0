"""Pointwise linear maps between scalars and regular fields, on the last axis (eq_vit §3.3, eq_asisr §3.3).

By Schur's lemma these are all the linear maps that commute with the group:

    lifting      y[o,t] = Σ_i K[o,i] x[i] + b[o]                      trivial → regular
    group        y[o,t] = Σ_{i,s} K[o,i,t⁻¹s] x[i,s] + b[o]           regular → regular
    projection   y[o]   = Σ_i K[o,i] Σ_s x[i,s] + b[o]                regular → trivial
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.cache import DenseWeightModule
from tenfold.groupconv.checks import require_channels, require_group, require_positive
from tenfold.groups import Group


class GroupLinear(DenseWeightModule):
    """The general equivariant linear map from regular fields to regular fields.

    Holds `in_fields * out_fields * |G|` weights, |G| times fewer than the dense map it expands to. Weight and bias are
    drawn from U(−b, b), b = 1/√(in_fields·|G|), as `nn.Linear` draws the dense map.

    Args:
        in_fields: number of regular input fields; the input has `in_fields * group.order` channels on its last axis.
        out_fields: number of regular output fields.
        group: the symmetry group.
        bias: one bias per output field, shared by the group elements.

    Example:
        >>> from tenfold.groups import DihedralGroup
        >>> group = DihedralGroup(4)
        >>> layer, x = GroupLinear(2, 3, group), torch.randn(5, 16)
        >>> torch.allclose(layer(group.act_regular(6, x)), group.act_regular(6, layer(x)), atol=1e-6)
        True
    """

    relative: Tensor

    def __init__(self, in_fields: int, out_fields: int, group: Group, bias: bool = True):
        super().__init__()
        require_positive(in_fields=in_fields, out_fields=out_fields)
        require_group(group)
        self.in_fields, self.out_fields, self.group = in_fields, out_fields, group
        self.weight = nn.Parameter(torch.empty(out_fields, in_fields, group.order))
        self.bias = nn.Parameter(torch.empty(out_fields)) if bias else None
        self.register_buffer("relative", group.left_division.clone(), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        _uniform(self, self.in_fields * self.group.order)

    def _sources(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def _assemble(self, *sources: Tensor) -> Float[Tensor, "out_channels in_channels"]:
        (weight,) = sources
        by_element = weight.transpose(
            1, 2
        )  # o e i: gathering contiguous rows is several times faster, also backwards
        expanded = by_element.index_select(1, self.relative.flatten())  # o (t s) i
        order = self.group.order
        return expanded.unflatten(1, (order, order)).transpose(2, 3).flatten(2).flatten(0, 1)

    def forward(self, x: Float[Tensor, "*batch in_channels"]) -> Float[Tensor, "*batch out_channels"]:
        require_channels(x, -1, self.in_fields, self.group, "GroupLinear")
        bias = None if self.bias is None else self.bias.unsqueeze(1).expand(-1, self.group.order).reshape(-1)
        return F.linear(x, self._dense_weight(), bias)

    def extra_repr(self) -> str:
        return f"{self.in_fields}, {self.out_fields}, group={self.group}, bias={self.bias is not None}"


class LiftingLinear(nn.Module):
    """The general equivariant linear map from scalars to regular fields: an ordinary linear map, repeated over the group.

    Args:
        in_features: number of scalar inputs.
        out_fields: number of regular output fields.
        group: the symmetry group.
        bias: one bias per output field.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> LiftingLinear(5, 2, CyclicGroup(4))(torch.randn(3, 5)).shape
        torch.Size([3, 8])
    """

    def __init__(self, in_features: int, out_fields: int, group: Group, bias: bool = True):
        super().__init__()
        require_positive(in_features=in_features, out_fields=out_fields)
        require_group(group)
        self.in_features, self.out_fields, self.group = in_features, out_fields, group
        self.weight = nn.Parameter(torch.empty(out_fields, in_features))
        self.bias = nn.Parameter(torch.empty(out_fields)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, from U(−b, b) with b = 1/√in_features."""
        _uniform(self, self.in_features)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_channels"]:
        require_channels(x, -1, self.in_features, None, "LiftingLinear")
        y = F.linear(x, self.weight, self.bias)
        return y.unsqueeze(-1).expand(*y.shape, self.group.order).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_fields}, group={self.group}, bias={self.bias is not None}"


class ProjectionLinear(nn.Module):
    """The general equivariant linear map from regular fields to scalars: sum over the group, then an ordinary linear map.

    The inputs are *summed*, not averaged, and weights are drawn from U(−b, b) with b = 1/√in_fields (the published
    choice, eq_asisr §3.3), so outputs are √|G| times larger than those of a dense layer.

    Args:
        in_fields: number of regular input fields.
        out_features: number of scalar outputs, invariant under the group.
        group: the symmetry group.
        bias: one bias per output.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> group = CyclicGroup(8)
        >>> layer, x = ProjectionLinear(2, 10, group), torch.randn(3, 16)
        >>> torch.allclose(layer(group.act_regular(3, x)), layer(x), atol=1e-5)
        True
    """

    def __init__(self, in_fields: int, out_features: int, group: Group, bias: bool = True):
        super().__init__()
        require_positive(in_fields=in_fields, out_features=out_features)
        require_group(group)
        self.in_fields, self.out_features, self.group = in_fields, out_features, group
        self.weight = nn.Parameter(torch.empty(out_features, in_fields))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        _uniform(self, self.in_fields)

    def forward(self, x: Float[Tensor, "*batch in_channels"]) -> Float[Tensor, "*batch out_features"]:
        require_channels(x, -1, self.in_fields, self.group, "ProjectionLinear")
        return F.linear(self.group.split(x, -1).sum(-1), self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_fields}, {self.out_features}, group={self.group}, bias={self.bias is not None}"


def _uniform(layer: GroupLinear | LiftingLinear | ProjectionLinear, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound)
        if layer.bias is not None:
            layer.bias.uniform_(-bound, bound)
