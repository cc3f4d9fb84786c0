"""The simulator: channels of a slot and what a receiver sees of them (NOTES: §3.1, §4.3).

    H[k, s] = Σ_p a_p(sT) exp(-j2π f_k τ_p),     Ĥ_LS = H + N at the pilots,   N ~ CN(0, σ²),   SNR = 1/σ²

With the time origin in the middle of the slot; the phases of the taps are uniform, so no statistic depends on it.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from .config import OFDMConfig, get_numerology
from .fading import DopplerRange, tap_gains, uniform
from .link import complex_noise
from .profiles import DelayProfile, IgnoredArgumentWarning, get_mixture
from .waveform import received_grid, symbol_gains

DOMAINS = ("frequency", "time")
SNR_MODES = ("average", "per_slot")
CHUNK = {"frequency": 512, "time": 16}  # slots worked on at once on a CPU: what its cache holds
MAX_SNR_DB = 200.0


class CyclicPrefixWarning(UserWarning):
    """A profile is longer than the cyclic prefix, which the frequency domain does not show."""


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
        tracking: least-squares estimates at `config.tracking_subcarriers` in the symbols without a comb, if there are any.
    """

    ls: Complex[Tensor, "b k_p s_p"]
    h: Complex[Tensor, "b k s"]
    noise_var: Float[Tensor, "b"]
    snr_db: Float[Tensor, "b"]
    doppler_hz: Float[Tensor, "b"]
    delay_spread_ns: Float[Tensor, "b"]
    profile: Int[Tensor, "b"]
    tracking: Complex[Tensor, "b k_t s_d"] | None = None

    def __len__(self) -> int:
        return len(self.ls)


