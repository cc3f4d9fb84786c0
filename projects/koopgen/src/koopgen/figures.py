"""The pictures of the claims, as encoded PNG files: few lines, direct labels, readable on a phone.

Drawn through matplotlib's object interface without pyplot, so that no global state is touched. Tenfold's common look:
quiet axes, one colour a model in every picture. The read-outs (fields, maps) have a module of their own, `maps`.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from tenfold.claims import Figure

COLOURS = {
    "KoopGen": "#0b6e99",
    "LRAN": "#d1663b",
    "DeepKoopman": "#e3b23c",
    "ConstantGenerator": "#7a7f87",
    "Unstructured": "#8a5a9e",
    "ResidualMLP": "#4f8f6b",
    "NeuralODE": "#b04a6a",
    "ESN": "#a08060",
}
"""One colour a model in every picture; readable for colour-blind eyes and in grey."""

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

Curve = tuple[Sequence[float], Sequence[float]]
"""Abscissae and ordinates of a line; a value that is not finite leaves a gap."""


def _plain(label: str) -> str:
    return label.casefold().replace(" ", "").replace("_", "").replace("-", "")


def family(label: str) -> str:
    """The model a label belongs to: the longest key of `COLOURS` it starts with, whatever its case; else the label.

    Example:
        >>> family("koopgen, nonpositive"), family("deep_koopman"), family("truth")
        ('KoopGen', 'DeepKoopman', 'truth')
    """
    known = [name for name in COLOURS if _plain(label).startswith(_plain(name))]
    return max(known, key=len) if known else label


def colour(label: str) -> str:
    """The colour of a model's lines and points."""
    return COLOURS.get(family(label), OTHER)


def encode(canvas: Canvas) -> bytes:
    """The picture as a PNG file; the same numbers give the same bytes (no software version or date in it)."""
    buffer = io.BytesIO()
    FigureCanvasAgg(canvas).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _single(title: str, xlabel: str, ylabel: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(7.2, 4.6), dpi=130, layout="constrained")
    axes = canvas.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, pad=12)
    return canvas, axes


def _draw(axes: Axes, curves: Mapping[str, Curve], log: bool = True, marker: str = "") -> None:
    """One line a label; labels of one family share its colour and differ in their dashes."""
    dashes, seen = ("-", "--", ":", "-."), dict[str, int]()
    for label, (abscissae, ordinates) in curves.items():
        order = seen[family(label)] = seen.get(family(label), -1) + 1
        shown = [y if math.isfinite(y) and (y > 0 or not log) else math.nan for y in ordinates]
        style: dict[str, Any] = {
            "color": colour(label),
            "ls": dashes[order % len(dashes)],
            "lw": 2.3,
            "marker": marker,
        }
        axes.plot(abscissae, shown, label=label, **style)
    if log:
        axes.set_yscale("log")


def curves(
    name: str,
    lines: Mapping[str, Curve],
    title: str,
    axis_labels: tuple[str, str],
    alt: str,
    *,
    log: bool = True,
    marker: str = "",
) -> Figure:
    """One line a model over time, steps or dimension; the ordinate is logarithmic unless `log=False`."""
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, *axis_labels)
        _draw(axes, lines, log, marker)
        axes.legend(loc="best", fontsize=12)
        return Figure(name, encode(canvas), alt)


@dataclass(frozen=True)
class Forecasts:
    """One component of one true trajectory with what the models made of its first state.

    Args:
        times: sampling times.
        truth: the component's true values.
        models: model -> the component's forecast values; a roll-out that turned non-finite ends there.
        component: what the component is, with its unit.
    """

    times: Float[Tensor, "n"]
    truth: Float[Tensor, "n"]
    models: Mapping[str, Float[Tensor, "n"]]
    component: str


def forecasts_with_error_growth(
    name: str, example: Forecasts, errors: Mapping[str, Curve], title: str, error: str, alt: str
) -> Figure:
    """Above, one example; below, the error of all test trajectories over time, logarithmic.

    Args:
        name: file-name stem.
        example: the trajectory drawn above.
        errors: model -> (times, errors), drawn below.
        title: the picture's title.
        error: label of the error's axis, with its unit.
        alt: what the picture shows.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.2, 6.8), dpi=130, layout="constrained")
        above, below = canvas.subplots(2, 1, sharex=True)
        times, truth = example.times.tolist(), example.truth.tolist()
        above.plot(times, truth, color=INK, lw=4.5, alpha=0.25, label="truth")
        _draw(above, {label: (times, values.tolist()) for label, values in example.models.items()}, log=False)
        spread = max(truth) - min(truth)
        above.set_ylim(min(truth) - 0.4 * spread, max(truth) + 0.4 * spread)
        above.set_ylabel(example.component)
        above.set_title(title, pad=12)
        _draw(below, errors)
        below.set(xlabel="time", ylabel=error)
        handles, labels = above.get_legend_handles_labels()
        below.legend(handles, labels, loc="lower right", fontsize=11, ncols=2)
        return Figure(name, encode(canvas), alt)


def frequency_law(name: str, measured: Mapping[str, Curve], exact: Curve, title: str, alt: str) -> Figure:
    """Frequency over energy: dots of the models' roll-outs over the line of the elliptic integral (P10).

    Args:
        name: file-name stem.
        measured: model -> (energies, angular frequencies), one dot a trajectory.
        exact: energies in ascending order and π / (2 K(k)).
        title: the picture's title.
        alt: what the picture shows.
    """
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, "energy E", "angular frequency ω (rad per unit of time)")
        for label, (energies, frequencies) in measured.items():
            axes.plot(
                energies, frequencies, ls="", marker="o", ms=4, alpha=0.6, color=colour(label), label=label
            )
        axes.plot(*exact, color=INK, lw=2, label="exact: π / 2K(k)")
        low, high = min(exact[1]), max(exact[1])
        axes.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
        axes.legend(loc="lower left", markerscale=2)
        return Figure(name, encode(canvas), alt)
