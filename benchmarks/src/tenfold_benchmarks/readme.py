"""Tables of claims and of speed inside READMEs, generated between two markers.

    <!-- tenfold:claims metakan cpu -->          <!-- tenfold:speed metakan -->
    …                                            …
    <!-- /tenfold:claims -->                     <!-- /tenfold:speed -->

`*` instead of the paper takes every paper that has results. Whether a result is stale is not said here but on the
page: a README changes when results do.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenfold_benchmarks.discovery import Paper, choose_scale, papers
from tenfold_benchmarks.results import read_all
from tenfold_benchmarks.speed import read_speed, speed_markdown
from tenfold_benchmarks.summary import Row, rows

_BEGIN = re.compile(
    r"<!-- tenfold:(?:(?P<claims>claims) (?P<paper>\S+) (?P<scale>\S+)|(?P<speed>speed) (?P<whose>\S+)) -->"
)


def renewed(content: str, file: Path, results: Path) -> str:
    """The text of a README with its tables made anew.

    Raises:
        ValueError: if there is no marker, one is not closed, or it names an unknown scale; names the file and line.
            If a record cannot be read.
    """
    installed = papers()
    parts, position = [], 0
    for begin in _BEGIN.finditer(content):
        if begin.start() < position:
            continue  # inside the block before; the missing end is found below
        place = f"{file}:{content.count(chr(10), 0, begin.start()) + 1}"
        closing = f"<!-- /tenfold:{begin['claims'] or begin['speed']} -->"
        end = content.find(closing, begin.end())
        following = _BEGIN.search(content, begin.end())
        if end < 0 or (following and following.start() < end):
            raise ValueError(f"{place}: the marker {begin[0]} is not closed by {closing}")
        try:
            table = _between(begin, results, installed)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        parts += [content[position : begin.end()], "\n\n", table, "\n\n"]
        position = end
    if not parts:
        raise ValueError(
            f"{file} has no line <!-- tenfold:claims PAPER SCALE --> or <!-- tenfold:speed PAPER --> "
            "to put a table after"
        )
    return "".join([*parts, content[position:]])


def _between(begin: re.Match[str], results: Path, installed: Mapping[str, Paper]) -> str:
    if begin["speed"]:
        found = read_speed(results / "speed", begin["whose"])
        return speed_markdown(found) if found else "Nothing recorded yet."
    return _table(begin["paper"], str(choose_scale(begin["scale"])), results, installed)


def _table(paper: str, scale: str, results: Path, installed: Mapping[str, Paper]) -> str:
    records, complaints = read_all(results, [scale])
    if complaints:
        raise ValueError(complaints[0])
    own = rows([record for record in records if paper in ("*", record["paper"])], installed)
    if not own:
        name = "" if paper == "*" else f" {paper}"
        return f"No results yet: run `uv run tenfold reproduce{name} --scale {scale}`."
    return markdown(own, with_paper=paper == "*")


def markdown(table: Sequence[Row], with_paper: bool) -> str:
    """Rows as a Markdown table."""
    columns = [
        *(["Paper"] if with_paper else []),
        "Claim",
        "Criterion",
        "Ours",
        "Baseline",
        "Published",
        "Verdict",
    ]
    lines = [columns, ["---"] * len(columns)]
    for row in table:
        ours = f"{row.ours} ({row.quantity})" if row.quantity else row.ours
        cells = [
            f"**{row.claim}** {row.title}",
            row.criterion,
            ours,
            row.baseline,
            row.published,
            row.verdict,
        ]
        lines.append([*([row.paper] if with_paper else []), *cells])
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(content: str) -> str:
    return " ".join(content.replace("|", "\\|").replace("<", "&lt;").split())
