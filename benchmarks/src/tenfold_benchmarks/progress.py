"""What one sees while claims are measured: a live table on a terminal, plain lines elsewhere."""

import threading
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tenfold_benchmarks.results import Entry, Record
from tenfold_benchmarks.summary import show


class Display:
    """A watcher that shows a run on a console.

    Args:
        console: where to.
        total: number of results the run is to have at its end.
    """

    def __init__(self, console: Console, total: int):
        self.console = console
        self.total = total
        self._reused = 0
        self._mutex = threading.RLock()
        self._running: dict[Entry, tuple[str, float]] = {}
        self._bar = Progress(
            TextColumn("[bold]measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._all = self._bar.add_task("claims", total=total)
        self._live: Live | None = None

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._picture, console=self.console, refresh_per_second=4, transient=True
            )
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        if self._reused:
            self._say(
                f"[dim]{self._reused} of {self.total} results were there already, made by the same code[/]"
            )

    def started(self, entry: Entry, where: str) -> None:
        with self._mutex:
            self._running[entry] = (where, time.monotonic())
        if self._live is None:
            self._say(f"start  {entry}")

    def finished(self, entry: Entry, record: Record) -> None:
        with self._mutex:
            self._running.pop(entry, None)
            self._bar.advance(self._all)
        if record.get("error"):
            verdict, detail = "[bold red]error[/]", escape(str(record["error"]).splitlines()[0])
        else:
            detail = f"ours {show(record['ours'])}, baseline {show(record['baseline'])}"
            if record["passed"]:
                verdict = "[green]holds[/]"
            elif record.get("known_gap"):
                verdict = "[yellow]known gap[/]"
            else:
                verdict = "[red]does not hold[/]"
        seconds = "" if record["seconds"] is None else f", {record['seconds']:.1f} s"
        self._say(f"done   {entry}: {verdict}, {detail}{seconds}")

    def reused(self, entry: Entry, record: Record) -> None:
        with self._mutex:
            self._reused += 1
            self._bar.advance(self._all)

    def stale(self, entry: Entry) -> None:
        self._say(f"[yellow]stale[/]  {entry}: its code has changed since, measuring again")

    def notice(self, message: str) -> None:
        self._say(f"[yellow]note[/]   {escape(message)}")

    def _say(self, text: str) -> None:
        with self._mutex:
            self.console.print(text, soft_wrap=True, highlight=False)

    def _picture(self) -> Group:
        with self._mutex:
            running = list(self._running.items())
        table = Table(
            "paper", "claim", "seed", "where", "seconds", box=None, pad_edge=False, header_style="dim"
        )
        for entry, (where, since) in running:
            elapsed = f"{time.monotonic() - since:.0f}"
            table.add_row(entry.paper, entry.claim, str(entry.seed), where, elapsed)
        return Group(table, self._bar) if running else Group(self._bar)
