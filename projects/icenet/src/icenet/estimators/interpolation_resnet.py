"""Interpolation-ResNet (Luan & Thompson, 2021): few channels, every block feeds the skip, one large kernel at the end (§4.4).

y0 = conv(x),  y_i = block_i(y_{i-1});   h = conv_36×2(up(y0 + y1 + … + y4 + conv(y4)))
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .lattice import Resize, make_resize
from .reesnet import ResidualBlock


class InterpolationResNet(NetworkEstimator):
    """Interpolation-ResNet: 6,562 parameters with its default sizes on any grid.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: of the residual blocks; 2 to 10 in the publication.
        blocks: number of residual blocks.
        kernel: of the last convolution in subcarriers and symbols; (36, 7) in the publication's first form.
        resize: "lattice" interpolates on true coordinates; "half_pixel" is the published network's (10.4).

    Example:
        >>> net = InterpolationResNet("reesnet_48")
        >>> sum(p.numel() for p in net.parameters())
        6562
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "nr_v2x_15",
        channels: int = 8,
        blocks: int = 4,
        kernel: tuple[int, int] = (36, 2),
        resize: Resize = "lattice",
    ):
        super().__init__(config)
        check_positive(channels=channels, blocks=blocks, kernel=min(kernel))
        self.config = {
            "config": plain_config(self.ofdm),
            "channels": channels,
            "blocks": blocks,
            "kernel": list(kernel),
            "resize": resize,
        }
        self.stem = nn.Conv2d(2, channels, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = make_resize(resize, self.ofdm)
        self.head = SameConv2d(channels, 2, (kernel[0], kernel[1]))

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        x = self.stem(x)
        total = x
        for block in self.blocks:
            x = block(x)
            total = total + x
        return self.head(self.up(total + self.merge(x)))


class SameConv2d(nn.Conv2d):
    """A convolution that keeps the size with even kernels too: the odd row or column of zeros goes to the end.

    Example:
        >>> import torch
        >>> SameConv2d(1, 2, (36, 2))(torch.zeros(1, 1, 72, 14)).shape
        torch.Size([1, 2, 72, 14])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int]):
        super().__init__(in_channels, out_channels, kernel_size)
        # F.pad counts from the last axis: left, right, top, bottom.
        self.around = [side for size in reversed(kernel_size) for side in ((size - 1) // 2, size // 2)]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        return super().forward(F.pad(x, self.around))
