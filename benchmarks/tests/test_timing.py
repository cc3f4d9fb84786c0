"""Ratios measured by alternation, and the fixture `versus` used as a user would: through pytest in a process."""

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenfold_benchmarks.timing import Ratio, alternate

SPEED = Path(__file__).parents[1] / "speed"


def test_ratio_is_the_median_over_the_pairs_with_its_quartiles():
    ratio = Ratio.of([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)
    assert (ratio.low, ratio.ratio, ratio.high) == (2.0, 3.0, 4.0)
    assert (ratio.ours_seconds, ratio.peer_seconds, ratio.rounds) == (3.0, 1.0, 5)


def test_one_pair_has_no_spread():
    ratio = Ratio.of([1.0], [4.0])
    assert ratio.low == ratio.ratio == ratio.high == 0.25


@pytest.mark.parametrize(("ours", "peer"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_times_that_make_no_ratio_are_refused(ours, peer):
    with pytest.raises(ValueError, match="ours and peer must be"):
        Ratio.of(ours, peer)


def test_alternate_measures_sleeping_functions():
    ratio = alternate(lambda: time.sleep(0.04), lambda: time.sleep(0.02), rounds=5, warmup=1)
    assert 1.2 < ratio.ratio < 2.5  # wide: the machine may be busy


def test_pairs_flip_their_order_and_the_collector_rests():
    calls, collecting = [], []

    def ours() -> None:
        calls.append("ours")
        collecting.append(gc.isenabled())

    alternate(ours, lambda: calls.append("peer"), rounds=3, warmup=1)
    assert calls == ["peer", "ours", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert collecting == [False] * 4
    assert gc.isenabled()


@pytest.mark.parametrize(("name", "arguments"), [("rounds", {"rounds": 0}), ("warmup", {"warmup": -1})])
def test_bad_numbers_of_rounds_are_named(name, arguments):
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        alternate(int, int, **arguments)


@pytest.fixture
def entry(tmp_path):
    """A folder with one speed entry, twice as slow as its peer, that claims to be faster."""
    shutil.copy(SPEED / "conftest.py", tmp_path)
    (tmp_path / "test_sleep.py").write_text(
        "import time\n"
        "def test_sleep(versus):\n"
        "    ratio = versus(lambda: time.sleep(0.04), lambda: time.sleep(0.02), rounds=5, warmup=1, peer='nap')\n"
        "    assert ratio.ratio < 1\n"
    )
    return tmp_path


def run_pytest(folder, *options):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(folder),
        *options,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, env=environment, timeout=60
    )


def test_versus_asserts_and_records(entry):
    done = run_pytest(entry, "--benchmark-enable", "--record", "speed", "--benchmark-json=bench.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "assert 2." in done.stdout or "assert 1." in done.stdout  # the measured ratio failed the test
    record = json.loads((entry / "speed" / "test-sleep-test-sleep.json").read_text())
    assert record["low"] <= record["ratio"] <= record["high"]
    assert 1.2 < record["ratio"] < 2.5
    assert record["facts"] == {"peer": "nap"}
    assert record["environment"]["python"]
    extra = json.loads((entry / "bench.json").read_text())["benchmarks"][0]["extra_info"]
    assert extra["ratio"] == record["ratio"]
    assert extra["peer"] == "nap"


def test_without_timings_an_entry_still_runs_both_sides(entry):
    done = run_pytest(entry, "--benchmark-disable", "-rs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "both sides ran once" in done.stdout
    (entry / "test_sleep.py").write_text("def test_broken(versus):\n    versus(int, lambda: 1 / 0)\n")
    broken = run_pytest(entry, "--benchmark-disable")
    assert broken.returncode == 1
    assert "ZeroDivisionError" in broken.stdout


def test_a_record_folder_that_cannot_be_written_is_a_usage_error(entry):
    (entry / "taken").write_text("a file, not a folder")
    done = run_pytest(entry, "--benchmark-enable", "--record", "taken")
    assert done.returncode == 4
    assert "--record" in done.stderr
