"""K4: the margin lasts in high dimension — Lorenz-96 with D sites, Kuramoto–Sivashinsky on a circle (§8)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..baselines import LRAN, DeepKoopman
from ..figures import curves
from ..latent import LatentModel
from ..maps import SpaceTime, space_time_maps
from ..metrics import ValidTime
from ..model import KoopGen
from ..systems import get_system
from ..systems.kuramoto_sivashinsky import KuramotoSivashinsky
from .samples import Sizes, make_sets
from .scores import Judged, comparison_table, error_score, judge
from .training import Contender, Outcome, Recipe, Sets, contest, derive, device_for, in_words

THRESHOLD = 0.5
"""ε of the valid prediction times, with σ the rms of the channels' standard deviations."""

RIVALS = ("LRAN", "DeepKoopman")


@dataclass(frozen=True)
class Effort:
    """What is trained on which systems.

    Args:
        systems: presets; each has data and a search of its own unless it follows another.
        following: preset -> the preset whose learning rates it takes.
        sizes: of the data.
        steps, window, batch_size: of the training.
        d, bases, hidden, layers, width: latent size, bases of either kind, encoder and decoder, DeepKoopman's networks.
        search_share, rates, pretrain_steps: see `Recipe`.
    """

    systems: tuple[str, ...]
    following: Mapping[str, str]
    sizes: Sizes
    steps: int
    window: int
    batch_size: int
    d: int
    bases: int
    hidden: int
    layers: int
    width: int
    search_share: float = 0.25
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    pretrain_steps: int = 300


EFFORTS = {
    Scale.SMOKE: Effort(
        ("lorenz96_d5",), {}, Sizes(100, 40, 20, 38, 20, 38), 40, 20, 32, 8, 4, 32, 3, 32, rates=(3e-3,),
        pretrain_steps=50,
    ),
    Scale.CPU: Effort(
        ("lorenz96_d10", "kuramoto_sivashinsky", "lorenz96_d5", "lorenz96_d20"),
        {"lorenz96_d5": "lorenz96_d10", "lorenz96_d20": "lorenz96_d10"},
        Sizes(600, 60, 60, 38, 200, 59), 800, 20, 32, 16, 8, 256, 4, 128,
    ),
    Scale.GPU: Effort(
        ("lorenz96", "kuramoto_sivashinsky", "ks_60"), {}, Sizes(4000, 200, 400, 78, 1000, 99),
        2500, 30, 256, 64, 30, 512, 4, 256, search_share=0.1,
    ),
    Scale.PAPER: Effort(
        ("lorenz96", "kuramoto_sivashinsky", "ks_60"), {}, Sizes(14_000, 200, 2000, 78, 4000, 99),
        55_000, 40, 128, 64, 30, 1024, 4, 256,
    ),
}  # fmt: skip


@claim(
    "K4",
    "Scales to high dimension: Lorenz-96 and Kuramoto–Sivashinsky",
    source="abstract; sections on Lorenz-96 and Kuramoto–Sivashinsky",
    published="not KoopGen's own; its sibling CocycleNet on KS 8π: VPT 36.4 time units, DeepKoopman 25.3, LRAN 16.0",
    known_gaps={
        "cpu": "800 steps on 600 trajectories are too few for all models (relative losses 0.5 to 0.9): on Lorenz-96 with D = 10 the "
        "better rival's error is 0.95, 1.02 and 1.02 times KoopGen's at the training horizon (seeds 0, 1, 2) and 1.04, 0.98, 1.01 at "
        "twice it; on KS LRAN is better by 1 to 6 %; with D = 5 KoopGen is better by 10 to 28 %. DeepKoopman collapses on D = 10 and 20 "
        "with seeds 0 and 2, KoopGen on KS with seed 2"
    },
)
def scales_to_high_dimension(scale: Scale, seed: int) -> Measurement:
    """Equal warm-up, steps and search of rates; the criterion is an uncalibrated target.

    smoke (Lorenz-96, D = 5): every model's loss falls and no forecast diverges within twice the training horizon.
    cpu (Lorenz-96 D = 10 with F = 8, KS L = 22 with N = 64; d = 16, hidden 256, T = 20): KoopGen's RMSE at the training
    horizon and at twice that horizon is below LRAN's and DeepKoopman's; the ratio is reported for D = 5, 10, 20, where
    D = 5 and 20 take the rates that each model chose at D = 10.
    gpu, paper (Lorenz-96 D = 40, KS L = 22 and L = 60): KoopGen's VPT is above both by more than 2 standard errors, and
    its NRMSE at one Lyapunov time below both by as much.
    """
    effort, device = EFFORTS[scale], device_for(scale)
    cases = run_cases(effort, seed, device)
    if scale == Scale.SMOKE:
        return smoke(cases, effort)
    return report(cases, effort, full=scale in (Scale.GPU, Scale.PAPER))


