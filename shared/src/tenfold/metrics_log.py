"""The metrics of a run as one CSV file that survives being killed and being continued."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsLog(Logger):
    """Writes `metrics.csv`: a row per logging event, columns step, epoch and the metrics by name.

    Unlike Lightning's CSVLogger it keeps what is in the folder: a continued run cuts the file back to the rows that
    its checkpoint knows (`truncate`) and goes on from there.

    Args:
        folder: the run directory.
        flush_every: rows are written at the latest when so many are waiting.
    """

    def __init__(self, folder: str | Path, flush_every: int = 100):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.flush_every = flush_every
        self._waiting: list[dict[str, Any]] = []
        self._columns: list[str] = []
        self._written = 0
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._written = sum(1 for _ in reader)
                self._columns = list(reader.fieldnames or [])

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @property
    def rows(self) -> int:
        """Rows logged so far, written or waiting."""
        return self._written + len(self._waiting)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        self._waiting.append({"step": self.rows if step is None else step, **metrics})
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the waiting rows."""
        if not self._waiting:
            return
        columns = _order({key for row in self._waiting for key in row} | set(self._columns))
        if columns != self._columns:
            self._rewrite(self._read(self._written), columns)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, columns).writerows(self._waiting)
        self._written += len(self._waiting)
        self._waiting.clear()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def truncate(self, rows: int) -> None:
        """Forget what was logged after the first `rows` rows."""
        if self.rows <= rows:
            return
        kept = self._read(rows)
        self._waiting.clear()
        self._written = len(kept)
        self._rewrite(kept, self._columns)

    def _read(self, rows: int) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return [row for row, _ in zip(csv.DictReader(file), range(rows))]

    def _rewrite(self, rows: list[dict[str, str]], columns: list[str]) -> None:
        """In one step, so that a kill loses nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".csv.new")
        with fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(fresh, self.path)
        self._columns = columns


def _order(names: set[str]) -> list[str]:
    first = [name for name in ("step", "epoch") if name in names]
    return first + sorted(names - set(first))
