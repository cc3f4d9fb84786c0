import csv
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from tenfold.metrics_log import MetricsLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows_with_different_metrics_share_one_table(tmp_path: Path):
    log = MetricsLog(tmp_path)
    log.log_metrics({"train/loss": 1.0, "epoch": 0}, step=3)
    log.save()
    log.log_metrics({"val/loss": 0.1 + 0.2, "epoch": 0}, step=3)
    log.finalize("success")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "step,epoch,train/loss,val/loss"
    assert [row["train/loss"] for row in rows(tmp_path)] == ["1.0", ""]
    assert float(rows(tmp_path)[1]["val/loss"]) == 0.1 + 0.2, "written without loss of digits"


def test_rows_are_written_when_enough_are_waiting(tmp_path: Path):
    log = MetricsLog(tmp_path, flush_every=3)
    for step in range(7):
        log.log_metrics({"x": step}, step=step)
    assert len(rows(tmp_path)) == 6
    assert log.rows == 7


def test_a_continued_file_is_cut_back_and_goes_on(tmp_path: Path):
    log = MetricsLog(tmp_path)
    for step in range(5):
        log.log_metrics({"x": step}, step=step)
    log.save()
    with log.path.open("a") as file:
        file.write("5,")  # killed in the middle of a row
    again = MetricsLog(tmp_path)
    again.log_metrics({"x": -1}, step=0)
    again.truncate(3)
    again.log_metrics({"x": 30, "y": 1}, step=3)
    again.save()
    assert [(row["step"], row["x"], row["y"]) for row in rows(tmp_path)] == [
        ("0", "0", ""),
        ("1", "1", ""),
        ("2", "2", ""),
        ("3", "30", "1"),
    ]


def test_truncating_to_what_is_there_changes_nothing(tmp_path: Path):
    log = MetricsLog(tmp_path)
    log.log_metrics({"x": 1}, step=0)
    log.truncate(10)
    assert log.rows == 1
    assert not log.path.exists()
