"""Fading taps as sums of sinusoids (Xiao, Zheng and Beaulieu 2006; NOTES: §4.3).

    a_p(t) = √(P_p/M) Σ_m exp(j (2π f_d cos α_{p,m} t + φ_{p,m})),   α_{p,m} = (2π m + θ_p)/M,   θ, φ ~ U(-π, π)

so E|a_p|² = P_p and E a_p(t+Δ) a_p*(t) = P_p J₀(2π f_d Δ). A half bath-tub tap draws its angles from [0, π/2] instead, a
specular path is one sinusoid at 0.7 f_d, a static tap one at 0.

How it is made fast. With M even the angles come in opposite pairs, cos α_{m+M/2} = -cos α_m, so M sinusoids hold M/2
frequencies; and for times c ± h around the middle c of the slot,

    Σ_m c_m exp(±j ω_m h) = Σ_m (c_m + c_{m+M/2}) cos ω_m h  ±  j Σ_m (c_m - c_{m+M/2}) sin ω_m h

so the halves of the slot share their cosines and sines: 4 times fewer than M times S evaluations, and no recurrence that
gathers rounding errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from .profiles import DelayProfile

LOS_DOPPLER = 0.7  # of f_d: the shift of the specular path, TR 38.901 7.7.2
QUADRATURE_NODES = 64


@dataclass(frozen=True)
class DopplerRange:
    """A prior of the Doppler frequency f_d of a slot: uniform between two frequencies.

    Args:
        low, high: in Hz, both included.
        integer: only whole Hz, as the predecessors drew it (NOTES: §10.12).

    Example:
        >>> DopplerRange(0, 97, integer=True).sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3])
    """

    low: float
    high: float
    integer: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < math.inf:
            raise ValueError(f"doppler must be 0 ≤ low ≤ high in Hz, got low={self.low} and high={self.high}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"integer Doppler needs whole Hz, got low={self.low} and high={self.high}")

    @classmethod
    def of(cls, doppler: "DopplerRange | float | Sequence[float]") -> "DopplerRange":
        """A number is one frequency, a pair is a range."""
        if isinstance(doppler, DopplerRange):
            return doppler
        if isinstance(doppler, int | float):
            return cls(float(doppler), float(doppler))
        if len(doppler) != 2:
            raise ValueError(f"doppler must be one frequency in Hz or a pair (low, high), got {doppler}")
        return cls(float(doppler[0]), float(doppler[1]))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n"]:
        """n independent frequencies in Hz, float32."""
        if self.integer:
            device = None if generator is None else generator.device
            whole = torch.randint(int(self.low), int(self.high) + 1, (n,), generator=generator, device=device)
            return whole.float()
        return uniform(self.low, self.high, n, generator=generator)

    def quadrature(self) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
        """Frequencies and weights whose sums are expectations over the prior, float64."""
        if self.low == self.high:
            return torch.tensor([self.low], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        if self.integer:
            nodes = torch.arange(self.low, self.high + 1, dtype=torch.float64)
            return nodes, torch.full_like(nodes, 1 / len(nodes))
        x, w = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return torch.from_numpy(middle + half * x), torch.from_numpy(w / 2)


def uniform(
    low: float, high: float, *shape: int, generator: torch.Generator | None = None
) -> Float[Tensor, "..."]:
    """Uniform numbers in [low, high), float32, on the device of the generator."""
    device = None if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device).mul_(high - low).add_(low)


def tap_gains(
    profile: DelayProfile,
    doppler: Float[Tensor, "b"],
    n: int,
    step: float,
    n_sinusoids: int = 16,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b p n"]:
    """Gains of all taps of a profile, each of unit mean power, at n times `step` seconds apart; complex64.

    Args:
        profile: says which taps are specular, static, half bath-tub or Jakes.
        doppler: f_d of each slot in Hz; not used by a profile that fixes the Doppler of its taps.
        n, step: the times.
        n_sinusoids: M of each Rayleigh tap.
        generator: source of randomness; its device must be that of `doppler`.
    """
    if profile.tap_doppler is not None:
        return _field_trial_gains(profile.tap_doppler, len(doppler), n, step, n_sinusoids, generator)
    if not profile.line_of_sight:
        return jakes(doppler, profile.n_taps, n, step, n_sinusoids, generator)
    line_of_sight = specular(LOS_DOPPLER * doppler, 1, n, step, generator)
    return torch.cat([line_of_sight, jakes(doppler, profile.n_taps - 1, n, step, n_sinusoids, generator)], 1)


def jakes(
    doppler: Float[Tensor, "b"],
    taps: int,
    n: int,
    step: float,
    n_sinusoids: int = 16,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b p n"]:
    """Independent taps of unit power with the Jakes spectrum on [-f_d, f_d]; other arguments as in `tap_gains`."""
    batch, M = len(doppler), n_sinusoids
    pairs = M // 2 if M % 2 == 0 else M
    theta = uniform(-math.pi, math.pi, taps * batch, generator=generator)
    phi = uniform(-math.pi, math.pi, M, taps * batch, generator=generator)
    m = 2 * math.pi * torch.arange(pairs, device=doppler.device, dtype=doppler.dtype)
    omega = ((m[:, None] + theta) / M).cos_().unflatten(1, (taps, batch))
    omega = omega.mul_(2 * math.pi * step * doppler).flatten(1)  # m pb, radians a step
    real, imag = phi.cos().mul_(M**-0.5), phi.sin().mul_(M**-0.5)
    if pairs == M:
        even, odd = torch.stack([real, imag], 1), torch.stack([-imag, real], 1)
    else:
        (r1, r2), (i1, i2) = real.split(pairs), imag.split(pairs)
        even, odd = torch.stack([r1 + r2, i1 + i2], 1), torch.stack([i2 - i1, r1 - r2], 1)
    return _symmetric_sum(omega, even, odd, n).unflatten(1, (taps, batch)).permute(2, 1, 0)


def half_bathtub(
    doppler: Float[Tensor, "b"],
    taps: int,
    n: int,
    step: float,
    n_sinusoids: int = 16,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b p n"]:
    """Independent taps of unit power with a one-sided Jakes spectrum on [0, f], or [f, 0] where `doppler` f is negative.

    Angles are uniform on [0, π/2], one in each of M equal parts, so that the spectrum is exact for every M.
    """
    batch, M = len(doppler), n_sinusoids
    theta = uniform(0, 1, taps * batch, generator=generator)
    phi = uniform(-math.pi, math.pi, M, taps * batch, generator=generator)
    m = torch.arange(M, device=doppler.device, dtype=doppler.dtype)
    omega = ((m[:, None] + theta) * (math.pi / 2 / M)).cos_().unflatten(1, (taps, batch))
    omega = omega.mul_(2 * math.pi * step * doppler).flatten(1)
    return _one_sided(omega, phi, n).unflatten(1, (taps, batch)).permute(2, 1, 0)


def specular(
    shift: Float[Tensor, "b"],
    taps: int,
    n: int,
    step: float,
    generator: torch.Generator | None = None,
) -> Complex[Tensor, "b p n"]:
    """Paths of unit amplitude and independent phases, all with the same shift in Hz; shift 0 is a static path."""
    phi = uniform(-math.pi, math.pi, 1, taps * len(shift), generator=generator)
    omega = (2 * math.pi * step * shift).repeat(taps)[None]
    return _one_sided(omega, phi, n).unflatten(1, (taps, -1)).permute(2, 1, 0)


def _field_trial_gains(
    tap_doppler: tuple[float, ...],
    batch: int,
    n: int,
    step: float,
    n_sinusoids: int,
    generator: torch.Generator | None,
) -> Complex[Tensor, "b p n"]:
    device = None if generator is None else generator.device
    gains = []
    for frequency in tap_doppler:
        f = torch.full((batch,), frequency, device=device)
        if frequency == 0:
            gains.append(specular(f, 1, n, step, generator))
        else:
            gains.append(half_bathtub(f, 1, n, step, n_sinusoids, generator))
    return torch.cat(gains, 1)


def _one_sided(omega: Float[Tensor, "m pb"], phi: Float[Tensor, "m pb"], n: int) -> Complex[Tensor, "n pb"]:
    """Σ_m exp(j(ω_m t + φ_m))/√M, frequencies without opposite partners."""
    scale = len(omega) ** -0.5
    real, imag = phi.cos().mul_(scale), phi.sin().mul_(scale)
    return _symmetric_sum(omega, torch.stack([real, imag], 1), torch.stack([-imag, real], 1), n)


def _symmetric_sum(
    omega: Float[Tensor, "m pb"], even: Float[Tensor, "m 2 pb"], odd: Float[Tensor, "m 2 pb"], n: int
) -> Complex[Tensor, "n pb"]:
    """Σ_m even_m cos(ω_m t) + odd_m sin(ω_m t) at n times t one apart, symmetric about 0; 2: real and imaginary part."""
    h = torch.arange(n // 2, device=omega.device, dtype=omega.dtype) + (1.0 if n % 2 else 0.5)
    cosines = odd.new_zeros(len(h), *even.shape[1:])
    sines = torch.zeros_like(cosines)
    # One frequency at a time: the sums stay in the cache, and no array over all frequencies is written.
    for w, a, b in zip(omega, even, odd):
        angle = w * h[:, None]
        cosines.addcmul_(a, angle.cos()[:, None])
        sines.addcmul_(b, angle.sin_()[:, None])
    middle = [even.sum(0, keepdim=True)] if n % 2 else []
    parts = torch.cat([(cosines - sines).flip(0), *middle, cosines + sines])  # n 2 pb
    return torch.complex(parts[:, 0], parts[:, 1])
