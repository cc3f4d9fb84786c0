"""Results of several seeds drawn together: one row per paper, claim and scale, with its verdict."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from tenfold_benchmarks.discovery import ListedClaim, Paper
from tenfold_benchmarks.results import Record, number

HOLDS, FAILS, GAP, ERROR, PARTLY, MISSING = "holds", "fails", "gap", "error", "partly", "missing"


@dataclass(frozen=True)
class Row:
    """One claim at one scale, over its seeds.

    `records` are sorted by seed. `listed` is what the installed source says, None if the claim is not installed.
    """

    paper: str
    claim: str
    scale: str
    records: Sequence[Record]
    listed: ListedClaim | None
    stale: bool

    def _stated(self, name: str) -> Any:
        """A fact from the decorator: as the source says now, else as it said when the claim was measured."""
        return getattr(self.listed, name) if self.listed else self.records[0].get(name)

    @property
    def title(self) -> str:
        return str(self._stated("title"))

    @property
    def source(self) -> str:
        return str(self._stated("source"))

    @property
    def published(self) -> str:
        value = self._stated("published")
        return "not published" if value is None else show(value)

    @property
    def known_gap(self) -> str | None:
        if self.listed is not None:
            return self.listed.known_gaps.get(self.scale)
        return self.records[0].get("known_gap") if self.records else None

    @property
    def measured(self) -> list[Record]:
        return [record for record in self.records if not record.get("error")]

    @property
    def criterion(self) -> str:
        return str(self.measured[0]["criterion"]) if self.measured else "not measured"

    @property
    def quantity(self) -> str:
        return str(self.measured[0]["quantity"]) if self.measured else ""

    @property
    def ours(self) -> str:
        return over_seeds([record["ours"] for record in self.measured])

    @property
    def baseline(self) -> str:
        return over_seeds([record["baseline"] for record in self.measured])

    @property
    def kind(self) -> str:
        """The verdict as one word: holds, partly, fails, gap, error or missing."""
        passed = sum(bool(record["passed"]) for record in self.records)
        if not self.records:
            return MISSING
        if len(self.measured) < len(self.records):
            return ERROR
        if passed == len(self.records):
            return HOLDS
        if self.known_gap:
            return GAP
        return PARTLY if passed else FAILS

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        passed = sum(bool(record["passed"]) for record in self.records)
        n = len(self.records)
        return {
            HOLDS: "holds" if n == 1 else f"holds ({n} of {n})",
            PARTLY: f"{passed} of {n} seeds",
            FAILS: "does not hold",
            GAP: f"known gap ({passed} of {n})" if passed else "known gap",
            ERROR: f"error ({n - len(self.measured)} of {n})" if n > 1 else "error",
            MISSING: "not measured",
        }[self.kind]

    @property
    def seconds(self) -> float | None:
        times = [record["seconds"] for record in self.records if record["seconds"] is not None]
        return mean(times) if times else None

    @property
    def command(self) -> str:
        """What to type to measure the row again, all its seeds."""
        seeds = sorted(record["seed"] for record in self.records) or [0]
        first, count = seeds[0], seeds[-1] - seeds[0] + 1
        text = f"tenfold reproduce {self.paper} --claim {self.claim} --scale {self.scale}"
        return text + (f" --seeds {count}" if count > 1 else "") + (f" --seed {first}" if first else "")


def rows(records: Iterable[Record], papers: Mapping[str, Paper], complete: bool = True) -> list[Row]:
    """The rows of some records, in the order paper, scale, claim as the paper lists them.

    Args:
        records: results of any papers, claims, scales and seeds.
        papers: the installed papers; they tell what is stale and in which order claims stand.
        complete: also give a row without records for each claim that a paper with results lists at the same scale.
    """
    grouped: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        grouped.setdefault((record["paper"], record["scale"], record["claim"]), []).append(record)
    found = []
    for paper, scale in dict.fromkeys((paper, scale) for paper, scale, _ in grouped):
        listed = _claims(papers.get(paper))
        names = [name for name, claim in listed.items() if complete and scale in claim.scales]
        names += [name for p, s, name in grouped if (p, s) == (paper, scale) and name not in names]
        order = list(listed)
        names.sort(key=lambda name: order.index(name) if name in order else len(order))
        for name in names:
            own = sorted(grouped.get((paper, scale, name), []), key=lambda record: record["seed"])
            stale = any(_is_stale(record, papers.get(paper), listed) for record in own)
            found.append(Row(paper, name, scale, own, listed.get(name), stale))
    return found


def _claims(paper: Paper | None) -> dict[str, ListedClaim]:
    try:
        return paper.claims if paper else {}
    except ValueError:
        return {}  # `tenfold list` tells; its results can still be shown


def _is_stale(record: Record, paper: Paper | None, listed: Mapping[str, ListedClaim]) -> bool:
    """Whether the code of a result is not the installed one; an uninstalled paper's cannot be judged."""
    if paper is None or not listed:
        return False
    try:
        return record["claim"] not in listed or paper.code_hash(record["claim"]) != record["code_hash"]
    except ValueError:
        return True


def show(value: Any) -> str:
    """A value for people: floats to four digits, thousands of whole numbers set apart.

    Example:
        >>> [show(x) for x in (0.123456, 98.5, 1234567.0, 25778, True, None, "nan")]
        ['0.1235', '98.5', '1.235e+06', '25,778', 'yes', '–', 'nan']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def over_seeds(values: Sequence[Any]) -> str:
    """Mean ± standard deviation of the numbers, or the values themselves where they are no numbers.

    Example:
        >>> over_seeds([1.0, 1.2, 1.1]), over_seeds([3]), over_seeds(["exact", "exact"]), over_seeds([])
        ('1.10 ± 0.10', '3', 'exact', '–')
    """
    numbers = [number(value) for value in values if isinstance(value, bool) or value is not None]
    finite = [x for x in numbers if x is not None]
    if not values or len(finite) < len(values) or len(finite) < 2:
        return ", ".join(dict.fromkeys(show(value) for value in values)) or "–"
    if not all(map(math.isfinite, finite)):
        return ", ".join(dict.fromkeys(show(x) for x in finite))
    centre, spread = mean(finite), stdev(finite)
    if spread == 0:
        return show(values[0])
    if abs(centre) < 1e-3 or abs(centre) >= 1e6:
        return f"{centre:.2e} ± {spread:.1e}"
    exponent = int(f"{spread:.1e}".partition("e")[2])
    digits = min(6, max(0, 1 - exponent))  # two digits of the spread
    return f"{centre:.{digits}f} ± {spread:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds for people.

    Example:
        >>> duration(0.01), duration(12.34), duration(300)
        ('< 0.1 s', '12.3 s', '5.0 min')
    """
    if seconds < 0.1:
        return "< 0.1 s"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
