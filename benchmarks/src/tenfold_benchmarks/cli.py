"""The command `tenfold`. Nothing heavy is imported before the arguments have been looked at."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tenfold_benchmarks import environment

app = typer.Typer(
    name="tenfold",
    help="Measure what ten deep-learning papers claim, next to their baselines; report and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets: which are here, and how to get the others.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Results = Annotated[
    Path | None,
    typer.Option(
        "--results", metavar="FOLDER", help="Results folder [default: benchmarks/results of the checkout]."
    ),
]
Papers = Annotated[
    list[str] | None, typer.Argument(metavar="[PAPER]...", help="Names of papers [default: all].")
]


def main() -> None:
    """Entry point of the command; errors of the user end with one line and exit code 2."""
    try:
        app(prog_name="tenfold")
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True, highlight=False)
        sys.exit(2)


def _plain(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tenfold {environment.version('tenfold-benchmarks')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command("list")
def list_papers(paper: Papers = None) -> None:
    """List the installed papers and what they claim, with the scales they can be measured at."""
    from tenfold_benchmarks.listing import print_papers

    sys.exit(print_papers(paper or [], Console()))


@app.command()
def reproduce(
    paper: Papers = None,
    scale: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper: how much is spent.")] = "smoke",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this claim; may be repeated.")
    ] = None,
    launcher: Annotated[str, typer.Option(help="local: processes here; ray: a Ray cluster.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Claims measured side by side [default: as many as the cores take]."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of a running Ray cluster, e.g. auto or 10.0.0.1:6379 [default: start one here]."
        ),
    ] = None,
    results: Results = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is already there.")] = False,
    report: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes.")] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no page.")] = False,
) -> None:
    """Measure the claims of papers: a table, one JSON result each, and a page with figures.

    What is already there, made by the same code, is kept; a run that was killed goes on where it stopped. The exit
    code is 1 if a claim fails that is not a known gap.
    """
    from tenfold_benchmarks.commands import reproduce_papers

    code = reproduce_papers(
        names=paper or [],
        scale_name=scale,
        seeds=range(seed, seed + seeds),
        claim_ids=claim or [],
        launcher=launcher,
        workers=workers,
        ray_address=ray_address,
        results=results or environment.default_results(),
        force=force,
        report=None if no_report else report,
        console=Console(),
    )
    sys.exit(code)


@app.command()
def report(
    paper: Papers = None,
    scale: Annotated[list[str] | None, typer.Option(help="Only this scale; may be repeated.")] = None,
    results: Results = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes.")] = Path("report.html"),
    readme: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Renew the claims tables of READMEs instead; more files may follow."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="With --readme: change nothing, exit 1 if one is old.")
    ] = False,
) -> None:
    """Write one self-contained page of all results, or renew the tables in READMEs.

    A table stands between the lines <!-- tenfold:claims metakan cpu --> and <!-- /tenfold:claims -->.
    """
    from tenfold_benchmarks.commands import renew_readmes, report_results

    folder = results or environment.default_results()
    if readme:
        # `--readme A B`: the shell gives B as a paper.
        sys.exit(renew_readmes([*readme, *map(Path, paper or [])], folder, check, Console()))
    if check:
        raise ValueError("--check goes with --readme FILE")
    sys.exit(report_results(paper or [], scale or [], folder, out, Console()))


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(help="Results folder to compare with, e.g. the committed one.")],
    new: Annotated[Path, typer.Argument(help="Results folder of the new run.")],
    scale: Annotated[list[str] | None, typer.Option(help="Only this scale; may be repeated.")] = None,
) -> None:
    """List what regressed from OLD to NEW; exit code 1 if anything did.

    A regression is a worse verdict, a headline number outside mean ± 3σ of the old seeds, 1.3 times the seconds, or
    1.2 times the peak memory (the last two on the same kind of device only).
    """
    from tenfold_benchmarks.commands import compare_results

    sys.exit(compare_results(old, new, scale or [], Console()))


@app.command()
def new(
    paper: Annotated[str, typer.Argument(help="Name of the package, e.g. my_paper.")],
    title: Annotated[str, typer.Option(help="Title of the paper.")] = "",
) -> None:
    """Create projects/PAPER with the floor plan of the house, and add it to the workspace."""
    from tenfold_benchmarks.scaffold import add_paper

    root = environment.workspace()
    if root is None:
        raise ValueError(
            f"{Path.cwd()} is not inside a Tenfold checkout; `tenfold new` adds a project to one"
        )
    for line in add_paper(root, paper, title):
        typer.echo(line)


@data_app.command("list")
def list_data() -> None:
    """List the data sets the papers use, and which of them are here."""
    from tenfold.data import DATASETS, root, status

    table = Table("name", "what", "state", "licence", box=None, header_style="bold")
    colours = {"present": "green", "bundled": "green", "partial": "yellow", "missing": "red"}
    for name, data in DATASETS.items():
        state = status(name).state
        table.add_row(
            name, f"{data.title}: {data.description}", f"[{colours[state]}]{state}[/]", data.licence
        )
    console = Console()
    console.print(table)
    console.print(f"Data folder: {root()} (set TENFOLD_DATA to use another)", highlight=False, soft_wrap=True)


@data_app.command("fetch")
def fetch_data(
    name: Annotated[list[str], typer.Argument(help="Names of data sets, see `tenfold data list`.")],
) -> None:
    """Download public data sets into the data folder and verify their checksums."""
    from tenfold.data import DATASETS, fetch, status
    from tenfold_benchmarks.discovery import unknown

    for item in name:
        if item not in DATASETS:
            raise ValueError(unknown("data set", item, DATASETS))
    for item in name:
        for path in fetch(item, progress=True):
            typer.echo(f"{item}: {path}")
        if DATASETS[item].bundled:
            typer.echo(f"{item}: {DATASETS[item].source}")
        if DATASETS[item].loader:
            typer.echo(f"{item}: {status(item).state}; it is fetched by hand from {DATASETS[item].source}")
