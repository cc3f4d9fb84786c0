"""K5: its conditions can fail, its pictures are made, and both systems run at small sizes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from koopgen.analysis import LongRun
from koopgen.claims import stability
from koopgen.claims.stability import (
    BOUNDED,
    EFFORTS,
    Study,
    conclude,
    long_run_stability,
    study,
    wasserstein_ratios,
)
from koopgen.claims.training import Outcome, Recipe, Sets, Training
from koopgen.model import KoopGen
from tenfold.claims import Scale

X = torch.randn(6, 20, 3, generator=torch.Generator().manual_seed(0))
SETS = Sets(X, X, X, 0.01, 0.905, 1.0)


def run(finite: bool = True, holds: bool | None = True) -> LongRun:
    log_norm = torch.zeros(2, 11)
    bound = None if holds is None else log_norm + 1
    x = torch.zeros(2, 11, 3) if finite else torch.full((2, 11, 3), torch.nan)
    return LongRun(
        x, 1, torch.full((2,), finite), log_norm, bound, None if holds is None else torch.full((2,), holds)
    )


def made(**changed: Any) -> Study:
    """A study in which everything holds, but for what is changed of the capped variant or of LRAN."""
    runs = {name: run() for name in BOUNDED} | {"LRAN": run(holds=None), "DeepKoopman": run(holds=None)}
    runs |= changed.pop("runs", {})
    within = dict.fromkeys(runs, 1.0) | changed.pop("within", {})
    distance = dict.fromkeys(runs, 1.5) | changed.pop("distance", {})
    training = Training((1.0,), 0.1, None, 1.0)
    outcomes = {name: Outcome(name, KoopGen(3, 6, dt=0.01, hidden=4), 1, 1e-3, (), training) for name in runs}
    return Study(replace(EFFORTS[Scale.CPU][0], stride=1), SETS, outcomes, runs, within, distance)


CAPPED, FREE = BOUNDED[1], "LRAN"


@pytest.mark.parametrize(
    ("changed", "scale", "passed"),
    [
        ({}, Scale.CPU, True),
        ({}, Scale.GPU, True),
        ({"runs": {CAPPED: run(finite=False)}}, Scale.CPU, False),
        ({"runs": {CAPPED: run(holds=False)}}, Scale.CPU, False),
        ({"within": {CAPPED: 0.999}}, Scale.CPU, False),
        ({"within": {CAPPED: 0.999}}, Scale.GPU, True),  # a condition of the cpu scale
        ({"distance": {CAPPED: 2.1}}, Scale.GPU, False),
        (
            {"runs": {FREE: run(finite=False, holds=None)}, "within": {FREE: 0.0}},
            Scale.CPU,
            True,
        ),  # reported, not judged
    ],
)
def test_every_condition_can_fail(changed: dict[str, Any], scale: Scale, passed: bool) -> None:
    measurement = conclude([made(), made(**changed)], scale)
    assert measurement.passed is passed
    assert measurement.baseline == (1.0 if FREE in changed.get("runs", {}) else 0.0)
    assert len(measurement.tables[0].rows) == 8


def small(index: int) -> stability.Task:
    task = EFFORTS[Scale.SMOKE][index]
    return replace(task, recipe=Recipe(2, 10, 8, 2, rates=(1e-3,)), steps=40, runs=2)


@pytest.mark.parametrize("index", [0, 1])
def test_both_systems_run_at_small_sizes_and_are_drawn(index: int) -> None:
    found = study(small(index), 0, torch.device("cpu"), full=False)
    assert list(found.runs) == [*BOUNDED, "LRAN", "DeepKoopman"]
    measurement = conclude([found], Scale.SMOKE)
    assert measurement.passed
    names = [figure.name for figure in measurement.figures]
    assert names == (
        ["certificate-lorenz63"] if index == 0 else ["certificate-kuramoto-sivashinsky", "ks-space-time"]
    )


def test_nonpositive_never_grows_and_capped_at_most_by_its_cap() -> None:
    task = small(0)
    found = study(task, 0, torch.device("cpu"), full=False)
    assert (found.runs["KoopGen, nonpositive"].log_norm.diff(dim=1) <= 1e-12).all()
    capped = found.runs["KoopGen, capped"]
    assert capped.log_bound is not None
    assert (capped.log_bound.diff(dim=1) <= task.cap * found.sets.dt * (1 + 1e-6)).all()


def test_marginals_of_the_truth_itself_are_within_the_sampling_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roll-outs that are true trajectories have a ratio near 1; roll-outs that stand still a far larger one."""
    task = EFFORTS[Scale.SMOKE][0]
    found = study(small(0), 0, torch.device("cpu"), full=False)
    outcomes = {"a": found.outcomes["LRAN"]}
    monkeypatch.setattr(stability, "LYAPUNOV_TIMES", 9)

    def rolled(still: bool) -> Callable[..., LongRun]:
        def long_run(model: Any, x0: torch.Tensor, steps: int) -> LongRun:
            from koopgen.systems import get_system

            x = get_system("lorenz63").generate(len(x0), steps, seed=99).x
            x = x[:, :1].expand_as(x) if still else x
            return LongRun(x.double(), 1, torch.ones(len(x0), dtype=torch.bool), x[..., 0])

        return long_run

    monkeypatch.setattr(stability, "long_run", rolled(still=False))
    assert wasserstein_ratios(task, found.sets, outcomes, 0)["a"] < 1.7
    monkeypatch.setattr(stability, "long_run", rolled(still=True))
    assert wasserstein_ratios(task, found.sets, outcomes, 0)["a"] > 3


@pytest.mark.slow
def test_smoke_scale_holds() -> None:
    assert long_run_stability(Scale.SMOKE, 0).passed
