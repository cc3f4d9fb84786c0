"""The grid of an OFDM slot: subcarriers, symbols, their spacing, and where the pilots are (NOTES: §3.1, §4.1).

f_k = (k - K/2) Δf,   T_u = 1/Δf,   T = T_u + T_cp,   λ = c/f_c
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .pilots import PilotPattern

SPEED_OF_LIGHT = 299_792_458.0
NORMAL_CP = float(Fraction(144, 2048))  # of the useful symbol time: 4.69 µs at 15 kHz, 2.34 µs at 30 kHz


@dataclass(frozen=True)
class OFDMConfig:
    """A numerology with its pilots.

    Args:
        n_subcarriers: K, used subcarriers.
        n_symbols: S, OFDM symbols of a slot.
        subcarrier_spacing: Δf in Hz.
        cp: cyclic prefix in seconds.
        carrier_frequency: f_c in Hz; needed only to turn a speed into a Doppler frequency.
        pilots: where the pilots are.
        fft_size: samples of a useful symbol in the time domain; None: the smallest power of 2 that holds the subcarriers.
        dc_unused: whether the carrier itself carries nothing, so that k = K/2 lies one spacing above it.
        tracking_subcarriers: subcarriers that hold a pilot in every symbol without a pilot comb (802.11p), may be empty.

    Example:
        >>> config = NUMEROLOGIES["nr_v2x_15"]
        >>> config.n_subcarriers, config.n_symbols, config.pilots.shape
        (72, 14, (36, 4))
        >>> round(config.doppler_of_speed(100), 2)
        546.67
    """

    n_subcarriers: int
    n_symbols: int
    subcarrier_spacing: float
    cp: float
    carrier_frequency: float | None
    pilots: PilotPattern
    fft_size: int | None = None
    dc_unused: bool = False
    tracking_subcarriers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracking_subcarriers", tuple(self.tracking_subcarriers))
        for name in ("n_subcarriers", "n_symbols"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.subcarrier_spacing > 0:
            raise ValueError(f"subcarrier_spacing must be above 0 Hz, got {self.subcarrier_spacing}")
        if not 0 <= self.cp < 1 / self.subcarrier_spacing:
            raise ValueError(
                f"cp={self.cp} s must lie in [0, 1/Δf) = [0, {1 / self.subcarrier_spacing:.4g}) s; it is given in seconds"
            )
        if self.carrier_frequency is not None and not self.carrier_frequency > 0:
            raise ValueError(f"carrier_frequency must be above 0 Hz, got {self.carrier_frequency}")
        needed = self.n_subcarriers + self.dc_unused
        if self.fft_size is not None and self.fft_size < needed:
            raise ValueError(f"fft_size={self.fft_size} does not hold {needed} subcarriers")
        self.pilots.check_inside(self.n_subcarriers, self.n_symbols)
        if any(not 0 <= k < self.n_subcarriers for k in self.tracking_subcarriers):
            raise ValueError(
                f"tracking_subcarriers {self.tracking_subcarriers} must lie in 0 … {self.n_subcarriers - 1}"
            )

    # Times and frequencies ----------------------------------------------------------------------------------------

    @property
    def useful_time(self) -> float:
        """T_u = 1/Δf in seconds."""
        return 1 / self.subcarrier_spacing

    @property
    def symbol_time(self) -> float:
        """T = T_u + T_cp in seconds, the time between the beginnings of two symbols."""
        return self.useful_time + self.cp

    @property
    def samples(self) -> int:
        """Samples of a useful symbol in the time domain."""
        if self.fft_size is not None:
            return self.fft_size
        return 1 << (self.n_subcarriers + self.dc_unused - 1).bit_length()

    @property
    def cp_samples(self) -> int:
        """Samples of the cyclic prefix in the time domain, rounded down to whole ones."""
        return int(self.cp * self.samples * self.subcarrier_spacing + 1e-6)

    @property
    def subcarriers(self) -> Int[Tensor, "k"]:
        """Signed numbers of the subcarriers, 0 at the carrier: k - K/2 (rounded down), without 0 if DC is unused."""
        numbers = torch.arange(self.n_subcarriers) - self.n_subcarriers // 2
        return numbers + (numbers >= 0) if self.dc_unused else numbers

    @property
    def frequencies(self) -> Float[Tensor, "k"]:
        """f_k in Hz relative to the carrier, float64."""
        return self.subcarriers.double() * self.subcarrier_spacing

    @property
    def times(self) -> Float[Tensor, "s"]:
        """s T in seconds, float64."""
        return torch.arange(self.n_symbols, dtype=torch.float64) * self.symbol_time

    @property
    def data_symbols(self) -> tuple[int, ...]:
        """Symbols without a pilot comb."""
        return tuple(s for s in range(self.n_symbols) if s not in self.pilots.symbols)

    @property
    def data_mask(self) -> Bool[Tensor, "k s"]:
        """Which resource elements hold no pilot."""
        mask = torch.ones(self.shape, dtype=torch.bool)
        mask[self.pilots.coordinates()] = False
        if self.tracking_subcarriers:
            mask[torch.tensor(self.tracking_subcarriers)[:, None], torch.tensor(self.data_symbols)] = False
        return mask

    @property
    def shape(self) -> tuple[int, int]:
        """(K, S)."""
        return self.n_subcarriers, self.n_symbols

    def doppler_of_speed(self, speed_kmh: float) -> float:
        """f_d = v f_c/c in Hz of a relative speed in km/h."""
        if speed_kmh < 0:
            raise ValueError(f"speed must not be negative, got {speed_kmh} km/h")
        if self.carrier_frequency is None:
            raise ValueError(
                "this configuration has no carrier_frequency: give doppler in Hz instead of speed"
            )
        return speed_kmh / 3.6 * self.carrier_frequency / SPEED_OF_LIGHT

    # Files --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists only, as JSON holds them; `from_dict` undoes it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "OFDMConfig":
        """The configuration that `to_dict` gave."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown keys {unknown} in the configuration; known are {sorted(known)}")
        pilots = values["pilots"]
        pattern = pilots if isinstance(pilots, PilotPattern) else PilotPattern(**pilots)
        return cls(**{**values, "pilots": pattern})

    def digest(self) -> str:
        """A short hash of all fields, the same in every process and version of Python."""
        return digest(self.to_dict())

    def diff(self, other: "OFDMConfig") -> list[str]:
        """One line for each field that differs: `n_symbols: 14 here, 12 there`."""
        return [
            f"{field.name}: {getattr(self, field.name)} here, {getattr(other, field.name)} there"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def digest(values: Any) -> str:
    """A short hash of anything JSON can hold."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _slot(
    n_subcarriers: int,
    spacing_khz: float,
    cp_share: float,
    carrier: float | None,
    comb: int,
    symbols: Iterable[int],
    offsets: Iterable[int] = (0,),
    fft_size: int | None = None,
) -> OFDMConfig:
    pattern = PilotPattern.comb(n_subcarriers, comb, tuple(symbols), tuple(offsets))
    spacing = 1e3 * spacing_khz
    return OFDMConfig(n_subcarriers, 14, spacing, cp_share / spacing, carrier, pattern, fft_size)


def dsrc_10mhz(n_symbols: int = 52) -> OFDMConfig:
    """802.11p in a 10 MHz channel: 52 of 64 subcarriers, 2 long training symbols, then tracking pilots on ±7 and ±21.

    The training symbols are all pilots and make the 52 × 2 lattice; the number of symbols of a frame is free.
    """
    if n_symbols < 3:
        raise ValueError(f"n_symbols must be at least 3 (two training symbols and data), got {n_symbols}")
    pattern = PilotPattern.comb(52, 1, (0, 1))
    return OFDMConfig(52, n_symbols, 156.25e3, 1.6e-6, 5.9e9, pattern, 64, True, (5, 19, 32, 46))


NUMEROLOGIES: dict[str, OFDMConfig] = {
    "lte_small": _slot(72, 15, 16 / 72, 2.1e9, 2, (0, 12), (0, 1), 72),
    "reesnet_48": _slot(72, 15, 16 / 73, None, 3, (0, 7), (0, 1), 73),
    "channelnet_48": _slot(72, 15, NORMAL_CP, None, 6, (0, 4, 7, 11), (1, 4)),
    "nr_v2x_15": _slot(72, 15, NORMAL_CP, 5.9e9, 2, (1, 4, 7, 10)),
    "nr_v2x_30": _slot(120, 30, NORMAL_CP, 5.9e9, 2, (1, 4, 7, 10)),
    "nr_v2x_30_2": _slot(120, 30, NORMAL_CP, 5.9e9, 2, (3, 10)),
    "nr_v2x_30_3": _slot(120, 30, NORMAL_CP, 5.9e9, 2, (1, 6, 11)),
    "dsrc_10MHz": dsrc_10mhz(),
    "fortitran": _slot(120, 15, NORMAL_CP, None, 10, (2, 11)),
}
"""Every numerology of §4.1. `nr_v2x_15` is the default of the package; its suffixes _2 and _3 count the pilot symbols."""


def get_numerology(config: OFDMConfig | str) -> OFDMConfig:
    """The configuration of this name; a configuration is returned as it is."""
    if isinstance(config, OFDMConfig):
        return config
    if config not in NUMEROLOGIES:
        raise ValueError(f"unknown numerology {config!r}; known are {', '.join(NUMEROLOGIES)}")
    return NUMEROLOGIES[config]