class ChannelSimulator:
    """Draws slots of one profile or of a mixture.

    Args:
        config: the grid, or its name in `NUMEROLOGIES`.
        profile: name of a profile or of a mixture in `MIXTURES`, a `DelayProfile`, or a list of these with equal shares.
        doppler: f_d in Hz, one number or a range (low, high) that each slot draws from.
        speed: the same as relative speed in km/h; one of the two is needed unless the profile fixes its Doppler.
        delay_spread: RMS delay spread in nanoseconds of the profiles that scale, a number or a range.
        domain: "frequency" (a diagonal channel) or "time" (CP-OFDM waveform through moving taps; shows ICI and ISI, and `h` is
            the mean over each symbol).
        snr_mode: "average" (σ² = 10^(-SNR/10)) or "per_slot" (relative to the power of each slot).
        n_sinusoids: M of each Rayleigh tap; an even number is faster.

    Example:
        >>> simulator = ChannelSimulator("nr_v2x_15", "EVA", doppler=(0, 1000))
        >>> slots = simulator.slots(8, snr_db=(0, 25), generator=torch.Generator().manual_seed(0))
        >>> slots.h.shape, slots.ls.shape
        (torch.Size([8, 72, 14]), torch.Size([8, 36, 4]))
    """

    def __init__(
        self,
        config: OFDMConfig | str = "nr_v2x_15",
        profile: DelayProfile | str | Sequence[DelayProfile | str] = "EVA",
        *,
        doppler: DopplerRange | float | Sequence[float] | None = None,
        speed: float | Sequence[float] | None = None,
        delay_spread: float | Sequence[float] | None = None,
        domain: str = "frequency",
        snr_mode: str = "average",
        n_sinusoids: int = 16,
    ):
        for name, value, allowed in (("domain", domain, DOMAINS), ("snr_mode", snr_mode, SNR_MODES)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        if n_sinusoids < 1:
            raise ValueError(f"n_sinusoids must be at least 1, got {n_sinusoids}")
        self.config = get_numerology(config)
        self.profiles, self.shares = get_mixture(profile)
        self.domain, self.snr_mode, self.n_sinusoids = domain, snr_mode, n_sinusoids
        self.doppler = self._doppler_prior(doppler, speed)
        self.delay_spread = self._delay_spread_range(delay_spread)
        self._check_cyclic_prefix()

    # Drawing ------------------------------------------------------------------------------------------------------

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Channels:
        """Draw channels, on the device of the generator."""
        channels, _ = self._draw(batch, generator, None)
        return channels

    def slots(
        self,
        batch: int,
        snr_db: float | Tensor | Sequence[float] = (0.0, 25.0),
        generator: torch.Generator | None = None,
    ) -> Slots:
        """Draw slots on the device of the generator; `snr_db` is one number, a range (low, high), or a tensor with one a slot."""
        _check_batch(batch)
        snr = self._snr(snr_db, batch, generator)
        sent = None
        if self.domain == "time":
            sent = _random_qpsk((batch, *self.config.shape), generator)
        channels, received = self._draw(batch, generator, sent)
        noise_var = 10 ** (-snr / 10)
        if self.snr_mode == "per_slot":
            noise_var = noise_var * channels.h.abs().square().mean((1, 2))
        # In the frequency domain an estimate is the channel itself before noise.
        estimates = channels.h if received is None or sent is None else received / sent
        std = noise_var.sqrt()[:, None, None]
        ls = self.config.pilots.take(estimates)
        ls = ls + std * complex_noise(tuple(ls.shape), generator)
        tracking = None
        if self.config.tracking_subcarriers:
            tracking = estimates[:, list(self.config.tracking_subcarriers)][
                ..., list(self.config.data_symbols)
            ]
            tracking = tracking + std * complex_noise(tuple(tracking.shape), generator)
        return Slots(
            ls, channels.h, noise_var, snr, channels.doppler_hz, channels.delay_spread_ns, channels.profile, tracking
        )  # fmt: skip

    def _draw(
        self, batch: int, generator: torch.Generator | None, sent: Complex[Tensor, "b k s"] | None
    ) -> tuple[Channels, Complex[Tensor, "b k s"] | None]:
        """Channels and, in the time domain, what is received of `sent` without noise."""
        _check_batch(batch)
        device = torch.device("cpu") if generator is None else generator.device
        if len(self.profiles) == 1:
            which = torch.zeros(batch, dtype=torch.long, device=device)
        else:
            shares = torch.tensor(self.shares, device=device)
            which = torch.multinomial(shares, batch, replacement=True, generator=generator)
        doppler = torch.zeros(batch, device=device)
        if self.doppler is not None:
            doppler = self.doppler.sample(batch, generator)
        spread = torch.zeros(batch, device=device)
        if self.delay_spread is not None:
            spread = uniform(*self.delay_spread, batch, generator=generator)
        h = torch.empty(batch, *self.config.shape, dtype=torch.complex64, device=device)
        received = torch.empty_like(h) if sent is not None else None
        size = batch if device.type != "cpu" and self.domain == "frequency" else CHUNK[self.domain]
        for index, profile in enumerate(self.profiles):
            members = (which == index).nonzero()[:, 0]
            for rows in members.split(size):
                gains = self._gains(profile, doppler[rows], generator)
                delays = self._delays(profile, spread[rows])
                if received is not None and sent is not None:
                    received[rows] = received_grid(self.config, sent[rows], gains, delays)
                if self.domain == "time":
                    gains = symbol_gains(self.config, gains)
                if len(self.profiles) == 1:  # rows are contiguous: write in place
                    self._response(gains, delays, out=h[rows[0] : rows[-1] + 1])
                else:
                    h[rows] = self._response(gains, delays)
            if profile.tap_doppler is not None:
                doppler[members] = max(abs(f) for f in profile.tap_doppler)
            scale = spread[members] if profile.scalable else torch.ones(len(members), device=device)
            spread[members] = profile.rms_delay_spread(1.0 if profile.scalable else None) * scale
        return Channels(h, doppler, spread, which), received

    def _gains(
        self, profile: DelayProfile, doppler: Float[Tensor, "b"], generator: torch.Generator | None
    ) -> Complex[Tensor, "b p n"]:
        """Gains a_p at every symbol, or at every sample of the waveform."""
        n, step = self.config.n_symbols, self.config.symbol_time
        if self.domain == "time":
            n *= self.config.samples + self.config.cp_samples
            step = 1 / (self.config.samples * self.config.subcarrier_spacing)
        gains = tap_gains(profile, doppler, n, step, self.n_sinusoids, generator)
        amplitudes = torch.as_tensor(profile.powers**0.5, dtype=torch.float32, device=doppler.device)
        # Laid out tap by tap: the product with the steering matrix is then twice as fast.
        return gains.contiguous().mul_(amplitudes[:, None])

    def _delays(self, profile: DelayProfile, spread: Float[Tensor, "b"]) -> Float[Tensor, "r p"]:
        """Delays in seconds; r = 1 if all slots have the same, b otherwise."""
        delays = torch.as_tensor(profile.delays, dtype=torch.float32, device=spread.device)[None] * 1e-9
        if not profile.scalable:
            return delays
        assert self.delay_spread is not None  # checked in the constructor
        low, high = self.delay_spread
        return delays * (low if low == high else spread[:, None])

    def _response(
        self,
        gains: Complex[Tensor, "b p s"],
        delays: Float[Tensor, "r p"],
        out: Complex[Tensor, "b k s"] | None = None,
    ) -> Complex[Tensor, "b k s"]:
        """Σ_p a_p exp(-j2π f_k τ_p)."""
        frequencies = (-2 * math.pi * self.config.frequencies).to(delays)
        phase = frequencies[:, None] * delays[:, None]  # r k p
        steering = torch.complex(phase.cos(), phase.sin())
        return torch.bmm(steering.expand(len(gains), -1, -1), gains, out=out)

    def _snr(
        self, snr_db: float | Tensor | Sequence[float], batch: int, generator: torch.Generator | None
    ) -> Float[Tensor, "b"]:
        device = None if generator is None else generator.device
        if isinstance(snr_db, Tensor) and snr_db.dim():
            if snr_db.shape != (batch,):
                raise ValueError(
                    f"snr_db has shape {tuple(snr_db.shape)}, a tensor must hold one value for each of the {batch} slots"
                )
            low, high = float(snr_db.min()), float(snr_db.max())
            snr = snr_db.to(device=device, dtype=torch.float32)
        else:
            pair = (
                [float(snr_db)] * 2
                if isinstance(snr_db, int | float | Tensor)
                else [float(v) for v in snr_db]
            )
            if len(pair) != 2:
                raise ValueError(
                    f"snr_db must be one number or a range (low, high), got {len(pair)} values; give values of single slots "
                    "as a tensor"
                )
            low, high = pair
            snr = (
                uniform(low, high, batch, generator=generator)
                if low < high
                else torch.full((batch,), low, device=device)
            )
        if not -MAX_SNR_DB <= low <= high <= MAX_SNR_DB:
            raise ValueError(f"snr_db must be finite and low ≤ high, in dB, got {low} to {high}")
        return snr

    # Checks of the constructor ------------------------------------------------------------------------------------

    def _doppler_prior(
        self,
        doppler: DopplerRange | float | Sequence[float] | None,
        speed: float | Sequence[float] | None,
    ) -> DopplerRange | None:
        if doppler is not None and speed is not None:
            raise ValueError(f"doppler={doppler} and speed={speed} say the same thing: give one of them")
        given = "doppler" if speed is None else "speed"
        if speed is not None:
            speeds = [speed] * 2 if isinstance(speed, int | float) else list(speed)
            doppler = [self.config.doppler_of_speed(float(v)) for v in speeds]
        prior = None if doppler is None else DopplerRange.of(doppler)
        free = [profile.name for profile in self.profiles if profile.tap_doppler is None]
        if free and prior is None:
            raise ValueError(
                f"doppler is missing: {free[0]} does not fix it; give doppler in Hz or speed in km/h"
            )
        if not free and prior is not None:
            warnings.warn(
                f"{given} is ignored: {', '.join(p.name for p in self.profiles)} fix the Doppler of their taps",
                IgnoredArgumentWarning,
                stacklevel=3,
            )
            prior = None
        largest = max(
            [0.0 if prior is None else prior.high]
            + [abs(f) for profile in self.profiles for f in profile.tap_doppler or ()]
        )
        if largest * self.config.symbol_time > 0.5:
            raise ValueError(
                f"a Doppler frequency of {largest:g} Hz turns the channel by more than half a turn in a symbol of "
                f"{1e6 * self.config.symbol_time:.1f} µs: the samples at the symbols would alias; "
                f"at most {0.5 / self.config.symbol_time:.0f} Hz"
            )
        return prior

    def _delay_spread_range(self, delay_spread: float | Sequence[float] | None) -> tuple[float, float] | None:
        if delay_spread is None:
            pair: list[float | None] = [None, None]
        elif isinstance(delay_spread, int | float):
            pair = [delay_spread, delay_spread]
        else:
            pair = list(delay_spread)
        if len(pair) != 2:
            raise ValueError(
                f"delay_spread must be one number or a range (low, high) in nanoseconds, got {delay_spread}"
            )
        scalable = [profile for profile in self.profiles if profile.scalable]
        if not scalable:
            self.profiles[0].check_delay_spread(pair[0])  # warns if there is one
            return None
        low, high = (scalable[0].check_delay_spread(value) for value in pair)
        if low > high:
            raise ValueError(f"delay_spread must be low ≤ high, got {low} and {high} ns")
        return low, high

    def _check_cyclic_prefix(self) -> None:
        if self.domain == "time":
            return
        for profile in self.profiles:
            spread = self.delay_spread[1] if profile.scalable and self.delay_spread else None
            longest = profile.delays_ns(spread).max()
            if longest > 1e9 * self.config.cp * (1 + 1e-9):
                warnings.warn(
                    f"{profile.name} reaches {longest:.0f} ns, beyond the cyclic prefix of {1e9 * self.config.cp:.0f} ns; the "
                    'frequency domain hides the interference between symbols, domain="time" shows it',
                    CyclicPrefixWarning,
                    stacklevel=3,
                )


def _random_qpsk(shape: tuple[int, ...], generator: torch.Generator | None) -> Complex[Tensor, "..."]:
    device = None if generator is None else generator.device
    quarter = torch.randint(0, 4, shape, generator=generator, device=device)
    return torch.polar(torch.ones(shape, device=device), (quarter + 0.5) * (math.pi / 2))


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
