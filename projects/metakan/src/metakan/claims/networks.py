"""The networks the claims compare, as one-line constructions with the settings of the paper.

Small networks keep their generated weights for the backward pass (`memory="materialize"`): C3 is about memory, and the
results do not depend on it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..account import count_parameters
from ..conv import MetaKANConvNd
from ..meta import MetaBank
from ..models.convnets import BACKBONES, ConvKANNet, MetaConvKANNet
from ..models.families import FAMILIES, make_basis
from ..models.networks import KAN, MLP, MetaKAN

BASES = tuple(FAMILIES)


def kan(widths: Sequence[int], *, basis: str = "spline", grid_size: int = 5, bias: bool = False) -> KAN:
    """A KAN with q numbers an edge, without the redundant scaler of the authors' code (pitfall P19)."""
    return KAN(widths, basis=basis, grid_size=grid_size, bias=bias)


def metakan(
    widths: Sequence[int],
    *,
    hidden: int,
    basis: str = "spline",
    n_meta: int | str = "per_layer",
    grid_size: int = 5,
    bias: bool = False,
) -> MetaKAN:
    return MetaKAN(
        widths,
        hidden=hidden,
        basis=basis,
        n_meta=n_meta,
        grid_size=grid_size,
        bias=bias,
        memory="materialize",
    )


def mlp(widths: Sequence[int], activation: str = "silu") -> MLP:
    return MLP(widths, activation=activation)


def conv(
    basis: str,
    in_channels: int,
    channels: Sequence[int],
    strides: Sequence[int],
    *,
    hidden: int | None = None,
    n_meta: int = 1,
    dropout: bool = False,
    memory: str = "materialize",
) -> ConvKANNet | MetaConvKANNet:
    """A convolutional classifier of ten classes; with generated weights if `hidden` is given.

    Dropout is the reference's (0.25 of channels, 0.5 before the head) for its long runs, none for short ones.
    """
    rates: dict[str, Any] = {} if dropout else {"dropout": 0.0, "head_dropout": 0.0}
    if hidden is None:
        return ConvKANNet(
            in_channels, 10, depth=None, basis=basis, channels=channels, strides=strides, **rates
        )
    return MetaConvKANNet(
        in_channels, 10, depth=None, basis=basis, channels=channels, strides=strides, hidden=hidden, n_meta=n_meta,
        memory=memory, **rates,
    )  # fmt: skip


def strides_of(channels: Sequence[int]) -> tuple[int, ...]:
    """The reference's strides for its two backbones; 1, 2, 2 for the small network of three layers.

    Raises:
        ValueError: if there is no backbone of this depth.
    """
    if len(channels) == 3:
        return (1, 2, 2)
    if len(channels) not in BACKBONES:
        raise ValueError(f"channels must name 3, 4 or 8 layers, got {len(channels)}")
    return BACKBONES[len(channels)][1]


class GeneratedConv(nn.Module):
    """One convolution with generated weights and the meta-learner it belongs to.

    Example:
        >>> GeneratedConv("spline", 1, 2, 4)(torch.zeros(3, 2, 5)).shape
        torch.Size([3, 4, 5])
    """

    def __init__(self, basis: str, ndim: int, in_channels: int, out_channels: int):
        super().__init__()
        base = FAMILIES[basis].conv_base
        self.layer = MetaKANConvNd(
            ndim, in_channels, out_channels, 3, padding=1, basis=make_basis(basis), base_activation=base
        )
        self.bank = MetaBank([0], hidden=8, out_dim=self.layer.n_weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.bank[0])


def count(build: Callable[[], nn.Module]) -> int:
    """Trainable parameters of a network, without memory or random numbers spent on it."""
    with torch.device("meta"):
        return count_parameters(build())


def width_of_equal_count(target: int, build: Callable[[int], nn.Module], limit: int = 1024) -> int:
    """The width w for which `build(w)`, growing with w, has the number of parameters nearest to `target`."""
    low, high = 1, limit
    while low < high:  # the smallest width with at least `target` parameters
        middle = (low + high) // 2
        if count(lambda: build(middle)) >= target:  # noqa: B023  (called at once)
            high = middle
        else:
            low = middle + 1
    if low > 1:
        below, above = (count(lambda w=w: build(w)) for w in (low - 1, low))  # type: ignore[misc]
        if target - below <= above - target:
            low -= 1
    return low
