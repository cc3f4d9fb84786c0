"""The page `report.html`: every claim with its verdict, numbers, figures, and how to measure it again.

One file, no address outside it: pictures are data URIs, style and script stand in the page, and a content policy in
its head forbids the rest.
"""

import base64
import struct
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from tenfold_benchmarks.environment import version
from tenfold_benchmarks.markup import (
    chip,
    copy_button,
    logo,
    plain_table,
    strip,
    text,
    verdict,
)
from tenfold_benchmarks.results import Record, number
from tenfold_benchmarks.summary import ERROR, FAILS, GAP, HOLDS, MISSING, PARTLY, Row, duration, show

SCALES = {
    "smoke": "Checks that the machinery works: two CPU cores, a minute a paper. Effects need not show yet.",
    "cpu": "The effect against a fairly trained baseline: two CPU cores, a quarter of an hour a paper.",
    "gpu": "The paper's sizes: one GPU, under half an hour a paper.",
    "paper": "The full recipe.",
}
KINDS = {
    HOLDS: "hold",
    PARTLY: "hold for some seeds",
    FAILS: "do not hold",
    GAP: "known gaps",
    ERROR: "errors",
    MISSING: "not measured",
}
_COLUMNS = ("Paper", "Claim", "Criterion", "Ours", "Baseline", "Published", "Verdict")


def render(rows: Sequence[Row], complaints: Sequence[str] = ()) -> str:
    """The page as text.

    Args:
        rows: what to show, in this order; their records name the folder their figures lie in.
        complaints: results that could not be read.
    """
    page = files("tenfold_benchmarks") / "page"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    papers = sorted({row.paper for row in rows})
    return Template((page / "page.html").read_text(encoding="utf-8")).substitute(
        generator=f"tenfold {version('tenfold-benchmarks')}",
        title=f"Tenfold: {', '.join(papers) if len(papers) < 4 else f'{len(papers)} papers'}",
        style=(page / "style.css").read_text(encoding="utf-8"),
        script=(page / "script.js").read_text(encoding="utf-8"),
        logo=logo(),
        subtitle="Papers in deep learning, reproduced: each claim measured next to its baseline.",
        totals=_totals(rows),
        content=_notes(complaints) + _filters(rows) + _tables(rows) + _details(rows) + _environment(rows),
        footer=f"Made {now} by <code>tenfold report</code>. Mean ± standard deviation over the seeds. "
        "“Not published” means that the paper gives no number for it.",
    )


def _totals(rows: Sequence[Row]) -> str:
    counts = Counter(row.kind for row in rows)
    stale = sum(row.stale for row in rows)
    measured = len(rows) - counts[MISSING]
    items = [f"<li><b>{counts[HOLDS]} <span class='soft small'>of {measured}</span></b>claims hold</li>"]
    items += [
        f"<li><b>{counts[kind]}</b>{KINDS[kind]}</li>" for kind in KINDS if kind != HOLDS and counts[kind]
    ]
    items += [f"<li><b>{stale}</b>stale</li>"] if stale else []
    papers = len({row.paper for row in rows})
    items.append(f"<li><b>{papers}</b>{'paper' if papers == 1 else 'papers'}</li>")
    colours = {HOLDS: "holds", PARTLY: "gap", GAP: "gap", FAILS: "fails", ERROR: "fails", MISSING: "none"}
    bar = "".join(
        f'<span style="flex:{counts[kind]};color:var(--{colours[kind]})"></span>'
        for kind in KINDS
        if counts[kind]
    )
    return f'<ul class="totals">{"".join(items)}</ul><div class="bar" aria-hidden="true">{bar}</div>'


def _notes(complaints: Sequence[str]) -> str:
    if not complaints:
        return ""
    items = "".join(f"<li>{text(complaint)}</li>" for complaint in complaints)
    return f'<div class="notes" role="note"><ul>{items}</ul></div>'


def _filters(rows: Sequence[Row]) -> str:
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in rows)]
    choices = {
        "paper": ("Paper", [(name, name) for name in dict.fromkeys(row.paper for row in rows)]),
        "scale": ("Scale", [(name, name) for name in SCALES if any(row.scale == name for row in rows)]),
        "verdict": ("Verdict", [(kind, KINDS[kind]) for kind in kinds]),
    }
    if any(row.stale for row in rows):
        choices["verdict"][1].append(("stale", "stale"))
    fields = []
    for name, (label, values) in choices.items():
        options = "".join(f'<option value="{text(value)}">{text(shown)}</option>' for value, shown in values)
        fields.append(
            f'<label>{label}<select name="{name}" autocomplete="off"><option value="">all</option>{options}</select></label>'
        )
    return f'<div class="filters" role="search">{"".join(fields)}<output></output></div>'


