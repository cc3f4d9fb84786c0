"""The pictures of the claims, as encoded PNG files: few lines, direct labels, readable on a phone.

Drawn through matplotlib's object interface without pyplot, so that no global state is touched. Tenfold's common look:
quiet axes, one colour a model in every picture.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from tenfold.claims import Figure

COLOURS = {"SA-Conv": "#0b6e99", "TL-Conv": "#d1663b", "B-Conv": "#e3b23c", "CNN": "#7a7f87"}
"""One colour a model in every picture; readable for colour-blind eyes and in grey."""

MARKERS = {"SA-Conv": "o", "TL-Conv": "s", "B-Conv": "D", "CNN": "^"}
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


@dataclass(frozen=True)
class Crop:
    """One picture of a row: its label and the image in [0, 1]."""

    label: str
    image: Float[Tensor, "c h w"]


@dataclass(frozen=True)
class Orbit:
    """An image with the linear map D of its group D C_N D⁻¹: the orbit of a point is an ellipse."""

    label: str
    image: Float[Tensor, "c h w"]
    map: Float[Tensor, "2 2"]


def restored_crops(name: str, rows: Sequence[Sequence[Crop]], title: str, alt: str) -> Figure:
    """Rows of crops side by side, each under its label."""
    columns = max(len(row) for row in rows)
    with matplotlib.rc_context(
        STYLE | {"font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "center"}
    ):
        canvas = Canvas(figsize=(1.75 * columns, 0.4 + 2.0 * len(rows)), dpi=130, layout="constrained")
        grid = canvas.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, line in zip(rows, grid):
            for crop, axes in zip(row, line):
                _show(axes, crop.image)
                axes.set_title(crop.label, pad=4)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=13)
        return Figure(name, _encode(canvas), alt)


def elliptical_orbits(
    name: str, orbits: Sequence[Orbit], title: str, alt: str, order: int = 8, columns: int = 4
) -> Figure:
    """Images with orbits of the learned conjugated group drawn over them, two radii, one dot a group element."""
    rows = -(-len(orbits) // columns)
    with matplotlib.rc_context(
        STYLE | {"font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "center"}
    ):
        canvas = Canvas(figsize=(1.9 * columns, 0.5 + 2.15 * rows), dpi=130, layout="constrained")
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for orbit, axes in zip(orbits, grid.flat):
            _show(axes, orbit.image)
            height, width = orbit.image.shape[-2:]
            shape = (
                orbit.map.double() / orbit.map.double().det().abs().sqrt()
            )  # only the shape of an orbit is determined
            for radius in (0.16, 0.32):
                _draw_orbit(
                    axes, shape, radius * min(height, width), ((width - 1) / 2, (height - 1) / 2), order
                )
            axes.set_xlim(-0.5, width - 0.5)
            axes.set_ylim(height - 0.5, -0.5)
            axes.set_title(orbit.label, pad=4)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=13)
        return Figure(name, _encode(canvas), alt)


def error_against_angle(
    name: str, errors: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, alt: str
) -> Figure:
    """Relative equivariance error over the angle, logarithmic; errors below 1e-7 (rounding) are drawn there."""
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, "angle of rotation (degrees)", "relative equivariance error")
        for label, (angles, values) in errors.items():
            shown = [max(v, 1e-7) for v in values]
            axes.plot(
                angles,
                shown,
                marker=MARKERS.get(label, "o"),
                ms=6,
                lw=2.2,
                color=COLOURS.get(label, OTHER),
                label=label,
            )
        axes.set_yscale("log")
        axes.set_xticks([0, 45, 90, 135, 180], ["0", "45", "90", "135", "180"])
        axes.legend(loc="lower right", ncols=2)
        return Figure(name, _encode(canvas), alt)


@dataclass(frozen=True)
class Crossover:
    """Test errors of the free and of the symmetric estimator over the number of training patches."""

    label: str
    patches: Sequence[int]
    free: Sequence[float]
    symmetric: Sequence[float]


def bias_variance_crossover(name: str, panels: Sequence[Crossover], title: str, alt: str) -> Figure:
    """One panel per anisotropy; symmetry wins where its line is below."""
    with matplotlib.rc_context(STYLE | {"font.size": 12, "axes.titlesize": 12}):
        canvas = Canvas(figsize=(3.2 * len(panels), 4.0), dpi=130, layout="constrained")
        grid = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, axes in zip(panels, grid):
            axes.plot(
                panel.patches, panel.free, color=COLOURS["CNN"], lw=2.4, marker="^", label="free filter"
            )
            axes.plot(
                panel.patches,
                panel.symmetric,
                color=COLOURS["SA-Conv"],
                lw=2.4,
                marker="o",
                label="C4-symmetric",
            )
            axes.set_xscale("log")
            axes.set_title(panel.label)
            axes.set_xlabel("training patches")
        grid[0].set_ylabel("test MSE")
        grid[0].legend(loc="upper right")
        canvas.suptitle(title, x=0.01, ha="left", fontsize=14)
        return Figure(name, _encode(canvas), alt)


def answers_against_axis(
    name: str, axis: Float[Tensor, "n"], answers: Float[Tensor, "n 3"], title: str, alt: str
) -> Figure:
    """What the hypernetwork answered for each image, over the true axis of the image."""
    labels = ("Δθ0", "ΔCx", "ΔCy")
    colours = (COLOURS["CNN"], COLOURS["SA-Conv"], COLOURS["TL-Conv"])
    with matplotlib.rc_context(STYLE):
        canvas, axes = _single(title, "true axis of the image (degrees)", "answer of the hypernetwork")
        degrees = (axis * 180 / math.pi).tolist()
        for column, label, colour in zip(answers.unbind(1), labels, colours):
            axes.plot(degrees, column.tolist(), ls="", marker="o", ms=4, alpha=0.7, color=colour, label=label)
        axes.set_xticks([0, 45, 90, 135, 180], ["0", "45", "90", "135", "180"])
        axes.legend(loc="upper right", ncols=3, markerscale=2)
        axes.margins(y=0.15)
        return Figure(name, _encode(canvas), alt)


def scores(name: str, bars: Mapping[str, float], title: str, quantity: str, alt: str) -> Figure:
    """Horizontal bars with their values; the axis starts near the smallest, as decibels have no natural zero."""
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        canvas = Canvas(figsize=(7.2, 1.2 + 0.55 * len(bars)), dpi=130, layout="constrained")
        axes = canvas.add_subplot()
        low, high = min(bars.values()), max(bars.values())
        start = low - 0.25 * max(high - low, 0.05)
        for row, (label, value) in enumerate(bars.items()):
            family = max((key for key in COLOURS if label.startswith(key)), key=len, default=label)
            axes.barh(row, value - start, left=start, height=0.62, color=COLOURS.get(family, OTHER))
            axes.annotate(
                f"{value:.2f}", (value, row), xytext=(5, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(bars)), list(bars))
        axes.invert_yaxis()
        axes.set_xlim(start, high + 0.18 * (high - start))
        axes.set_xlabel(quantity)
        axes.set_title(title, pad=10)
        return Figure(name, _encode(canvas), alt)


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


def _show(axes: Axes, image: Float[Tensor, "c h w"]) -> None:
    array = image.detach().float().clamp(0, 1).cpu().numpy()
    if len(array) == 1:
        axes.imshow(array[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(np.moveaxis(array, 0, -1), interpolation="nearest")


def _draw_orbit(axes: Axes, shape: Tensor, radius: float, centre: tuple[float, float], order: int) -> None:
    def orbit(n: int) -> np.ndarray:
        angle = torch.arange(n, dtype=torch.float64) * 2 * math.pi / n
        circle = radius * torch.stack([angle.cos(), angle.sin()])
        return (shape.cpu() @ circle).numpy() + np.array(centre)[:, None]

    line = orbit(120)
    axes.plot(*np.concatenate([line, line[:, :1]], 1), color="white", lw=3.6, solid_capstyle="round")
    axes.plot(*np.concatenate([line, line[:, :1]], 1), color=COLOURS["TL-Conv"], lw=1.8)
    axes.plot(*orbit(order), ls="", marker="o", ms=4.5, mfc=COLOURS["TL-Conv"], mec="white", mew=0.8)
