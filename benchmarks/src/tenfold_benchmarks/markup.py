"""HTML in small pieces, everything escaped."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from tenfold_benchmarks.results import number
from tenfold_benchmarks.summary import ERROR, FAILS, GAP, HOLDS, MISSING, PARTLY, Row, show

MARKS = {HOLDS: "✓", PARTLY: "◐", FAILS: "✗", GAP: "△", ERROR: "!", MISSING: "·", "stale": "↻"}


def text(value: Any) -> str:
    """A value as escaped text.

    Example:
        >>> text("a < b & c")
        'a &lt; b &amp; c'
    """
    return escape(str(value))


def chip(kind: str, label: str) -> str:
    """A coloured label with a mark, so that colour is not all that tells verdicts apart."""
    return f'<span class="chip {kind}"><span aria-hidden="true">{MARKS[kind]}</span>{text(label)}</span>'


def verdict(row: Row) -> str:
    """The chips of a row: its verdict, and whether its code has changed since."""
    stale = " " + chip("stale", "stale") if row.stale else ""
    return chip(row.kind, row.verdict) + stale


def copy_button(command: str) -> str:
    label = escape(f"Copy the command: {command}", quote=True)
    return (
        f'<button type="button" class="copy" data-command="{escape(command, quote=True)}" aria-label="{label}" '
        f'title="{escape(command, quote=True)}">Copy</button>'
    )


def plain_table(caption: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table that scrolls inside its own frame where it is too wide; the frame can be reached by keyboard."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(show(cell))}</td>" for cell in line) + "</tr>" for line in lines
    )
    return (
        f'<div class="sheet" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}">'
        f'<table><caption class="gone">{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def strip(row: Row) -> str:
    """A line with a dot per seed: filled for ours, hollow for the baseline; empty where they are no numbers."""
    ours = [x for r in row.measured if (x := number(r["ours"])) is not None and math.isfinite(x)]
    baseline = [x for r in row.measured if (x := number(r["baseline"])) is not None and math.isfinite(x)]
    if not ours or not baseline:
        return ""
    low, high = min(*ours, *baseline), max(*ours, *baseline)
    if low == high:
        return ""
    logarithmic = low > 0 and high / low > 100

    def place(x: float) -> float:
        part = math.log(x / low) / math.log(high / low) if logarithmic else (x - low) / (high - low)
        return 12 + 396 * part

    dots = "".join(f'<circle class="baseline" cx="{place(x):.1f}" cy="14" r="5"/>' for x in baseline)
    dots += "".join(f'<circle class="ours" cx="{place(x):.1f}" cy="14" r="6"/>' for x in ours)
    scale = " (log)" if logarithmic else ""
    return (
        '<svg class="strip" viewBox="0 0 420 40" aria-hidden="true" focusable="false">'
        f'<line x1="12" y1="14" x2="408" y2="14"/>{dots}<text x="12" y="36">{_end(low)}</text>'
        f'<text x="210" y="36" text-anchor="middle">● ours  ○ baseline{scale}</text>'
        f'<text x="408" y="36" text-anchor="end">{_end(high)}</text></svg>'
    )


def _end(x: float) -> str:
    return show(int(x)) if x.is_integer() and abs(x) < 1e9 else show(x)


def logo() -> str:
    """Ten petals around a centre."""
    petals = "".join(
        f'<ellipse cx="32" cy="13" rx="5.2" ry="11" transform="rotate({36 * k} 32 32)" '
        f'fill="currentColor" opacity="{0.95 if k % 2 else 0.5}"/>'
        for k in range(10)
    )
    return f'<svg viewBox="0 0 64 64" aria-hidden="true" focusable="false">{petals}</svg>'
