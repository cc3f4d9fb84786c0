"""C1: accuracy against computation at run time through ε and τ, with one set of weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..estimators.base import NetworkEstimator
from ..estimators.icenet import ICENet
from ..estimators.stacked import StackedCE
from ..figures import cost_against_error, residual_per_iteration
from ..implicit.solvers import SolverConfig
from .budget import ALONE, BUDGETS, Budget
from .networks import icenet, plain_objective
from .scores import Solved, average, finite, joined, judge, nmse_in_db, solve_slots, validation_score
from .setting import Setting, Tests, draw_tests, setting_for
from .training import Contender, Outcome, contest, count_parameters, derive, device_for, in_words, seeded

SNRS = (0.0, 10.0, 20.0)
"""The NMSE of this claim is averaged over these, in dB."""

CAPS = (2, 3, 4, 6, 8, 12, 20, 30)
TOLERANCES = (3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
FINEST = 1e-4


@claim(
    "C1",
    "Accuracy against computation at run time: ε and τ of one set of weights",
    source="abstract: accuracy against computation through the tolerance and the iteration cap",
)
def run_time_tradeoff(scale: Scale, seed: int) -> Measurement:
    """NMSE averaged over 0, 10 and 20 dB.

    smoke: random contractive cell: first-hit NFE strictly ordered for ε = 1e-1, 1e-2, 1e-3 in every slot; ε = 0 uses exactly
    τ; residual of the plain iteration never grows.
    cpu (trained tiny): NMSE(τ) non-increasing within 0.1 dB over τ in {2, 3, 4, 6, 8, 12, 20, 30}; NMSE at τ = 2 at least 0.5 dB
    worse than converged; some ε reaches within 0.1 dB of converged with at most half of the NFE of ε = 1e-4; at least 95 % of the
    slots reach ε = 1e-2 within τ = 30. StackedCE(1, 2, 4, 8), trained at the same rate, is shown without a condition.
    gpu, paper (base): the same; at least 99 % reach 1e-3 within 40; at equal MACs nowhere more than 0.5 dB behind
    StackedCE(1, 2, 4, 8, 16), each with its own search of the rate, ICENet too; at equal parameters ahead everywhere:
    of every StackedCE(n) as wide as ICENet's parameters allow."""
    budget, setting, device = BUDGETS[scale], setting_for(scale), device_for(scale)
    run, validation, test = derive(seed, 3)
    if scale == Scale.SMOKE:
        return smoke(setting, run)
    full = scale in (Scale.GPU, Scale.PAPER)
    tests = draw_tests(setting, budget.tests, test, SNRS, device)
    choose = draw_tests(setting, budget.validation, validation, SNRS, device)
    return comparison(budget, setting, tests, choose, run, full=full)


# smoke -------------------------------------------------------------------------------------------------------------------


def smoke(setting: Setting, seed: int, count: int = 32) -> Measurement:
    slots = draw_tests(setting, count, seed, (10.0,))[10.0]
    model = seeded(seed, lambda: ICENet.of_size("tiny", setting.config))
    counts = {eps: solve_slots(model, slots, eps=eps).nfe for eps in (1e-1, 1e-2, 1e-3)}
    forced = solve_slots(model, slots, eps=0.0, tau=12)
    plain = SolverConfig(method="fixed_point")
    iterated = seeded(seed, lambda: ICENet.of_size("tiny", setting.config, solver=plain))
    trace = solve_slots(iterated, slots, eps=0.0, tau=12).trace
    conditions = {
        "counts_strictly_ordered_for_1e-1_1e-2_1e-3": bool(
            (counts[1e-1] < counts[1e-2]).all() and (counts[1e-2] < counts[1e-3]).all()
        ),
        "tolerance_0_uses_exactly_tau": bool((forced.nfe == 12).all()) and forced.trace.shape[1] == 12,
        # round-off stops the fall near the precision of float32
        "residual_of_the_plain_iteration_never_grows": bool((trace[:, 1:] <= trace[:, :-1] + 1e-6).all()),
    }
    return Measurement(
        quantity="mean evaluations at ε = 1e-3, random contractive cell",
        ours=float(counts[1e-3].double().mean()),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **{f"NFE at {eps:g}": float(n.double().mean()) for eps, n in counts.items()}},
        figures=[
            _residual_picture({"ICENet": forced.trace, "plain iteration": trace}, 1e-3, "a random cell")
        ],
    )


# cpu and above -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One choice of ε and τ: NMSE in dB averaged over the SNRs, mean evaluations, converged share, MACs a slot."""

    eps: float
    tau: int
    nmse: float
    nfe: float
    converged: float
    macs: float


