"""A fixed-point network in the manner of FPN-OAMP: plain iteration, one-step gradient (§4.4, item 10)."""

from collections.abc import Mapping
from typing import Any

from icenet.ofdm.config import OFDMConfig

from .icenet import ICENet


class FPN(ICENet):
    """ε = 1e-2, at most 15 evaluations, contraction factor 0.99, C = 64."""

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], channels: int = 64):
        super().__init__(config, channels)
