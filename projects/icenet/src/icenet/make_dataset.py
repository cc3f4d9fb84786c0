"""The commands `icenet make-dataset` and `icenet profile-info`: slots in files, and what a delay profile says."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tenfold.cli import CommandLineError

from .ofdm.channel import DOMAINS, SNR_MODES, ChannelSimulator
from .ofdm.config import NUMEROLOGIES, get_numerology
from .ofdm.profiles import DELAY_SPREADS, MIXTURES, PROFILES, DelayProfile, get_profile
from .ofdm.referee import deviation_from_sionna
from .shards import write_mat, write_shard

FORMATS = ("h5", "npz", "mat")


def make_dataset(argv: Sequence[str]) -> int:
    """Simulate slots and write them in shards of a folder; returns the exit status."""
    options = _dataset_parser().parse_args(argv)
    for name in ("n", "shard_size"):
        if getattr(options, name) < 1:
            raise CommandLineError(
                f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}"
            )
    simulator = _simulator(options)
    names = [profile.name for profile in simulator.profiles]
    generator = torch.Generator().manual_seed(options.seed)
    folder, written = Path(options.folder), 0
    while written < options.n:
        size = min(options.shard_size, options.n - written)
        try:
            slots = simulator.slots(size, _range("--snr", options.snr), generator)
        except ValueError as error:
            raise CommandLineError(str(error)) from error
        if options.format == "mat":
            paths = write_mat(folder, slots, simulator.config, names, first=written + 1)
            where = f"{paths[0].name} … {paths[-1].name}"
        else:
            meta = {"seed": options.seed, "first_slot": written, "command": list(argv)}
            path = folder / f"shard_{written // options.shard_size:05d}.{options.format}"
            where = write_shard(path, slots, simulator.config, names, meta).name
        written += size
        print(f"{written:>{len(str(options.n))}} / {options.n} slots: {where}", flush=True)
    return 0


def profile_info(argv: Sequence[str]) -> int:
    """Print delay spread, coherence bandwidth and taps of a profile; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="icenet profile-info", description="What a delay profile says.", allow_abbrev=False
    )
    parser.add_argument("profile", nargs="?", help="its name; without one all names are printed")
    parser.add_argument("--delay-spread", type=float, help="in ns, for profiles in units of it")
    parser.add_argument("--taps", action="store_true", help="print every tap")
    parser.add_argument(
        "--sionna", action="store_true", help="compare the covariances of TDL-A … TDL-E with Sionna's"
    )
    options = parser.parse_args(argv)
    if options.profile is None:
        _print_names()
        return 0
    try:
        profile = get_profile(options.profile)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = _rows(profile, options.delay_spread)
            if options.sionna:
                found = deviation_from_sionna(NUMEROLOGIES["nr_v2x_15"], profile, options.delay_spread, 100.0)
                rows.append(("from Sionna", f"R_f {found.frequency:.1e}, R_t at 100 km/h {found.time:.1e}"))
    except (ValueError, ImportError) as error:
        raise CommandLineError(str(error)) from error
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"warning: {text}", file=sys.stderr)
    width = max(len(name) for name, _ in rows) + 2
    print("\n".join(f"{name:<{width}}{value}" for name, value in rows))
    if options.taps:
        _print_taps(profile, options.delay_spread if profile.scalable else None)
    return 0


# What is printed ------------------------------------------------------------------------------------------------------


def _print_names() -> None:
    for profile in PROFILES.values():
        kind = "in units of the delay spread" if profile.scalable else f"{profile.rms_delay_spread():.1f} ns"
        print(f"{profile.name:<27}{profile.n_taps:>3} taps  {kind:<30}{profile.source}")
    for name, shares in MIXTURES.items():
        print(f"{name:<27}mixture of {', '.join(shares)}")


