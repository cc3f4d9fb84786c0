"""What ICENet replaces: its own block stacked explicitly, with separate or with shared weights (§4.4, item 9)."""

from collections.abc import Mapping
from typing import Any

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator


class StackedCE(NetworkEstimator):
    """n copies of ICENet's block, each with its own weights, between the same input and output stages."""

    def __init__(
        self, config: OFDMConfig | str | Mapping[str, Any], n: int, channels: int = 16, cell: str = "contractive", *, input_convs: int = 1
    ):  # fmt: skip
        super().__init__(config)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a slot."""
        raise NotImplementedError


class TiedUnroll(NetworkEstimator):
    """ICENet's block applied n times from F = 0 with ordinary backpropagation: plain iteration, cut off."""

    def __init__(
        self, config: OFDMConfig | str | Mapping[str, Any], n: int, channels: int = 16, cell: str = "contractive", *, input_convs: int = 1
    ):  # fmt: skip
        super().__init__(config)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a slot."""
        raise NotImplementedError
