"""The link around the channel: QPSK and 16-QAM, noise, LS at the pilots, one-tap equalisers, bit error rates (NOTES: §8 C7).

QPSK (TS 38.211 5.1.3):   x = ((1-2b₀) + j(1-2b₁))/√2
16-QAM (5.1.4):           x = ((1-2b₀)(2-(1-2b₂)) + j(1-2b₁)(2-(1-2b₃)))/√10
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from .config import OFDMConfig
from .pilots import PilotPattern

ORDERS = (4, 16)
EQUALIZERS = ("zf", "mmse")


def qam_map(bits: Bool[Tensor, "*b n"], order: int = 4) -> Complex[Tensor, "*b m"]:
    """Gray-mapped symbols of unit mean energy, complex64; order 4 takes 2 bits a symbol, order 16 takes 4.

    Example:
        >>> bits = torch.tensor([True, False, True, True])
        >>> torch.equal(qam_demap(qam_map(bits, 16), 16), bits)
        True
    """
    per_symbol = bits_per_symbol(order)
    if bits.shape[-1] % per_symbol:
        raise ValueError(f"{bits.shape[-1]} bits are no whole number of symbols of {per_symbol} bits")
    sign = 1 - 2 * bits.unflatten(-1, (-1, per_symbol)).float()
    if order == 4:
        return torch.complex(sign[..., 0], sign[..., 1]) * math.sqrt(0.5)
    real, imag = sign[..., 0] * (2 - sign[..., 2]), sign[..., 1] * (2 - sign[..., 3])
    return torch.complex(real, imag) * math.sqrt(0.1)


def qam_demap(
    symbols: Complex[Tensor, "*b m"], order: int = 4, gain: Float[Tensor, "*b m"] | float = 1.0
) -> Bool[Tensor, "*b n"]:
    """Hard decisions; `gain` is the amplitude a noiseless symbol has, which MMSE equalisers shrink."""
    bits_per_symbol(order)
    parts = [symbols.real < 0, symbols.imag < 0]
    if order == 16:
        # Between the amplitudes 1/√10 and 3/√10.
        threshold = 2 * math.sqrt(0.1) * gain
        parts += [symbols.real.abs() > threshold, symbols.imag.abs() > threshold]
    return torch.stack(parts, -1).flatten(-2)


def bits_per_symbol(order: int) -> int:
    """log₂ of a supported order."""
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS} (QPSK, 16-QAM), got {order}")
    return int(math.log2(order))


def complex_noise(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Complex[Tensor, "..."]:
    """CN(0, 1), complex64, on the device of the generator."""
    device = None if generator is None else generator.device
    return torch.randn(shape, dtype=torch.complex64, generator=generator, device=device)


def add_noise(
    y: Complex[Tensor, "b *n"],
    noise_var: Float[Tensor, "b"] | float,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b *n"]:
    """y + CN(0, σ²), with one σ² for all or one a slot."""
    std = _per_slot("noise_var", noise_var, y).sqrt()
    return y + std * complex_noise(tuple(y.shape), generator).to(y.device)


def ls_at_pilots(
    y: Complex[Tensor, "b k s"], pilots: PilotPattern, values: Complex[Tensor, "*b k_p s_p"] | complex = 1.0
) -> Complex[Tensor, "b k_p s_p"]:
    """Y_p/X_p; with |X_p| = 1, as must be, the error variance is σ²."""
    known = torch.as_tensor(values)
    if not torch.allclose(known.abs().double(), torch.ones((), dtype=torch.float64), atol=1e-4):
        raise ValueError("values of the pilots must have modulus 1, otherwise the error variance is not σ²")
    return pilots.take(y) / known


def equalize_zf(y: Complex[Tensor, "*b"], h: Complex[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """Y/H: unbiased; not finite where h is 0."""
    return y / h


def equalize_mmse(
    y: Complex[Tensor, "b *n"], h: Complex[Tensor, "b *n"], noise_var: Float[Tensor, "b"] | float
) -> Complex[Tensor, "b *n"]:
    """H* Y/(|H|² + σ²): the least mean squared error, symbols shrunk by `mmse_gain`."""
    power = h.real.square() + h.imag.square()
    return h.conj() * y / (power + _per_slot("noise_var", noise_var, y))


def mmse_gain(h: Complex[Tensor, "b *n"], noise_var: Float[Tensor, "b"] | float) -> Float[Tensor, "b *n"]:
    """|H|²/(|H|² + σ²), the mean amplitude of a symbol after `equalize_mmse`."""
    power = h.real.square() + h.imag.square()
    return power / (power + _per_slot("noise_var", noise_var, h))


@dataclass(frozen=True)
class BitErrors:
    """Counted bit errors.

    Args:
        errors: of each slot.
        bits: sent in each slot.

    Example:
        >>> BitErrors(torch.tensor([1, 3]), 10).rate
        0.2
    """

    errors: Int[Tensor, "b"]
    bits: int

    @property
    def rate(self) -> float:
        """Bit error rate over all slots."""
        return float(self.errors.double().mean()) / self.bits

    @property
    def standard_error(self) -> float:
        """Of the rate, from the spread over slots: bits of one slot share a channel and are not independent."""
        return float(self.errors.double().std()) / self.bits / math.sqrt(len(self.errors))


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

    The same generator state gives the same bits and noise to every estimator, so that their rates can be compared in pairs. With
    the gain of the MMSE equaliser known, its hard decisions are those of zero forcing; the two differ in their symbols.

    Args:
        config: the grid; its pilots carry no bits.
        h, h_hat: channels and their estimates.
        noise_var: σ², one for all or one a slot.
        order: 4 or 16.
        equalizer: "zf" or "mmse".
        generator: source of bits and noise.
    """
    if equalizer not in EQUALIZERS:
        raise ValueError(f"equalizer must be one of {EQUALIZERS}, got {equalizer!r}")
    if h.shape[1:] != config.shape or h.shape != h_hat.shape:
        raise ValueError(
            f"h and h_hat must be [B, {config.n_subcarriers}, {config.n_symbols}], got {tuple(h.shape)} and {tuple(h_hat.shape)}"
        )
    data = config.data_mask.to(h.device)
    h, h_hat = h[:, data], h_hat[:, data]
    device = None if generator is None else generator.device
    shape = (len(h), h.shape[1] * bits_per_symbol(order))
    bits = (
        torch.randint(0, 2, shape, generator=generator, device=device, dtype=torch.uint8).bool().to(h.device)
    )
    y = add_noise(h * qam_map(bits, order), noise_var, generator)
    if equalizer == "zf":
        decided = qam_demap(equalize_zf(y, h_hat), order)
    else:
        decided = qam_demap(equalize_mmse(y, h_hat, noise_var), order, mmse_gain(h_hat, noise_var))
    return BitErrors((decided != bits).sum(1), bits.shape[1])


