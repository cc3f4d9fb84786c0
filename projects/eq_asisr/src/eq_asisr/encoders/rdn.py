"""RDN, the residual dense network, without upsampler (§4): blocks whose layers read all layers before them.

layer c of a block:  x_c = relu(conv(x_0, …, x_{c−1}))            `growth` channels each
block:               x + res_scale · conv1×1(x_0, …, x_C)
network:             conv(conv1×1(all blocks)) + first features
"""

from typing import Any

import torch
from torch import Tensor, nn

from tenfold.groupconv import Basis

from .encoder import Encoder
from .families import EquivariantLayers, Layers, PlainLayers, require_kernel


class _DenseBlock(nn.Module):
    def __init__(
        self, layers: Layers, n_feats: int, n_layers: int, growth: int, kernel_size: int, res_scale: float
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            layers.conv(n_feats + c * growth, growth, kernel_size) for c in range(n_layers)
        )
        self.fusion = layers.conv(n_feats + n_layers * growth, n_feats, 1)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        grown = x
        for layer in self.layers:
            grown = torch.cat([grown, layer(grown).relu_()], 1)
        return torch.add(x, self.fusion(grown), alpha=self.res_scale)


class _ResidualDenseNetwork(Encoder):
    def __init__(
        self,
        layers: Layers,
        config: dict[str, Any],
        *,
        n_feats: int,
        n_blocks: int,
        n_layers: int,
        growth: int,
        kernel_size: int,
        res_scale: float,
        in_channels: int,
    ):
        layers.require_sizes(n_feats=n_feats, growth=growth)
        PlainLayers().require_sizes(n_blocks=n_blocks, n_layers=n_layers, in_channels=in_channels)
        require_kernel(layers, kernel_size)
        super().__init__(config, in_channels=in_channels, out_dim=n_feats, group=layers.group)
        self.head = layers.lift(in_channels, n_feats, kernel_size)
        self.second = layers.conv(n_feats, n_feats, kernel_size)
        self.blocks = nn.ModuleList(
            _DenseBlock(layers, n_feats, n_layers, growth, kernel_size, res_scale) for _ in range(n_blocks)
        )
        self.fusion = nn.Sequential(
            layers.conv(n_blocks * n_feats, n_feats, 1), layers.conv(n_feats, n_feats, kernel_size)
        )

    def encode(self, x: Tensor) -> Tensor:
        head = self.head(x)
        features, blocks = self.second(head), []
        for block in self.blocks:
            features = block(features)
            blocks.append(features)
        return self.fusion(torch.cat(blocks, 1)) + head


class RDN(_ResidualDenseNetwork):
    """RDN, configuration B; 22.0 million parameters with the defaults.

    Args:
        n_feats: channels between the blocks, G₀.
        n_blocks: dense blocks, D.
        n_layers: convolutions of a block, C.
        growth: channels that each of them adds, G.
        kernel_size: odd.
        res_scale: factor of every block.
        in_channels: channels of the image.

    Raises:
        ValueError: for an even kernel or sizes below 1; in the call for an image of another number of channels.

    Example:
        >>> RDN(n_feats=8, n_blocks=2, n_layers=2, growth=4)(torch.randn(1, 3, 6, 7)).shape
        torch.Size([1, 8, 6, 7])
    """

    def __init__(
        self,
        n_feats: int = 64,
        n_blocks: int = 16,
        n_layers: int = 8,
        growth: int = 64,
        kernel_size: int = 3,
        res_scale: float = 1.0,
        in_channels: int = 3,
    ):
        config: dict[str, Any] = {
            "n_feats": n_feats,
            "n_blocks": n_blocks,
            "n_layers": n_layers,
            "growth": growth,
            "kernel_size": kernel_size,
            "res_scale": res_scale,
            "in_channels": in_channels,
        }
        super().__init__(PlainLayers(), config, **config)


class EqRDN(_ResidualDenseNetwork):
    """RDN that turns with the image. An extension: the paper's authors publish no such encoder (§4).

    Args:
        t: orientations; quarter turns are exact if t is a multiple of 4.
        n_feats: channels between the blocks in all, n_feats/t regular fields.
        n_blocks: dense blocks.
        n_layers: convolutions of a block.
        growth: channels that each of them adds, growth/t regular fields.
        kernel_size: odd, at least 3; 3 saves parameters.
        res_scale: factor of every block.
        basis: "bicubic" (B-Conv) or "fourier" (F-Conv).
        equal_gain: the same filter sum for all orientations, see `EquivariantLayers`.
        in_channels: channels of the image.

    Raises:
        ValueError: if n_feats or growth is no multiple of t, or the kernel is even.

    Example:
        >>> encoder = EqRDN(t=4, n_feats=8, n_blocks=1, n_layers=2, growth=8, kernel_size=3)
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
        n_layers: int = 8,
        growth: int = 64,
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
            "n_layers": n_layers,
            "growth": growth,
            "kernel_size": kernel_size,
            "res_scale": res_scale,
            "in_channels": in_channels,
        }
        super().__init__(layers, {"t": t, "basis": basis, "equal_gain": equal_gain, **sizes}, **sizes)
