"""Linear interpolation from the pilots to the grid on true coordinates, as a fixed sparse matrix (10.4).

Along a pilot symbol the pilot subcarriers are interpolated linearly in frequency, each symbol with its own offsets (a
staggered comb); then the pilot symbols linearly in time. Half-pixel resizing, which puts the pilots into the middles of
cells they do not occupy, costs several decibels at high SNR.

    M[(k, s), (p, q)] = T[s, q] A_q[k, p],      at most two entries in each row of A_q and of T, which sum to one

Outside the outermost pilots the edge rule decides: "linear" extrapolates the last two, "nearest" holds the last one.
"""

from typing import Literal

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

Edge = Literal["linear", "nearest"]


class Lattice(nn.Module):
    """Interpolates arrays over the pilots, (..., k_p, s_p), real or complex, to the grid, (..., k, s); differentiable.

    Args:
        config: the grid and its pilots.
        edge: rule outside the outermost pilots.
    """

    def __init__(self, config: OFDMConfig, edge: Edge = "linear"):
        super().__init__()

    def forward(self, x: Shaped[Tensor, "... k_p s_p"]) -> Shaped[Tensor, "... k s"]:
        raise NotImplementedError

    def matrix(self) -> Float[Tensor, "k*s k_p*s_p"]:
        """The whole map as a sparse COO matrix; rows k·S + s, columns p·S_p + q."""
        raise NotImplementedError