def measure_point(model: ICENet, tests: Tests, eps: float, tau: int) -> tuple[Point, list[Solved]]:
    """Solve all tests at ε and τ."""
    solved = [solve_slots(model, slots, eps=eps, tau=tau) for slots in tests.values()]
    error = average({snr: nmse_in_db(found.h, tests[snr].h) for snr, found in zip(tests, solved)})
    nfe = sum(found.mean_nfe for found in solved) / len(solved)
    converged = sum(found.converged_share for found in solved) / len(solved)
    return Point(eps, tau, error, nfe, converged, float(model.macs(nfe))), solved


def comparison(
    budget: Budget, setting: Setting, tests: Tests, choose: Tests, seed: int, full: bool
) -> Measurement:
    device = next(iter(tests.values())).h.device
    recipe = budget.recipe if full else replace(budget.recipe, rates=(ALONE,))
    score = validation_score(choose)
    ours = contest(icenet(setting, budget.size), setting, recipe, seed, device, score)
    model = ours.model
    if not isinstance(model, ICENet):
        raise TypeError(f"the contender ICENet built a {type(model).__name__}")
    finest, solved = measure_point(model, tests, FINEST, 40 if full else 30)
    by_tolerance = [measure_point(model, tests, eps, finest.tau)[0] for eps in TOLERANCES] + [finest]
    by_cap = [measure_point(model, tests, FINEST, tau)[0] for tau in CAPS]
    rivals = [contest(rival, setting, recipe, seed, device, score) for rival in stacks(model, setting, full)]
    errors = {rival.name: average(judge(rival.model, tests)) for rival in rivals}
    conditions = verdict(by_cap, by_tolerance, [found.trace for found in solved])
    if full:
        by_cap = [measure_point(model, tests, FINEST, 1)[0], *by_cap]  # as cheap as one explicit block
        conditions |= full_verdict(by_cap, ours, rivals, errors, [found.trace for found in solved])
    conditions["no_network_failed"] = not any(one.training.failure for one in (ours, *rivals))
    cheapest = cheapest_within(by_tolerance, 0.1)
    return Measurement(
        quantity="evaluations within 0.1 dB of converged; baseline: those of ε = 1e-4",
        ours=cheapest.nfe if cheapest else None,
        baseline=finest.nfe,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=_values(conditions, by_cap, by_tolerance, solved),
        tables=[
            _points_table("tolerance", by_tolerance),
            _points_table("cap", by_cap),
            _stacks_table(ours, by_tolerance[-1], rivals, errors),
        ],
        figures=[
            _residual_picture({"ICENet": joined([found.trace for found in solved])}, 1e-2, "trained ICENet"),
            _pareto(by_cap, rivals, errors),
        ],
    )


def stacks(model: ICENet, setting: Setting, full: bool) -> list[Contender]:
    """StackedCE at ICENet's width; at the full scales also as wide as ICENet's parameters allow."""
    channels, convs = model.config["channels"], model.config["input_convs"]

    def contender(n: int, width: int, name: str) -> Contender:
        return Contender(
            name, lambda: StackedCE(setting.config, n, width, input_convs=convs), plain_objective
        )

    depths = (1, 2, 4, 8, 16) if full else (1, 2, 4, 8)
    found = [contender(n, channels, f"StackedCE({n})") for n in depths]
    for n in depths[1:] if full else ():
        width = widest(setting, n, convs, count_parameters(model))
        found.append(contender(n, width, f"StackedCE({n}), {width} channels"))
    return found


def widest(setting: Setting, n: int, input_convs: int, parameters: int) -> int:
    """The largest width at which StackedCE(n) has at most `parameters`."""
    width = 1
    while count_parameters(StackedCE(setting.config, n, width + 1, input_convs=input_convs)) <= parameters:
        width += 1
    return width


def verdict(
    by_cap: Sequence[Point], by_tolerance: Sequence[Point], traces: Sequence[torch.Tensor]
) -> dict[str, bool]:
    """The conditions of the cpu scale; the last of `by_tolerance` is the finest."""
    finest = by_tolerance[-1]
    cheapest = cheapest_within(by_tolerance, 0.1)
    at_two = next(point for point in by_cap if point.tau == 2)
    return {
        "NMSE_never_rises_by_more_than_0.1_dB_with_tau": all(
            b.nmse <= a.nmse + 0.1 for a, b in pairwise(by_cap)
        ),
        "NMSE_at_tau_2_at_least_0.5_dB_worse_than_converged": at_two.nmse >= finest.nmse + 0.5,
        "within_0.1_dB_at_half_of_the_evaluations": cheapest is not None and cheapest.nfe <= 0.5 * finest.nfe,
        "95_percent_reach_1e-2_within_30": reached(traces, 1e-2, 30) >= 0.95,
    }


