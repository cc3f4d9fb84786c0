"""What changed between two results folders.

A regression is, per paper, claim and scale,

- a worse verdict: holds > holds for some seeds > does not hold (also as a known gap) > error;
- a headline number whose mean over the new seeds lies outside mean ± 3 σ of the old seeds, on either side: what is
  better is for a person to say, who then commits the new results. Old seeds without spread count as ± 5 %;
- 1.3 times the seconds or 1.2 times the peak memory, CUDA's included, where both ran on the same kind of device.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold_benchmarks.results import number
from tenfold_benchmarks.summary import ERROR, FAILS, GAP, HOLDS, PARTLY, Row, duration, show

SLOWER, LARGER, SIGMAS = 1.3, 1.2, 3.0
RANK = {HOLDS: 3, PARTLY: 2, GAP: 1, FAILS: 1, ERROR: 0}
# What is smaller than this differs from night to night for no reason.
LEAST_SECONDS, LEAST_MB, ROUNDING, NO_SPREAD = 0.5, 20.0, 1e-12, 0.05
_COLOURS = {
    "regression": "bold red",
    "improvement": "green",
    "new": "cyan",
    "missing": "yellow",
    "note": "dim",
}


@dataclass(frozen=True)
class Change:
    """One difference: `kind` is regression, improvement, new, missing or note."""

    kind: str
    paper: str
    claim: str
    scale: str
    what: str


def compared(old: Sequence[Row], new: Sequence[Row]) -> list[Change]:
    """The differences between two sets of rows, regressions first."""
    before = {(row.paper, row.claim, row.scale): row for row in old}
    after = {(row.paper, row.claim, row.scale): row for row in new}
    changes = []
    for key, row in before.items():
        if key not in after:
            changes.append(Change("missing", *key, f"was: {row.verdict}"))
            continue
        for kind, what in _differences(row, after[key]):
            changes.append(Change(kind, *key, what))
    changes += [Change("new", *key, row.verdict) for key, row in after.items() if key not in before]
    order = list(_COLOURS)
    return sorted(changes, key=lambda change: order.index(change.kind))


def _differences(old: Row, new: Row) -> Iterator[tuple[str, str]]:
    yield from _verdict(old, new)
    yield from _headline(old, new)
    if _device(old) != _device(new):
        yield "note", f"seconds and memory not compared: {_device(old)} before, {_device(new)} now"
        return
    yield from _growth("seconds", old.seconds, new.seconds, SLOWER, LEAST_SECONDS)
    for name, key in (
        ("peak memory (MB)", "peak_memory_mb"),
        ("peak CUDA memory (MB)", "peak_cuda_memory_mb"),
    ):
        yield from _growth(name, _mean(old, key), _mean(new, key), LARGER, LEAST_MB)


def _verdict(old: Row, new: Row) -> Iterator[tuple[str, str]]:
    def standing(row: Row) -> tuple[int, float]:
        return RANK[row.kind], sum(bool(record["passed"]) for record in row.records) / len(row.records)

    if standing(new) < standing(old):
        yield "regression", f"verdict: {old.verdict} → {new.verdict}"
    elif standing(new) > standing(old):
        yield "improvement", f"verdict: {old.verdict} → {new.verdict}"


def _headline(old: Row, new: Row) -> Iterator[tuple[str, str]]:
    before = [x for record in old.measured if (x := number(record["ours"])) is not None and math.isfinite(x)]
    after = [x for record in new.measured if (x := number(record["ours"])) is not None]
    if len(before) < 2 or not after:
        return
    centre, spread = mean(before), stdev(before)
    allowed = max(SIGMAS * spread if spread else NO_SPREAD * abs(centre), ROUNDING)
    now = mean(after) if all(map(math.isfinite, after)) else math.nan
    if not abs(now - centre) <= allowed:  # also where it is not a number
        yield (
            "regression",
            f"{old.quantity or 'ours'}: {show(now)} is outside {show(centre)} ± {show(allowed)} of the old seeds",
        )


def _growth(
    name: str, old: float | None, new: float | None, factor: float, least: float
) -> Iterator[tuple[str, str]]:
    if old is None or new is None or abs(new - old) < least:
        return
    shown = [duration(x) if name == "seconds" else show(x) for x in (old, new)]
    if new > factor * old:
        yield "regression", f"{name}: {shown[0]} → {shown[1]} ({new / old:.2f}×, allowed {factor}×)"
    elif old > factor * new:
        yield "improvement", f"{name}: {shown[0]} → {shown[1]}"


def _mean(row: Row, key: str) -> float | None:
    values = [record[key] for record in row.records if record.get(key) is not None]
    return mean(values) if values else None


def _device(row: Row) -> str:
    return ", ".join(
        dict.fromkeys(str(record.get("device_name") or record["device"]) for record in row.records)
    )


def print_comparison(changes: Sequence[Change], console: Console) -> int:
    """Print the changes; returns the exit code, 1 if there is a regression."""
    if not changes:
        console.print("nothing changed")
        return 0
    table = Table("change", "paper", "claim", "scale", "what", header_style="bold")
    for change in changes:
        cells = map(escape, (change.paper, change.claim, change.scale, change.what))
        table.add_row(f"[{_COLOURS[change.kind]}]{change.kind}[/]", *cells)
    console.print(table, highlight=False)
    regressions = sum(change.kind == "regression" for change in changes)
    console.print(f"{regressions} regression{'' if regressions == 1 else 's'}")
    return 1 if regressions else 0
