"""C8: the regimes of the bounds, measured covers, and the gap, on small sizes."""

import pytest

from emergence.claims import covering as c8
from tenfold.claims import Scale


def test_smoke_holds() -> None:
    found = c8.covering(Scale.SMOKE, 0)
    assert found.passed
    assert found.ours < found.baseline  # type: ignore[operator]
    assert found.figures[0].name == "covering-numbers"


def test_measured_covers_respect_the_bound_and_not_by_a_wide_margin() -> None:
    rows = c8.measured_covers(200, 0)
    tightness = [after / (2 * lip * before) for *_, before, after, lip in rows]
    assert max(tightness) <= 1
    assert max(tightness) > 0.3  # half of it for an isometry up to scale: the check could fail


def test_the_gap_is_that_of_least_squares_with_25_weights() -> None:
    gaps = c8.generalisation_gaps(c8.Effort(n_data=256, n_seeds=64), 0)
    expected = 2 * 25 / 256 * 0.3**2  # 2 k σ² / n
    assert all(gap == pytest.approx(expected, rel=0.25) for gap in gaps.values())
    assert all(c8.gap_bound(depth, 256) > gap for depth, gap in gaps.items())


def test_cpu_reports_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(c8.EFFORTS, Scale.CPU, c8.Effort(n_points=150, n_data=256, n_seeds=2))
    found = c8.covering(Scale.CPU, 0)
    assert found.values["measured_covers_within_2_Lip"] is True
    assert [table.name for table in found.tables] == ["covers", "gap"]
