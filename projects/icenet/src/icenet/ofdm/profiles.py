"""Delay profiles: the taps of a channel, their mean powers and what moves them (NOTES: §4.2, the tables are the standards').

Powers are normalised to sum 1, amplitudes are square roots of powers (NOTES: §10.11). A scalable profile has delays in units
of its RMS delay spread and needs one in nanoseconds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

DELAY_SPREADS = {"very_short": 10.0, "short": 30.0, "nominal": 100.0, "long": 300.0, "very_long": 1000.0}
"""RMS delay spreads of TR 38.901 table 7.7.3-1 in nanoseconds."""


class IgnoredArgumentWarning(UserWarning):
    """An argument that the chosen profile has no use for."""


@dataclass(frozen=True)
class DelayProfile:
    """A tapped delay line.

    Args:
        name: as in `PROFILES`.
        delays: of the taps, in nanoseconds, or in units of the RMS delay spread if `scalable`.
        powers_db: mean powers of the taps in dB, before normalisation.
        scalable: whether delays are in units of a delay spread that the user chooses.
        line_of_sight: whether the first entry is a specular path, whose Doppler shift is 0.7 f_d.
        tap_doppler: one frequency a tap in Hz, where the profile fixes them: 0 a static tap, otherwise the end of a half
            bath-tub spectrum on [0, f] or [f, 0]. None: all taps have the Jakes spectrum of the user's f_d.
        source: the table.

    Example:
        >>> round(PROFILES["EVA"].rms_delay_spread(), 2)
        356.65
        >>> round(PROFILES["TDL-A"].rms_delay_spread(delay_spread=30), 2)
        30.0
    """

    name: str
    delays: tuple[float, ...]
    powers_db: tuple[float, ...]
    scalable: bool = False
    line_of_sight: bool = False
    tap_doppler: tuple[float, ...] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not self.delays or len(self.delays) != len(self.powers_db):
            raise ValueError(
                f"{self.name}: {len(self.delays)} delays and {len(self.powers_db)} powers; give one power a tap"
            )
        if min(self.delays) < 0:
            raise ValueError(f"{self.name}: delays must not be negative, got {min(self.delays)}")
        if self.tap_doppler is not None and len(self.tap_doppler) != len(self.delays):
            raise ValueError(
                f"{self.name}: tap_doppler has {len(self.tap_doppler)} entries, delays {len(self.delays)}"
            )

    @property
    def n_taps(self) -> int:
        """Entries of the table; a specular path counts as one."""
        return len(self.delays)

    @property
    def powers(self) -> NDArray[np.float64]:
        """Mean powers of the taps, sum 1."""
        linear = 10.0 ** (np.array(self.powers_db) / 10)
        return linear / linear.sum()

    def delays_ns(self, delay_spread: float | None = None) -> NDArray[np.float64]:
        """Delays in nanoseconds; `delay_spread` in nanoseconds belongs to scalable profiles and is needed there."""
        return np.array(self.delays) * self.check_delay_spread(delay_spread)

    def check_delay_spread(self, delay_spread: float | None) -> float:
        """The factor of the delays, 1 for fixed ones; raises if a scalable profile has no spread, warns if a fixed one has."""
        if not self.scalable:
            if delay_spread is not None:
                warnings.warn(
                    f"delay_spread={delay_spread} ns is ignored: {self.name} has fixed delays",
                    IgnoredArgumentWarning,
                    stacklevel=3,
                )
            return 1.0
        if delay_spread is None:
            raise ValueError(
                f"delay_spread is missing: the delays of {self.name} are in units of it; typical are "
                f"{', '.join(f'{ns:g}' for ns in DELAY_SPREADS.values())} ns"
            )
        if not 1e-3 <= delay_spread < np.inf:
            raise ValueError(f"delay_spread must be finite and above 0, in nanoseconds, got {delay_spread}")
        return float(delay_spread)

    def mean_delay(self, delay_spread: float | None = None) -> float:
        """Power-weighted mean delay in nanoseconds."""
        return float(self.powers @ self.delays_ns(delay_spread))

    def rms_delay_spread(self, delay_spread: float | None = None) -> float:
        """√(Σ P τ² - (Σ P τ)²) in nanoseconds."""
        delays = self.delays_ns(delay_spread)
        return float(np.sqrt(self.powers @ (delays - self.powers @ delays) ** 2))

    def frequency_correlation(
        self, df: NDArray[np.float64] | float, delay_spread: float | None = None
    ) -> NDArray[np.complex128]:
        """Σ_p P_p exp(-j2π df τ_p) at frequency differences in Hz."""
        delays = 1e-9 * self.delays_ns(delay_spread)
        phase = -2 * np.pi * np.asarray(df, dtype=float)[..., None] * delays
        return np.exp(1j * phase) @ self.powers.astype(np.complex128)

    def coherence_bandwidth(self, delay_spread: float | None = None, level: float = 0.5) -> float:
        """The smallest frequency difference in Hz at which |R_f| falls to `level`; infinity if it never does."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        longest = 1e-9 * self.delays_ns(delay_spread).max()
        if longest == 0:
            return float("inf")
        # |R_f| turns within about 1/longest: steps of a thousandth of it jump over no crossing.
        grid = np.arange(1, 50_000) * (1e-3 / longest)
        below = np.flatnonzero(np.abs(self.frequency_correlation(grid, delay_spread)) <= level)
        if not below.size:
            return float("inf")
        excess = lambda f: abs(self.frequency_correlation(f, delay_spread)) - level  # noqa: E731
        return float(brentq(excess, grid[below[0]] - grid[0], grid[below[0]]))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split())