def _rows(profile: DelayProfile, delay_spread: float | None) -> list[tuple[str, str]]:
    if profile.scalable and delay_spread is None:
        typical = ", ".join(f"{name.replace('_', ' ')} {ns:g}" for name, ns in DELAY_SPREADS.items())
        raise ValueError(f"{profile.name} needs --delay-spread in ns ({typical})")
    longest = float(profile.delays_ns(delay_spread).max())
    fits = [name for name, config in NUMEROLOGIES.items() if longest <= 1e9 * config.cp * (1 + 1e-9)]
    shapes = "line of sight (0.7 f_d) and Rayleigh taps" if profile.line_of_sight else "Rayleigh taps (Jakes)"
    if profile.tap_doppler is not None:
        shapes = f"static first tap and half bath-tubs up to {max(map(abs, profile.tap_doppler)):g} Hz"
    rows = [
        ("profile", profile.name),
        ("source", profile.source),
        ("fading", f"{profile.n_taps} entries, {shapes}"),
        ("RMS delay spread", f"{profile.rms_delay_spread(delay_spread):.2f} ns"),
        ("mean delay", f"{profile.mean_delay(delay_spread):.2f} ns"),
        ("longest delay", f"{longest:.2f} ns"),
    ]
    for level in (0.5, 0.9):
        bandwidth = profile.coherence_bandwidth(delay_spread, level)
        text = (
            "none: the correlation never falls so low"
            if bandwidth == float("inf")
            else f"{bandwidth / 1e3:.2f} kHz"
        )
        rows.append((f"coherence bandwidth ({level:g})", text))
    return [*rows, ("within the prefix of", ", ".join(fits) or "no numerology")]


def _print_taps(profile: DelayProfile, delay_spread: float | None) -> None:
    print(
        f"\n{'delay in ns':>12} {'power in dB':>12} {'share':>9}"
        + (" Doppler in Hz" if profile.tap_doppler else "")
    )
    for p, (delay, share) in enumerate(zip(profile.delays_ns(delay_spread), profile.powers)):
        doppler = f" {profile.tap_doppler[p]:>13g}" if profile.tap_doppler else ""
        print(f"{delay:>12.3f} {profile.powers_db[p]:>12.4g} {share:>9.5f}{doppler}")


# Arguments ------------------------------------------------------------------------------------------------------------


def _dataset_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icenet make-dataset",
        description="Simulate slots and write them in shards: channels, LS estimates at the pilots, SNR, Doppler, delay spread, profile.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("folder", help="where the files go")
    add("--n", type=int, default=10_000, help="number of slots (default 10000)")
    add("--shard-size", type=int, default=10_000, help="slots of one file (default 10000)")
    add("--format", choices=FORMATS, default="h5", help="HDF5, NPZ, or one .mat a slot (default h5)")
    add("--numerology", default="nr_v2x_15", help=f"one of {', '.join(NUMEROLOGIES)}")
    add("--profile", nargs="+", default=["EVA"], help="one profile or mixture, or several with equal shares")
    add("--doppler", type=float, nargs="+", metavar="HZ", help="f_d, or its range")
    add("--speed", type=float, nargs="+", metavar="KM/H", help="the same as relative speed")
    add("--delay-spread", type=float, nargs="+", metavar="NS", help="of scalable profiles, or its range")
    add(
        "--snr",
        type=float,
        nargs="+",
        default=[0.0, 25.0],
        metavar="DB",
        help="SNR, or its range (default 0 25)",
    )
    add("--domain", choices=DOMAINS, default="frequency")
    add("--snr-mode", choices=SNR_MODES, default="average")
    add("--seed", type=int, default=0)
    return parser


def _simulator(options: argparse.Namespace) -> ChannelSimulator:
    profile = options.profile[0] if len(options.profile) == 1 else options.profile
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            simulator = ChannelSimulator(
                get_numerology(options.numerology),
                profile,
                doppler=_range("--doppler", options.doppler),
                speed=_range("--speed", options.speed),
                delay_spread=_range("--delay-spread", options.delay_spread),
                domain=options.domain,
                snr_mode=options.snr_mode,
            )
    except ValueError as error:
        raise CommandLineError(str(error)) from error
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return simulator


def _range(option: str, values: list[float] | None) -> Any:
    """None, one number, or a pair."""
    if values is None or len(values) == 2:
        return values
    if len(values) != 1:
        raise CommandLineError(f"{option} takes one number or two (low high), got {len(values)}")
    return values[0]
