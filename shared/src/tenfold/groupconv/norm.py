"""Normalisation and dropout that treat the orientations of a field alike: shared statistics, shared affine, shared masks.

An ordinary norm with one affine pair per channel is equivariant at initialisation only; as soon as the pairs of a
field differ the error is of the size of the signal (eq_vit §3.3).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.checks import require_channels, require_group, require_maps, require_positive
from tenfold.groups import Group


class FieldBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with statistics and affine shared by the orientations of a field.

    Args:
        fields: number of regular fields; the input has `fields * group.order` channels.
        group: the symmetry group.
        eps: added to the variance.
        momentum: of the running statistics.
        affine: learn a scale and a shift per field.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> norm = FieldBatchNorm2d(3, CyclicGroup(4))
        >>> norm(torch.randn(2, 12, 5, 5)).shape, norm.weight.shape
        (torch.Size([2, 12, 5, 5]), torch.Size([3]))
    """

    def __init__(
        self, fields: int, group: Group, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True
    ):
        require_positive(fields=fields)
        require_group(group)
        super().__init__(fields, eps=eps, momentum=momentum, affine=affine)
        self.group = group

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        require_maps(x)
        require_channels(x, 1, self.num_features, self.group, "FieldBatchNorm2d")
        return super().forward(_join_orientations(x, self.group)).reshape(x.shape)


class FieldInstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation with statistics (and affine) shared by the orientations of a field.

    Args:
        fields: number of regular fields.
        group: the symmetry group.
        eps: added to the variance.
        affine: learn a scale and a shift per field.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> FieldInstanceNorm2d(3, CyclicGroup(4))(torch.randn(2, 12, 5, 5)).shape
        torch.Size([2, 12, 5, 5])
    """

    def __init__(self, fields: int, group: Group, eps: float = 1e-5, affine: bool = False):
        require_positive(fields=fields)
        require_group(group)
        super().__init__(fields, eps=eps, affine=affine)
        self.group = group

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        require_maps(x)
        require_channels(x, 1, self.num_features, self.group, "FieldInstanceNorm2d")
        return super().forward(_join_orientations(x, self.group)).reshape(x.shape)


class GroupLayerNorm(nn.Module):
    """Layer normalisation over all C·|G| channels of a token, with scale and shift tied over the group (eq_vit §3.3).

        ŷ[c,t] = γ_c (x[c,t] − μ)/√(σ² + ε) + β_c

    Args:
        fields: number C of regular fields on the last axis.
        group: the symmetry group.
        eps: added to the variance.
        affine: learn γ and β.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> GroupLayerNorm(3, CyclicGroup(4))(torch.randn(2, 7, 12)).shape
        torch.Size([2, 7, 12])
    """

    def __init__(self, fields: int, group: Group, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        require_positive(fields=fields)
        require_group(group)
        self.fields, self.group, self.eps = fields, group, eps
        self.weight = nn.Parameter(torch.ones(fields)) if affine else None
        self.bias = nn.Parameter(torch.zeros(fields)) if affine else None

    def forward(self, x: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        require_channels(x, -1, self.fields, self.group, type(self).__name__)
        order = self.group.order
        weight = None if self.weight is None else self.weight.unsqueeze(1).expand(-1, order).reshape(-1)
        bias = None if self.bias is None else self.bias.unsqueeze(1).expand(-1, order).reshape(-1)
        return F.layer_norm(x, (self.fields * order,), weight, bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.fields}, group={self.group}, eps={self.eps}, affine={self.weight is not None}"


class FieldLayerNorm2d(GroupLayerNorm):
    """`GroupLayerNorm` for maps: normalises the channels of every pixel.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> FieldLayerNorm2d(3, CyclicGroup(4))(torch.randn(2, 12, 5, 5)).shape
        torch.Size([2, 12, 5, 5])
    """

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        require_maps(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FieldDropout(nn.Module):
    """Dropout of whole fibres: all |G| channels of a field are dropped together, independently at every token.

    Args:
        p: probability of dropping, in [0, 1).
        group: the symmetry group.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> y = FieldDropout(0.5, CyclicGroup(4))(torch.ones(2, 7, 12)).view(2, 7, 3, 4)
        >>> bool((y == y[..., :1]).all())
        True
    """

    def __init__(self, p: float, group: Group):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1), got {p}")
        require_group(group)
        self.p, self.group = p, group

    def forward(self, x: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        if not self.training or self.p == 0:
            return x
        fields = self.group.split(x, -1)
        mask = F.dropout(torch.ones_like(fields[..., :1]), self.p)
        return (fields * mask).flatten(-2)

    def extra_repr(self) -> str:
        return f"p={self.p}, group={self.group}"


class FieldDropout2d(FieldDropout):
    """Dropout of whole feature fields of maps: all |G| channels and all pixels of a field together.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> y = FieldDropout2d(0.5, CyclicGroup(4))(torch.ones(2, 12, 5, 5)).view(2, 3, -1)
        >>> bool((y == y[..., :1]).all())
        True
    """

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        require_maps(x)
        if not self.training or self.p == 0:
            return x
        fields = self.group.split(x, 1)
        mask = F.dropout(torch.ones_like(fields[:, :, :1, :1, :1]), self.p)
        return (fields * mask).reshape(x.shape)


def _join_orientations(x: Tensor, group: Group) -> Tensor:
    """(b, C·|G|, h, w) as (b, C, |G|·h, w): the orientations become pixels."""
    return x.reshape(x.shape[0], x.shape[1] // group.order, group.order * x.shape[2], x.shape[3])
