"""The time domain: CP-OFDM samples through taps that move while a symbol lasts (NOTES: §4.3).

    y(t) = Σ_p a_p(t) x(t - τ_p)

A delay is a phase ramp on the DFT of the whole slot, padded with silence, so that it may be any fraction of a sample. The receiver
drops the cyclic prefixes and takes one DFT a symbol. Taps that move leak between subcarriers (ICI): for the Jakes spectrum
the leaked power is about (2π f_d T_u)²/24. Paths beyond the cyclic prefix leak between symbols (ISI).
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from .config import OFDMConfig


def modulate(config: OFDMConfig, grid: Complex[Tensor, "b k s"]) -> Complex[Tensor, "b n"]:
    """Samples of a slot, S symbols with their cyclic prefixes; unit-energy symbols give the mean power K/N.

    Example:
        >>> from icenet.ofdm import NUMEROLOGIES
        >>> config = NUMEROLOGIES["nr_v2x_15"]
        >>> grid = torch.randn(1, 72, 14, dtype=torch.complex64)
        >>> samples = modulate(config, grid)
        >>> samples.shape, torch.allclose(demodulate(config, samples), grid, atol=1e-5)
        (torch.Size([1, 1918]), True)
    """
    _check_grid(config, grid)
    bins = grid.new_zeros(len(grid), config.samples, config.n_symbols)
    bins[:, config.subcarriers % config.samples] = grid
    symbols = torch.fft.ifft(bins, dim=1, norm="ortho").transpose(1, 2)  # b s n
    prefix = symbols[..., config.samples - config.cp_samples :]
    return torch.cat([prefix, symbols], -1).flatten(1)


def demodulate(config: OFDMConfig, samples: Complex[Tensor, "b n"]) -> Complex[Tensor, "b k s"]:
    """The grid of a slot: prefixes dropped, one DFT a symbol."""
    symbols = samples.unflatten(1, (config.n_symbols, -1))[..., config.cp_samples :]
    return torch.fft.fft(symbols, dim=-1, norm="ortho")[..., config.subcarriers % config.samples].transpose(
        1, 2
    )


def through_taps(
    samples: Complex[Tensor, "b n"],
    gains: Complex[Tensor, "b p n"],
    delays: Float[Tensor, "r p"],
    sample_rate: float,
) -> Complex[Tensor, "b n"]:
    """Σ_p a_p(t) x(t - τ_p) at the samples of the slot; silence before and after it.

    Args:
        samples: of the slot.
        gains: of the taps at the same times.
        delays: in seconds; r = 1 if all slots share them, b otherwise.
        sample_rate: in Hz.
    """
    n = samples.shape[-1]
    # The ringing of a fractional delay must not reach around to the other end.
    padded = n + math.ceil(float(delays.max()) * sample_rate) + max(n // 16, 64)
    spectrum = torch.fft.fft(samples, padded)
    ramp = torch.fft.fftfreq(padded, 1 / sample_rate, device=samples.device, dtype=torch.float64)
    received = torch.zeros_like(samples)
    for p in range(gains.shape[1]):
        phase = -2 * math.pi * ramp * delays[:, p, None].double()
        shift = torch.polar(torch.ones_like(phase), phase).to(samples.dtype)
        received += gains[:, p] * torch.fft.ifft(spectrum * shift)[:, :n]
    return received


def received_grid(
    config: OFDMConfig,
    grid: Complex[Tensor, "b k s"],
    gains: Complex[Tensor, "b p n"],
    delays: Float[Tensor, "r p"],
) -> Complex[Tensor, "b k s"]:
    """What arrives of a transmitted grid, without noise; gains at every sample of the waveform, delays in seconds."""
    rate = config.samples * config.subcarrier_spacing
    return demodulate(config, through_taps(modulate(config, grid), gains, delays, rate))


def symbol_gains(config: OFDMConfig, gains: Complex[Tensor, "b p n"]) -> Complex[Tensor, "b p s"]:
    """Mean gains over the useful part of each symbol, the diagonal of the channel."""
    return gains.unflatten(-1, (config.n_symbols, -1))[..., config.cp_samples :].mean(-1)


def _check_grid(config: OFDMConfig, grid: Complex[Tensor, "b k s"]) -> None:
    if grid.dim() != 3 or grid.shape[1:] != config.shape:
        raise ValueError(
            f"grid must be [B, {config.n_subcarriers}, {config.n_symbols}], got {tuple(grid.shape)}"
        )