def _fixed(name: str, source: str, delays: str, powers: str, line_of_sight: bool = False) -> DelayProfile:
    return DelayProfile(name, _numbers(delays), _numbers(powers), False, line_of_sight, None, source)


def _tdl(letter: str, table: int, delays: str, powers: str, line_of_sight: bool = False) -> DelayProfile:
    source = f"3GPP TR 38.901 table 7.7.2-{table}"
    return DelayProfile(
        f"TDL-{letter}", _numbers(delays), _numbers(powers), True, line_of_sight, None, source
    )


def _trial(name: str, *taps: tuple[float, float, float]) -> DelayProfile:
    delays, powers, dopplers = zip(*taps)
    return DelayProfile(f"C2C-{name}", delays, powers, False, False, dopplers, "Alexander et al. 2011")


_LTE = "3GPP TS 36.104 B.2"
_NR = "3GPP TS 38.101-4 B.2.1"
_V2X = "3GPP TR 37.885 6.2.3.1"

_TABLES = (
    _fixed("EPA", _LTE, "0 30 70 90 110 190 410", "0 -1 -2 -3 -8 -17.2 -20.8"),
    _fixed("EVA", _LTE, "0 30 150 310 370 710 1090 1730 2510", "0 -1.5 -1.4 -3.6 -0.6 -9.1 -7 -12 -16.9"),
    _fixed("ETU", _LTE, "0 50 120 200 230 500 1600 2300 5000", "-1 -1 -1 0 0 0 -3 -5 -7"),
    _tdl(
        "A",
        1,
        "0 .3819 .4025 .5868 .4610 .5375 .6708 .5750 .7618 1.5375 1.8978 2.2242 2.1718 2.4942 2.5119 3.0582 "
        "4.0810 4.4579 4.5695 4.7966 5.0066 5.3043 9.6586",
        "-13.4 0 -2.2 -4 -6 -8.2 -9.9 -10.5 -7.5 -15.9 -6.6 -16.7 -12.4 -15.2 -10.8 -11.3 -12.7 -16.2 -18.3 "
        "-18.9 -16.6 -19.9 -29.7",
    ),
    _tdl(
        "B",
        2,
        "0 .1072 .2155 .2095 .2870 .2986 .3752 .5055 .3681 .3697 .5700 .5283 1.1021 1.2756 1.5474 1.7842 "
        "2.0169 2.8294 3.0219 3.6187 4.1067 4.2790 4.7834",
        "0 -2.2 -4 -3.2 -9.8 -1.2 -3.4 -5.2 -7.6 -3 -8.9 -9 -4.8 -5.7 -7.5 -1.9 -7.6 -12.2 -9.8 -11.4 -14.9 "
        "-9.2 -11.3",
    ),
    _tdl(
        "C",
        3,
        "0 .2099 .2219 .2329 .2176 .6366 .6448 .6560 .6584 .7935 .8213 .9336 1.2285 1.3083 2.1704 2.7105 "
        "4.2589 4.6003 5.4902 5.6077 6.3065 6.6374 7.0427 8.6523",
        "-4.4 -1.2 -3.5 -5.2 -2.5 0 -2.2 -3.9 -7.4 -7.1 -10.7 -11.1 -5.1 -6.8 -8.7 -13.2 -13.9 -13.9 -15.8 "
        "-17.1 -16 -15.7 -21.6 -22.8",
    ),
    _tdl(
        "D",
        4,
        "0 0 .035 .612 1.363 1.405 1.804 2.596 1.775 4.042 7.937 9.424 9.708 12.525",
        "-0.2 -13.5 -18.8 -21 -22.8 -17.9 -20.1 -21.9 -22.9 -27.8 -23.6 -24.8 -30 -27.7",
        line_of_sight=True,
    ),
    _tdl(
        "E",
        5,
        "0 0 .5133 .5440 .5630 .5440 .7112 1.9092 1.9293 1.9589 2.6426 3.7136 5.4524 12.0034 20.6519",
        "-0.03 -22.03 -15.8 -18.1 -19.8 -22.9 -22.4 -18.6 -20.8 -22.6 -22.3 -25.6 -20.2 -29.8 -29.2",
        line_of_sight=True,
    ),
    _fixed(
        "TDLA30",
        _NR,
        "0 10 15 20 25 50 65 75 105 135 150 290",
        "-15.5 0 -5.1 -5.1 -9.6 -8.2 -13.1 -11.5 -11 -16.2 -16.6 -26.2",
    ),
    _fixed(
        "TDLB100",
        _NR,
        "0 10 20 30 35 45 55 120 170 245 330 480",
        "0 -2.2 -0.6 -0.6 -0.3 -1.2 -5.9 -2.2 -0.8 -6.3 -7.5 -7.1",
    ),
    _fixed(
        "TDLC300",
        _NR,
        "0 65 70 190 195 200 240 325 520 1045 1510 2595",
        "-6.9 0 -7.7 -2.5 -2.4 -9.9 -8 -6.6 -7.1 -13 -14.2 -16",
    ),
    _trial("rural-los", (0, 0, 0), (83, -14, 492), (183, -17, -295)),
    _trial("urban-approaching-los", (0, 0, 0), (117, -8, 236), (183, -10, -157), (333, -15, 492)),
    _trial("urban-nlos", (0, 0, 0), (267, -3, 295), (400, -5, -98), (533, -10, 591)),
    _trial("highway-los", (0, 0, 0), (100, -10, 689), (167, -15, -492), (500, -20, 886)),
    _trial("highway-nlos", (0, 0, 0), (200, -2, 689), (433, -5, -492), (700, -7, 886)),
    _fixed(
        "V2X-urban-los",
        _V2X,
        "0 0 6.4 12.8 11.0793 21.9085 29.6768 36.0768 42.4768 68.4085 82.2944 115.4173 143.2963 146.4136 "
        "183.1925 214.1501 326.7825",
        "-0.12 -15.52 -17.7 -19.5 -15.9 -14.6 -9.1 -11.3 -13.1 -19.3 -20 -16.3 -17.9 -25.4 -26.9 -22.9 -25.3",
        line_of_sight=True,
    ),
    _fixed(
        "V2X-urban-nlos",
        _V2X,
        "0 6.46631 11.6926 16.9189 19.4978 20.6484 38.7458 48.7547 53.981 59.2073 62.1898 68.7158 70.3389 "
        "74.461 105.954 117.904 137.072 210.522 218.823 232.216 289.654 357.791 380.239",
        "-4.8 -0.8 -3 -4.8 0 -0.8 -0.9 -0.8 -3 -4.8 -6.3 -4 -8.1 -8 -7 -8.3 -1.7 -7.6 -16.2 -4.2 -18.2 -21.8 "
        "-19.9",
    ),
    _fixed(
        "V2X-highway-los",
        _V2X,
        "0 0 2.1109 2.9528 17.0328 31.1128 9.1629 10.6761 11.0257 18.5723 19.8875 33.9675 48.0475 25.737 "
        "36.2683 66.7093 139.97",
        "-0.07 -18.08 -19.9 -13.9 -16.2 -17.9 -14.5 -21.3 -18.7 -14.9 -16.2 -18.5 -20.2 -17.1 -13.8 -28.4 "
        "-27.4",
        line_of_sight=True,
    ),
    _fixed(
        "V2X-highway-nlosv",
        _V2X,
        "0 0 5.5956 19.6756 33.7556 21.7591 21.8113 27.2207 39.3242 51.0232 51.4828 53.3659 65.1775 79.2575 "
        "93.3375 67.9841 70.7561 73.998 75.8665 84.3678 90.1654 91.6154 142.931 158.434",
        "-0.2927 -11.8594 -12.509 -14.7274 -16.4884 -11.8681 -11.3289 -17.8834 -9.9943 -12.7302 -13.912 "
        "-16.8781 -12.9647 -15.1832 -16.9441 -10.7858 -12.3875 -17.3827 -14.7254 -13.5863 -20.908 -15.5653 "
        "-19.7098 -24.7824",
        line_of_sight=True,
    ),
)

