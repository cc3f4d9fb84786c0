"""RDN: residual dense blocks whose outputs are all concatenated (section 4)."""

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sa_conv.models.convolutions import Convolutions
from sa_conv.models.network import EquivariantTail, NetworkOptions, PlainTail, RestorationNetwork


class DenseBlock(nn.Module):
    """Convolutions that each see all earlier outputs of the block, a 1×1 fusion, and a skip."""

    def __init__(self, conv: Convolutions, fields: int, n_convs: int, growth: int, res_scale: float):
        super().__init__()
        self.convs = nn.ModuleList(conv.group(fields + c * growth, growth) for c in range(n_convs))
        self.fuse = conv.pointwise(fields + n_convs * growth, fields)
        self.res_scale = res_scale

    def forward(self, x: Tensor, *w: Tensor) -> Tensor:
        seen = x
        for conv in self.convs:
            seen = torch.cat([seen, F.relu(conv(seen, *w))], 1)  # field-major: concatenates fields
        return x + self.res_scale * self.fuse(seen)


class RDN(RestorationNetwork):
    """RDN in all variants; images are not shifted by their mean.

    Args:
        variant: see `sa_conv.models.convolutions`.
        scale: 1, 2, 3 or 4.
        fields: width of the trunk.
        n_blocks: dense blocks.
        n_convs: convolutions per block.
        growth: fields that each convolution adds.
        res_scale: factor of each block; 0.1 in the equivariant networks, 1 in the CNN.
        options: see `NetworkOptions`.

    Example:
        >>> net = RDN("tlconv", scale=2, fields=2, n_blocks=2, n_convs=2, growth=2)
        >>> net(255 * torch.rand(1, 3, 20, 24)).shape
        torch.Size([1, 3, 40, 48])
    """

    def __init__(
        self,
        variant: str = "saconv",
        scale: int = 2,
        *,
        fields: int = 8,
        n_blocks: int = 16,
        n_convs: int = 8,
        growth: int = 8,
        res_scale: float = 0.1,
        **options: Unpack[NetworkOptions],
    ):
        counts = {"fields": fields, "n_blocks": n_blocks, "n_convs": n_convs, "growth": growth}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        super().__init__(
            variant,
            scale,
            counts | {"res_scale": res_scale},
            shift_mean=False,
            default_basis="bicubic",
            **options,
        )
        conv = self.convolutions
        self.head = conv.lift(self.in_channels, fields)
        self.second = conv.group(fields, fields)
        self.blocks = nn.ModuleList(
            DenseBlock(conv, fields, n_convs, growth, res_scale) for _ in range(n_blocks)
        )
        self.fuse: nn.Module
        self.fuse_conv: nn.Module
        self.tail: nn.Module
        if self.tail_kind == "plain":
            width = fields * conv.order
            self.fuse = nn.Conv2d(n_blocks * width, width, 1)
            self.fuse_conv = nn.Conv2d(width, width, 3, padding=1)
            self.tail = PlainTail(width, self.in_channels, scale)
        else:
            self.fuse = conv.pointwise(n_blocks * fields, fields)
            self.fuse_conv = conv.group(fields, fields)
            self.tail = EquivariantTail(conv, fields, self.in_channels, scale)

    def restore(self, x: Tensor, *w: Tensor) -> Tensor:
        head = self.head(x, *w)
        h = self.second(head, *w)
        outputs = []
        for block in self.blocks:
            h = block(h, *w)
            outputs.append(h)
        fused = self.fuse(torch.cat(outputs, 1))
        fused = self.fuse_conv(fused) if self.tail_kind == "plain" else self.fuse_conv(fused, *w)
        return self.tail(fused + head, *w)
