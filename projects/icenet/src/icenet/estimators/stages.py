"""What surrounds the block, alike in ICENet and in its explicit counterparts: u = φ_in(x) and ĥ = φ_out(F) (§3.2).

Features are images of pilot symbols × pilot subcarriers, channels last in memory: wide rows and adjacent channels make
3×3 convolutions fast, backwards above all.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .lattice import Lattice

KERNEL = (7, 5)  # of the output stage: subcarriers, symbols


class InputStage(nn.Module):
    """u = W x + b, or W' ReLU(W x + b) + b', with 3×3 convolutions.

    Args:
        config: the grid and its pilots.
        channels: C.
        convs: 1 or 2 convolutions.
    """

    def __init__(self, config: OFDMConfig, channels: int, convs: int):
        super().__init__()
        if convs not in (1, 2):
            raise ValueError(f"input_convs must be 1 or 2, got {convs}")
        self.first = nn.Conv2d(2, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1) if convs == 2 else None
        pilots = config.pilots.shape[0] * config.pilots.shape[1]
        self.macs = 9 * channels * pilots * (2 + (channels if convs == 2 else 0))

    def forward(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b c s_p k_p"]:
        image = x.transpose(2, 3).contiguous(memory_format=torch.channels_last)
        u = self.first(image)
        return u if self.second is None else self.second(F.relu(u))


class OutputStage(nn.Module):
    """Linear interpolation from the pilots to the grid on true coordinates (10.4), then a 7×5 convolution C → 2.

    Computed in another order, with the same result: a tap of the convolution mixes channels, which commutes with the
    interpolation. So channels are mixed at the pilots, and interpolation, shift and zero padding of all taps are one fixed
    matrix in frequency and one in time: products of matrices in place of a convolution with two output channels.

        ĥ_o = Σ_j T_j (Σ_i A_i (Σ_c w[o, c, i, j] F_c)),    A_i[k, p] = A[k + i - 3, p],  T_j[s, q] = T[s + j - 2, q]

    Args:
        config: the grid and its pilots.
        channels: C.
    """

    frequency: Float[Tensor, "q k p_i"]
    time: Float[Tensor, "s q_j"]

    def __init__(self, config: OFDMConfig, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, channels, *KERNEL))
        self.bias = nn.Parameter(torch.empty(2))
        bound = (channels * KERNEL[0] * KERNEL[1]) ** -0.5  # as torch begins its convolutions
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        lattice = Lattice(config)
        self.register_buffer(
            "frequency", _shifted(lattice.frequency, KERNEL[0]).flatten(-2), persistent=False
        )
        self.register_buffer("time", _shifted(lattice.time, KERNEL[1]).flatten(-2), persistent=False)
        k, s = config.shape
        k_p, s_p = config.pilots.shape
        taps = 2 * KERNEL[0] * KERNEL[1]
        self.macs = channels * taps * k_p * s_p + taps * s_p * k_p * k + 2 * KERNEL[1] * s_p * k * s

    def forward(self, features: Float[Tensor, "b c s_p k_p"]) -> Float[Tensor, "b 2 k s"]:
        b, c, q, p = features.shape
        ni, nj = KERNEL
        weight = self.weight.permute(1, 0, 3, 2).reshape(c, -1)  # c, o j i
        taps = (features.permute(0, 2, 3, 1).reshape(-1, c) @ weight).view(b, q, p, 2 * nj, ni)
        if len(self.frequency) == 1:
            rows = taps.permute(0, 1, 3, 2, 4).reshape(-1, p * ni)  # b q o j, p i
            mixed = (rows @ self.frequency[0].T).view(b, q, 2, nj, -1)
        else:  # a comb of its own for each pilot symbol
            rows = taps.permute(1, 0, 3, 2, 4).reshape(q, -1, p * ni)  # q, b o j, p i
            mixed = (rows @ self.frequency.mT).view(q, b, 2, nj, -1).transpose(0, 1)
        k = mixed.shape[-1]
        columns = mixed.permute(0, 2, 4, 1, 3).reshape(-1, q * nj)  # b o k, q j
        return (columns @ self.time.T).view(b, 2, k, -1) + self.bias[:, None, None]


def _shifted(matrix: Float[Tensor, "*q rows columns"], taps: int) -> Float[Tensor, "*q rows columns taps"]:
    """Rows moved by each tap of a centred kernel, zeros beyond the edge: what zero padding adds nothing for."""
    half = taps // 2
    padded = F.pad(matrix, (0, 0, half, half))
    rows = matrix.shape[-2]
    return torch.stack([padded[..., i : i + rows, :] for i in range(taps)], -1)
