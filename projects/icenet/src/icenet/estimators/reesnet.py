"""ReEsNet (Li et al., 2020) and its form with bilinear resizing: residual blocks at the pilots, then up-sampling (§4.4).

y0 = conv(x);   y = conv(blocks(y0)) + y0;   h = conv(up(y))
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .lattice import Resize, make_resize


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), 3 × 3 convolutions.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv2(self.conv1(x).relu())


class TransposedUpsampling(nn.Module):
    """A transposed convolution, cropped to the grid; what does not divide evenly is cut at the end.

    Args:
        channels: of input and output.
        config: the grid and its pilots; the stride is the number of grid points a pilot, rounded up.
        kernel: size of the kernel; the published networks have 11 × 11 for every third subcarrier, 10 × 10 for every second.
    """

    def __init__(self, channels: int, config: OFDMConfig, kernel: int):
        super().__init__()
        self.size = (config.n_subcarriers, config.n_symbols)
        pilots = config.pilots.shape
        stride = tuple(ceil(size / n) for size, n in zip(self.size, pilots))
        full = tuple((n - 1) * step + kernel for n, step in zip(pilots, stride))
        if any(have < size for have, size in zip(full, self.size)):
            raise ValueError(
                f"kernel {kernel} with stride {stride} fills {full} of the grid {self.size}; use kernel of at least "
                f"{max(size - have + kernel for have, size in zip(full, self.size))}"
            )
        self.crop = tuple((have - size) // 2 for have, size in zip(full, self.size))
        self.conv = nn.ConvTranspose2d(channels, channels, kernel, stride)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b c k_p s_p"]) -> Float[Tensor, "b c k s"]:
        (k, s), (top, left) = self.size, self.crop
        return self.conv(x)[..., top : top + k, left : left + s]


class _ResidualNet(NetworkEstimator):
    """Both forms, without the up-sampling."""

    up: nn.Module
    head: nn.Module

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], channels: int, blocks: int):
        super().__init__(config)
        check_positive(channels=channels, blocks=blocks)
        self.stem = nn.Conv2d(2, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        x = self.stem(x)
        return self.head(self.up(self.merge(self.blocks(x)) + x))


class ReEsNet(_ResidualNet):
    """ReEsNet: a transposed convolution fills the grid; 52,466 parameters on `reesnet_48`.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: of the residual blocks.
        blocks: number of residual blocks.
        kernel: of the transposed convolution.

    Example:
        >>> net = ReEsNet("reesnet_48")
        >>> sum(p.numel() for p in net.parameters())
        52466
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "reesnet_48",
        channels: int = 16,
        blocks: int = 4,
        kernel: int = 11,
    ):
        super().__init__(config, channels, blocks)
        check_positive(kernel=kernel)
        self.config = {
            "config": plain_config(self.ofdm),
            "channels": channels,
            "blocks": blocks,
            "kernel": kernel,
        }
        self.up = TransposedUpsampling(channels, self.ofdm, kernel)
        self.head = nn.Conv2d(channels, 2, 3, padding=1)


class ReEsNetBilinear(_ResidualNet):
    """ReEsNet with bilinear resizing ("improved ReEsNet"): 21,474 parameters on any grid.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: of the residual blocks.
        blocks: number of residual blocks.
        resize: "lattice" interpolates on true coordinates; "half_pixel" is the published network's (10.4).

    Example:
        >>> net = ReEsNetBilinear("nr_v2x_15")
        >>> sum(p.numel() for p in net.parameters())
        21474
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "nr_v2x_15",
        channels: int = 16,
        blocks: int = 4,
        resize: Resize = "lattice",
    ):
        super().__init__(config, channels, blocks)
        self.config = {
            "config": plain_config(self.ofdm),
            "channels": channels,
            "blocks": blocks,
            "resize": resize,
        }
        self.up = make_resize(resize, self.ofdm)
        self.head = nn.Conv2d(channels, 2, 3, padding=1)
