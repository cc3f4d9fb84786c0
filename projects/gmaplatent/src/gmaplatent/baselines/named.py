"""The baselines on codes by name."""

from collections.abc import Mapping
from types import MappingProxyType

from .interface import Baseline
from .pairing import BarycentreNearest, RandomPairing
from .transport import KeypointGuidedOT, PlainOT, SinkhornL1L2

BASELINES: Mapping[str, type[Baseline]] = MappingProxyType(
    {
        "plain_ot": PlainOT,
        "sinkhorn_l1l2": SinkhornL1L2,
        "keypoint_guided_ot": KeypointGuidedOT,
        "barycentre_nearest": BarycentreNearest,
        "random_pairing": RandomPairing,
    }
)
"""Name -> class; all of them can be made without arguments."""
