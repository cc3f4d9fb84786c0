"""C2: the number of iterations follows the quality of the channel; in which direction is found, not presupposed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..estimators.icenet import ICENet
from ..figures import iterations_over_snr
from ..implicit.solvers import first_hits
from ..implicit.tolerance import NoiseAware
from .budget import ALONE, BUDGETS
from .networks import icenet
from .scores import Solved, finite, nmse_in_db, settles, solve_slots
from .setting import Setting, Tests, draw_tests, mapped, setting_for
from .training import contest, derive, device_for, in_words, seeded

EPS, FINEST, TAU = 1e-3, 1e-4, 40
KAPPAS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005)
"""Candidates of κ, the largest first."""

LARGEST_LOSS = 0.1
"""NMSE in dB that the noise-aware tolerance may cost at any SNR; half of it when κ is chosen."""


@claim(
    "C2",
    "Iterations adapt to channel quality",
    source="abstract: the number of iterations follows the channel; the direction is not presupposed",
    known_gaps={
        "cpu": "with a fixed tolerance the counts hardly follow the SNR: spreads of 5.8, 6.5 and 9.0 % (seeds 0, 1, 2) where 10 % are asked "
        "for, Spearman -0.09, -0.09, -0.66, most evaluations at 10 dB. With the tolerance that knows the noise, 0 dB needs 52 to 55 % of the "
        "evaluations of 25 dB and loses at most 0.05 dB"
    },
)
def iterations_adapt(scale: Scale, seed: int) -> Measurement:
    """smoke: synthetic inputs with scaled noise give distinct counts inside one batch, equal to those of the same slots alone.
    cpu, gpu, paper: mean first-hit NFE at ε = 1e-3 against SNR in {0, 5, …, 25} dB: |Spearman ρ| >= 0.8 and a spread of at least 10 %
    of the smallest mean; the direction is reported. With ε = clip(κσ): mean NFE at the lowest SNR at most 60 % of that at the
    highest, with at most 0.1 dB lost at every SNR relative to ε = 1e-4. κ is the largest candidate that loses at most 0.05 dB at
    every SNR on validation slots."""
    budget, setting, device = BUDGETS[scale], setting_for(scale), device_for(scale)
    run, validation, test = derive(seed, 3)
    if scale == Scale.SMOKE:
        return smoke(setting, run)
    tests = draw_tests(setting, budget.tests, test, device=device)
    choose = draw_tests(setting, budget.validation, validation, device=device)
    recipe = replace(budget.recipe, rates=(ALONE,))
    outcome = contest(icenet(setting, budget.size), setting, recipe, run, device, None)
    if not isinstance(outcome.model, ICENet):
        raise TypeError(f"the contender ICENet built a {type(outcome.model).__name__}")
    return report(outcome.model, tests, choose, outcome.training.failure)


def smoke(setting: Setting, seed: int, count: int = 12, eps: float = 1e-8) -> Measurement:
    """In double precision and to a fine tolerance: counts of a random cell are small, and round-off must not decide."""
    model = seeded(seed, lambda: ICENet.of_size("tiny", setting.config)).double().eval()
    ratios = torch.linspace(0, 25, count)
    slots = setting.simulator().slots(count, ratios, torch.Generator().manual_seed(seed))
    slots = mapped(slots, lambda x: x.to(torch.complex128) if x.is_complex() else x.double())
    together = solve_slots(model, slots, eps=eps, tau=100).nfe.tolist()
    alone = []
    for i in range(count):
        one = mapped(slots, lambda x, i=i: x[i : i + 1])  # type: ignore[misc]
        alone += solve_slots(model, one, eps=eps, tau=100).nfe.tolist()
    conditions = {
        "counts_differ_inside_a_batch": len(set(together)) >= 2,
        "counts_equal_those_of_the_slots_alone": together == alone,
    }
    return Measurement(
        quantity=f"different first-hit counts in a batch of {count}",
        ours=len(set(together)),
        baseline=1,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, "smallest count": min(together), "largest count": max(together)},
    )


@dataclass(frozen=True)
class Aware:
    """The noise-aware tolerance at one κ: mean NFE and NMSE lost against ε = 1e-4 in dB, each by SNR."""

    kappa: float
    nfe: dict[float, float]
    loss: dict[float, float]

    @property
    def largest_loss(self) -> float:
        return max(self.loss.values())

    @property
    def share(self) -> float:
        """Mean NFE at the lowest SNR over that at the highest."""
        return self.nfe[min(self.nfe)] / self.nfe[max(self.nfe)]


def solve_finely(model: ICENet, tests: Tests) -> dict[float, Solved]:
    return {snr: solve_slots(model, slots, eps=FINEST, tau=TAU) for snr, slots in tests.items()}


def measure_aware(model: ICENet, tests: Tests, finely: Mapping[float, Solved], kappa: float) -> Aware:
    """Solve all tests with ε = clip(κσ)."""
    tolerance = NoiseAware(kappa, eps_min=FINEST, eps_max=0.5)
    nfe, loss = {}, {}
    for snr, slots in tests.items():
        found = solve_slots(model, slots, eps=tolerance, tau=TAU)
        nfe[snr] = found.mean_nfe
        loss[snr] = nmse_in_db(found.h, slots.h) - nmse_in_db(finely[snr].h, slots.h)
    return Aware(kappa, nfe, loss)


def choose_kappa(model: ICENet, choose: Tests) -> float:
    """The largest candidate that loses at most half of what is allowed at every SNR; the smallest if none does."""
    finely = solve_finely(model, choose)
    for kappa in KAPPAS:
        if measure_aware(model, choose, finely, kappa).largest_loss <= LARGEST_LOSS / 2:
            return kappa
    return KAPPAS[-1]


def report(model: ICENet, tests: Tests, choose: Tests, failure: str | None) -> Measurement:
    finely = solve_finely(model, tests)
    counts = {snr: first_hits(found.trace, EPS, TAU) for snr, found in finely.items()}
    aware = measure_aware(model, tests, finely, choose_kappa(model, choose))
    means = {snr: float(n.double().mean()) for snr, n in counts.items()}
    rank = spearman(means)
    conditions = verdict(means, aware) | settles(model, tests) | {"training_did_not_fail": failure is None}
    values: dict[str, Value] = dict(conditions)
    values |= {"Spearman ρ": rank, "spread": spread(means), "κ": aware.kappa, "direction": direction(rank)}
    values |= {"noise-aware/NFE at the lowest SNR over the highest": aware.share}
    values |= {"noise-aware/largest loss (dB)": finite(aware.largest_loss)}
    return Measurement(
        quantity="noise-aware tolerance: mean evaluations at the lowest SNR; baseline: at the highest",
        ours=aware.nfe[min(aware.nfe)],
        baseline=aware.nfe[max(aware.nfe)],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[_table(tests, finely, means, aware)],
        figures=[_picture(counts, direction(rank))],
    )


def verdict(means: Mapping[float, float], aware: Aware) -> dict[str, bool]:
    """The conditions of the cpu scale and above."""
    return {
        "Spearman_of_NFE_and_SNR_at_least_0.8_in_size": abs(spearman(means)) >= 0.8,
        "spread_at_least_10_percent": spread(means) >= 0.1,
        "noise_aware_NFE_at_the_lowest_SNR_at_most_60_percent_of_that_at_the_highest": aware.share <= 0.6,
        "noise_aware_loss_at_most_0.1_dB_at_every_SNR": aware.largest_loss <= LARGEST_LOSS,
    }


def spearman(means: Mapping[float, float]) -> float:
    """Rank correlation of the keys and the values; ties share their mean rank; 0 if all values are equal."""
    ranks = []
    for row in (list(means), list(means.values())):
        x = torch.tensor(row, dtype=torch.float64)
        ranks.append((x[:, None] > x).double().sum(1) + (x[:, None] == x).double().sum(1) / 2)
    a, b = (rank - rank.mean() for rank in ranks)
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else 0.0


def spread(means: Mapping[float, float]) -> float:
    """(largest - smallest) / smallest."""
    return max(means.values()) / min(means.values()) - 1


def direction(rank: float) -> str:
    """What was found, in words."""
    if abs(rank) < 0.8:
        return "no clear direction"
    return "more evaluations at high SNR" if rank > 0 else "more evaluations at low SNR"


def _table(tests: Tests, finely: Mapping[float, Solved], means: Mapping[float, float], aware: Aware) -> Table:
    columns = ("SNR (dB)", f"mean NFE at ε = {EPS:g}", f"NMSE at ε = {FINEST:g} (dB)", "NFE, noise-aware", "loss, noise-aware (dB)")  # fmt: skip
    rows = tuple(
        (snr, means[snr], finite(nmse_in_db(finely[snr].h, slots.h)), aware.nfe[snr], finite(aware.loss[snr]))
        for snr, slots in tests.items()
    )
    return Table("iterations", columns, rows)


def _picture(counts: Mapping[float, Int[Tensor, "n"]], found: str) -> Figure:
    few = {snr: n[:400].tolist() for snr, n in counts.items()}
    summary = "; ".join(f"{snr:g} dB: {float(n.double().mean()):.1f}" for snr, n in counts.items())
    return iterations_over_snr(
        "iterations-snr",
        few,
        TAU,
        f"Evaluations to ε = {EPS:g}, slot by slot",
        f"Evaluations that each slot takes to a relative residual of {EPS:g}, over the SNR: {found}. Means: {summary}.",
    )
