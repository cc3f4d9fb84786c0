"""Pictures of what a trained generator does where: fields in state space, maps over an attractor, space–time maps.

The paper draws the learned skew and self-adjoint fields over the pendulum's plane and the Lorenz attractor (notes §3.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from tenfold.claims import Figure

from .figures import INK, STYLE, encode

SIZES = LinearSegmentedColormap.from_list("sizes", ["#b9c6cf", "#5fa3c2", "#0b6e99", "#062a3d"])
"""From small to large; what is small can still be seen on white."""

SMALL = STYLE | {"font.size": 11, "axes.titlesize": 12}


@dataclass(frozen=True)
class PlaneField:
    """A vector field at points of a plane.

    Args:
        label: what the field is.
        points: where, two coordinates each.
        vectors: the field there, in the same coordinates per unit of time.
    """

    label: str
    points: Float[Tensor, "n 2"]
    vectors: Float[Tensor, "n 2"]


def vector_fields(
    name: str, fields: Sequence[PlaneField], axis_labels: tuple[str, str], title: str, alt: str
) -> Figure:
    """Fields side by side, one scale for all: colour and length of an arrow are the size of the field there.

    Arrows have a least length, so that the direction of a small field can be seen; its colour is pale.
    """
    sizes = [field.vectors.norm(dim=-1).numpy() for field in fields]
    top = float(np.quantile(np.concatenate(sizes), 0.98)) or 1.0
    with matplotlib.rc_context(SMALL | {"axes.grid": False}):
        canvas = Canvas(figsize=(3.7 * len(fields), 4.1), dpi=130, layout="constrained")
        grid = canvas.subplots(1, len(fields), sharex=True, sharey=True, squeeze=False)[0]
        for field, size, axes in zip(fields, sizes, grid):
            x, y = field.points.T.numpy()
            length = np.clip(size / top, 0.35, 1.0) / np.maximum(size, 1e-12)
            u, v = (field.vectors.numpy() * length[:, None]).T
            arrows = axes.quiver(x, y, u, v, size, cmap=SIZES, pivot="mid", scale=15, width=0.007)
            arrows.set_clim(0, top)
            axes.set_title(field.label)
            axes.set_xlabel(axis_labels[0])
        grid[0].set_ylabel(axis_labels[1])
        canvas.colorbar(arrows, ax=list(grid), label="size of the field", shrink=0.85)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=14)
        return Figure(name, encode(canvas), alt)


@dataclass(frozen=True)
class ColourMap:
    """A scalar at points of the attractor; `centred` values have a colour map that is white at zero."""

    label: str
    values: Float[Tensor, "n"]
    centred: bool = False


def attractor_maps(
    name: str,
    points: Float[Tensor, "n 2"],
    maps: Sequence[ColourMap],
    axis_labels: tuple[str, str],
    title: str,
    alt: str,
) -> Figure:
    """One panel a scalar: the same points of an attractor, coloured by it. Colours span the central 96 %."""
    with matplotlib.rc_context(SMALL | {"axes.grid": False}):
        canvas = Canvas(figsize=(4.3 * len(maps), 4.3), dpi=130, layout="constrained")
        grid = canvas.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
        for scalar, axes in zip(maps, grid):
            values = scalar.values.numpy()
            low, high = np.quantile(values, (0.02, 0.98))
            if scalar.centred:
                high = max(abs(low), abs(high), 1e-12)
                low = -high
            dots = axes.scatter(
                *points.T.numpy(),
                c=values,
                s=5,
                lw=0,
                vmin=low,
                vmax=high,
                cmap="RdBu_r" if scalar.centred else "viridis",
            )
            axes.set_title(scalar.label)
            axes.set_xlabel(axis_labels[0])
            canvas.colorbar(dots, ax=axes, shrink=0.9)
        grid[0].set_ylabel(axis_labels[1])
        canvas.suptitle(title, x=0.01, ha="left", fontsize=14)
        return Figure(name, encode(canvas), alt)


@dataclass(frozen=True)
class SpaceTime:
    """A field u(x, t) sampled on a grid: label and values, time first."""

    label: str
    values: Float[Tensor, "n_times n_x"]


def space_time_maps(
    name: str, panels: Sequence[SpaceTime], dt: float, length: float, title: str, alt: str
) -> Figure:
    """Space–time maps one above the other, time to the right, one colour scale: truth first, then the models.

    Args:
        name: file-name stem.
        panels: what to show; the first one sets the colour scale.
        dt: time between two samples.
        length: length of the periodic domain.
        title: the picture's title.
        alt: what the picture shows.
    """
    limit = float(panels[0].values.abs().max())
    with matplotlib.rc_context(SMALL | {"axes.grid": False}):
        canvas = Canvas(figsize=(7.2, 0.8 + 1.55 * len(panels)), dpi=130, layout="constrained")
        grid = canvas.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for panel, axes in zip(panels, grid):
            extent = (0.0, dt * (len(panel.values) - 1), 0.0, length)
            image = axes.imshow(
                panel.values.T.numpy(),
                origin="lower",
                aspect="auto",
                extent=extent,
                cmap="RdBu_r",
                vmin=-limit,
                vmax=limit,
            )
            axes.set_title(panel.label)
            axes.set_ylabel("x")
            _frame(axes)
        grid[-1].set_xlabel("time")
        canvas.colorbar(image, ax=list(grid), label="u", shrink=0.8)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=14)
        return Figure(name, encode(canvas), alt)


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set(visible=True, color=INK, lw=0.6)