PROFILES: dict[str, DelayProfile] = {profile.name: profile for profile in _TABLES}
"""Every table of §4.2."""

DOPPLER_PAIRINGS: dict[str, tuple[str, float]] = {
    f"{name}-{doppler}": (name, float(doppler))
    for name, dopplers in (
        ("TDLA30", (5, 10, 180, 1400, 2700)),
        ("TDLB100", (400,)),
        ("TDLC300", (100, 600, 1200)),
    )
    for doppler in dopplers
}
"""The pairings of TS 38.101-4: `TDLC300-600` is the profile TDLC300 with f_d = 600 Hz."""

_C2C = tuple(name for name in PROFILES if name.startswith("C2C-"))
MIXTURES: dict[str, dict[str, float]] = {
    "C2C": dict.fromkeys(_C2C, 1 / len(_C2C)),
    "robust": {"EVA": 0.25, "ETU": 0.25, "TDL-A": 0.25} | dict.fromkeys(_C2C, 0.25 / len(_C2C)),
}
"""Mixtures of profiles with their shares; `robust` is the training mixture of §5 (TDL-A with 30 to 300 ns)."""


def get_profile(profile: DelayProfile | str) -> DelayProfile:
    """The profile of this name; a profile is returned as it is."""
    if isinstance(profile, DelayProfile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; known are {', '.join(PROFILES)}")
    return PROFILES[profile]


def get_mixture(
    profile: DelayProfile | str | Sequence[DelayProfile | str],
) -> tuple[tuple[DelayProfile, ...], tuple[float, ...]]:
    """Profiles and their shares of one profile, of a mixture in `MIXTURES`, or of a list of either with equal shares."""
    if isinstance(profile, str) and profile in MIXTURES:
        shares = MIXTURES[profile]
        return tuple(PROFILES[name] for name in shares), tuple(shares.values())
    if isinstance(profile, str | DelayProfile):
        if isinstance(profile, str) and profile not in PROFILES:
            known = ", ".join((*PROFILES, *MIXTURES))
            raise ValueError(f"unknown profile {profile!r}; known are {known}")
        return (get_profile(profile),), (1.0,)
    if not profile:
        raise ValueError("profile is an empty list: give at least one name")
    parts = [get_mixture(one) for one in profile]
    members = tuple(member for members, _ in parts for member in members)
    return members, tuple(share / len(parts) for _, shares in parts for share in shares)
