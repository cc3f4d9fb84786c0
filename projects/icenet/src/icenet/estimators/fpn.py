"""A fixed-point network in the manner of FPN-OAMP: plain iteration, one-step gradient (§4.4, item 10)."""

from collections.abc import Mapping
from typing import Any

from icenet.implicit.solvers import SolverConfig
from icenet.ofdm.config import OFDMConfig

from .base import plain_config
from .icenet import ICENet


class FPN(ICENet):
    """Plain iteration of a cell with the contraction factor 0.99 to ε = 1e-2, at most 15 evaluations; one-step gradient.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: C.

    Example:
        >>> model = FPN("nr_v2x_15", channels=8)
        >>> model.layer.config.method, model.layer.grad
        ('fixed_point', 'jfb')
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], channels: int = 64):
        solver = SolverConfig(eps=1e-2, tau=15, method="fixed_point")
        super().__init__(config, channels, solver=solver, grad="jfb", input_convs=2, gamma=0.99)
        self.config = {"config": plain_config(self.ofdm), "channels": channels}
