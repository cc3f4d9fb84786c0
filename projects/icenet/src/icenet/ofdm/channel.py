"""The simulator: channels of a slot and what a receiver sees of them (NOTES: §3.1, §4.3).

H[k, s] = Σ_p a_p(sT) exp(-j2π f_k τ_p),     Ĥ_LS = H + N at the pilots,   N ~ CN(0, σ²),   SNR = 1/σ²
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from .config import OFDMConfig
from .fading import DopplerRange
from .profiles import DelayProfile


@dataclass(frozen=True)
class Channels:
    """A batch of channels.

    Args:
        h: frequency responses, complex64.
        doppler_hz: f_d of each slot; of a profile that fixes the Doppler of its taps the largest of them.
        delay_spread_ns: RMS delay spread of each slot's profile.
        profile: which of the simulator's `profiles` each slot has.
    """

    h: Complex[Tensor, "b k s"]
    doppler_hz: Float[Tensor, "b"]
    delay_spread_ns: Float[Tensor, "b"]
    profile: Int[Tensor, "b"]


@dataclass(frozen=True)
class Slots:
    """What an estimator gets, and what it should find.

    Args:
        ls: least-squares estimates at the pilots, complex64, laid out as `config.pilots`.
        h: the channels, complex64.
        noise_var: σ² of each slot, the error variance of `ls`.
        snr_db: signal-to-noise ratio of each slot per resource element.
        doppler_hz, delay_spread_ns, profile: as in `Channels`.
    """

    ls: Complex[Tensor, "b k_p s_p"]
    h: Complex[Tensor, "b k s"]
    noise_var: Float[Tensor, "b"]
    snr_db: Float[Tensor, "b"]
    doppler_hz: Float[Tensor, "b"]
    delay_spread_ns: Float[Tensor, "b"]
    profile: Int[Tensor, "b"]


class ChannelSimulator:
    """Draws slots of one profile or of a mixture.

    Args:
        config: the grid, or its name in `NUMEROLOGIES`.
        profile: name of a profile or of a mixture in `MIXTURES`, a `DelayProfile`, or a list of them with equal shares.
        doppler: f_d in Hz, a number or a range (low, high) to draw it from, one for each slot.
        speed: the same as relative speed in km/h; one of the two is needed unless the profile fixes its Doppler.
        delay_spread: RMS delay spread in nanoseconds of the profiles that scale, a number or a range.
        domain: "frequency" (a diagonal channel) or "time" (CP-OFDM waveform through moving taps; shows ICI and ISI).
        snr_mode: "average" (σ² = 10^(-SNR/10)) or "per_slot" (relative to the power of each slot).
        n_sinusoids: M of each tap.
    """

    def __init__(
        self,
        config: OFDMConfig | str = "nr_v2x_15",
        profile: DelayProfile | str | Sequence[DelayProfile | str] = "EVA",
        *,
        doppler: DopplerRange | float | tuple[float, float] | None = None,
        speed: float | tuple[float, float] | None = None,
        delay_spread: float | tuple[float, float] | None = None,
        domain: str = "frequency",
        snr_mode: str = "average",
        n_sinusoids: int = 16,
    ):
        self.config: OFDMConfig
        self.profiles: tuple[DelayProfile, ...]
        raise NotImplementedError

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Channels:
        """Draw channels, on the device of the generator."""
        raise NotImplementedError

    def slots(
        self,
        batch: int,
        snr_db: float | Tensor | tuple[float, float] = (0.0, 25.0),
        generator: torch.Generator | None = None,
    ) -> Slots:
        """Draw slots; `snr_db` is one number, one for each slot, or a range (low, high) to draw from."""
        raise NotImplementedError
