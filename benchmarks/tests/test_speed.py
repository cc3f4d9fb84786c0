"""Records of speed comparisons become the table of a README."""

import json
from pathlib import Path

import pytest

from tenfold_benchmarks.readme import renewed
from tenfold_benchmarks.speed import read_speed, speed_markdown


def record(folder: Path, test: str, ratio: float, **facts: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "entry": f"benchmarks/speed/{test}",
        "ratio": ratio,
        "low": 0.9 * ratio,
        "high": 1.1 * ratio,
        "ours_seconds": 0.002,
        "peer_seconds": 2.0,
        "facts": facts,
        "environment": {"cuda_device": None, "processor": "a processor"},
    }
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps(content))


def test_verdict_follows_the_limit(tmp_path: Path) -> None:
    record(tmp_path, "test_toy.py::test_step[a-1]", 0.5, peer="other", limit=0.6)
    record(tmp_path, "test_toy.py::test_step[b-1]", 0.5, peer="other", limit=0.4)
    record(tmp_path, "test_toy.py::test_free", 0.5, peer="other")
    verdicts = [speed.verdict for speed in read_speed(tmp_path, "toy")]
    assert verdicts == ["holds", "**does not hold**", "reported"]


def test_only_the_paper_s_own_entries(tmp_path: Path) -> None:
    record(tmp_path, "test_toy.py::test_step", 0.5)
    record(tmp_path, "test_other.py::test_step", 0.5)
    assert [speed.entry for speed in read_speed(tmp_path, "toy")] == [
        "benchmarks/speed/test_toy.py::test_step"
    ]


def test_table_between_markers(tmp_path: Path) -> None:
    record(tmp_path / "speed", "test_toy.py::test_wide_step[x]", 0.001, peer="pykan", batch=64, limit=0.01)
    text = "before\n<!-- tenfold:speed toy -->\nyesterday\n<!-- /tenfold:speed -->\nafter\n"
    new = renewed(text, tmp_path / "README.md", tmp_path)
    assert (
        "| wide step (batch 64; a processor) | pykan | 2 ms | 2 s | 0.001 (0.0009 to 0.0011) | ≤ 0.01 | holds |"
        in new
    )
    assert new.startswith("before\n<!-- tenfold:speed toy -->\n")
    assert new.endswith("<!-- /tenfold:speed -->\nafter\n")
    assert "yesterday" not in new
    assert renewed(new, tmp_path / "README.md", tmp_path) == new


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    text = "<!-- tenfold:speed toy -->\n<!-- /tenfold:speed -->"
    assert "Nothing recorded yet" in renewed(text, tmp_path / "README.md", tmp_path)


def test_broken_record_and_open_marker_are_named(tmp_path: Path) -> None:
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bad\.json is no record"):
        read_speed(tmp_path / "speed", "toy")
    with pytest.raises(ValueError, match="not closed by <!-- /tenfold:speed -->"):
        renewed("<!-- tenfold:speed toy -->", tmp_path / "README.md", tmp_path)


def test_rows_have_as_many_cells_as_the_head(tmp_path: Path) -> None:
    record(tmp_path, "test_toy.py::test_step", 2.0, threads=1)
    head, _, row = speed_markdown(read_speed(tmp_path, "toy")).splitlines()
    assert head.count("|") == row.count("|")
