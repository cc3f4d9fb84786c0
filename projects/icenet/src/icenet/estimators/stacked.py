"""What ICENet replaces: its own block stacked explicitly, with separate or with shared weights (§4.4, item 9)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, check_positive, plain_config
from .cells import Cell, make_cell
from .stages import InputStage, OutputStage


class Stack(NetworkEstimator):
    """n applications of a block between the input and output stages of ICENet; subclasses say whose weights.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        n: applications of the block.
        channels: C.
        cell: "contractive" or "resnet".
        input_convs: convolutions of the input stage, 1 or 2.
    """

    copies_share_weights: bool

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any],
        n: int,
        channels: int = 16,
        cell: str = "contractive",
        *,
        input_convs: int = 1,
    ):
        super().__init__(config)
        check_positive(n=n)
        self.config = {
            "config": plain_config(self.ofdm), "n": n, "channels": channels, "cell": cell, "input_convs": input_convs
        }  # fmt: skip
        self.n = n
        grid = self.ofdm.pilots.shape[::-1]
        self.input = InputStage(self.ofdm, channels, input_convs)
        copies = 1 if self.copies_share_weights else n
        self.cells = nn.ModuleList(make_cell(cell, channels, grid) for _ in range(copies))
        self.output = OutputStage(self.ofdm, channels)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a slot."""
        block: Cell = self.cells[0]  # type: ignore[assignment]
        return self.input.macs + self.n * block.macs_per_evaluation + self.output.macs


class StackedCE(Stack):
    """n copies of ICENet's block, each with its own weights: F_0 = u, F_i = f_i(F_{i-1}; u), ĥ = φ_out(F_n + u).

    It begins at u and not at 0, where the first copy would have nothing to work on.

    Args:
        config, n, channels, cell, input_convs: see `Stack`.

    Example:
        >>> StackedCE("nr_v2x_15", 2)(torch.randn(1, 36, 4, dtype=torch.complex64)).shape
        torch.Size([1, 72, 14])
    """

    copies_share_weights = False

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        u = self.input(x)
        z = u
        for cell in self.cells:
            z = cell(z, u)
        return self.output(z + u)


class TiedUnroll(Stack):
    """ICENet's block applied n times from F = 0 with ordinary backpropagation: plain iteration, cut off.

    Args:
        config, n, channels, cell, input_convs: see `Stack`.

    Example:
        >>> TiedUnroll("nr_v2x_15", 2)(torch.randn(1, 36, 4, dtype=torch.complex64)).shape
        torch.Size([1, 72, 14])
    """

    copies_share_weights = True

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        u = self.input(x)
        f = self.cells[0].bind(u)  # type: ignore[operator]
        z = torch.zeros_like(u)
        for _ in range(self.n):
            z = f(z)
        return self.output(z + u)
