"""Counting parameters as the paper's table does (section 4)."""

from dataclasses import dataclass

from torch import nn

from sa_conv.geometry import Frame
from sa_conv.models.network import all_hypernetworks


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters of a network.

    Args:
        total: all of them.
        hypernet: those of the hypernetworks.
        geometry: the numbers (θ0, Cx, Cy) of the frames.
        as_published: the number of the paper's table; for RCDNet it counts parameters that its code stores but never
            uses, otherwise it is `total`.
    """

    total: int
    hypernet: int
    geometry: int
    as_published: int


def parameter_count(model: nn.Module) -> ParameterCount:
    """Count the trainable parameters of a network.

    Example:
        >>> from sa_conv.models import EDSR
        >>> parameter_count(EDSR("tlconv", scale=1, in_channels=1, fields=2, n_blocks=1))
        ParameterCount(total=1810, hypernet=0, geometry=9, as_published=1810)
    """
    total = _trainable(model)
    hypernet = sum(_trainable(h) for h in all_hypernetworks(model))
    geometry = sum(_trainable(m) for m in model.modules() if isinstance(m, Frame))
    return ParameterCount(total, hypernet, geometry, total + getattr(model, "published_but_unused", 0))


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
