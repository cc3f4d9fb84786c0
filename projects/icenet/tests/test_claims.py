"""The claims: they exist at all scales, their conditions can fail, training and data are the same for every network."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import icenet.claims
from icenet.claims import accuracy, adaptivity, error_rate, generalisation, memory, stability, tradeoff
from icenet.claims.budget import ALONE, BUDGETS
from icenet.claims.formulas import EXACT, LS
from icenet.claims.networks import explicit, implicit_objective
from icenet.claims.scores import settles
from icenet.claims.setting import PREDECESSOR, SNRS, V2X, Setting, Stream, draw_tests, setting_for
from icenet.claims.training import (
    RATES,
    Outcome,
    Recipe,
    Training,
    contest,
    derive,
    device_for,
    in_words,
    seeded,
)
from icenet.estimators.reesnet import ReEsNetBilinear
from tenfold.claims import Scale, collect

CPU = torch.device("cpu")
CLAIMS = collect(icenet.claims)


def test_the_seven_claims_exist_at_all_four_scales() -> None:
    assert sorted(CLAIMS) == [f"C{i}" for i in range(1, 8)]
    assert all(claim.scales == tuple(Scale) for claim in CLAIMS.values())
    assert all(claim.published is None for claim in CLAIMS.values())  # the paper has no table of numbers


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_gpu_scales_never_fall_back_to_the_cpu(name: str, scale: Scale) -> None:
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        CLAIMS[name](scale, 0)


def test_claim_seeds_share_no_other_seed() -> None:
    assert not set(derive(0, 5)) & set(derive(1, 5))
    assert device_for(Scale.CPU) == CPU


def test_the_paper_scale_is_the_predecessors_recipe() -> None:
    recipe = BUDGETS[Scale.PAPER].recipe
    assert recipe.steps * recipe.batch_size == pytest.approx(100 * 125_000, rel=1e-3)
    assert setting_for(Scale.PAPER) == PREDECESSOR
    assert setting_for(Scale.CPU) == V2X
    assert ALONE in RATES


def test_criteria_in_words() -> None:
    assert in_words(["a_at_least_2", "b"]) == "a at least 2; b"


# C1 ----------------------------------------------------------------------------------------------------------------------


def curve(nmse: dict[int, float]) -> list[tradeoff.Point]:
    return [tradeoff.Point(1e-4, tau, error, tau, 1.0, 1e5 * (1 + tau)) for tau, error in nmse.items()]


GOOD_CAPS = {2: -10.0, 3: -12.0, 8: -14.0, 30: -14.0}
TOLERANCES = [
    tradeoff.Point(1e-2, 30, -13.95, 10, 1, 1e6),
    tradeoff.Point(1e-4, 30, -14.0, 24, 1, 2e6),
]
TRACES = [torch.tensor([[0.5, 1e-3, math.nan]] * 19 + [[0.5, 0.2, 0.1]])]


def test_conditions_of_the_tradeoff_hold_for_results_that_meet_them() -> None:
    assert all(tradeoff.verdict(curve(GOOD_CAPS), TOLERANCES, TRACES).values())


@pytest.mark.parametrize(
    ("caps", "tolerances", "traces", "fails"),
    [
        (GOOD_CAPS | {8: -11.8}, TOLERANCES, TRACES, "NMSE_never_rises_by_more_than_0.1_dB_with_tau"),
        (GOOD_CAPS | {2: -13.6}, TOLERANCES, TRACES, "NMSE_at_tau_2_at_least_0.5_dB_worse_than_converged"),
        (GOOD_CAPS, TOLERANCES[1:], TRACES, "within_0.1_dB_at_half_of_the_evaluations"),
        (GOOD_CAPS, TOLERANCES, [TRACES[0][1:]], "95_percent_reach_1e-2_within_30"),
    ],
)
def test_each_condition_of_the_tradeoff_can_fail(
    caps: dict[int, float], tolerances: list[tradeoff.Point], traces: list[Tensor], fails: str
) -> None:
    verdict = tradeoff.verdict(curve(caps), tolerances, traces)
    assert fails in [name for name, held in verdict.items() if not held]


def test_the_curve_is_read_between_its_points_on_a_logarithmic_axis() -> None:
    points = curve({1: -10.0, 3: -12.0})  # 2e5 and 4e5 MACs
    assert tradeoff.error_at(points, 2e5 * math.sqrt(2)) == pytest.approx(-11)
    assert tradeoff.error_at(points, 1e9) == -12
    assert tradeoff.error_at(points, 1.9e5) == -10
    assert tradeoff.error_at(points, 1e5) == math.inf


def test_the_widest_stack_just_fits() -> None:
    width = tradeoff.widest(V2X, 2, 1, 6068)
    counts = [
        sum(p.numel() for p in tradeoff.StackedCE("nr_v2x_15", 2, width + i).parameters()) for i in (0, 1)
    ]
    assert counts[0] <= 6068 < counts[1]


# C2 ----------------------------------------------------------------------------------------------------------------------


def aware(share: float = 0.5, loss: float = 0.05) -> adaptivity.Aware:
    return adaptivity.Aware(0.1, {0.0: 20 * share, 25.0: 20.0}, {0.0: loss, 25.0: 0.0})


RISING = {0.0: 20.0, 5.0: 21.0, 10.0: 22.0, 25.0: 24.0}


@pytest.mark.parametrize("means", [RISING, {snr: -n + 50 for snr, n in RISING.items()}])
def test_adaptivity_holds_in_either_direction(means: dict[float, float]) -> None:
    assert all(adaptivity.verdict(means, aware()).values())


@pytest.mark.parametrize(
    ("means", "found"),
    [
        ({0.0: 20.0, 5.0: 24.0, 10.0: 20.0, 25.0: 24.0}, aware()),
        ({0.0: 20.0, 5.0: 20.1, 10.0: 20.2, 25.0: 20.3}, aware()),
        (dict.fromkeys(RISING, 20.0), aware()),
        (RISING, aware(share=0.61)),
        (RISING, aware(loss=0.11)),
    ],
)
def test_adaptivity_can_fail(means: dict[float, float], found: adaptivity.Aware) -> None:
    assert not all(adaptivity.verdict(means, found).values())


def test_rank_correlation_and_its_direction() -> None:
    assert adaptivity.spearman(RISING) == pytest.approx(1)
    assert adaptivity.spearman({0.0: 1.0, 1.0: 3.0, 2.0: 2.0}) == pytest.approx(0.5)
    assert adaptivity.spearman({0.0: 1.0, 1.0: 1.0}) == 0
    assert adaptivity.direction(-1) == "more evaluations at low SNR"
    assert adaptivity.direction(1) == "more evaluations at high SNR"
    assert adaptivity.direction(0.5) == "no clear direction"


# C3 ----------------------------------------------------------------------------------------------------------------------


def test_memory_conditions_can_fail() -> None:
    first, last = memory.Depth(5, 100, 1000, 1000, 1000, 100), memory.Depth(50, 100, 1005, 1000, 6000, 100)
    assert all(memory.verdict(first, last, {100}, on_device=False).values())
    assert not all(memory.verdict(first, replace(last, implicit=1011), {100}, on_device=False).values())
    assert not all(memory.verdict(first, replace(last, unrolled=5000), {100}, on_device=False).values())
    assert not all(memory.verdict(first, last, {100, 101}, on_device=False).values())
    assert not all(memory.verdict(first, replace(last, implicit=1100), {100}, on_device=True).values())
    assert all(memory.verdict(first, last, {100}, on_device=True).values())


# C4 ----------------------------------------------------------------------------------------------------------------------


def row(shift: float) -> dict[float, float]:
    return {snr: shift - 0.6 * snr for snr in SNRS}


def accurate(**change: dict[float, float]) -> dict[str, dict[float, float]]:
    names = {
        "ICENet": row(-8.0),
        accuracy.RIVAL: row(-8.2),
        "ReEsNet": row(-7.9),
        LS: row(-3.0),
        EXACT: row(-9.0),
    }
    return names | {"InterpolationResNet": row(-7.5)} | change


PARAMETERS = {"ICENet": 6068, accuracy.RIVAL: 21474}


def test_conditions_of_accuracy_hold_for_results_that_meet_them() -> None:
    assert all(accuracy.verdict(accurate(), PARAMETERS).values())
    assert all(accuracy.full_verdict(accurate()).values())


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        ({LS: row(-4.5)}, PARAMETERS),
        ({LS: {**row(-3.0), 10.0: -12.1}}, PARAMETERS),
        ({accuracy.RIVAL: row(-8.6)}, PARAMETERS),
        ({}, PARAMETERS | {"ICENet": 9700}),
    ],
)
def test_each_condition_of_accuracy_can_fail(
    change: dict[str, dict[float, float]], parameters: dict[str, int]
) -> None:
    verdict = accuracy.verdict(accurate(**change), parameters)
    assert list(verdict.values()).count(False) == 1


@pytest.mark.parametrize(
    "change", [{"ReEsNet": row(-8.1)}, {"InterpolationResNet": row(-8.1)}, {EXACT: row(-9.6)}]
)
def test_each_further_condition_of_accuracy_can_fail(change: dict[str, dict[float, float]]) -> None:
    assert list(accuracy.full_verdict(accurate(**change)).values()).count(False) == 1


# C5 ----------------------------------------------------------------------------------------------------------------------


def settled(share: float, radius: float = 0.9) -> stability.Settled:
    trace = torch.full((100, 3), 0.5)
    trace[: round(100 * share), 2] = 1e-4
    return stability.Settled(radius, trace, -10.0)


def stable(**change: stability.Settled) -> dict[str, stability.Settled]:
    found = {
        stability.CONTRACTIVE: settled(1.0),
        stability.REGULARISED: settled(0.97),
        stability.FREE: settled(0.1),
    }
    return found | change


def test_conditions_of_stability_hold_for_results_that_meet_them() -> None:
    assert all(stability.verdict(stable(), full=True).values())


@pytest.mark.parametrize(
    "change",
    [
        {stability.CONTRACTIVE: settled(0.9)},
        {stability.CONTRACTIVE: settled(1.0, radius=1.0)},
        {stability.REGULARISED: settled(0.97, radius=math.nan)},
        {stability.REGULARISED: settled(0.94)},
        {stability.FREE: settled(0.78)},
    ],
)
def test_stability_can_fail(change: dict[str, stability.Settled]) -> None:
    assert not all(stability.verdict(stable(**change), full=False).values())


def test_stability_at_gpu_asks_for_more() -> None:
    found = stable(**{stability.CONTRACTIVE: settled(0.98)})
    assert all(stability.verdict(found, full=False).values())
    assert not all(stability.verdict(found, full=True).values())


def test_the_implicit_gradient_agrees_with_the_dense_solve() -> None:
    assert stability.gradient_error(0) < 1e-6


# C6 ----------------------------------------------------------------------------------------------------------------------


def test_degradation_is_measured_from_the_training_channel_and_may_exceed_the_rivals_by_half_a_decibel() -> (
    None
):
    rival = generalisation.Found(-12.0, -14.0, {"ETU": -9.0}, {1400.0: -11.0})
    ours = generalisation.Found(-11.0, -13.0, {"ETU": -7.6}, {1400.0: -9.6})
    assert ours.degradations == pytest.approx({"ETU": 3.4, "1400 Hz": 3.4})
    found = {"ICENet": ours, generalisation.RIVAL: rival}
    assert all(generalisation.verdict(found).values())
    found["ICENet"] = replace(ours, dopplers={1400.0: -9.4})
    assert [name for name, held in generalisation.verdict(found).items() if not held] == [
        "degradation_at_1400_Hz_at_most_ReEsNet_plus_0.5_dB"
    ]


# C7 ----------------------------------------------------------------------------------------------------------------------


def rates(perfect: float, others: dict[str, float]) -> error_rate.Rates:
    noise = torch.linspace(-1, 1, 101, dtype=torch.float64) * 1e-3
    row = {error_rate.PERFECT: perfect + noise, **{name: value + noise for name, value in others.items()}}
    return {("QPSK", "zf", 10.0): row}


def test_theory_and_order_can_fail() -> None:
    theory = error_rate.rayleigh_ber(10.0, 4)
    ordered = {EXACT: theory + 0.01, "ICENet": theory + 0.02, LS: theory + 0.03}
    order = (error_rate.PERFECT, EXACT, "ICENet", LS)
    assert error_rate.matches_theory(rates(theory, ordered))[
        "QPSK_with_perfect_knowledge_matches_theory_within_3_sigma"
    ]
    assert not error_rate.matches_theory(rates(theory + 0.01, ordered))[
        "QPSK_with_perfect_knowledge_matches_theory_within_3_sigma"
    ]
    assert all(error_rate.is_ordered(rates(theory, ordered), order).values())
    swapped = ordered | {"ICENet": theory + 0.005}
    assert not all(error_rate.is_ordered(rates(theory, swapped), order).values())


# The paths ---------------------------------------------------------------------------------------------------------------


def small() -> ReEsNetBilinear:
    return ReEsNetBilinear("nr_v2x_15", channels=2, blocks=1)


def test_accuracy_path_on_small_networks() -> None:
    tests = draw_tests(V2X, 6, 2)
    contenders = [explicit(name, small) for name in ("ICENet", accuracy.RIVAL)]
    outcomes = {one.name: contest(one, V2X, Recipe(2, 4, (1e-3,)), 0, CPU, None) for one in contenders}
    measurement = accuracy.report(V2X, tests, outcomes, {"settled": True}, full=False)
    assert not measurement.passed
    assert [table.name for table in measurement.tables] == ["nmse"]
    assert [figure.name for figure in measurement.figures] == ["nmse-snr", "channel"]
    assert {line[0] for line in measurement.tables[0].rows} >= {"ICENet", LS, EXACT}
    assert measurement.ours == pytest.approx(measurement.baseline)  # the same network under two names


def test_generalisation_path_on_small_networks() -> None:
    outcome = Outcome("ICENet", seeded(0, small), 1, 1e-3, (), Training((1.0,), None, 1.0))
    outcomes = {"ICENet": outcome, generalisation.RIVAL: outcome}
    estimators = {name: one.model for name, one in outcomes.items()}
    effort = generalisation.Effort((0.0, 10.0), (0.0, 1400.0))
    found = generalisation.measure(V2X, estimators, effort, 4, 0, CPU)
    measurement = generalisation.report(found, outcomes, {"settled": True}, smoke=False)
    assert measurement.passed  # nothing degrades more than itself
    assert not generalisation.report(found, outcomes, {"settled": False}, smoke=False).passed
    assert measurement.values["ICENet/degradation at ETU"] is not None


def test_objectives_weigh_the_penalty() -> None:
    slots = Stream(V2X, 3, 0)()
    options = {"cell": "resnet", "solver": stability.SolverConfig(tau=4, on_diverge="best")}
    free, regularised = (
        seeded(0, lambda g=g: stability.ICENet("nr_v2x_15", 8, jac_reg=g, **options)).train()
        for g in (0.0, 10.0)  # type: ignore[misc,arg-type]
    )
    assert implicit_objective(regularised, slots) > implicit_objective(free, slots)


def test_a_network_that_does_not_settle_fails_the_claims() -> None:
    tests = draw_tests(V2X, 4, 0, (10.0,))
    options = {"cell": "resnet", "solver": {"on_diverge": "best"}}
    settled = seeded(0, lambda: stability.ICENet("nr_v2x_15", 8)).eval()
    wild = seeded(0, lambda: stability.ICENet("nr_v2x_15", 8, **options)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for conv in (wild.layer.f.conv1, wild.layer.f.conv2):  # type: ignore[union-attr]
            conv.weight.mul_(100)  # type: ignore[union-attr,operator]
    name = "95_percent_reach_1e-2_within_30"
    assert (settles(settled, tests), settles(wild, tests)) == ({name: True}, {name: False})
    with pytest.raises(TypeError, match="ReEsNetBilinear has no equilibrium to look at"):
        settles(small(), tests)


@pytest.mark.parametrize("full", [False, True])
def test_tradeoff_path(full: bool) -> None:
    budget = replace(BUDGETS[Scale.CPU], recipe=Recipe(2, batch_size=4))
    tests = draw_tests(V2X, 4, 0, tradeoff.SNRS)
    measurement = tradeoff.comparison(budget, V2X, tests, tests, 0, full=full)
    names = [row[0] for row in measurement.tables[2].rows]
    assert names[:5] == ["ICENet", *(f"StackedCE({n})" for n in (1, 2, 4, 8))]
    assert len(names) == (10 if full else 5)
    assert [figure.name for figure in measurement.figures] == ["residual-per-iteration", "macs-nmse"]
    if full:
        ours = measurement.tables[2].rows[0][1]
        assert all(
            row[1] <= ours for row in measurement.tables[2].rows[6:]
        )  # as wide as ICENet's parameters allow


def test_adaptivity_and_stability_paths() -> None:
    tests = draw_tests(V2X, 4, 0)
    recipe = Recipe(2, batch_size=4, rates=(ALONE,))
    outcomes = {
        one.name: contest(one, V2X, recipe, 0, CPU, None) for one in stability.contenders(V2X, "tiny")
    }
    found = {name: stability.settle(one, tests, radii=2) for name, one in outcomes.items()}
    assert all(len(one.trace) == 4 * len(SNRS) for one in found.values())
    assert stability.report(found, outcomes, full=True).figures[0].name == "residual-cells"
    model = outcomes[stability.CONTRACTIVE].model
    measurement = adaptivity.report(model, tests, tests, failure="a loss")  # type: ignore[arg-type]
    assert not measurement.passed
    assert len(measurement.tables[0].rows) == len(SNRS)


def test_memory_path() -> None:
    rows = [memory.measure_depth(tau, 2, "tiny", Setting(), 0, CPU) for tau in (5, 20)]
    measurement = memory.report(rows, on_device=False)
    assert measurement.values["parameters_identical_for_all_depths"] is True
    assert measurement.ours == pytest.approx(1, abs=0.01)
    assert measurement.baseline > 2
