"""Records of speed comparisons, and the table a README shows of them.

One JSON file an entry, written by the fixture `versus` of `benchmarks/speed` with `--record`. The facts of an entry
say what was compared; `peer` names the other side and `limit` the ratio the entry asserts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Speed:
    """One comparison: ours divided by the peer's time, its quartiles, and what was compared."""

    entry: str
    ratio: float
    low: float
    high: float
    ours_seconds: float
    peer_seconds: float
    facts: dict[str, Fact]
    device: str

    @property
    def name(self) -> str:
        """The entry without its file and parameters, in words."""
        test = self.entry.rpartition("::")[2].partition("[")[0]
        return test.removeprefix("test_").replace("_", " ")

    @property
    def verdict(self) -> str:
        """Whether the ratio is within the limit of the entry."""
        limit = self.facts.get("limit")
        if not isinstance(limit, int | float):
            return "reported"
        return "holds" if self.ratio <= limit else "**does not hold**"


def read_speed(folder: Path, paper: str) -> list[Speed]:
    """The comparisons of `benchmarks/speed/test_<paper>*.py` recorded in a folder, in the order of their files.

    Raises:
        ValueError: naming the file, if a record cannot be read.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            record = json.loads(file.read_text())
            if not Path(record["entry"].partition("::")[0]).name.startswith(f"test_{paper}"):
                continue
            environment = record["environment"]
            device = environment["cuda_device"] or environment["processor"]
            fields = {k: record[k] for k in ("entry", "ratio", "low", "high", "ours_seconds", "peer_seconds")}
            found.append(Speed(**fields, facts=record["facts"], device=device))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{file} is no record of a speed comparison: {error!r}") from error
    return found


def speed_markdown(table: Sequence[Speed]) -> str:
    """Comparisons as a Markdown table."""
    lines = [("Step", "Peer", "Ours", "Peer's", "Ratio (quartiles)", "Bar", "Verdict"), ("---",) * 7]
    for speed in table:
        limit = speed.facts.get("limit")
        shown = {k: v for k, v in speed.facts.items() if k not in ("peer", "limit")}
        facts = ", ".join(f"{name} {value}" for name, value in shown.items())
        lines.append(
            (
                f"{speed.name} ({facts}; {speed.device})",
                str(speed.facts.get("peer", "")),
                _duration(speed.ours_seconds),
                _duration(speed.peer_seconds),
                f"{_number(speed.ratio)} ({_number(speed.low)} to {_number(speed.high)})",
                f"≤ {_number(limit)}" if isinstance(limit, int | float) else "–",
                speed.verdict,
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
