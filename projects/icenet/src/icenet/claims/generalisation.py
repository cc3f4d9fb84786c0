"""C6: other channels than those of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..estimators.base import Estimator
from ..estimators.reesnet import ReEsNetBilinear
from ..figures import over_doppler
from .budget import BUDGETS
from .formulas import LS, MISMATCHED, lmmse_mismatched, ls_linear
from .networks import explicit, icenet
from .scores import average, finite, judge, settles, validation_score
from .setting import SNRS, Setting, draw_tests, setting_for
from .training import Outcome, contest, derive, device_for, in_words

RIVAL = "ReEsNet-bilinear"
OTHERS = (("ETU", None), ("TDL-A", 100.0), ("C2C", None))
"""Profile, and delay spread in ns where it is scaled."""

DOPPLERS = (0.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 1200.0, 1400.0)
DOPPLER_SNR = 10.0
MARGIN = 0.5


@dataclass(frozen=True)
class Effort:
    """SNRs of the profiles, Doppler frequencies of the sweep."""

    snrs: tuple[float, ...] = SNRS
    dopplers: tuple[float, ...] = DOPPLERS


EFFORTS = {Scale.SMOKE: Effort((0.0, 20.0), (0.0, 1400.0))}


@claim(
    "C6",
    "Estimates channels that training did not show",
    source="inferred: abstract, adaptation to changing channels",
)
def other_channels(scale: Scale, seed: int) -> Measurement:
    """Trained on EVA with f_d in [0, 1000] Hz (paper: ETU, [0, 97] Hz); tested on ETU, TDL-A (100 ns), C2C, and at fixed Doppler
    frequencies from 0 to 1400 Hz at 10 dB. Degradation: NMSE there minus NMSE on the training channel, averaged over the SNRs in dB.

    smoke: 40 steps; every number is finite, and every estimator does worse at 1400 Hz than at rest.
    cpu, gpu, paper: ICENet's degradation at most that of ReEsNet-bilinear + 0.5 dB, on every profile and at every frequency."""
    budget, setting, device = BUDGETS[scale], setting_for(scale), device_for(scale)
    run, validation, test = derive(seed, 3)
    effort = EFFORTS.get(scale, Effort())
    score = validation_score(draw_tests(setting, budget.validation, validation, device=device))
    contenders = [
        icenet(setting, budget.size),
        explicit(RIVAL, lambda: ReEsNetBilinear(setting.config)),
    ]
    outcomes = {one.name: contest(one, setting, budget.recipe, run, device, score) for one in contenders}
    estimators: dict[str, Estimator] = {name: one.model for name, one in outcomes.items()}
    estimators |= {LS: ls_linear(setting, device), MISMATCHED: lmmse_mismatched(setting, device)}
    tables = measure(setting, estimators, effort, budget.tests, test, device)
    settled = settles(
        outcomes["ICENet"].model, draw_tests(setting, budget.validation, validation, device=device)
    )
    return report(tables, outcomes, settled, smoke=scale == Scale.SMOKE)


@dataclass(frozen=True)
class Found:
    """NMSE in dB of one estimator: on the training channel, by profile (averages), by Doppler frequency (at 10 dB)."""

    home: float
    home_at_10: float
    profiles: dict[str, float]
    dopplers: dict[float, float]

    @property
    def degradations(self) -> dict[str, float]:
        """By profile and by frequency, in dB."""
        return {name: value - self.home for name, value in self.profiles.items()} | {
            f"{frequency:g} Hz": value - self.home_at_10 for frequency, value in self.dopplers.items()
        }


def measure(
    setting: Setting,
    estimators: Mapping[str, Estimator],
    effort: Effort,
    count: int,
    seed: int,
    device: torch.device,
) -> dict[str, Found]:
    """The same slots for all estimators."""
    home = draw_tests(setting, count, seed, effort.snrs, device)
    at_10 = draw_tests(setting, count, seed, (DOPPLER_SNR,), device)
    places = {
        name: draw_tests(setting.moved(name, spread), count, seed, effort.snrs, device)
        for name, spread in OTHERS
    }
    sweep = {
        frequency: draw_tests(setting.at_doppler(frequency), count, seed, (DOPPLER_SNR,), device)
        for frequency in effort.dopplers
    }
    return {
        name: Found(
            average(judge(estimator, home)),
            average(judge(estimator, at_10)),
            {place: average(judge(estimator, tests)) for place, tests in places.items()},
            {frequency: average(judge(estimator, tests)) for frequency, tests in sweep.items()},
        )
        for name, estimator in estimators.items()
    }


def report(
    found: Mapping[str, Found], outcomes: Mapping[str, Outcome], settled: Mapping[str, bool], smoke: bool
) -> Measurement:
    conditions = {"no_network_failed": not any(one.training.failure for one in outcomes.values()), **settled}
    conditions |= smoke_verdict(found) if smoke else verdict(found)
    ours, rival = found["ICENet"], found[RIVAL]
    worst = max(ours.degradations, key=lambda at: ours.degradations[at] - rival.degradations[at])
    values: dict[str, Value] = {**conditions, "largest degradation against the rival at": worst}
    for name, one in found.items():
        values[f"{name}/training channel"] = finite(one.home)
        values |= {f"{name}/degradation at {at}": finite(value) for at, value in one.degradations.items()}
    return Measurement(
        quantity=f"degradation where it is worst against {RIVAL} ({worst}) (dB); baseline {RIVAL}",
        ours=ours.degradations[worst],
        baseline=rival.degradations[worst],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=_tables(found),
        figures=[] if smoke else [_picture(found)],
    )


def verdict(found: Mapping[str, Found]) -> dict[str, bool]:
    """ICENet may lose at most 0.5 dB more than its rival anywhere."""
    ours, rival = found["ICENet"].degradations, found[RIVAL].degradations
    return {
        f"degradation_at_{at.replace(' ', '_')}_at_most_ReEsNet_plus_0.5_dB": ours[at] <= rival[at] + MARGIN
        for at in ours
    }


def smoke_verdict(found: Mapping[str, Found]) -> dict[str, bool]:
    numbers = [value for one in found.values() for value in (one.home, *one.degradations.values())]
    slow_and_fast = [
        (one.dopplers[min(one.dopplers)], one.dopplers[max(one.dopplers)]) for one in found.values()
    ]
    return {
        "every_number_finite": all(finite(value) is not None for value in numbers),
        "every_estimator_worse_at_the_highest_Doppler_than_at_rest": all(
            fast > slow for slow, fast in slow_and_fast
        ),
    }


def _tables(found: Mapping[str, Found]) -> Sequence[Table]:
    first = next(iter(found.values()))
    profiles = Table(
        "profiles",
        ("estimator", "training channel", *first.profiles),
        tuple((name, finite(one.home), *map(finite, one.profiles.values())) for name, one in found.items()),
    )
    sweep = Table(
        "doppler",
        ("estimator", *(f"{frequency:g} Hz" for frequency in first.dopplers)),
        tuple((name, *map(finite, one.dopplers.values())) for name, one in found.items()),
    )
    return [profiles, sweep]


def _picture(found: Mapping[str, Found]) -> Figure:
    summary = "; ".join(f"{name} {one.dopplers[max(one.dopplers)]:.1f} dB" for name, one in found.items())
    return over_doppler(
        "nmse-doppler",
        {name: (list(one.dopplers), list(one.dopplers.values())) for name, one in found.items()},
        f"Doppler frequencies inside and beyond training, {DOPPLER_SNR:g} dB",
        f"NMSE over the Doppler frequency, one line an estimator; at the highest: {summary}.",
    )