def rayleigh_ber(snr_db: float, order: int = 4) -> float:
    """Theory: uncoded bit error rate over Rayleigh fading with the channel known; `snr_db` is E_s/N_0 = 1/σ².

    QPSK: ½(1 - √(γ_b/(1+γ_b))), γ_b = SNR/2. 16-QAM: the Gray-mapped sum over the distances 1, 3 and 5.

    Example:
        >>> round(rayleigh_ber(10.0), 4)
        0.0436
    """
    bits_per_symbol(order)
    snr = 10 ** (snr_db / 10)

    def mean_q(distance_squared: float) -> float:
        """E Q(√(d² γ)) over an exponential γ of mean SNR."""
        return (1 - math.sqrt(distance_squared * snr / (2 + distance_squared * snr))) / 2

    if order == 4:
        return mean_q(1.0)
    return 0.75 * mean_q(1 / 5) + 0.5 * mean_q(9 / 5) - 0.25 * mean_q(25 / 5)


def _per_slot(name: str, value: Float[Tensor, "b"] | float, like: Complex[Tensor, "b *n"]) -> Tensor:
    """A number or one number a slot, shaped so that it broadcasts over `like`."""
    tensor = torch.as_tensor(value, device=like.device, dtype=like.real.dtype)
    if tensor.dim() > 1 or (tensor.dim() == 1 and len(tensor) != len(like)):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, give one number or one a slot of the batch of {len(like)}"
        )
    if not bool((tensor >= 0).all()):
        raise ValueError(f"{name} must not be negative or NaN, got {tensor.min():.3g}")
    return tensor.reshape(-1, *[1] * (like.dim() - 1)) if tensor.dim() else tensor
