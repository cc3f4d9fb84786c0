"""What `tenfold list` prints, and the verdict table at the end of a run."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold_benchmarks.discovery import choose, papers
from tenfold_benchmarks.summary import ERROR, FAILS, GAP, HOLDS, MISSING, PARTLY, Row, show

COLOURS = {HOLDS: "green", PARTLY: "yellow", FAILS: "red", GAP: "yellow", ERROR: "bold red", MISSING: "dim"}


def print_papers(names: Sequence[str], console: Console) -> int:
    """Print papers and their claims; returns the exit code, 1 if the claims of one cannot be read."""
    if not names and not papers():
        console.print("No paper is installed. Install one, e.g. `pip install ./shared ./projects/metakan`.")
        return 0
    code = 0
    for paper in choose(names):
        try:
            claims = paper.claims
        except ValueError as error:
            console.print(
                f"[bold]{paper.name}[/]  [red]{escape(str(error))}[/]", soft_wrap=True, highlight=False
            )
            code = 1
            continue
        table = Table("claim", "what", "where", "published", "scales", box=None, header_style="dim")
        for claim in claims.values():
            published = "not published" if claim.published is None else show(claim.published)
            marks = [f"{s} (known gap)" if s in claim.known_gaps else s for s in claim.scales]
            table.add_row(
                claim.id, escape(claim.title), escape(claim.source), escape(published), ", ".join(marks)
            )
        console.print(f"[bold]{paper.name}[/]", highlight=False)
        console.print(table, highlight=False)
    return code


def print_verdicts(rows: Sequence[Row], console: Console) -> None:
    """The table at the end of a run: one line per paper and claim."""
    table = Table(header_style="bold", show_lines=True)
    table.add_column("claim", no_wrap=True)
    table.add_column("criterion", overflow="fold")
    for name in ("ours", "baseline", "published"):
        table.add_column(name)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        verdict = f"[{COLOURS[row.kind]}]{row.verdict}[/]" + (" [yellow](stale)[/]" if row.stale else "")
        what = f"{escape(row.title)}\n[dim]{escape(row.criterion)}[/]"
        cells = map(escape, (row.ours, row.baseline, row.published))
        table.add_row(escape(f"{row.paper} {row.claim}"), what, *cells, verdict)
    console.print(table, highlight=False)