def _tables(rows: Sequence[Row]) -> str:
    sections = []
    for scale, meaning in SCALES.items():
        own = [row for row in rows if row.scale == scale]
        if own:
            sections.append(
                f'<section class="group" aria-labelledby="scale-{scale}"><h2 id="scale-{scale}">Scale: {scale}</h2>'
                f"<p>{meaning}</p>{_table(scale, own)}</section>"
            )
    return "".join(sections)


def _table(scale: str, rows: Sequence[Row]) -> str:
    """The sortable table of one scale; on a phone its rows become cards, hence the explicit roles."""
    head = "".join(
        f'<th scope="col" role="columnheader"><button type="button">{column}</button></th>'
        for column in _COLUMNS
    )
    return (
        '<div class="sheet cards"><table class="claims sortable" role="table">'
        f'<caption class="gone">Claims at scale {scale}; the headings sort</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}<th scope="col" role="columnheader" class="plain">Re-run</th></tr></thead>'
        f'<tbody role="rowgroup">{"".join(_line(row) for row in rows)}</tbody></table></div>'
    )


def _line(row: Row) -> str:
    order = list(KINDS).index(row.kind)
    unit = f'<span class="small soft">{text(row.quantity)}</span>' if row.quantity else ""
    name = text(row.claim)
    link = f'<a href="#{_anchor(row)}">{name}</a>' if row.records else f"<b>{name}</b>"
    cells = (
        ("Paper", "paper", row.paper, text(row.paper)),
        (
            "Claim",
            "about",
            row.claim,
            f'<div>{link} {text(row.title)} <span class="small soft">({text(row.source)})</span></div>',
        ),
        ("Criterion", "criterion", row.criterion, f"<div>{text(row.criterion)}</div>"),
        ("Ours", "figure", _key(row, "ours"), f"<div>{text(row.ours)}{unit}</div>"),
        ("Baseline", "figure", _key(row, "baseline"), f"<div>{text(row.baseline)}</div>"),
        ("Published", "soft", row.published, text(row.published)),
        ("Verdict", "", str(order), f"<div>{verdict(row)}</div>"),
        ("Re-run", "", "", f"<div>{copy_button('uv run ' + row.command)}</div>"),
    )
    body = "".join(
        f'<td role="cell" class="{css}" data-label="{label}" data-sort="{escape(key, quote=True)}">{content}</td>'
        for label, css, key, content in cells
    )
    return f'<tr role="row" {_marks(row)}>{body}</tr>'


def _key(row: Row, name: str) -> str:
    """What a column of numbers sorts by: the mean, or nothing."""
    values = [x for record in row.measured if (x := number(record[name])) is not None]
    return repr(sum(values) / len(values)) if values else ""


def _marks(row: Row) -> str:
    kinds = row.kind + (" stale" if row.stale else "")
    return f'data-paper="{text(row.paper)}" data-scale="{text(row.scale)}" data-verdict="{kinds}"'


def _anchor(row: Row) -> str:
    return escape(f"{row.scale}-{row.paper}-{row.claim}", quote=True)


def _details(rows: Sequence[Row]) -> str:
    sections = []
    for paper in dict.fromkeys(row.paper for row in rows):
        articles = "".join(_article(row) for row in rows if row.paper == paper and row.records)
        name = text(paper)
        sections.append(
            f'<section class="group" aria-labelledby="paper-{name}"><h2 id="paper-{name}">{name}</h2>{articles}</section>'
        )
    return "".join(sections)


def _article(row: Row) -> str:
    numbers = [
        ("ours", "Ours", row.ours),
        ("baseline", "Baseline", row.baseline),
        ("", "Published", row.published),
    ]
    if row.seconds is not None:
        numbers.append(("", "Time a seed", duration(row.seconds)))
    items = "".join(_number(css, label, value) for css, label, value in numbers)
    gap = f"<p>{chip(GAP, 'known gap')} {text(row.known_gap)}</p>" if row.known_gap else ""
    stale = (
        f"<p>{chip('stale', 'stale')} Its code has changed since it was measured.</p>" if row.stale else ""
    )
    command = "uv run " + row.command
    return (
        f'<article id="{_anchor(row)}" {_marks(row)}><header><h3><span>{text(row.claim)}</span>{text(row.title)}</h3>'
        f"{chip(row.kind, row.verdict)}<span class='soft small'>{text(row.scale)} · {text(row.source)}</span></header>"
        f"<p>{text(row.criterion)}</p>{gap}{stale}"
        f"<p class='soft small'>{text(row.quantity)}</p>"
        f'<dl class="numbers">{items}</dl>{strip(row)}{_figures(row)}{_value_tables(row)}{_errors(row)}{_seeds(row)}'
        f'<div class="rerun"><code tabindex="0">{text(command)}</code>{copy_button(command)}</div></article>'
    )


