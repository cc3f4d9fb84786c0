"""SimpleNet: three convolutions and a nearest-neighbour resize, the smallest network of the comparison (§4.4)."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .lattice import Resize, make_resize


class SimpleNet(NetworkEstimator):
    """Convolution, ReLU, convolution, ReLU, resize, convolution: 882 parameters with 8 channels.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: of the hidden layers.
        resize: "nearest" is the published network's; "lattice" interpolates on true coordinates.

    Example:
        >>> net = SimpleNet("nr_v2x_15")
        >>> sum(p.numel() for p in net.parameters())
        882
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any] = "nr_v2x_15",
        channels: int = 8,
        resize: Resize = "nearest",
    ):
        super().__init__(config)
        check_positive(channels=channels)
        self.config = {"config": plain_config(self.ofdm), "channels": channels, "resize": resize}
        self.conv1 = nn.Conv2d(2, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = make_resize(resize, self.ofdm)
        self.head = nn.Conv2d(channels, 2, 3, padding=1)

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        x = self.conv2(self.conv1(x).relu()).relu()
        return self.head(self.up(x))
