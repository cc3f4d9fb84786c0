"""The claims: they exist at all scales, their paths run on small sizes, their conditions can fail, seeds are honest."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import koopgen.claims
from koopgen.baselines import LRAN
from koopgen.claims import cost, high_dimension, lorenz, pendulum, structure
from koopgen.claims.samples import Sizes, make_sets
from koopgen.claims.scores import Judged, judge_forecasts, valid_time_score
from koopgen.claims.training import (
    Batches,
    Contender,
    Outcome,
    Recipe,
    Sets,
    Training,
    contest,
    derive,
    device_for,
    forecast,
    pretrain,
    seeded,
    train,
)
from koopgen.generators import CartesianGenerator
from koopgen.metrics import ValidTime
from koopgen.model import KoopGen
from tenfold.claims import Scale, collect

CPU = torch.device("cpu")
CLAIMS = collect(koopgen.claims)
TINY = Sizes(12, 30, 4, 19, 6, 24)


@pytest.fixture(scope="module")
def swings() -> Sets:
    return make_sets("pendulum", TINY, 0, 1.17)


def test_the_seven_claims_exist_at_all_four_scales() -> None:
    assert sorted(CLAIMS) == [f"K{i}" for i in range(1, 8)]
    assert all(claim.scales == tuple(Scale) for claim in CLAIMS.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_gpu_scales_never_fall_back_to_the_cpu(name: str, scale: Scale) -> None:
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        CLAIMS[name](scale, 0)


def test_claim_seeds_share_no_other_seed() -> None:
    assert not set(derive(0, 5)) & set(derive(1, 5))
    assert device_for(Scale.CPU) == CPU


# The data and the training that all models share -----------------------------------------------------------------------


def test_the_three_parts_are_different_draws_with_a_history_of_their_own() -> None:
    sets = make_sets("pendulum", replace(TINY, history=5), 3, 1.17)
    assert [tuple(part.shape) for part in sets[:3]] == [(12, 31, 2), (4, 20, 2), (6, 25, 2)]
    assert sets.history is not None
    torch.testing.assert_close(sets.history[:, -1], sets.test[:, 0], rtol=0, atol=0)
    starts = torch.cat([part[:, 0] for part in sets[:3]])
    assert len(starts.unique(dim=0)) == len(starts)
    assert (sets.lyapunov, sets.dt, sets.sigma) == (0.0, 0.05, 1.17)


def test_windows_are_pieces_of_the_trajectories_and_follow_the_seed() -> None:
    x = torch.arange(40.0).reshape(2, 20, 1)
    first, again, other = (Batches(x, 5, 50, seed) for seed in (0, 0, 1))
    windows = first()
    assert torch.equal(windows, again())
    assert not torch.equal(windows, other())
    assert (windows.diff(dim=1) == 1).all()  # consecutive samples of one trajectory
    assert {0.0, 15.0, 20.0, 35.0} <= set(windows[..., 0][:, 0].tolist()) | {0.0, 15.0, 20.0, 35.0}
    assert windows[:, 0].max() <= 35
    with pytest.raises(ValueError, match="window is 21 samples long, but the trajectories have 20"):
        Batches(x, 21, 1, 0)


def lran(**options: object) -> Contender:
    return Contender("LRAN", lambda: LRAN(2, 2, dt=0.05, hidden=8, **options))


def test_training_ignores_and_keeps_the_global_random_state(swings: Sets) -> None:
    recipe = Recipe(3, window=8, batch_size=4, pretrain_steps=2)

    def run() -> tuple[float, ...]:
        model = seeded(0, lambda: KoopGen(2, 2, dt=0.05, hidden=8))
        pretrain(model, swings.train, recipe, 0)
        return train(model, swings.train, recipe, 1e-2, 0, 3).losses

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert run() == first


def test_a_contest_chooses_the_best_candidate_and_trains_it_from_the_warm_start(swings: Sets) -> None:
    recipe = Recipe(8, window=8, batch_size=4, pretrain_steps=5, rates=(1e-6, 1e-2))
    tried: list[Tensor] = []

    def score(model: LRAN, x: Tensor) -> float:
        tried.append(model.encoder.layers[0].weight.detach().clone())  # type: ignore[union-attr,operator]
        return float(len(tried))  # the later, the better

    outcome = contest(lran(), swings, recipe, 0, score)  # type: ignore[arg-type]
    assert (outcome.rate, outcome.scores) == (1e-2, (1.0, 2.0))
    assert len(outcome.training.losses) == 8
    assert not torch.equal(tried[0], tried[1])
    alone = contest(lran(), swings, replace(recipe, rates=(1e-2,)), 0, score)  # type: ignore[arg-type]
    assert alone.training.losses == outcome.training.losses  # the search has left no trace


def test_a_loss_that_is_not_finite_ends_a_training_and_fails_a_trial(swings: Sets) -> None:
    recipe = Recipe(5, window=8, batch_size=4, pretrain_steps=0, rates=(1e-3, 1e-2))
    bad = swings._replace(train=swings.train.clone())
    bad.train[:, 20:] = math.nan
    outcome = contest(lran(), bad, recipe, 0, lambda model, x: 0.0)
    assert outcome.failed
    assert outcome.scores == (-math.inf, -math.inf)
    assert "not finite at step" in str(outcome.training.failure)
    assert all(p.isfinite().all() for p in outcome.model.parameters())


def test_an_output_of_zero_is_a_failed_run(swings: Sets) -> None:
    def build() -> LRAN:
        model = LRAN(2, 2, dt=0.05, hidden=8)
        nn.init.zeros_(model.decoder.last.weight).requires_grad_(False)  # type: ignore[union-attr,arg-type]
        model.decoder.last.bias.requires_grad_(False)  # type: ignore[union-attr]
        return model

    recipe = Recipe(4, window=8, batch_size=4, pretrain_steps=0, rates=(1e-3,))
    outcome = contest(Contender("zero", build), swings, recipe, 0, lambda model, x: 0.0)
    assert outcome.training.prediction == pytest.approx(1)
    assert "collapsed" in str(outcome.training.failure)


# Scores ------------------------------------------------------------------------------------------------------------------


def test_perfect_forecasts_are_valid_to_the_end_and_divergent_ones_never(swings: Sets) -> None:
    perfect = judge_forecasts(swings.test.clone(), swings, 0.1)
    assert (perfect.valid.mean, perfect.valid.cap_share, perfect.diverged) == (perfect.valid.cap, 1.0, 0.0)
    assert perfect.error_at(1.0) == 0
    lost = judge_forecasts(torch.full_like(swings.test, math.nan), swings, 0.1)
    assert (lost.valid.mean, lost.diverged, lost.error_at(0.5)) == (0.0, 1.0, math.inf)
    with pytest.raises(ValueError, match="time 9 is index 180, the horizon has 25 samples"):
        perfect.error_at(9)


def test_the_score_prefers_the_longer_valid_time_then_the_smaller_error(
    swings: Sets, oscillator: Callable[..., KoopGen]
) -> None:
    score = valid_time_score(swings, 0.1)
    small = (
        0.1 * swings.validation.double()
    )  # a small swing is nearly the harmonic oscillator turning clockwise
    good, bad = oscillator(-1.0, 0.0, 0.05), oscillator(1.0, 0.0, 0.05)
    assert score(good, small) > score(bad, small)
    assert forecast(good, small[:, 0], 3).shape == (4, 4, 2)


# The conditions ----------------------------------------------------------------------------------------------------------


def judged(
    vpt: float, error: float = 0.3, cap: float = 15.0, diverged: float = 0.0, dt: float = 0.05
) -> Judged:
    times = torch.full((5,), vpt, dtype=torch.float64)
    return Judged(
        ValidTime(times, cap, 0.905), torch.full((300,), error), diverged, dt, torch.zeros(5, 300, 2)
    )


def outcome(failure: str | None = None) -> Outcome:
    return Outcome("any", nn.Identity(), 1, 1e-3, (), Training((1.0,), 0.1, failure, 1.0))  # type: ignore[arg-type]


LAW = pendulum.FrequencyLaw(torch.zeros(1), torch.zeros(1), 0.003, 0.999, 0.014, 0.012)


def pendulum_results() -> dict[str, Judged]:
    return {
        "KoopGen": judged(15.0, 0.3),
        "DeepKoopman": judged(12.0, 0.5),
        "LRAN": judged(3.0, 1.3),
        "ConstantGenerator": judged(3.0, 1.3),
    }


def test_conditions_of_the_pendulum_hold_for_results_that_meet_them() -> None:
    assert all(pendulum.verdict({"LRAN": outcome()}, pendulum_results(), LAW, full=False).values())


@pytest.mark.parametrize(
    ("model", "worse"),
    [
        ("KoopGen", judged(10.0, 0.3)),
        ("KoopGen", judged(15.0, 0.61)),
        ("LRAN", judged(8.0, 1.3)),
        ("ConstantGenerator", judged(3.0, 0.5)),
        ("DeepKoopman", judged(15.1, 0.5)),
        ("DeepKoopman", judged(12.0, 0.2)),
    ],
)
def test_each_condition_of_the_pendulum_can_fail(model: str, worse: Judged) -> None:
    results = pendulum_results() | {model: worse}
    assert not all(pendulum.verdict({"LRAN": outcome()}, results, LAW, full=False).values())


@pytest.mark.parametrize(
    "change", [{"median_error": 0.03}, {"correlation": math.nan}, {"late_energy_error": 1.0}]
)
def test_the_frequency_law_can_fail(change: dict[str, float]) -> None:
    verdict = pendulum.verdict({"LRAN": outcome()}, pendulum_results(), replace(LAW, **change), full=False)
    assert not all(verdict.values())


def test_a_failed_baseline_is_no_victory() -> None:
    verdict = pendulum.verdict({"LRAN": outcome("collapsed")}, pendulum_results(), LAW, full=False)
    assert [name for name, held in verdict.items() if not held] == ["no_model_failed"]


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, None),
        ({"KoopGen": 1.5}, "VPT_at_least_1.6"),
        ({"LRAN": 1.1}, "VPT_at_least_2x_LRAN"),
        ({"DeepKoopman": 1.8}, "VPT_at_least_1.15x_DeepKoopman"),
    ],
)
def test_conditions_of_lorenz(change: dict[str, float], fails: str | None) -> None:
    times = {"KoopGen": 2.0, "DeepKoopman": 1.4, "LRAN": 0.7} | change
    results = {name: judged(vpt / 0.905) for name, vpt in times.items()} | {lorenz.BOUNDED: judged(1.0)}
    verdict = lorenz.verdict({"LRAN": outcome()}, results, full=False)
    assert fails in ([name for name, held in verdict.items() if not held] or [None])
    results[lorenz.BOUNDED] = judged(1.0, diverged=0.1)
    assert not lorenz.verdict({"LRAN": outcome()}, results, full=False)["nonpositive_never_diverges"]


def test_conditions_of_high_dimension() -> None:
    results = {"KoopGen": judged(2.0, 1.0), "LRAN": judged(1.0, 1.2), "DeepKoopman": judged(1.0, 1.1)}
    sets = make_sets("lorenz96_d5", Sizes(2, 3, 1, 1, 1, 1), 0)
    case = high_dimension.Case("lorenz96_d5", sets, {}, results, 1.0)
    assert case.margin(1) == pytest.approx(1.1)
    assert all(high_dimension.errors_below(case).values())
    worse = replace(case, judged=results | {"LRAN": judged(1.0, 0.9)})
    assert not any(high_dimension.errors_below(worse).values())
    spread = ValidTime(torch.tensor([0.0, 4.0] * 50), 5.0)
    assert high_dimension.above(ValidTime(spread.times + 1, 5.0), spread)
    assert not high_dimension.above(ValidTime(spread.times + 0.3, 5.0), spread)


# The paths ---------------------------------------------------------------------------------------------------------------


def test_structure_holds_and_a_broken_one_is_seen() -> None:
    effort = structure.Effort((2,), 200)
    measurement = structure.measure(effort, 0, CPU)
    assert measurement.passed, measurement
    assert measurement.ours == 0
    torch.manual_seed(0)
    generator = CartesianGenerator(4, 2, 2, hidden=8).double().eval()
    z = structure.states(4, 0, CPU, torch.float64)
    assert structure.structure_residual(generator, z) == 0
    skew = generator.skew.structured
    generator.skew.structured = lambda c: skew(c) + 1e-9  # type: ignore[method-assign]
    assert structure.structure_residual(generator, z) == pytest.approx(2e-9, rel=1e-3)


def test_pendulum_path(swings: Sets) -> None:
    sizes = replace(TINY, test_steps=299)
    effort = pendulum.Effort(sizes, Recipe(2, window=8, batch_size=4, pretrain_steps=1), hidden=8)
    sets = make_sets("pendulum", sizes, 0, 1.17)
    measurement = pendulum.comparison(effort, sets, 0, full=True)
    assert not measurement.passed
    assert {row[0] for row in measurement.tables[0].rows} == set(pendulum.contenders(sets, effort))
    assert [figure.name for figure in measurement.figures] == ["pendulum-forecasts", "frequency-law"]


def test_the_law_is_read_off_true_trajectories() -> None:
    sets = make_sets("pendulum", Sizes(2, 3, 1, 1, 40, 299), 1, 1.17)
    law = pendulum.measure_law(judge_forecasts(sets.test, sets, 0.1), sets)
    assert law.median_error < 1e-3
    assert law.correlation > 0.999
    assert law.late_energy_error < 1e-4


def test_lorenz_path() -> None:
    pytest.importorskip("reservoirpy")
    sizes = Sizes(10, 40, 4, 39, 4, 60, 25)
    effort = lorenz.Effort(sizes, Recipe(2, window=8, batch_size=4, pretrain_steps=1), 8, 20, extra=True)
    measurement = lorenz.comparison(effort, make_sets("lorenz63", sizes, 0, 14.0), 0, full=False)
    assert not measurement.passed
    labels = [row[0] for row in measurement.tables[0].rows]
    assert labels[-1] == "ESN (sees 100 samples)"
    assert {"Unstructured", "NeuralODE", lorenz.BOUNDED} < set(labels)


@pytest.mark.parametrize("full", [False, True])
def test_high_dimension_path(full: bool) -> None:
    effort = replace(
        high_dimension.EFFORTS[Scale.SMOKE],
        systems=("lorenz96_d5", "lorenz96_d10"),
        following={"lorenz96_d10": "lorenz96_d5"},
        sizes=Sizes(6, 20, 3, 20, 3, 60),
        steps=2,
        window=6,
        batch_size=4,
        pretrain_steps=1,
    )
    cases = high_dimension.run_cases(effort, 0, CPU)
    measurement = high_dimension.report(cases, effort, full)
    assert [table.name for table in measurement.tables] == list(effort.systems)
    assert [figure.name for figure in measurement.figures] == ["lorenz96-dimension"]
    assert f"{effort.systems[1]}/margin_at_2x_horizon" in measurement.values


def test_fields_are_measured_in_space_and_time() -> None:
    recipe = high_dimension.recipe_of("kuramoto_sivashinsky", high_dimension.EFFORTS[Scale.CPU], (1e-3,))
    assert (recipe.order, recipe.kind) == (2, "space-time")
    recipe = high_dimension.recipe_of("lorenz96", high_dimension.EFFORTS[Scale.CPU], (1e-3,))
    assert (recipe.order, recipe.kind) == (1, "time")


def test_cost_path_and_what_it_compares() -> None:
    rows = cost.propagator_costs(4, cost.Effort((4,), 3, 1, 3, 4, 2, 4), 0, CPU)
    by_name = {row.name: row for row in rows}
    assert by_name["taylor"].difference < 1e-5
    assert 1e-5 < by_name["cayley"].difference < 0.02  # second order, not the same
    models = cost.model_costs(cost.Effort((4,), 3, 1, 3, 4, 2, 4), 0, CPU)
    assert {model.name for model in models} >= {"KoopGen, taylor", "KoopGen, expm", "LRAN"}


def test_jobs_take_turns() -> None:
    order: list[str] = []
    cost.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, CPU)
    assert order == ["a", "b"] * 3
