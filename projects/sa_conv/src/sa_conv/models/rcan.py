"""RCAN without channel attention: residual blocks in residual groups (section 4)."""

from typing import Unpack

from torch import Tensor, nn

from sa_conv.models.convolutions import Convolutions
from sa_conv.models.network import EquivariantTail, NetworkOptions, PlainTail, Residual, RestorationNetwork


class ResidualGroup(nn.Module):
    """Residual blocks, a convolution, and a skip around them."""

    def __init__(self, conv: Convolutions, fields: int, n_blocks: int, res_scale: float):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(conv, fields, 1.0) for _ in range(n_blocks))
        self.conv = conv.group(fields, fields)
        self.res_scale = res_scale

    def forward(self, x: Tensor, *w: Tensor) -> Tensor:
        h = x
        for block in self.blocks:
            h = block(h, *w)
        return x + self.res_scale * self.conv(h, *w)


class RCAN(RestorationNetwork):
    """RCAN in all variants; channel attention is left out everywhere, as in the paper's comparison.

    Args:
        variant: see `sa_conv.models.convolutions`.
        scale: 1, 2, 3 or 4.
        fields: width of the body.
        n_groups: residual groups.
        n_blocks: residual blocks per group.
        res_scale: factor of each group; 0.1 in the equivariant networks, 1 in the CNN.
        tail_channels: scalar channels that the body is projected to before a plain tail; None leaves the projection out
            (CNN).
        tail_kernel_size: of the last plain convolution; 5 in the equivariant networks, 3 in the CNN.
        options: see `NetworkOptions`; SA-Conv uses the Fourier basis here, with a mask that passes no gradient.

    Example:
        >>> import torch
        >>> net = RCAN("saconv", scale=2, fields=2, n_groups=1, n_blocks=1)
        >>> net(255 * torch.rand(2, 3, 28, 28)).shape
        torch.Size([2, 3, 56, 56])
    """

    def __init__(
        self,
        variant: str = "saconv",
        scale: int = 2,
        *,
        fields: int = 8,
        n_groups: int = 10,
        n_blocks: int = 16,
        res_scale: float = 0.1,
        tail_channels: int | None = 64,
        tail_kernel_size: int = 5,
        **options: Unpack[NetworkOptions],
    ):
        counts = {"fields": fields, "n_groups": n_groups, "n_blocks": n_blocks}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        tail = {"tail_channels": tail_channels, "tail_kernel_size": tail_kernel_size}
        super().__init__(
            variant,
            scale,
            {**counts, "res_scale": res_scale, **tail},
            shift_mean=True,
            default_basis="fourier",
            **options,
        )
        conv = self.convolutions
        self.head = conv.lift(self.in_channels, fields)
        self.groups = nn.ModuleList(ResidualGroup(conv, fields, n_blocks, res_scale) for _ in range(n_groups))
        self.closing = conv.group(fields, fields)
        self.project = None
        self.tail: nn.Module
        if self.tail_kind == "equivariant":
            self.tail = EquivariantTail(conv, fields, self.in_channels, scale)
            return
        if tail_channels is not None:
            self.project = conv.project(fields, tail_channels)
        width = fields * conv.order if tail_channels is None else tail_channels
        self.tail = PlainTail(width, self.in_channels, scale, tail_kernel_size)

    def restore(self, x: Tensor, *w: Tensor) -> Tensor:
        head = h = self.head(x, *w)
        for group in self.groups:
            h = group(h, *w)
        h = head + self.closing(h, *w)
        if self.project is not None:
            h = self.project(h, *w)
        return self.tail(h, *w)
