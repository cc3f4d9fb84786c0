"""Each kind of regression is found, and only where there is one."""

import json
import math

import pytest

from tenfold_benchmarks.compare import compared
from tenfold_benchmarks.results import Entry, save
from tenfold_benchmarks.summary import rows


def record(seed=0, **changes):
    return {
        "paper": "toy",
        "claim": "T1",
        "scale": "cpu",
        "seed": seed,
        "title": "A title",
        "source": "s",
        "published": None,
        "known_gap": None,
        "error": None,
        "traceback": None,
        "passed": True,
        "criterion": "ours < 2",
        "quantity": "error (%)",
        "ours": 1.0 + 0.1 * seed,
        "baseline": 2.0,
        "values": {},
        "tables": [],
        "seconds": 10.0,
        "peak_memory_mb": 500.0,
        "device": "cpu",
        "device_name": "A processor",
        "torch": "2.11",
        "git_commit": None,
        "code_hash": "0",
        **changes,
    }


def three(**changes):
    return [record(seed, **changes) for seed in range(3)]


def changes(old, new):
    return [(c.kind, c.what) for c in compared(*(rows(x, {}, complete=False) for x in (old, new)))]


def test_equal_results_and_small_differences_are_no_change():
    assert changes(three(), three()) == []
    assert (
        changes(three(), [record(seed, ours=1.05, seconds=12.9, peak_memory_mb=590) for seed in range(3)])
        == []
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"passed": False}, "verdict: holds (3 of 3) → does not hold"),
        ({"passed": False, "known_gap": "x"}, "verdict: holds (3 of 3) → known gap"),
        ({"passed": False, "error": "E", "ours": None}, "verdict: holds (3 of 3) → error (3 of 3)"),
        ({"ours": 1.5}, "outside 1.1 ± 0.3"),
        ({"ours": 0.7}, "outside 1.1 ± 0.3"),
        ({"ours": "nan"}, "nan is outside"),
        ({"seconds": 13.1}, "seconds: 10.0 s → 13.1 s (1.31×, allowed 1.3×)"),
        ({"peak_memory_mb": 601}, "peak memory (MB): 500 → 601 (1.20×, allowed 1.2×)"),
    ],
)
def test_each_regression_is_found(change, word):
    found = changes(three(), three(**change))
    assert [kind for kind, _ in found] == ["regression"]
    assert word in found[0][1]


def test_fewer_seeds_that_hold_is_a_regression_and_more_an_improvement():
    two = [*three()[:2], record(2, passed=False)]
    one = [*three()[:1], record(1, passed=False), record(2, passed=False)]
    assert changes(two, one) == [("regression", "verdict: 2 of 3 seeds → 1 of 3 seeds")]
    assert changes(one, three()) == [("improvement", "verdict: 1 of 3 seeds → holds (3 of 3)")]


def test_cuda_memory_counts():
    old, new = three(peak_cuda_memory_mb=1000.0), three(peak_cuda_memory_mb=1300.0)
    assert [kind for kind, _ in changes(old, new)] == ["regression"]
    assert [kind for kind, _ in changes(new, old)] == ["improvement"]


def test_other_devices_are_not_compared_in_time_and_memory():
    found = changes(three(), three(device_name="Another", seconds=99.0, peak_memory_mb=9999.0))
    assert found == [("note", "seconds and memory not compared: A processor before, Another now")]


def test_without_a_spread_five_percent_are_allowed_and_rounding_is_no_change():
    assert changes(three(ours=1.0), three(ours=1.04)) == []
    assert [kind for kind, _ in changes(three(ours=1.0), three(ours=1.06))] == ["regression"]
    assert changes(three(ours=3e-16), three(ours=9e-16)) == []


def test_one_old_seed_tells_no_spread():
    assert changes([record(0)], [record(0, ours=math.pi)]) == []


def test_new_and_missing_claims_are_listed():
    other = record(claim="T2")
    assert changes(three(), [*three(), other]) == [("new", "holds")]
    assert changes([*three(), other], three()) == [("missing", "was: holds")]


def test_the_command_exits_1_on_regressions_only(here, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, ours in ((old, 1.0), (new, 5.0)):
        for item in three(ours=ours):
            save(folder, Entry("toy", "T1", "cpu", item["seed"]), item)
    code, output, _ = here("compare", str(old), str(new))
    assert code == 1
    assert "1 regression" in output
    assert here("compare", str(old), str(old))[:2] == (0, "nothing changed\n")
    code, _, errors = here("compare", str(old), str(tmp_path / "nowhere"))
    assert code == 2
    assert "no results at scale" in errors
    assert json.loads((old / "cpu/toy/T1-seed0.json").read_text())["ours"] == 1.0