@dataclass(frozen=True)
class Case:
    """All models on one system, with the time of the training horizon."""

    name: str
    sets: Sets
    outcomes: Mapping[str, Outcome]
    judged: Mapping[str, Judged]
    horizon: float

    def error(self, model: str, horizons: int = 1) -> float:
        """RMSE at a multiple of the training horizon."""
        return self.judged[model].error_at(horizons * self.horizon)

    def margin(self, horizons: int) -> float:
        """The better rival's error over KoopGen's; above 1 KoopGen wins."""
        return min(self.error(model, horizons) for model in RIVALS) / self.error("KoopGen", horizons)

    @property
    def failures(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome.failed]


def run_cases(effort: Effort, seed: int, device: torch.device) -> dict[str, Case]:
    """Train all models on all systems."""
    cases = dict[str, Case]()
    for name in effort.systems:
        sets = make_sets(name, effort.sizes, seed).to(device)
        chosen = cases[effort.following[name]].outcomes if name in effort.following else {}
        outcomes = dict[str, Outcome]()
        for label, contender in contenders(sets, effort).items():
            rates = (chosen[label].rate,) if chosen else effort.rates
            outcomes[label] = contest(
                contender,
                sets,
                recipe_of(name, effort, rates),
                derive(seed, 1)[0],
                error_score(2 * (effort.window - 1)),
            )
        judged = {label: judge(outcome.model, sets, THRESHOLD) for label, outcome in outcomes.items()}
        cases[name] = Case(name, sets, outcomes, judged, (effort.window - 1) * sets.dt)
    return cases


def recipe_of(name: str, effort: Effort, rates: tuple[float, ...]) -> Recipe:
    """H¹ in time for the ordinary equations, H² in space and time for the field (§4)."""
    field = isinstance(get_system(name), KuramotoSivashinsky)
    return Recipe(
        effort.steps,
        effort.window,
        effort.batch_size,
        effort.pretrain_steps,
        order=2 if field else 1,
        kind="space-time" if field else "time",
        rates=rates,
        search_share=effort.search_share,
    )


