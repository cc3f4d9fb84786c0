"""EDSR: residual blocks without norms, for super-resolution and, with scale 1, denoising (section 4)."""

from typing import Unpack

from torch import Tensor, nn

from sa_conv.models.network import EquivariantTail, NetworkOptions, PlainTail, Residual, RestorationNetwork


class EDSR(RestorationNetwork):
    """EDSR in all variants.

    Args:
        variant: see `sa_conv.models.convolutions`.
        scale: 1 (denoising), 2, 3 or 4.
        fields: width; fields of N channels each, or channels for "cnn".
        n_blocks: residual blocks.
        res_scale: factor of each residual.
        closing_conv: a convolution behind the blocks; the paper's CNN has it, its equivariant networks do not.
        options: see `NetworkOptions`.

    Example:
        >>> import torch
        >>> net = EDSR("saconv", scale=2, fields=2, n_blocks=1)
        >>> net(255 * torch.rand(2, 3, 32, 28)).shape
        torch.Size([2, 3, 64, 56])
    """

    def __init__(
        self,
        variant: str = "saconv",
        scale: int = 2,
        *,
        fields: int = 32,
        n_blocks: int = 16,
        res_scale: float = 0.1,
        closing_conv: bool = False,
        **options: Unpack[NetworkOptions],
    ):
        for name, value in (("fields", fields), ("n_blocks", n_blocks)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        config = {
            "fields": fields,
            "n_blocks": n_blocks,
            "res_scale": res_scale,
            "closing_conv": closing_conv,
        }
        super().__init__(variant, scale, config, shift_mean=True, default_basis="bicubic", **options)
        conv = self.convolutions
        self.head = conv.lift(self.in_channels, fields)
        self.body = nn.ModuleList(Residual(conv, fields, res_scale) for _ in range(n_blocks))
        self.closing = conv.group(fields, fields) if closing_conv else None
        self.tail: nn.Module
        if self.tail_kind == "plain":
            self.tail = PlainTail(fields * conv.order, self.in_channels, scale)
        else:
            self.tail = EquivariantTail(conv, fields, self.in_channels, scale)

    def restore(self, x: Tensor, *w: Tensor) -> Tensor:
        head = h = self.head(x, *w)
        for block in self.body:
            h = block(h, *w)
        if self.closing is not None:
            h = self.closing(h, *w)
        return self.tail(h + head, *w)
