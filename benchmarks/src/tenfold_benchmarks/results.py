"""Results on disk: one JSON per paper, claim, scale and seed, its figures beside it.

    <results>/<scale>/<paper>/<claim>-seed<k>.json
    <results>/<scale>/<paper>/<claim>-seed<k>-<figure>.png
    <results>/<scale>/<paper>/.locks/<claim>-seed<k>.lock      held by the process that measures it

The JSON is valid JSON: what is not finite is written as the strings "nan", "inf" and "-inf".
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold_benchmarks.files import write_whole

Record = dict[str, Any]

REQUIRED = (
    "paper",
    "claim",
    "scale",
    "seed",
    "passed",
    "criterion",
    "values",
    "seconds",
    "peak_memory_mb",
    "device",
    "torch",
    "git_commit",
    "code_hash",
)
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class UnreadableResultError(ValueError):
    """A result file that is not what `tenfold reproduce` writes."""


@dataclass(frozen=True, order=True)
class Entry:
    """What one result file is about.

    Example:
        >>> Entry("metakan", "C1", "smoke", 0).path(Path("results")).as_posix()
        'results/smoke/metakan/C1-seed0.json'
    """

    paper: str
    claim: str
    scale: str
    seed: int

    def path(self, results: Path) -> Path:
        return results / self.scale / self.paper / f"{self.claim}-seed{self.seed}.json"

    def lock(self, results: Path) -> Path:
        return results / self.scale / self.paper / ".locks" / f"{self.claim}-seed{self.seed}.lock"

    @property
    def command(self) -> str:
        """What to type to measure it again."""
        return f"tenfold reproduce {self.paper} --claim {self.claim} --scale {self.scale} --seed {self.seed}"

    def __str__(self) -> str:
        return f"{self.paper} {self.claim} seed {self.seed}"


def json_safe(value: Any) -> Any:
    """The same value with the floats JSON cannot hold turned into strings.

    Example:
        >>> json_safe({"loss": float("nan"), "steps": [1, float("-inf")]})
        {'loss': 'nan', 'steps': [1, '-inf']}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value


def number(value: Any) -> float | None:
    """A value of a record as a float, also where it was written as "nan" or "inf"; None if it is no number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    return float(value)


def save(results: Path, entry: Entry, record: Record, figures: Iterable[Mapping[str, str]] = ()) -> Record:
    """Write a record and its figures, figures first, so that a record never names a missing file.

    Args:
        results: the results folder.
        entry: what the record is about.
        record: everything but `figures`.
        figures: name, alt text and base64-encoded PNG of each picture.

    Returns:
        the record as written.
    """
    path = entry.path(results)
    written = []
    for figure in figures:
        file = f"{path.stem}-{figure['name']}.png"
        write_whole(path.with_name(file), base64.b64decode(figure["png"]))
        written.append({"name": figure["name"], "alt": figure["alt"], "file": file})
    before = {item["file"] for item in _read_or_empty(path).get("figures", [])}
    whole: Record = json_safe({**record, "figures": written})
    write_whole(path, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    for file in before - {item["file"] for item in written}:
        path.with_name(file).unlink(missing_ok=True)
    return whole


def read(path: Path) -> Record:
    """A record from its file.

    Raises:
        FileNotFoundError: if there is none.
        UnreadableResultError: if it is damaged or lacks a key; says what to do.
    """
    mend = "delete it, or run `tenfold reproduce` again, which replaces it"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreadableResultError(f"{path} is not valid JSON ({error}): {mend}") from error
    missing = [key for key in REQUIRED if not isinstance(record, dict) or key not in record]
    if missing:
        raise UnreadableResultError(f"{path} lacks {', '.join(missing)}: {mend}")
    return dict(record)


def _read_or_empty(path: Path) -> Record:
    try:
        return read(path)
    except (FileNotFoundError, UnreadableResultError):
        return {}


def read_all(results: Path, scales: Iterable[str]) -> tuple[list[Record], list[str]]:
    """Every record at the given scales, and a complaint for every file that cannot be read."""
    records, complaints = [], []
    for scale in scales:
        for path in sorted((results / scale).glob("*/*-seed*.json")):
            try:
                records.append({**read(path), "folder": str(path.parent)})
            except UnreadableResultError as error:
                complaints.append(str(error))
    return records, complaints


def entry_of(record: Record) -> Entry:
    return Entry(record["paper"], record["claim"], record["scale"], record["seed"])