def contenders(sets: Sets, effort: Effort) -> dict[str, Contender]:
    n_x = sets.train.shape[-1]
    size: dict[str, Any] = {
        "dt": sets.dt,
        "hidden": effort.hidden,
        "layers": effort.layers,
        "normalisation": "global",
    }
    noise_steps = max(1, effort.steps * (effort.window - 1) // 10)
    builders: dict[str, Callable[[], LatentModel]] = {
        "KoopGen": lambda: KoopGen(
            n_x, effort.d, m_skew=effort.bases, m_self=effort.bases, noise_steps=noise_steps, **size
        ),
        # At the default unit, 0.2 / Δt, its first roll-out after the warm-up overflows on these systems.
        "DeepKoopman": lambda: DeepKoopman(
            n_x, effort.d, width=effort.width, time_scale=0.02 / sets.dt, **size
        ),
        "LRAN": lambda: LRAN(n_x, effort.d, **size),
    }
    return {name: Contender(name, build) for name, build in builders.items()}


def smoke(cases: Mapping[str, Case], effort: Effort) -> Measurement:
    (case,) = cases.values()
    losses = {name: outcome.training.losses for name, outcome in case.outcomes.items()}
    conditions = {
        "every_loss_falls": all(sum(loss[-5:]) / 5 < loss[0] for loss in losses.values()),
        "no_forecast_diverges": all(found.diverged == 0 for found in case.judged.values()),
    }
    return Measurement(
        quantity=f"RMSE at the training horizon after {effort.steps} steps, {case.name}",
        ours=case.error("KoopGen"),
        baseline=min(case.error(model) for model in RIVALS),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=dict(conditions),
        tables=[_table(case)],
    )


def report(cases: Mapping[str, Case], effort: Effort, full: bool) -> Measurement:
    judged = [
        case for case in cases.values() if full or case.name in ("lorenz96_d10", "kuramoto_sivashinsky")
    ]
    conditions = {"no_model_failed": not any(case.failures for case in judged)}
    for case in judged:
        conditions |= significance(case) if full else errors_below(case)
    values: dict[str, Value] = dict(conditions)
    for case in cases.values():
        values |= {f"{case.name}/margin_at_{k}x_horizon": case.margin(k) for k in (1, 2)}
    head = judged[0]
    return Measurement(
        quantity=f"RMSE at the training horizon, {head.name}; baseline: the better of LRAN and DeepKoopman",
        ours=head.error("KoopGen"),
        baseline=min(head.error(model) for model in RIVALS),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[_table(case) for case in cases.values()],
        figures=figures(cases),
    )


def errors_below(case: Case) -> dict[str, bool]:
    """The conditions of the cpu scale."""
    return {f"{case.name}_RMSE_at_{k}x_the_training_horizon_below_both": case.margin(k) > 1 for k in (1, 2)}


def significance(case: Case) -> dict[str, bool]:
    """The conditions of the gpu scale: differences over two standard errors of the test trajectories."""
    one = round(1 / case.sets.lyapunov / case.sets.dt)
    ours = case.judged["KoopGen"]
    longer, closer = [], []
    for rival in RIVALS:
        theirs = case.judged[rival]
        longer.append(above(ours.valid, theirs.valid))
        errors = [_errors(found, case.sets, one) for found in (theirs, ours)]
        spread = math.sqrt(sum(float(e.var() / len(e)) for e in errors))
        closer.append(float(errors[0].mean() - errors[1].mean()) > 2 * spread)
    return {
        f"{case.name}_VPT_above_both_by_2_standard_errors": all(longer),
        f"{case.name}_NRMSE_at_one_Lyapunov_time_below_both_by_2_standard_errors": all(closer),
    }


def above(ours: ValidTime, theirs: ValidTime) -> bool:
    """Whether the mean is larger by more than two standard errors of the difference."""
    spread = math.sqrt((ours.std**2 + theirs.std**2) / len(ours.times))
    return ours.mean - theirs.mean > 2 * spread


def _errors(judged: Judged, sets: Sets, index: int) -> Float[Tensor, "k"]:
    """NRMSE of each test trajectory at one sample; a forecast that is not finite counts as 10."""
    error = (judged.forecasts[:, index] - sets.test[:, index]) / sets.train.std((0, 1))
    return error.square().mean(-1).sqrt().nan_to_num(nan=10.0, posinf=10.0).clamp(max=10.0)


def _table(case: Case) -> Table:
    return comparison_table(case.name, case.outcomes, case.judged, (0.0, case.horizon, 2 * case.horizon))


def figures(cases: Mapping[str, Case]) -> list[Figure]:
    found = [_margins([case for name, case in cases.items() if name.startswith("lorenz96")])]
    fields = [case for case in cases.values() if isinstance(get_system(case.name), KuramotoSivashinsky)]
    return found + [_maps(case) for case in fields]


def _margins(cases: Sequence[Case]) -> Figure:
    by_size = sorted(cases, key=lambda case: case.sets.train.shape[-1])
    sizes = [float(case.sets.train.shape[-1]) for case in by_size]
    lines = {name: (sizes, [case.error(name, 2) for case in by_size]) for name in ("KoopGen", *RIVALS)}
    numbers = "; ".join(f"D = {int(size)}: {case.margin(2):.2f}" for size, case in zip(sizes, by_size))
    return curves(
        "lorenz96-dimension", lines, "Lorenz-96 at twice the training horizon", ("number of sites D", "RMSE"),
        f"Error at twice the training horizon over the dimension. The better rival's error over KoopGen's: {numbers}.",
        log=False, marker="o",
    )  # fmt: skip


def _maps(case: Case) -> Figure:
    system = get_system(case.name)
    assert isinstance(system, KuramotoSivashinsky)
    panels = [SpaceTime("truth", case.sets.test[0].cpu())]
    panels += [SpaceTime(name, found.forecasts[0].cpu()) for name, found in case.judged.items()]
    return space_time_maps(
        case.name.replace("_", "-"), panels, case.sets.dt, system.length, f"Kuramoto–Sivashinsky, L = {system.length:g}",
        "Space–time maps of one trajectory and of its forecasts from the first state. RMSE at the training horizon: "
        + "; ".join(f"{name} {case.error(name):.2f}" for name in case.judged) + ".",
    )  # fmt: skip
