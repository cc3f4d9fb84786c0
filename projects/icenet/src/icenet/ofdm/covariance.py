"""Second-order statistics of the channel in closed form (NOTES: §4.4, item 2).

    R_f[k, l] = Σ_p P_p exp(-j2π (f_k - f_l) τ_p),     R_t[s, s'] = Σ_p P_p r_p((s - s') T)
    r(Δ) = J₀(2π f_d Δ)                       Jakes
           J₀(2π f Δ) + j H₀(2π f Δ)          half bath-tub on [0, f]; H₀ is Struve's function
           exp(j 2π 0.7 f_d Δ)                specular
           1                                  static

each averaged over the prior of f_d. If all taps have one r, the whole covariance is R_f ⊗ R_t; otherwise it is a sum of such
products, one for each kind of tap. These are expectations over channels, never over one channel (NOTES: §10.2).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from scipy.special import j0, struve
from torch import Tensor

from .config import OFDMConfig
from .fading import LOS_DOPPLER, DopplerRange
from .profiles import DelayProfile, get_profile

Doppler = DopplerRange | float | Sequence[float]


def frequency_covariance(
    config: OFDMConfig, profile: DelayProfile | str, delay_spread: float | None = None
) -> Complex[Tensor, "k k"]:
    """R_f at one symbol, complex128, ones on the diagonal; `delay_spread` in nanoseconds for profiles that scale.

    Example:
        >>> from icenet.ofdm import NUMEROLOGIES
        >>> R = frequency_covariance(NUMEROLOGIES["nr_v2x_15"], "EVA")
        >>> R.shape, torch.allclose(R, R.mH)
        (torch.Size([72, 72]), True)
    """
    profile = get_profile(profile)
    return _frequency_part(config, profile.powers, profile.delays_ns(delay_spread))


def time_covariance(
    config: OFDMConfig, profile: DelayProfile | str, doppler: Doppler | None = None
) -> Complex[Tensor, "s s"]:
    """R_t at one subcarrier, complex128; `doppler` in Hz, needed unless the profile fixes that of its taps."""
    profile = get_profile(profile)
    return sum(  # type: ignore[return-value]
        float(profile.powers[taps].sum()) * _time_part(config, r)
        for taps, r in _spectra(config, profile, doppler)
    )


def covariance(
    config: OFDMConfig,
    profile: DelayProfile | str,
    doppler: Doppler | None = None,
    delay_spread: float | None = None,
) -> Complex[Tensor, "k s k s"]:
    """E H[k, s] H*[l, s'] of the whole grid, complex128; `.flatten(2).flatten(0, 1)` makes it a matrix."""
    profile = get_profile(profile)
    delays = profile.delays_ns(delay_spread)
    return sum(  # type: ignore[return-value]
        torch.einsum(
            "kl,st->kslt",
            _frequency_part(config, profile.powers[taps], delays[taps]),
            _time_part(config, r),
        )
        for taps, r in _spectra(config, profile, doppler)
    )


def _frequency_part(
    config: OFDMConfig, powers: NDArray[np.float64], delays_ns: NDArray[np.float64]
) -> Complex[Tensor, "k k"]:
    phase = -2 * np.pi * config.frequencies.numpy()[:, None] * (1e-9 * delays_ns)
    steering = np.exp(1j * phase)
    return torch.from_numpy((steering * powers) @ steering.conj().T)


def _time_part(config: OFDMConfig, correlation: NDArray[np.complex128]) -> Complex[Tensor, "s s"]:
    """The Hermitian Toeplitz matrix of a correlation at lags 0 … S-1."""
    lags = np.arange(config.n_symbols)[:, None] - np.arange(config.n_symbols)
    values = correlation[np.abs(lags)]
    return torch.from_numpy(np.where(lags >= 0, values, values.conj()))


def _spectra(
    config: OFDMConfig, profile: DelayProfile, doppler: Doppler | None
) -> Iterator[tuple[slice, NDArray[np.complex128]]]:
    """Groups of taps with one correlation function, and its values at the lags of the grid."""
    lags = config.times.numpy()
    if profile.tap_doppler is not None:
        for p, frequency in enumerate(profile.tap_doppler):
            x = 2 * np.pi * frequency * lags
            yield slice(p, p + 1), j0(x) + 1j * struve(0, x)  # both are 1 and 0 for a static tap
        return
    if doppler is None:
        raise ValueError(
            f"doppler is missing: {profile.name} does not fix it; give a frequency or a range in Hz"
        )
    nodes, weights = (part.numpy() for part in DopplerRange.of(doppler).quadrature())
    x = 2 * np.pi * nodes[:, None] * lags
    if profile.line_of_sight:
        yield slice(0, 1), weights @ np.exp(1j * LOS_DOPPLER * x)
    yield slice(int(profile.line_of_sight), None), (weights @ j0(x)).astype(np.complex128)


def empirical_covariance(samples: Complex[Tensor, "b n"]) -> Complex[Tensor, "n n"]:
    """(1/B) Σ_b h_b h_bᴴ of many channels, complex128; of zero mean, as fading is."""
    h = samples.to(torch.complex128)
    if h.dim() != 2 or len(h) < 2:
        raise ValueError(f"samples must be a matrix of at least 2 channels, got shape {tuple(samples.shape)}")
    return h.T @ h.conj() / len(h)


def envelope_kurtosis(h: Complex[Tensor, "*b"]) -> Float[Tensor, ""]:
    """E|H|⁴/(E|H|²)², which is 2 for Rayleigh fading; M sinusoids a tap give 2 - Σ_p P_p²/M."""
    power = h.abs().double().square()
    return power.square().mean() / power.mean().square()
