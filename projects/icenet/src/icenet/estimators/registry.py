"""Estimators by name: `build("reesnet_bilinear", "nr_v2x_15")`."""

from typing import Any

from icenet.ofdm.config import OFDMConfig

from .base import Estimator

NETWORKS: tuple[str, ...] = (
    "icenet_tiny", "icenet_base", "icenet_large", "stacked", "tied_unroll", "fpn", "reesnet", "reesnet_bilinear",
    "interpolation_resnet", "simplenet", "channelnet", "ha02",
)  # fmt: skip
"""Names of trainable estimators."""

FORMULAS: tuple[str, ...] = ("ls_linear", "ls_spline", "ls_rbf", "lmmse", "lmmse_mismatched", "lmmse_empirical")
"""Names of estimators without weights; those of the LMMSE family need statistics: `profile=`, `doppler=` or `channels=`."""


def build(name: str, config: OFDMConfig | str, **options: Any) -> Estimator:
    """The estimator of that name for a grid.

    Args:
        name: one of `NETWORKS` or `FORMULAS`.
        config: the grid and its pilots, or the name of a numerology.
        options: further arguments of the estimator.
    """
    raise NotImplementedError
