"""HA02-style attention (Luan & Thompson, 2022): one encoder block over two tokens, a residual convolutional decoder (§4.4).

The real and the imaginary parts of all pilots are the two tokens. The publication's sizes are for 72 pilots and 1,008
resource elements; here they follow the grid. What the sources leave open is ours: the normalisation of the decoder's
block (over the features), its kernel (2 × 2), and the order of its layers.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .interpolation_resnet import SameConv2d


class EncoderBlock(nn.Module):
    """Self-attention and a two-layer network, each with a skip and a normalisation behind it (post-LN).

    Args:
        features: of a token.
        n_heads: attention heads; they must divide `features`.
    """

    def __init__(self, features: int, n_heads: int):
        super().__init__()
        if features % n_heads:
            raise ValueError(f"n_heads must divide the {features} pilots of the grid, got {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.hidden = nn.Linear(features, features)
        self.back = nn.Linear(features, features)

    def forward(self, x: Float[Tensor, "b tokens d"]) -> Float[Tensor, "b tokens d"]:
        x = self.norm1(x + self._attention(x))
        return self.norm2(x + self.back(F.gelu(self.hidden(x))))

    def _attention(self, x: Float[Tensor, "b tokens d"]) -> Float[Tensor, "b tokens d"]:
        heads = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # 3 b h t d/h
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.out(mixed.transpose(1, 2).flatten(2))


class HA02(NetworkEstimator):
    """Attention over the two parts of the pilots, then a decoder to the grid: 105,607 parameters for 72 pilots.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        n_heads: attention heads.
        channels: of the decoder.

    Example:
        >>> net = HA02("lte_small")
        >>> sum(p.numel() for p in net.parameters())
        105607
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "lte_small",
        n_heads: int = 2,
        channels: int = 2,
    ):
        super().__init__(config)
        check_positive(n_heads=n_heads, channels=channels)
        self.config = {"config": plain_config(self.ofdm), "n_heads": n_heads, "channels": channels}
        features = self.ofdm.pilots.n_pilots
        self.encoder = EncoderBlock(features, n_heads)
        self.stem = SameConv2d(1, channels, (2, 2))
        self.conv1 = SameConv2d(channels, channels, (2, 2))
        self.conv2 = SameConv2d(channels, channels, (2, 2))
        self.norm = nn.LayerNorm(features)
        self.fill = nn.Linear(features, self.ofdm.n_subcarriers * self.ofdm.n_symbols)
        self.head = SameConv2d(channels, 1, (2, 2))

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        tokens = self.encoder(x.flatten(2))
        image = self.stem(tokens[:, None])  # b channels 2 features
        image = self.norm(image + self.conv2(torch.relu(self.conv1(image))))
        grid = self.head(self.fill(image)).squeeze(1)  # b 2 k*s
        return grid.unflatten(-1, (self.ofdm.n_subcarriers, self.ofdm.n_symbols))
