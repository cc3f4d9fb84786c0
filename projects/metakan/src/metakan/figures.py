"""The pictures of the claims, as encoded PNG files: few lines, direct labels, readable on a phone.

Drawn through matplotlib's object interface without pyplot, so that no global state is touched.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from tenfold.claims import Figure

COLOURS = {
    "MetaKAN": "#0b6e99",
    "KAN": "#d1663b",
    "narrow KAN": "#e3b23c",
    "MLP": "#7a7f87",
}
"""One colour a family in every picture; readable for colour-blind eyes and in grey."""

MARKERS = {"MetaKAN": "o", "KAN": "s", "narrow KAN": "D", "MLP": "^"}
OTHER = "#333333"
INK = "#22272e"

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


def family(label: str) -> str:
    """The family a label belongs to: the longest key of `COLOURS` it starts with, else the label itself."""
    known = [name for name in COLOURS if label.startswith(name)]
    return max(known, key=len) if known else label


def _colour(label: str) -> str:
    return COLOURS.get(family(label), OTHER)


def _encode(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    # No software version or date in the file: the same numbers give the same bytes.
    FigureCanvasAgg(canvas).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _single(title: str, xlabel: str, ylabel: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(7.2, 4.6), dpi=130, layout="constrained")
    axes = canvas.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, pad=12)
    return canvas, axes


@dataclass(frozen=True)
class Point:
    """One trained model: its label (family first), trainable parameters, error, and spread over seeds."""

    label: str
    parameters: int
    error: float
    spread: float = 0.0


def error_against_parameters(name: str, points: Sequence[Point], title: str, error: str, alt: str) -> Figure:
    """Error over trainable parameters (logarithmic), every point labelled."""
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, "trainable parameters", error)
        for p in points:
            marker = MARKERS.get(family(p.label), "o")
            spread = p.spread or None
            axes.errorbar(
                p.parameters,
                p.error,
                marker=marker,
                ms=9,
                color=_colour(p.label),
                ls="",
                yerr=spread,
                capsize=3,
            )
            axes.annotate(
                p.label,
                (p.parameters, p.error),
                xytext=(11, 0),
                textcoords="offset points",
                va="center",
                fontsize=12,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if max(p.error for p in points) > 20 * min(max(p.error, 1e-30) for p in points):
            axes.set_yscale("log")
        axes.margins(x=0.25, y=0.2)
        return Figure(name, _encode(canvas), alt)


Curve = tuple[Sequence[float], Sequence[float]]


def error_curves(
    name: str, curves: Mapping[str, Curve], title: str, axis_labels: tuple[str, str], alt: str
) -> Figure:
    """One line a model, logarithmic errors; curves are (steps, errors)."""
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, *axis_labels)
        for label, (steps, errors) in curves.items():
            axes.plot(steps, errors, color=_colour(label), lw=2.4, label=label)
        axes.set_yscale("log")
        axes.legend(loc="upper right")
        return Figure(name, _encode(canvas), alt)


def memory_over_width(
    name: str, curves: Mapping[str, Curve], title: str, axis_labels: tuple[str, str], alt: str
) -> Figure:
    """Memory over the hidden width h of the meta-learner; a curve of one point is drawn as a level line."""
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, *axis_labels)
        for label, (widths, megabytes) in curves.items():
            naive = "naive" in label
            style: dict[str, Any] = {"color": _colour(label), "lw": 2.4, "ls": "--" if naive else "-"}
            if len(widths) == 1:
                axes.axhline(megabytes[0], label=label, **style)
            else:
                axes.plot(widths, megabytes, marker="o", label=label, **style)
        ticks = sorted({w for widths, _ in curves.values() for w in widths if len(widths) > 1})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{w:g}" for w in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.45 * max(value for _, values in curves.values() for value in values))
        axes.legend(loc="upper left")
        return Figure(name, _encode(canvas), alt)


@dataclass(frozen=True)
class Edge:
    """A univariate function on an edge: its label and its values on a grid of arguments."""

    label: str
    arguments: Float[Tensor, "n"]
    values: Float[Tensor, "n"]


def univariate_functions(name: str, edges: Sequence[Edge], title: str, alt: str, columns: int = 4) -> Figure:
    """Small multiples of the learned functions of edges, one common scale."""
    columns = min(columns, len(edges))
    rows = -(-len(edges) // columns)
    with matplotlib.rc_context(STYLE | {"font.size": 11, "axes.titlesize": 11}):
        canvas = Canvas(figsize=(7.2, 0.8 + 1.6 * rows), dpi=130, layout="constrained")
        grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(edges) :]:
            axes.set_visible(False)
        for edge, axes in zip(edges, grid.flat):
            axes.plot(edge.arguments.tolist(), edge.values.tolist(), color=COLOURS["MetaKAN"], lw=2.2)
            axes.set_title(edge.label)
        canvas.suptitle(title, x=0.02, ha="left", fontsize=14)
        return Figure(name, _encode(canvas), alt)
