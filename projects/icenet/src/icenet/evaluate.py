"""The command `icenet evaluate`: NMSE, bit error rate, iterations and memory of a trained network, beside formulas.

Every estimator gets the same slots, the same bits and the same noise. NMSE is the ratio of sums over the slots.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from tenfold.checkpoint import CheckpointError, write_atomically
from tenfold.cli import CommandLineError

from .data import stream
from .estimators.base import Estimator, NetworkEstimator, NoiseVariance
from .estimators.icenet import ICENet
from .estimators.registry import FORMULAS, build
from .metrics import nmse, nmse_db, saved_tensor_bytes
from .ofdm.channel import ChannelSimulator, Slots
from .ofdm.config import OFDMConfig
from .ofdm.link import uncoded_ber
from .ofdm.profiles import get_mixture
from .pretrained import load_model

WHAT = ("nmse", "ber", "iterations", "memory")
TEST_SEED = 1_000_003
"""Seed of the slots unless one is given: far from the seeds that training data are drawn with."""
DEPTHS = (5, 50)
"""Caps τ that the memory of a training step is measured at."""
CHUNK = 500
"""Slots that go through an estimator at once."""


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained network on fresh slots of a profile; print and save the numbers."""
    options = _parser().parse_args(list(argv))
    try:
        model = load_model(options.model)
        stop = Stop(options.eps, options.tau)
        bench = Bench(
            ChannelSimulator(
                model.ofdm,
                options.profile,
                doppler=_doppler(options.profile, options.doppler),
                delay_spread=options.delay_spread,
            ),
            snr_db=options.snr,
            n=options.n,
            seed=options.seed,
        )
        others = {name: _formula(name, bench, options) for name in options.baselines}
        numbers = evaluation(model, others, bench, options.what, stop)
    except (CheckpointError, FileNotFoundError, ValueError, TypeError) as error:
        raise CommandLineError(str(error)) from error
    print(table(numbers))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode())
    return 0


# What is measured -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """The slots that estimators are compared on.

    Args:
        simulator: of the channels, on the grid of the estimators.
        snr_db: SNRs in dB; the channels are the same at each.
        n: slots at each.
        seed: of the slots.
    """

    simulator: ChannelSimulator
    snr_db: tuple[float, ...]
    n: int
    seed: int = TEST_SEED

    def __post_init__(self) -> None:
        if self.n < 1 or not self.snr_db:
            raise ValueError(
                f"n must be at least 1 and snr_db must not be empty, got {self.n} and {self.snr_db}"
            )

    def slots(self, snr_db: float) -> Slots:
        return self.simulator.slots(self.n, float(snr_db), stream(self.seed, 0))


@dataclass(frozen=True)
class Stop:
    """When a solve ends: a tolerance and a cap in place of the network's own; None keeps that."""

    eps: float | None = None
    tau: int | None = None


@dataclass(frozen=True)
class Stopped:
    """An ICENet as an estimator that stops its solves elsewhere than it was trained to."""

    model: ICENet
    stop: Stop

    @property
    def ofdm(self) -> OFDMConfig:
        return self.model.ofdm

    @torch.no_grad()
    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        found = self.model(ls, noise_var, eps=self.stop.eps, tau=self.stop.tau)
        assert isinstance(found, Tensor)
        return found


