"""Fading taps as sums of sinusoids (Xiao, Zheng and Beaulieu 2006; NOTES: §4.3).

    a_p(t) = √(P_p/M) Σ_m exp(j (2π f_d cos α_{p,m} t + φ_{p,m})),   α_{p,m} = (2π m + θ_p)/M,   θ, φ ~ U(-π, π)

so E|a_p|² = P_p and E a_p(t+Δ) a_p*(t) = P_p J₀(2π f_d Δ). A half bath-tub tap draws its angles from [0, π/2] instead, a
specular path is one sinusoid at 0.7 f_d, a static tap one at 0.

How it is made fast. With M even the angles come in opposite pairs, cos α_{m+M/2} = -cos α_m, so M sinusoids hold M/2
frequencies; and for times c ± h around the middle c of the slot,

    Σ_m c_m exp(j ω_m (±h)) = Σ_m (c_m + c_{m+M/2}) cos ω_m h ± j Σ_m (c_m - c_{m+M/2}) sin ω_m h

so the halves of the slot share their cosines and sines: 4 times fewer than M times S evaluations, and no recurrence that
gathers rounding errors.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

LOS_DOPPLER = 0.7  # of f_d: the shift of the specular path, TR 38.901 7.7.2


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
    def of(cls, doppler: "DopplerRange | float | tuple[float, float] | list[float]") -> "DopplerRange":
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
        device = None if generator is None else generator.device
        if self.integer:
            whole = torch.randint(int(self.low), int(self.high) + 1, (n,), generator=generator, device=device)
            return whole.float()
        return self.low + (self.high - self.low) * torch.rand(n, generator=generator, device=device)

    def quadrature(self) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
        """Frequencies and weights whose sums are expectations over the prior, float64."""
        raise NotImplementedError


def uniform(
    low: float, high: float, *shape: int, generator: torch.Generator | None = None
) -> Float[Tensor, "..."]:
    """Uniform numbers, float32, on the device of the generator."""
    raise NotImplementedError


def jakes(
    n: int,
    doppler: Float[Tensor, "b"],
    n_sinusoids: int,
    times: Float[Tensor, "s"],
    generator: torch.Generator | None,
) -> Complex[Tensor, "b n s"]:
    """n independent taps of unit power with the Jakes spectrum on [-f_d, f_d]."""
    raise NotImplementedError


def half_bathtub(
    dopplers: Float[Tensor, "n"],
    batch: int,
    n_sinusoids: int,
    times: Float[Tensor, "s"],
    generator: torch.Generator | None,
) -> Complex[Tensor, "b n s"]:
    """Taps of unit power with a one-sided Jakes spectrum on [0, f] (or [f, 0])."""
    raise NotImplementedError


def specular(
    shift: Float[Tensor, "b"], times: Float[Tensor, "s"], generator: torch.Generator | None
) -> Complex[Tensor, "b 1 s"]:
    """A path of unit amplitude, random phase and the given shift in Hz."""
    raise NotImplementedError
