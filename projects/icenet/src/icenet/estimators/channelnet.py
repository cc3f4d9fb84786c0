"""ChannelNet (Soltani et al., 2019): the interpolated channel as an image, super-resolution and denoising networks (§4.4).

Real and imaginary parts are separate images of one channel; both pass the same networks. The publication trains the two
networks one after the other; `stage` does that, and "both" trains them together.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .ls import rbf_matrix

Stage = Literal["both", "srcnn", "dncnn"]


def srcnn() -> nn.Sequential:
    """Super-resolution network of three layers, 8,129 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 5, padding=2),
    )


class DnCNN(nn.Module):
    """Denoising network that estimates the noise and subtracts it: 668,225 parameters with 18 inner layers.

    Args:
        depth: inner layers.
        channels: of the inner layers.
    """

    def __init__(self, depth: int = 18, channels: int = 64):
        super().__init__()
        check_positive(depth=depth, channels=channels)
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
        for _ in range(depth):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        self.noise = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Float[Tensor, "b 1 k s"]) -> Float[Tensor, "b 1 k s"]:
        return x - self.noise(x)


class ChannelNet(NetworkEstimator):
    """RBF interpolation, SRCNN, DnCNN: 676,354 parameters on any grid.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        stage: "srcnn" leaves the denoiser out, "dncnn" trains it behind a fixed SRCNN, "both" trains all together.
        depth: inner layers of the denoiser.

    Example:
        >>> net = ChannelNet("channelnet_48")
        >>> sum(p.numel() for p in net.srcnn.parameters()), sum(p.numel() for p in net.dncnn.parameters())
        (8129, 668225)
    """

    rbf: Tensor

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "channelnet_48",
        stage: Stage = "both",
        depth: int = 18,
    ):
        super().__init__(config)
        if stage not in get_args(Stage):
            raise ValueError(f"stage must be one of {', '.join(get_args(Stage))}, got {stage!r}")
        self.config = {"config": plain_config(self.ofdm), "stage": stage, "depth": depth}
        self.stage = stage
        self.srcnn = srcnn()
        self.dncnn = DnCNN(depth)
        self.srcnn.requires_grad_(stage != "dncnn")
        self.dncnn.requires_grad_(stage != "srcnn")
        self.register_buffer("rbf", rbf_matrix(self.ofdm).float(), persistent=False)

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        filled = x.flatten(2) @ self.rbf.T
        image = filled.unflatten(-1, (self.ofdm.n_subcarriers, self.ofdm.n_symbols))
        image = self.srcnn(image.flatten(0, 1)[:, None])  # 2b 1 k s
        if self.stage != "srcnn":
            image = self.dncnn(image)
        return image.squeeze(1).unflatten(0, (-1, 2))
