"""C10: verdicts, the same batches for every depth, and the table of hops."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from emergence.claims import emergence_tasks as c10
from emergence.tasks import Induction, KHop, TaskScore
from tenfold.claims import Scale

CPU = torch.device("cpu")
SHORT = c10.Training((1, 2), 4, 4, d=8, test=8, looks=2)


def final(accuracy: float) -> TaskScore:
    return TaskScore(0.0, accuracy, 0.0, 0.0)


@pytest.mark.parametrize(("two", "one", "holds"), [(0.95, 0.1, True), (0.85, 0.1, False), (0.95, 0.6, False)])
def test_verdicts(two: float, one: float, holds: bool) -> None:
    assert all(c10.verdict(Scale.CPU, {}, {}, {1: final(one), 2: final(two)}).values()) is holds


def test_smoke_wants_finite_losses_that_fall() -> None:
    looks = {1: SimpleNamespace(cross_entropy=2.0), 9: SimpleNamespace(cross_entropy=1.0)}
    good = SimpleNamespace(failure=None, observed=looks)
    bad = SimpleNamespace(failure="not finite", observed=looks)
    worse = SimpleNamespace(failure=None, observed={1: looks[9], 9: looks[1]})
    verdicts = [all(c10.verdict(Scale.SMOKE, {1: run}, {1: good}, {}).values()) for run in (good, bad, worse)]  # type: ignore[dict-item]
    assert verdicts == [True, False, False]


def test_metrics_are_looked_at_from_the_first_step_to_the_last() -> None:
    run = c10.learn(Induction(16, 16, 4), SHORT, 1, 0, CPU)
    assert list(run.observed) == [1, 2, 4]
    again = c10.learn(Induction(16, 16, 4), SHORT, 1, 0, CPU)
    assert run.losses == again.losses
    deeper = c10.learn(Induction(16, 16, 4), replace(SHORT, steps=4), 2, 0, CPU)
    assert deeper.losses != run.losses


def test_the_table_has_a_row_a_hop_and_a_column_a_depth() -> None:
    models = {depth: c10.learn(KHop(), SHORT, depth, 0, CPU).model for depth in (1, 2)}
    table = c10.hop_table(models, SHORT, 0)
    assert table.columns == ("k", "L = 1", "L = 2", "chance")
    assert [row[0] for row in table.rows] == list(range(1, 9))
    assert all(row[-1] == 1 / 16 for row in table.rows)


@pytest.mark.slow
def test_smoke() -> None:
    measured = c10.emergence_tasks(Scale.SMOKE, 0)
    assert measured.passed, measured.values
