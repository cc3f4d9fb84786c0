"""Estimators by name: `build("reesnet_bilinear", "nr_v2x_15")`, for comparisons that run over all of them.

Names stand for classes of this package with their own arguments; whoever knows which one he wants imports it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from icenet.ofdm.config import OFDMConfig

from .base import Estimator
from .channelnet import ChannelNet
from .fpn import FPN
from .ha02 import HA02
from .icenet import ICENet
from .interpolation_resnet import InterpolationResNet
from .lmmse import LMMSE2D, LMMSEEmpirical, LMMSEMismatched
from .ls import LSRBF, LSLinear, LSSpline
from .reesnet import ReEsNet, ReEsNetBilinear
from .simplenet import SimpleNet
from .stacked import StackedCE, TiedUnroll

_NETWORKS: dict[str, Callable[..., Estimator]] = {
    "icenet_tiny": partial(ICENet.of_size, "tiny"),
    "icenet_base": partial(ICENet.of_size, "base"),
    "icenet_large": partial(ICENet.of_size, "large"),
    "stacked": StackedCE,
    "tied_unroll": TiedUnroll,
    "fpn": FPN,
    "reesnet": ReEsNet,
    "reesnet_bilinear": ReEsNetBilinear,
    "interpolation_resnet": InterpolationResNet,
    "simplenet": SimpleNet,
    "channelnet": ChannelNet,
    "ha02": HA02,
}

_FORMULAS: dict[str, Callable[..., Estimator]] = {
    "ls_linear": LSLinear,
    "ls_spline": LSSpline,
    "ls_rbf": LSRBF,
    "lmmse": LMMSE2D,
    "lmmse_mismatched": LMMSEMismatched,
    "lmmse_empirical": LMMSEEmpirical,
}

NETWORKS: tuple[str, ...] = tuple(_NETWORKS)
"""Names of trainable estimators."""

FORMULAS: tuple[str, ...] = tuple(_FORMULAS)
"""Names of estimators without weights; the LMMSE family needs statistics: `profile=` and `doppler=`, `doppler=`, or `h=`."""


def build(name: str, config: OFDMConfig | str, **options: Any) -> Estimator:
    """The estimator of that name for a grid.

    Args:
        name: one of `NETWORKS` or `FORMULAS`.
        config: the grid and its pilots, or the name of a numerology.
        options: further arguments of the estimator, such as `n=4` of "stacked".

    Raises:
        ValueError: there is no estimator of that name.
        TypeError: an option is missing or unknown to the estimator.

    Example:
        >>> type(build("simplenet", "nr_v2x_15", channels=4)).__name__
        'SimpleNet'
    """
    known = _NETWORKS | _FORMULAS
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    return known[name](config, **options)