def full_verdict(
    by_cap: Sequence[Point],
    ours: Outcome,
    rivals: Sequence[Outcome],
    errors: Mapping[str, float],
    traces: Sequence[torch.Tensor],
) -> dict[str, bool]:
    """The further conditions of gpu and paper."""
    best = by_cap[-1].nmse
    wide = [one for one in rivals if one.parameters > ours.parameters or one.name == "StackedCE(1)"]
    narrow = [one for one in rivals if one.parameters <= ours.parameters]
    return {
        "99_percent_reach_1e-3_within_40": reached(traces, 1e-3, 40) >= 0.99,
        "at_equal_MACs_at_most_0.5_dB_behind_StackedCE": all(
            error_at(by_cap, stack_macs(one.model)) <= errors[one.name] + 0.5 for one in wide
        ),
        "ahead_of_StackedCE_at_equal_parameters": all(best < errors[one.name] for one in narrow),
    }


def reached(traces: Sequence[torch.Tensor], eps: float, tau: int) -> float:
    """Share of the slots whose residual falls below ε within τ evaluations."""
    hits = torch.cat([(trace[:, :tau] < eps).any(1) for trace in traces])  # NaN, after the end, is no hit
    return float(hits.double().mean())


def cheapest_within(points: Sequence[Point], margin: float) -> Point | None:
    """The point of fewest evaluations within `margin` dB of the last one, the finest."""
    near = [point for point in points if point.nmse <= points[-1].nmse + margin]
    return min(near, key=lambda point: point.nfe) if near else None


def error_at(points: Sequence[Point], macs: float) -> float:
    """NMSE of the curve at a cost: linear in log MACs; infinite below its first point, the last one's beyond the end.

    A tenth below the first point still counts as it: the solver's own products come on top of those of the block.
    """
    line = sorted(points, key=lambda point: point.macs)
    if macs < line[0].macs:
        return line[0].nmse if macs >= 0.9 * line[0].macs else math.inf
    for a, b in pairwise(line):
        if a.macs <= macs <= b.macs and b.macs > a.macs:
            share = math.log(macs / a.macs) / math.log(b.macs / a.macs)
            return a.nmse + share * (b.nmse - a.nmse)
    return line[-1].nmse


def stack_macs(model: NetworkEstimator) -> float:
    """Multiply-accumulates a slot of an explicit network."""
    if not isinstance(model, StackedCE):
        raise TypeError(f"{type(model).__name__} does not count its multiply-accumulates")
    return float(model.macs)


# Report ------------------------------------------------------------------------------------------------------------------


def _values(
    conditions: Mapping[str, bool],
    by_cap: Sequence[Point],
    by_tolerance: Sequence[Point],
    solved: Sequence[Solved],
) -> dict[str, Value]:
    traces = [found.trace for found in solved]
    values: dict[str, Value] = dict(conditions)
    values |= {f"NMSE at τ = {point.tau}": finite(point.nmse) for point in by_cap}
    values |= {f"NFE at ε = {point.eps:g}": point.nfe for point in by_tolerance}
    values |= {
        f"share below {eps:g}": reached(traces, eps, by_tolerance[-1].tau) for eps in (1e-2, 1e-3, 1e-4)
    }
    return values


def _points_table(name: str, points: Sequence[Point]) -> Table:
    columns = ("ε", "τ", "NMSE (dB)", "mean evaluations", "converged share", "MACs a slot")
    return Table(
        name, columns, tuple((p.eps, p.tau, finite(p.nmse), p.nfe, p.converged, p.macs) for p in points)
    )


def _stacks_table(
    ours: Outcome, finest: Point, rivals: Sequence[Outcome], errors: Mapping[str, float]
) -> Table:
    columns = ("network", "parameters", "MACs a slot", "NMSE (dB)", "rate", "training (s)")
    rows: list[tuple[Value, ...]] = [
        (ours.name, ours.parameters, finest.macs, finite(finest.nmse), ours.rate, ours.training.seconds)
    ]
    for one in rivals:
        cost = stack_macs(one.model)
        rows.append(
            (one.name, one.parameters, cost, finite(errors[one.name]), one.rate, one.training.seconds)
        )
    return Table("networks", columns, tuple(rows))


def _residual_picture(traces: Mapping[str, torch.Tensor], eps: float, what: str) -> Figure:
    return residual_per_iteration(
        "residual-per-iteration",
        {label: trace.cpu() for label, trace in traces.items()},
        f"How {what} settles",
        f"Relative residual over the evaluations of the block, {what}: median and the middle nine tenths of the slots.",
        eps,
    )


def _pareto(by_cap: Sequence[Point], rivals: Sequence[Outcome], errors: Mapping[str, float]) -> Figure:
    line = sorted(by_cap, key=lambda point: point.macs)
    return cost_against_error(
        "macs-nmse",
        ("ICENet, one set of weights", ([p.macs for p in line], [p.nmse for p in line])),
        {one.name: (stack_macs(one.model), errors[one.name]) for one in rivals},
        "Cost against error",
        "NMSE over multiply-accumulates a slot: one ICENet at growing τ as a curve, explicit stacks as points. "
        + "; ".join(f"τ = {p.tau}: {p.nmse:.2f} dB" for p in line),
    )
