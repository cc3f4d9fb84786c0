"""Linear interpolation from the pilots to the grid on true coordinates, as a fixed sparse matrix (10.4).

Along a pilot symbol the pilot subcarriers are interpolated linearly in frequency, each symbol with its own offsets (a
staggered comb); then the pilot symbols linearly in time. Half-pixel resizing, which puts the pilots into the middles of
cells they do not occupy, costs several decibels at high SNR.

    M[(k, s), (p, q)] = T[s, q] A_q[k, p],      at most two entries in each row of A_q and of T, which sum to one

Outside the outermost pilots the edge rule decides: "linear" extrapolates the last two, "nearest" holds the last one.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

Edge = Literal["linear", "nearest"]
Resize = Literal["lattice", "half_pixel", "nearest"]


class Lattice(nn.Module):
    """Interpolates arrays over the pilots, (..., k_p, s_p), real or complex, to the grid, (..., k, s); differentiable.

    Applied as its two factors, first frequency, then time: fewer products than the whole matrix has entries.

    Args:
        config: the grid and its pilots.
        edge: rule outside the outermost pilots; a single pilot symbol is held in time under either rule.

    Example:
        >>> from icenet.ofdm.config import NUMEROLOGIES
        >>> lattice = Lattice(NUMEROLOGIES["nr_v2x_15"])
        >>> subcarriers, symbols = NUMEROLOGIES["nr_v2x_15"].pilots.coordinates()
        >>> filled = lattice(subcarriers.double())  # a plane of slope one in frequency
        >>> bool((filled[:, 3] == torch.arange(72)).all())
        True
    """

    frequency: Float[Tensor, "1 k k_p"] | Float[Tensor, "s_p k k_p"]
    time: Float[Tensor, "s s_p"]

    def __init__(self, config: OFDMConfig, edge: Edge = "linear"):
        super().__init__()
        if edge not in get_args(Edge):
            raise ValueError(f"edge must be one of {', '.join(get_args(Edge))}, got {edge!r}")
        self.shape = config.pilots.shape
        every_subcarrier = torch.arange(config.n_subcarriers)
        combs = [torch.tensor(comb) for comb in config.pilots.subcarriers]
        if not config.pilots.staggered:
            combs = combs[:1]  # one serves all symbols
        self._frequency = torch.stack([linear_weights(every_subcarrier, comb, edge) for comb in combs])
        self._time = linear_weights(torch.arange(config.n_symbols), torch.tensor(config.pilots.symbols), edge)
        # Constants of the grid, not learnt: a checkpoint does not hold them. Exact copies stay for float64.
        self.register_buffer("frequency", self._frequency.float(), persistent=False)
        self.register_buffer("time", self._time.float(), persistent=False)

    def forward(self, x: Shaped[Tensor, "... k_p s_p"]) -> Shaped[Tensor, "... k s"]:
        if tuple(x.shape[-2:]) != self.shape:
            raise ValueError(
                f"x has {tuple(x.shape[-2:])} pilots in its last two axes, this lattice has {self.shape}"
            )
        if x.is_complex():
            return torch.complex(self(x.real), self(x.imag))
        frequency, time = self.frequency, self.time
        if x.dtype != frequency.dtype:
            frequency, time = self._frequency.to(x), self._time.to(x)
        columns = x.transpose(-1, -2)  # ... q p
        if len(frequency) == 1:
            columns = columns @ frequency[0].T
        else:
            columns = torch.einsum("...qp,qkp->...qk", columns, frequency)
        return columns.transpose(-1, -2) @ time.T

    def matrix(self) -> Float[Tensor, "k*s k_p*s_p"]:
        """The whole map as a sparse COO matrix in float64; rows k·S + s, columns p·S_p + q."""
        frequency = self._frequency.expand(self.shape[1], -1, -1)
        dense = torch.einsum("sq,qkp->kspq", self._time, frequency)
        return dense.flatten(2).flatten(0, 1).to_sparse().coalesce()

    def extra_repr(self) -> str:
        return f"{self.shape} -> ({self.frequency.shape[1]}, {self.time.shape[0]})"


class HalfPixel(nn.Module):
    """Bilinear resizing as image software does it, which takes the pilots for the middles of equal cells (10.4).

    Args:
        config: the grid and its pilots.
    """

    def __init__(self, config: OFDMConfig):
        super().__init__()
        self.size = (config.n_subcarriers, config.n_symbols)

    def forward(self, x: Float[Tensor, "b c k_p s_p"]) -> Float[Tensor, "b c k s"]:
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)


class Nearest(nn.Module):
    """Nearest-neighbour resizing as image software does it.

    Args:
        config: the grid and its pilots.
    """

    def __init__(self, config: OFDMConfig):
        super().__init__()
        self.size = (config.n_subcarriers, config.n_symbols)

    def forward(self, x: Float[Tensor, "b c k_p s_p"]) -> Float[Tensor, "b c k s"]:
        return F.interpolate(x, self.size, mode="nearest")


def make_resize(resize: Resize, config: OFDMConfig) -> nn.Module:
    """The up-sampling of that name, from the pilots to the grid."""
    kinds: dict[str, type[nn.Module]] = {"lattice": Lattice, "half_pixel": HalfPixel, "nearest": Nearest}
    if resize not in kinds:
        raise ValueError(f"resize must be one of {', '.join(kinds)}, got {resize!r}")
    return kinds[resize](config)


def linear_weights(
    points: Shaped[Tensor, "n"], known: Shaped[Tensor, "m"], edge: Edge = "linear"
) -> Float[Tensor, "n m"]:
    """Weights of linear interpolation from increasing coordinates `known` to `points`; rows sum to one.

    Raises:
        ValueError: `known` does not increase.
    """
    points, known = points.double(), known.double()
    if bool((known.diff() <= 0).any()):
        raise ValueError(f"pilot coordinates must increase, got {known.tolist()}")
    weights = torch.zeros(len(points), len(known), dtype=torch.float64)
    rows = torch.arange(len(points))
    if len(known) == 1:
        return weights + 1
    left = (torch.searchsorted(known, points, right=True) - 1).clamp(0, len(known) - 2)
    share = (points - known[left]) / (known[left + 1] - known[left])
    if edge == "nearest":
        share = share.clamp(0, 1)
    weights[rows, left] = 1 - share
    weights[rows, left + 1] = share
    return weights
