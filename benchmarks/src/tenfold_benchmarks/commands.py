"""What the commands of `tenfold` do, from arguments to exit code."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tenfold.claims import Scale
from tenfold_benchmarks.discovery import choose, choose_scale, papers, unknown
from tenfold_benchmarks.files import write_whole
from tenfold_benchmarks.listing import print_verdicts
from tenfold_benchmarks.local import LocalLauncher, default_workers
from tenfold_benchmarks.progress import Display
from tenfold_benchmarks.reproduce import Launch, Plan, excused, make_plan, reproduce
from tenfold_benchmarks.results import read_all
from tenfold_benchmarks.summary import Row, rows

LAUNCHERS = ("local", "ray")


def reproduce_papers(
    *,
    names: Sequence[str],
    scale_name: str,
    seeds: Sequence[int],
    claim_ids: Sequence[str],
    launcher: str,
    workers: int | None,
    ray_address: str | None,
    results: Path,
    force: bool,
    report: Path | None,
    console: Console,
) -> int:
    """`tenfold reproduce`: measure, print the table, write the page; 1 if a claim fails that is no known gap."""
    if launcher not in LAUNCHERS:
        raise ValueError(unknown("launcher", launcher, LAUNCHERS))
    if ray_address is not None and launcher != "ray":
        raise ValueError("--ray-address goes with --launcher ray")
    if report is not None and not report.absolute().parent.is_dir():
        raise ValueError(f"--report {report}: there is no folder {report.absolute().parent}")
    plan = make_plan(names, choose_scale(scale_name), seeds, claim_ids)
    launch = _launch(launcher, workers, ray_address, plan)
    with Display(console, len(plan.tasks)) as display:
        records = reproduce(plan, results, launch, display, force)
    located = [{**r, "folder": str(results / r["scale"] / r["paper"])} for r in records]
    table = rows(located, papers(), complete=False)
    print_verdicts(table, console)
    if report is not None:
        _write_report(table, [], report, console)
    bad = [record for record in records if not excused(record)]
    missing = len(plan.tasks) - len(records)
    if bad or missing:
        console.print(f"[red]{len(bad) + missing} of {len(plan.tasks)} measurements do not hold or failed[/]")
    return 1 if bad or missing or plan.problems else 0


def _launch(launcher: str, workers: int | None, ray_address: str | None, plan: Plan) -> Launch:
    if launcher == "ray":
        from tenfold_benchmarks.ray_launcher import RayLauncher

        return RayLauncher(ray_address, workers).run
    return LocalLauncher(workers or default_workers(plan.tasks)).run


def report_results(
    names: Sequence[str], scale_names: Sequence[str], results: Path, out: Path, console: Console
) -> int:
    """`tenfold report`: the page of everything a results folder holds."""
    scales = [str(choose_scale(name)) for name in scale_names] or [str(scale) for scale in Scale]
    records, complaints = read_all(results, scales)
    for name in names:
        if all(record["paper"] != name for record in records):
            choose([name])  # raises if it is not installed either, with the known names
    if names:
        records = [record for record in records if record["paper"] in names]
    if not records:
        raise ValueError(
            f"no results of {', '.join(names) or 'any paper'} at scale {', '.join(scales)} in {results}: "
            "run `tenfold reproduce` first, or name another folder with --results"
        )
    for complaint in complaints:
        console.print(f"[yellow]note[/]   {escape(complaint)}", soft_wrap=True, highlight=False)
    _write_report(rows(records, papers()), complaints, out, console)
    return 0


def _write_report(table: Sequence[Row], complaints: Sequence[str], out: Path, console: Console) -> None:
    from tenfold_benchmarks.report import render

    write_whole(out.absolute(), render(table, complaints))
    console.print(f"report: {out.absolute()}", soft_wrap=True, highlight=False)


def renew_readmes(files: Sequence[Path], results: Path, check: bool, console: Console) -> int:
    """`tenfold report --readme`: renew the tables between the markers; with `check`, 1 if one is out of date."""
    from tenfold_benchmarks.readme import renewed

    code = 0
    for file in files:
        if not file.is_file():
            raise ValueError(f"--readme {file}: there is no such file")
        before = file.read_text(encoding="utf-8")
        after = renewed(before, file, results)
        if before == after:
            console.print(f"{file}: up to date", soft_wrap=True, highlight=False)
        elif check:
            console.print(
                f"[red]{file}: out of date[/]; run `tenfold report --readme {file}`", soft_wrap=True
            )
            code = 1
        else:
            write_whole(file.absolute(), after)
            console.print(f"{file}: renewed", soft_wrap=True, highlight=False)
    return code


def compare_results(old: Path, new: Path, scale_names: Sequence[str], console: Console) -> int:
    """`tenfold compare`: print what changed; 1 if something regressed."""
    from tenfold_benchmarks.compare import compared, print_comparison

    scales = [str(choose_scale(name)) for name in scale_names] or [str(scale) for scale in Scale]
    tables = []
    for folder in (old, new):
        records, complaints = read_all(folder, scales)
        if not records:
            raise ValueError(f"no results at scale {', '.join(scales)} in {folder}")
        for complaint in complaints:
            console.print(f"[yellow]note[/]   {escape(complaint)}", soft_wrap=True, highlight=False)
        tables.append(rows(records, {}, complete=False))
    return print_comparison(compared(*tables), console)