def evaluation(
    model: NetworkEstimator,
    others: Mapping[str, Estimator],
    bench: Bench,
    what: Sequence[str] = WHAT,
    stop: Stop = Stop(),
) -> dict[str, Any]:
    """The measurements of `what` as JSON values; lists run over the SNRs of the bench.

    Args:
        model: the network.
        others: estimators beside it, by name.
        bench: the slots.
        what: of `WHAT`; "iterations" needs an implicit layer.
        stop: of the network's solves; needs an implicit layer.
    """
    name = type(model).__name__
    if stop != Stop() and not isinstance(model, ICENet):
        raise ValueError(f"eps and tau are for networks with an implicit layer, not {name}")
    numbers: dict[str, Any] = {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "snr_db": list(bench.snr_db),
        "slots": bench.n,
        "seed": bench.seed,
    }
    measured = Stopped(model, stop) if isinstance(model, ICENet) else model
    estimators: dict[str, Estimator] = {name: measured, **others}
    for key in (key for key in ("nmse", "ber") if key in what):
        measure = _nmse if key == "nmse" else _bit_errors
        numbers[key] = measure(estimators, bench)
    if "iterations" in what:
        if isinstance(model, ICENet):
            numbers["iterations"] = iterations(model, bench, stop)
        elif tuple(what) != WHAT:
            raise ValueError(f"iterations: {name} has no implicit layer to count them of")
    if "memory" in what:
        numbers["memory"] = memory(model, bench)
    return numbers


def _nmse(estimators: Mapping[str, Estimator], bench: Bench) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in estimators}
    for snr in bench.snr_db:
        slots = bench.slots(snr)
        for name, estimator in estimators.items():
            found[name].append(nmse_db(_estimate(estimator, slots), slots.h))
    return found


