"""Least squares at the pilots, then interpolation to the grid: linear, cubic spline, radial basis functions (§4.4, item 1).

All three are linear maps that know the true coordinates of the pilots; none uses the statistics of the channel.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.interpolate import CubicSpline, RBFInterpolator
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig

from .base import NoiseVariance, check_ls, resolve_config
from .lattice import Edge, Lattice


class LSLinear(nn.Module):
    """Linear interpolation in frequency and time, `Lattice`.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        edge: outside the outermost pilots "nearest" holds the last one, "linear" extrapolates, which follows fast channels
            at high SNR and multiplies the noise.

    Example:
        >>> LSLinear("nr_v2x_15").estimate(torch.ones(3, 36, 4, dtype=torch.complex64)).shape
        torch.Size([3, 72, 14])
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], edge: Edge = "nearest"):
        super().__init__()
        self.ofdm = resolve_config(config)
        self.lattice = Lattice(self.ofdm, edge)

    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        return self.lattice(check_ls(ls, self.ofdm))

    forward = estimate


class _MatrixInterpolation(nn.Module):
    """Interpolation by a fixed dense matrix."""

    weight: Float[Tensor, "k*s k_p*s_p"]

    def __init__(self, config: OFDMConfig, weight: Float[Tensor, "k*s k_p*s_p"]):
        super().__init__()
        self.ofdm = config
        self._exact = weight
        self.register_buffer("weight", weight.float(), persistent=False)

    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        x = check_ls(ls, self.ofdm).flatten(1)
        weight = self.weight if x.dtype == torch.complex64 else self._exact.to(x.real)
        return torch.complex(x.real @ weight.T, x.imag @ weight.T).unflatten(1, self.ofdm.shape)

    forward = estimate


class LSSpline(_MatrixInterpolation):
    """Natural cubic splines in frequency along each pilot symbol, then in time; they extrapolate by their last pieces.

    Args:
        config: the grid and its pilots, or the name of a numerology.

    Example:
        >>> LSSpline("nr_v2x_15").estimate(torch.ones(3, 36, 4, dtype=torch.complex64)).shape
        torch.Size([3, 72, 14])
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any]):
        ofdm = resolve_config(config)
        super().__init__(ofdm, spline_matrix(ofdm))


class LSRBF(_MatrixInterpolation):
    """Interpolation by radial basis functions over subcarrier and symbol index.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        kernel: of `scipy.interpolate.RBFInterpolator` without a scale of its own: "thin_plate_spline", "cubic" or "linear".

    Example:
        >>> LSRBF("channelnet_48").estimate(torch.ones(3, 12, 4, dtype=torch.complex64)).shape
        torch.Size([3, 72, 14])
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], kernel: str = "thin_plate_spline"):
        ofdm = resolve_config(config)
        super().__init__(ofdm, rbf_matrix(ofdm, kernel))


def spline_matrix(config: OFDMConfig) -> Float[Tensor, "k*s k_p*s_p"]:
    """The map of `LSSpline` in float64; rows k·S + s, columns p·S_p + q."""
    combs, symbols = config.pilots.subcarriers, config.pilots.symbols
    frequency = np.stack([_spline_weights(np.arange(config.n_subcarriers), comb) for comb in combs])
    time = _spline_weights(np.arange(config.n_symbols), symbols)
    weight = np.einsum("sq,qkp->kspq", time, frequency)
    return torch.from_numpy(weight.reshape(config.n_subcarriers * config.n_symbols, -1))


def rbf_matrix(config: OFDMConfig, kernel: str = "thin_plate_spline") -> Float[Tensor, "k*s k_p*s_p"]:
    """The map of `LSRBF` in float64; rows k·S + s, columns p·S_p + q."""
    scale_free = ("thin_plate_spline", "cubic", "linear")
    if kernel not in scale_free:
        raise ValueError(f"kernel must be one of {', '.join(scale_free)}, got {kernel!r}")
    k, s = config.pilots.coordinates()
    known = torch.stack((k.flatten(), s.flatten()), 1).double().numpy()
    grid = torch.cartesian_prod(torch.arange(config.n_subcarriers), torch.arange(config.n_symbols))
    interpolator = RBFInterpolator(known, np.eye(len(known)), kernel=kernel)
    return torch.from_numpy(interpolator(grid.double().numpy()))


def _spline_weights(points: Any, known: Any) -> Any:
    if len(known) == 1:
        return np.ones((len(points), 1))
    return CubicSpline(known, np.eye(len(known)), bc_type="natural")(points)
