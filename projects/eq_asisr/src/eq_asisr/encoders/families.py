"""The two families of layers an encoder is built from: ordinary ones, and ones that turn with the image (§3.2, §3.5).

Both are asked for in channels. The equivariant family makes c channels out of c/t regular fields over C_t, with
channel = field · t + orientation, so that a network of either family has the same widths.
"""

from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv import (
    Basis,
    FilterBank,
    GroupConv1x1,
    GroupConv2d,
    GroupLayerNorm,
    GroupLinear,
    LiftingConv2d,
)
from tenfold.groupconv.basis import disk_mask
from tenfold.groupconv.checks import require_positive
from tenfold.groups import CyclicGroup


class Layers(Protocol):
    """What a family offers; sizes are channels, padding keeps the size of the map."""

    @property
    def group(self) -> CyclicGroup | None: ...

    def lift(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        """The first convolution, from scalar channels to features."""

    def conv(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        """A convolution of features."""

    def linear(self, in_channels: int, out_channels: int) -> nn.Module:
        """A linear map of the last axis."""

    def norm(self, channels: int) -> nn.Module:
        """Layer normalisation of the last axis."""

    def require_sizes(self, **channels: int) -> None:
        """Raise ValueError naming the first size that the family cannot make."""


class PlainLayers:
    """Ordinary layers, initialised as torch does."""

    group = None

    def lift(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        return self.conv(in_channels, out_channels, kernel_size)

    def conv(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def linear(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Linear(in_channels, out_channels)

    def norm(self, channels: int) -> nn.Module:
        return nn.LayerNorm(channels)

    def require_sizes(self, **channels: int) -> None:
        require_positive(**channels)


class EquivariantLayers:
    """Layers that commute with the rotations of C_t, exactly with those by multiples of 90° if t is a multiple of 4.

    Args:
        t: number of orientations.
        basis: "bicubic" (B-Conv, the published choice) or "fourier" (F-Conv).
        equal_gain: give all orientations of a filter the same sum (§10.8); bicubic only, off in the published models.

    Raises:
        TypeError, ValueError: if t is not a positive integer, or equal_gain is asked of another basis.

    Example:
        >>> import torch
        >>> layers = EquivariantLayers(4)
        >>> image = torch.randn(1, 3, 8, 8)
        >>> network = nn.Sequential(layers.lift(3, 16, 5), nn.ReLU(), layers.conv(16, 8, 5))
        >>> expected = layers.group.act_field(1, network(image))
        >>> torch.allclose(network(image.rot90(1, (2, 3))), expected, atol=1e-5)
        True
    """

    def __init__(self, t: int, basis: Basis = "bicubic", equal_gain: bool = False):
        require_positive(t=t)
        if equal_gain and basis != "bicubic":
            raise ValueError(f"equal_gain belongs to basis='bicubic', got basis={basis!r}")
        self.group, self.basis, self.equal_gain = CyclicGroup(t), basis, equal_gain

    def lift(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        options: Any = {"basis": self.basis}
        return self._finished(
            LiftingConv2d(in_channels, self._fields(out_channels), kernel_size, self.group, **options)
        )

    def conv(self, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
        fields = self._fields(in_channels), self._fields(out_channels)
        if kernel_size == 1:
            return GroupConv1x1(*fields, self.group, init="kaiming")
        options: Any = {"basis": self.basis}
        return self._finished(GroupConv2d(*fields, kernel_size, self.group, **options))

    def linear(self, in_channels: int, out_channels: int) -> nn.Module:
        return GroupLinear(self._fields(in_channels), self._fields(out_channels), self.group)

    def norm(self, channels: int) -> nn.Module:
        return GroupLayerNorm(self._fields(channels), self.group)

    def require_sizes(self, **channels: int) -> None:
        require_positive(**channels)
        for name, value in channels.items():
            self._fields(value, name)

    def _fields(self, channels: int, name: str = "channels") -> int:
        if channels % self.group.order:
            raise ValueError(
                f"{name} must be a multiple of t={self.group.order}, got {channels}; "
                f"nearest: {channels // self.group.order * self.group.order or self.group.order}"
            )
        return channels // self.group.order

    def _finished(self, layer: LiftingConv2d | GroupConv2d) -> nn.Module:
        if self.equal_gain:
            layer.bank = EqualGainBank(self.group, layer.kernel_size)
        return layer


class EqualGainBank(FilterBank):
    """The bicubic filter functions, plus the multiple of the mask that gives all orientations of each the same sum (§10.8).

    Interpolated filters do not keep their sum when they turn: a constant image gives up to 3 % other values in other
    orientations (5×5, t = 8). At multiples of 90° nothing changes.

    Args:
        group: the symmetry group.
        kernel_size: odd, at least 3.

    Example:
        >>> import torch
        >>> gain = EqualGainBank(CyclicGroup(8), 5)().sum((0, 2, 3))
        >>> torch.allclose(gain, gain[0].expand(8))
        True
    """

    def _exact_functions(self) -> Float[Tensor, "functions order p p"]:
        functions = super()._exact_functions()
        mask = disk_mask(self.group, self.kernel_size)
        sums = functions.sum((-2, -1), keepdim=True)  # k t 1 1
        return functions + (sums.mean(1, keepdim=True) - sums) * mask / mask.sum()


def require_kernel(layers: Layers, kernel_size: int) -> None:
    """Raise unless a kernel has a centre pixel to turn about, and neighbours if it has to turn."""
    require_positive(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size must be odd, got {kernel_size}: an even kernel has no centre pixel to turn about; "
            f"take {kernel_size - 1} or {kernel_size + 1}"
        )
    if layers.group is not None and kernel_size < 3:
        raise ValueError(
            f"kernel_size must be at least 3 for filters that turn with the image, got {kernel_size}"
        )
