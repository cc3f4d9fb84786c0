"""EDSR without norms and without upsampler (§4): a head, residual blocks, a closing convolution, a skip over all of them.

block(x) = x + res_scale · conv(relu(conv(x)))
"""

from typing import Any

import torch
from torch import Tensor, nn

from tenfold.groupconv import Basis

from .encoder import Encoder
from .families import EquivariantLayers, Layers, PlainLayers, require_kernel


class _ResidualBlock(nn.Module):
    def __init__(self, layers: Layers, n_feats: int, kernel_size: int, res_scale: float):
        super().__init__()
        self.first = layers.conv(n_feats, n_feats, kernel_size)
        self.second = layers.conv(n_feats, n_feats, kernel_size)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.second(self.first(x).relu_()), alpha=self.res_scale)


class _ResidualNetwork(Encoder):
    def __init__(
        self,
        layers: Layers,
        config: dict[str, Any],
        *,
        n_feats: int,
        n_blocks: int,
        kernel_size: int,
        res_scale: float,
        in_channels: int,
    ):
        layers.require_sizes(n_feats=n_feats)
        PlainLayers().require_sizes(n_blocks=n_blocks, in_channels=in_channels)
        require_kernel(layers, kernel_size)
        super().__init__(config, in_channels=in_channels, out_dim=n_feats, group=layers.group)
        self.head = layers.lift(in_channels, n_feats, kernel_size)
        self.body = nn.Sequential(
            *(_ResidualBlock(layers, n_feats, kernel_size, res_scale) for _ in range(n_blocks)),
            layers.conv(n_feats, n_feats, kernel_size),
        )

    def encode(self, x: Tensor) -> Tensor:
        head = self.head(x)
        return self.body(head) + head


class EDSR(_ResidualNetwork):
    """The EDSR baseline; 1,220,416 parameters with the defaults.

    Args:
        n_feats: channels.
        n_blocks: residual blocks.
        kernel_size: odd.
        res_scale: factor of every residual.
        in_channels: channels of the image.

    Raises:
        ValueError: for an even kernel or sizes below 1; in the call for an image of another number of channels.

    Example:
        >>> EDSR(n_feats=8, n_blocks=2)(torch.randn(1, 3, 6, 7)).shape
        torch.Size([1, 8, 6, 7])
    """

    def __init__(
        self,
        n_feats: int = 64,
        n_blocks: int = 16,
        kernel_size: int = 3,
        res_scale: float = 1.0,
        in_channels: int = 3,
    ):
        config: dict[str, Any] = {
            "n_feats": n_feats,
            "n_blocks": n_blocks,
            "kernel_size": kernel_size,
            "res_scale": res_scale,
            "in_channels": in_channels,
        }
        super().__init__(PlainLayers(), config, **config)


class EqEDSR(_ResidualNetwork):
    """EDSR that turns with the image; 846,544 parameters with the defaults.

    Args:
        t: orientations; quarter turns are exact if t is a multiple of 4.
        n_feats: channels in all, n_feats/t regular fields.
        n_blocks: residual blocks.
        kernel_size: odd, at least 3.
        res_scale: factor of every residual; 0.1 is worth 0.1 dB against 1 (§8, C4).
        basis: "bicubic" (B-Conv, published) or "fourier" (F-Conv).
        equal_gain: the same filter sum for all orientations, see `EquivariantLayers`.
        in_channels: channels of the image.

    Raises:
        ValueError: if n_feats is no multiple of t, or the kernel is even.

    Example:
        >>> encoder = EqEDSR(t=4, n_feats=8, n_blocks=1)
        >>> image = torch.randn(1, 3, 6, 7)
        >>> turned = encoder.group.act_field(1, encoder(image))
        >>> torch.allclose(encoder(image.rot90(1, (2, 3))), turned, atol=1e-5)
        True
    """

    def __init__(
        self,
        t: int = 4,
        n_feats: int = 64,
        n_blocks: int = 16,
        kernel_size: int = 5,
        res_scale: float = 0.1,
        basis: Basis = "bicubic",
        equal_gain: bool = False,
        in_channels: int = 3,
    ):
        layers = EquivariantLayers(t, basis, equal_gain)
        sizes: dict[str, Any] = {
            "n_feats": n_feats,
            "n_blocks": n_blocks,
            "kernel_size": kernel_size,
            "res_scale": res_scale,
            "in_channels": in_channels,
        }
        super().__init__(layers, {"t": t, "basis": basis, "equal_gain": equal_gain, **sizes}, **sizes)
