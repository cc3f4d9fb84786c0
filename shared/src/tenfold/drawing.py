"""The common look of the pictures: quiet axes, few lines, one colour a model, readable on a phone.

Drawn through matplotlib's object interface without pyplot, so that no global state is touched. A package keeps its own
`figures` module with the pictures that are its own, and takes the sheet, the colours and the encoding from here.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from tenfold.claims import Figure

INK = "#22272e"
OTHER = "#333333"
PALETTE = ("#0b6e99", "#d1663b", "#e3b23c", "#7a7f87", "#8a5a9e", "#4f8f6b", "#b04a6a", "#a08060")
"""The first is ours in every picture; readable for colour-blind eyes and in grey."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 14,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
}

Curve = tuple[Sequence[float], Sequence[float]]
"""Abscissae and ordinates of a line; a value that is not finite leaves a gap."""


@dataclass
class Sheet:
    """A picture under way.

    Args:
        canvas: matplotlib's figure.
        axes: all its axes, row by row.
    """

    canvas: Canvas
    axes: list[Axes]

    def figure(self, name: str, alt: str) -> Figure:
        """The finished picture as an artefact of a claim; the same numbers give the same bytes."""
        buffer = io.BytesIO()
        FigureCanvasAgg(self.canvas).print_png(buffer, metadata={"Software": None})
        return Figure(name, buffer.getvalue(), alt)


@contextmanager
def sheet(
    width: float = 7.2, height: float = 4.6, rows: int = 1, columns: int = 1, **style: Any
) -> Iterator[Sheet]:
    """An empty picture in the common look; draw and call `Sheet.figure` inside the block.

    Args:
        width: in inches, at 130 pixels an inch.
        height: in inches.
        rows: of axes.
        columns: of axes.
        **style: matplotlib settings that differ from the common look, `axes_grid=False` for "axes.grid".

    Example:
        >>> with sheet() as page:
        ...     _ = page.axes[0].plot([1, 2], [3, 4])
        ...     picture = page.figure("rise", "A line that rises from 3 to 4.")
        >>> picture.name
        'rise'
    """
    with matplotlib.rc_context({**STYLE, **{key.replace("_", "."): value for key, value in style.items()}}):
        canvas = Canvas(figsize=(width, height), dpi=130, layout="constrained")
        yield Sheet(canvas, list(np.atleast_1d(canvas.subplots(rows, columns)).ravel()))


@dataclass(frozen=True)
class Labels:
    """Words of a picture: title, names of the axes with their units, and the text for readers who do not see it."""

    title: str
    x: str
    y: str
    alt: str


@dataclass(frozen=True)
class Look:
    """How `curves` draws.

    Args:
        log: which axes are logarithmic, of "", "x", "y" and "xy".
        colours: label -> colour; others take the palette in order.
        marker: of every point; "" draws lines alone.
        bands: label -> (low, high) around its line.
        guides: word -> ordinate of a thin horizontal line.
    """

    log: str = ""
    colours: Mapping[str, str] = field(default_factory=dict)
    marker: str = "o"
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    guides: Mapping[str, float] = field(default_factory=dict)


def draw(axes: Axes, lines: Mapping[str, Curve], look: Look | None = None) -> None:
    """One line a label on axes that exist already."""
    look = look or Look()
    free = iter([c for c in PALETTE if c not in look.colours.values()] + [OTHER] * len(lines))
    for label, (x, y) in lines.items():
        colour = look.colours[label] if label in look.colours else next(free)
        shown = [v if math.isfinite(v) and (v > 0 or "y" not in look.log) else math.nan for v in y]
        axes.plot(x, shown, label=label, color=colour, lw=2.3, marker=look.marker, ms=5)
        if label in look.bands:
            axes.fill_between(x, *look.bands[label], color=colour, alpha=0.16, lw=0)
    for word, height in look.guides.items():
        axes.axhline(height, color=OTHER, lw=1, ls="--")
        axes.annotate(
            word, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=11
        )
    axes.set_xscale("log" if "x" in look.log else "linear")
    axes.set_yscale("log" if "y" in look.log else "linear")


def curves(name: str, lines: Mapping[str, Curve], labels: Labels, look: Look | None = None) -> Figure:
    """One picture with one line a label.

    Args:
        name: file-name stem, lower case with hyphens.
        lines: label -> (abscissae, ordinates).
        labels: the words.
        look: scales, colours, bands.
    """
    with sheet() as page:
        axes = page.axes[0]
        draw(axes, lines, look)
        axes.set(xlabel=labels.x, ylabel=labels.y)
        axes.set_title(labels.title, pad=12)
        if len(lines) > 1:
            axes.legend(loc="best", fontsize=12)
        return page.figure(name, labels.alt)
