"""The link around the channel: QPSK and 16-QAM, noise, LS at the pilots, one-tap equalisers, bit error rates (NOTES: §8 C7).

QPSK (TS 38.211 5.1.3):   x = ((1-2b₀) + j(1-2b₁))/√2
16-QAM (5.1.4):           x = ((1-2b₀)(2-(1-2b₂)) + j(1-2b₁)(2-(1-2b₃)))/√10
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from .config import OFDMConfig
from .pilots import PilotPattern


@dataclass(frozen=True)
class BitErrors:
    """Counted bit errors of a batch, one entry a slot."""

    errors: Float[Tensor, "b"]
    bits: int


def qam_map(bits: Bool[Tensor, "*b n"], order: int) -> Complex[Tensor, "*b m"]:
    """Gray-mapped symbols of unit mean energy; order 4 or 16."""
    raise NotImplementedError


def qam_demap(
    symbols: Complex[Tensor, "*b m"], order: int, gain: Float[Tensor, "*b m"] | float = 1.0
) -> Bool[Tensor, "*b n"]:
    """Hard decisions; `gain` is the amplitude that a noiseless symbol has (MMSE equalisers shrink it)."""
    raise NotImplementedError


def complex_noise(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Complex[Tensor, "..."]:
    """CN(0, 1), complex64, on the device of the generator."""
    raise NotImplementedError


def add_noise(
    y: Complex[Tensor, "b *n"],
    noise_var: Float[Tensor, "b"] | float,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b *n"]:
    """y + CN(0, σ²), with one σ² a slot."""
    raise NotImplementedError


def ls_at_pilots(
    y: Complex[Tensor, "b k s"], pilots: PilotPattern, values: Complex[Tensor, "k_p s_p"] | complex = 1.0
) -> Complex[Tensor, "b k_p s_p"]:
    """Y_p / X_p, with pilot values |X_p| = 1."""
    raise NotImplementedError


def equalize_zf(y: Complex[Tensor, "*b"], h: Complex[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """Y/H."""
    raise NotImplementedError


def equalize_mmse(
    y: Complex[Tensor, "b *n"], h: Complex[Tensor, "b *n"], noise_var: Float[Tensor, "b"] | float
) -> Complex[Tensor, "b *n"]:
    """H* Y/(|H|² + σ²); shrinks the symbols by |H|²/(|H|² + σ²)."""
    raise NotImplementedError


def uncoded_ber(
    config: OFDMConfig,
    h: Complex[Tensor, "b k s"],
    h_hat: Complex[Tensor, "b k s"],
    noise_var: Float[Tensor, "b"] | float,
    *,
    order: int = 4,
    equalizer: str = "zf",
    generator: torch.Generator | None = None,
) -> BitErrors:
    """Bit errors on all resource elements without a pilot, sent over `h` and equalised with `h_hat`.

    The same generator state gives the same bits and noise to every estimator.
    """
    raise NotImplementedError


def rayleigh_ber(snr_db: float, order: int = 4) -> float:
    """Theory: uncoded bit error rate over Rayleigh fading with perfect channel knowledge; `snr_db` is E_s/N_0."""
    raise NotImplementedError
