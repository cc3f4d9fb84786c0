"""What all encoders have in common: an image (b, 3, h, w) comes in, features (b, out_dim, h, w) on the same grid come out."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.checks import require_channels, require_maps
from tenfold.groups import CyclicGroup


class Encoder(nn.Module):
    """Base of the encoders.

    The features of an equivariant encoder are regular fields, channel = field · t + orientation: turning the image by a
    quarter turn counter-clockwise turns the maps and rolls the orientations by t/4 (§3.1). Images are normalised,
    (x − 0.5)/0.5.

    Attributes:
        out_dim: channels of the features.
        group: the group the features belong to, C_t; None for ordinary encoders.
        config: the constructor's arguments, plain numbers and strings.
    """

    def __init__(
        self, config: dict[str, Any], *, in_channels: int, out_dim: int, group: CyclicGroup | None
    ) -> None:
        super().__init__()
        self.config, self.in_channels, self.out_dim, self.group = config, in_channels, out_dim, group

    @property
    def t(self) -> int:
        """The number of orientations; 1 for ordinary encoders."""
        return 1 if self.group is None else self.group.order

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_dim h w"]:
        require_maps(x)
        require_channels(x, 1, self.in_channels, None, type(self).__name__)
        return self.encode(x)

    def encode(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_dim h w"]:
        """The features of a checked image."""
        raise NotImplementedError