def _number(css: str, label: str, value: str) -> str:
    length = "long" if len(value) > 24 else "short"  # a published number may come with words
    return f'<div class="{css}"><dt>{label}</dt><dd class="{length}">{text(value)}</dd></div>'


def _figures(row: Row) -> str:
    """The pictures of the first seed that has some; those of other seeds lie beside their JSON files."""
    record = next((r for r in row.measured if r.get("figures")), None)
    if record is None:
        return ""
    pictures = []
    for figure in record["figures"]:
        path = Path(record["folder"]) / figure["file"]
        alt = escape(figure["alt"], quote=True)
        if path.is_file():
            png = path.read_bytes()
            width, height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, which comes first
            data = base64.b64encode(png).decode()
            size = f'width="{width}" height="{height}"'
            picture = f'<img src="data:image/png;base64,{data}" alt="{alt}" {size}>'
        else:
            picture = f"<p>{text(figure['file'])} is missing</p>"
        caption = f"{text(figure['alt'])} Seed {record['seed']}."
        pictures.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="figures">{"".join(pictures)}</div>'


def _value_tables(row: Row) -> str:
    record = next((r for r in row.measured if r.get("tables")), None)
    if record is None:
        return ""
    tables = [
        f"<div><p class='small'><b>{text(table['name'])}</b>, seed {record['seed']}</p>"
        + plain_table(table["name"], table["columns"], table["rows"])
        + "</div>"
        for table in record["tables"]
    ]
    return f'<div class="tables">{"".join(tables)}</div>'


def _errors(row: Row) -> str:
    blocks = []
    for record in row.records:
        if record.get("error"):
            trace = f'<pre tabindex="0">{text(record["traceback"])}</pre>' if record.get("traceback") else ""
            blocks.append(
                f"<p>{chip(ERROR, 'seed ' + str(record['seed']))} {text(record['error'])}</p>"
                + (f"<details><summary>Traceback</summary>{trace}</details>" if trace else "")
            )
    return "".join(blocks)


def _seeds(row: Row) -> str:
    """Every number of every seed, folded away."""
    if not row.measured:
        return ""
    columns = ["", *(f"seed {record['seed']}" for record in row.measured)]
    lines: list[list[object]] = [
        ["holds", *(record["passed"] for record in row.measured)],
        ["ours", *(record["ours"] for record in row.measured)],
        ["baseline", *(record["baseline"] for record in row.measured)],
        ["seconds", *(record["seconds"] for record in row.measured)],
        ["peak memory (MB)", *(record["peak_memory_mb"] for record in row.measured)],
    ]
    if any(record.get("peak_cuda_memory_mb") for record in row.measured):
        lines.append(
            ["peak CUDA memory (MB)", *(record.get("peak_cuda_memory_mb") for record in row.measured)]
        )
    names = dict.fromkeys(name for record in row.measured for name in record["values"])
    lines += [[name, *(record["values"].get(name) for record in row.measured)] for name in names]
    table = plain_table(f"All numbers of {row.claim}", columns, lines)
    return f"<details><summary>All numbers, by seed</summary>{table}</details>"


def _environment(rows: Sequence[Row]) -> str:
    records = [record for row in rows for record in row.records]

    def distinct(*names: str) -> str:
        found = dict.fromkeys(" ".join(show(r[n]) for n in names if r.get(n)) for r in records)
        return ", ".join(value for value in found if value) or "–"

    facts = {
        "PyTorch": distinct("torch"),
        "Python": distinct("python"),
        "Device": distinct("device", "device_name"),
        "System": distinct("system"),
        "Commit": distinct("git_commit"),
        "Measured": _dates(records),
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return (
        '<section aria-labelledby="environment"><h2 id="environment">Environment</h2>'
        f'<dl class="sheet environment">{items}</dl></section>'
    )


def _dates(records: Sequence[Record]) -> str:
    days = sorted({str(record["started_at"])[:10] for record in records if record.get("started_at")})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "–"