def _bit_errors(estimators: Mapping[str, Estimator], bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Uncoded bit error rates with QPSK and 16-QAM behind a one-tap zero-forcing equaliser; "perfect" knows the channel."""
    found: dict[str, dict[str, list[float]]] = {}
    for snr in bench.snr_db:
        slots = bench.slots(snr)
        estimates = {"perfect": slots.h} | {name: _estimate(e, slots) for name, e in estimators.items()}
        for kind, order in (("qpsk", 4), ("16qam", 16)):
            for name, h_hat in estimates.items():
                errors = uncoded_ber(
                    bench.simulator.config, slots.h, h_hat, slots.noise_var, order=order, generator=stream(bench.seed, 1)
                )  # fmt: skip
                found.setdefault(kind, {}).setdefault(name, []).append(errors.rate)
    return found


@torch.no_grad()
def iterations(model: ICENet, bench: Bench, stop: Stop = Stop()) -> dict[str, list[float]]:
    """First-hit counts and final residuals at each SNR."""
    found: dict[str, list[float]] = {
        "mean": [],
        "p90": [],
        "converged": [],
        "residual_p50": [],
        "residual_p99": [],
    }
    for snr in bench.snr_db:
        slots = bench.slots(snr)
        counts, residuals, hits = [], [], []
        for rows in torch.arange(bench.n).split(CHUNK):
            _, info = model(slots.ls[rows], slots.noise_var[rows], stop.eps, stop.tau, return_info=True)
            counts.append(info.nfe.double())
            residuals.append(info.residual.double())
            hits.append(info.converged.double())
        nfe, residual = torch.cat(counts), torch.cat(residuals)
        values = (
            nfe.mean(),
            nfe.quantile(0.9),
            torch.cat(hits).mean(),
            residual.quantile(0.5),
            residual.quantile(0.99),
        )
        for series, value in zip(found.values(), values):
            series.append(float(value))
    return found


def memory(model: NetworkEstimator, bench: Bench, batch: int = 16) -> dict[str, int]:
    """Bytes that one training step keeps for the backward pass, at the caps `DEPTHS` for a network that has one."""
    slots = bench.simulator.slots(batch, 10.0, stream(bench.seed, 2))
    training = model.training
    model.train()

    def measure(**stop: Any) -> int:
        def step() -> Tensor:
            return nmse(model(slots.ls, slots.noise_var, **stop), slots.h)

        return saved_tensor_bytes(step, model.parameters())

    try:
        if isinstance(model, ICENet):
            return {f"tau={tau}": measure(eps=0.0, tau=tau) for tau in DEPTHS}
        return {"any": measure()}
    finally:
        model.train(training)
        model.zero_grad(set_to_none=True)


@torch.no_grad()
def _estimate(estimator: Estimator, slots: Slots) -> Tensor:
    parts = torch.arange(len(slots.ls)).split(CHUNK)
    return torch.cat([estimator.estimate(slots.ls[rows], slots.noise_var[rows]) for rows in parts])


# Arguments and the table ----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icenet evaluate", description="measure a trained network on fresh slots", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "model",
        help="a folder of save_pretrained, a run directory, a checkpoint in one, or a preset (its newest run)",
    )
    add("--what", type=_names(WHAT), default=WHAT, help=f"of {','.join(WHAT)} (default all)")
    add("--baselines", type=_names(FORMULAS), default=("ls_linear", "lmmse"), help=f"of {','.join(FORMULAS)} (default ls_linear,lmmse)")  # fmt: skip
    add("--profile", default="EVA", help="delay profile of the slots (default EVA)")
    add("--doppler", type=_floats, default=(0.0, 1000.0), help="range of f_d in Hz (default 0,1000)")
    add("--delay_spread", type=float, help="RMS delay spread in ns of profiles that scale")
    add("--snr", type=_floats, default=(0.0, 5.0, 10.0, 15.0, 20.0, 25.0), help="SNRs in dB (default 0,5,10,15,20,25)")  # fmt: skip
    add("--n", type=int, default=2000, help="slots at each SNR (default 2000)")
    add("--seed", type=int, default=TEST_SEED, help=f"of the slots (default {TEST_SEED})")
    add("--eps", type=float, help="tolerance instead of the network's own")
    add("--tau", type=int, help="cap on the iterations instead of the network's own")
    add("--out", type=Path, help="write the numbers to this JSON file")
    return parser


def _formula(name: str, bench: Bench, options: argparse.Namespace) -> Estimator:
    simulator = bench.simulator
    doppler = _doppler(options.profile, options.doppler)
    statistics: dict[str, dict[str, Any]] = {
        "lmmse": {"profile": options.profile, "doppler": doppler, "delay_spread": options.delay_spread},
        "lmmse_mismatched": {"doppler": options.doppler},
        "lmmse_empirical": {"h": simulator.sample(4000, stream(options.seed, 3)).h}
        if name == "lmmse_empirical"
        else {},
    }
    return build(name, simulator.config, **statistics.get(name, {}))


def _doppler(profile: str, doppler: tuple[float, ...]) -> tuple[float, float] | None:
    """None for profiles whose taps have Doppler frequencies of their own."""
    members, _ = get_mixture(profile)
    if all(member.tap_doppler is not None for member in members):
        return None
    if len(doppler) != 2:
        raise ValueError(f"--doppler takes a range low,high in Hz, got {','.join(f'{f:g}' for f in doppler)}")
    return doppler[0], doppler[1]


def _names(allowed: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(part for part in text.split(",") if part)
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of {', '.join(allowed)}")
        return names

    return parse


def _floats(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between them, not {text!r}") from None


def table(numbers: Mapping[str, Any]) -> str:
    """The numbers as text, a row an estimator and a column an SNR."""
    head = [f"{numbers['model']}, {numbers['parameters']:,} parameters, {numbers['slots']} slots at each SNR"]
    snrs = "".join(f"{snr:>10g}" for snr in numbers["snr_db"])
    blocks = [("NMSE in dB", numbers.get("nmse", {}), ".2f")]
    blocks += [(f"BER, {kind}", rows, ".2e") for kind, rows in numbers.get("ber", {}).items()]
    blocks += [("iterations", numbers.get("iterations", {}), ".3g")]
    for title, rows, form in blocks:
        if rows:
            head += ["", f"{title + ' at':<24}{snrs} dB"]
            head += [
                f"  {name:<22}" + "".join(f"{value:>10{form}}" for value in series)
                for name, series in rows.items()
            ]
    if "memory" in numbers:
        head += ["", "bytes kept for the backward pass of 16 slots"]
        head += [f"  {name:<22}{value:>10,}" for name, value in numbers["memory"].items()]
    return "\n".join(head)
