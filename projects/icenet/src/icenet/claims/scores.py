"""How the claims judge an estimator: NMSE at each SNR, and for implicit networks how many evaluations that took."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from tenfold.claims import Table, Value

from ..estimators.base import Estimator, NetworkEstimator
from ..estimators.icenet import ICENet
from ..implicit.tolerance import Tolerance
from ..ofdm.channel import Slots
from .setting import Tests, mapped
from .training import Outcome, Score

CHUNK = 250
"""Slots estimated at once; bounds the memory, changes no result."""


def chunks(slots: Slots, size: int = CHUNK) -> Iterator[Slots]:
    """The slots in parts of `size`."""
    for start in range(0, len(slots.h), size):
        yield mapped(slots, lambda tensor, start=start: tensor[start : start + size])  # type: ignore[misc]


def nmse_in_db(estimate: Complex[Tensor, "b k s"], h: Complex[Tensor, "b k s"]) -> float:
    """Ratio of sums in double precision, in dB; infinite for an estimate that is not finite."""
    error = float((estimate - h).abs().double().square().sum())
    ratio = error / float(h.abs().double().square().sum())
    return 10 * math.log10(ratio) if math.isfinite(ratio) and ratio > 0 else math.inf if ratio else -math.inf


def estimates(estimator: Estimator, slots: Slots) -> Complex[Tensor, "b k s"]:
    """The estimator's channels of all slots."""
    return torch.cat([estimator.estimate(part.ls, part.noise_var) for part in chunks(slots)])


NMSEs = dict[float, float]
"""SNR in dB -> NMSE in dB."""


def judge(estimator: Estimator, tests: Tests) -> NMSEs:
    """NMSE at each SNR."""
    return {snr: nmse_in_db(estimates(estimator, slots), slots.h) for snr, slots in tests.items()}


def average(found: Mapping[float, float]) -> float:
    """Mean over the SNRs, in dB."""
    return sum(found.values()) / len(found)


def validation_score(tests: Tests) -> Score:
    """Judges a network by its NMSE in dB, averaged over the SNRs."""

    def score(model: NetworkEstimator) -> float:
        return average(judge(model, tests))

    return score


@dataclass(frozen=True)
class Solved:
    """What an implicit network made of slots, and how.

    Args:
        h: estimated channels.
        nfe: first-hit counts (§3.4); τ where there was no hit.
        converged: whether there was a hit.
        trace: residual of each slot after each evaluation, NaN once it was done.
    """

    h: Complex[Tensor, "b k s"]
    nfe: Int[Tensor, "b"]
    converged: Bool[Tensor, "b"]
    trace: Float[Tensor, "b tau"]

    @property
    def mean_nfe(self) -> float:
        return float(self.nfe.double().mean())

    @property
    def converged_share(self) -> float:
        return float(self.converged.double().mean())


@torch.no_grad()
def solve_slots(
    model: ICENet, slots: Slots, *, eps: float | Tolerance | None = None, tau: int | None = None
) -> Solved:
    """Estimate all slots at a tolerance and a cap, in evaluation mode."""
    model.eval()
    parts: list[Solved] = []
    for part in chunks(slots):
        h, info = model(part.ls, part.noise_var, eps=eps, tau=tau, return_info=True)
        parts.append(Solved(h, info.nfe, info.converged, info.trace))
    return Solved(
        torch.cat([part.h for part in parts]),
        torch.cat([part.nfe for part in parts]),
        torch.cat([part.converged for part in parts]),
        joined([part.trace for part in parts]),
    )


def settles(model: nn.Module, tests: Tests) -> dict[str, bool]:
    """The condition of every claim that trains ICENet: less than 95 % below ε = 1e-2 within 30 evaluations is no equilibrium (10.1).

    The first slots of each SNR stand for all.
    """
    if not isinstance(model, ICENet):
        raise TypeError(f"{type(model).__name__} has no equilibrium to look at")
    solved = [solve_slots(model, next(chunks(slots)), eps=1e-2, tau=30) for slots in tests.values()]
    share = sum(found.converged_share for found in solved) / len(solved)
    return {"95_percent_reach_1e-2_within_30": share >= 0.95}


def joined(traces: Sequence[Float[Tensor, "b n"]]) -> Float[Tensor, "sum_b longest"]:
    """Traces of several batches below each other, the shorter ones filled with NaN."""
    longest = max(trace.shape[1] for trace in traces)
    return torch.cat([F.pad(trace, (0, longest - trace.shape[1]), value=math.nan) for trace in traces])


def comparison_table(name: str, found: Mapping[str, NMSEs], outcomes: Mapping[str, Outcome]) -> Table:
    """One row an estimator: NMSE in dB at each SNR; parameters, rate and time of the trained ones."""
    snrs = tuple(next(iter(found.values())))
    columns = ("estimator", *(f"{snr:g} dB" for snr in snrs), "average", "parameters", "rate", "training (s)")
    rows: list[tuple[Value, ...]] = []
    for label, result in found.items():
        outcome = outcomes.get(label)
        extra: tuple[Value, ...] = (None, None, None)
        if outcome is not None:
            extra = (outcome.parameters, outcome.rate, round(outcome.training.seconds, 1))
        rows.append((label, *(finite(result[snr]) for snr in snrs), finite(average(result)), *extra))
    return Table(name, columns, tuple(rows))


def finite(value: float) -> float | None:
    """The value, None for one that is not finite."""
    return value if math.isfinite(value) else None


def in_values(found: Mapping[str, NMSEs]) -> dict[str, Value]:
    """ "ICENet/NMSE at 10 dB" -> its value."""
    return {
        f"{label}/NMSE at {snr:g} dB": finite(value)
        for label, row in found.items()
        for snr, value in row.items()
    }
