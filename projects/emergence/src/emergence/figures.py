"""The pictures of this package: retention, error surfaces with their law, layer profiles, depth limits, metrics.

Each takes plain numbers (label -> abscissae and ordinates) and gives an artefact of a claim, in the common look of
`tenfold.drawing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes

from tenfold.claims import Figure
from tenfold.drawing import INK, OTHER, PALETTE, Curve, Labels, Look, curves, draw, sheet

Band = tuple[Sequence[float], Sequence[float]]
"""Lower and upper ordinates, one pair an abscissa of the line they belong to."""


def _legend_below(axes: Axes, count: int) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=min(count, 4), fontsize=11)


def retention(
    name: str,
    by_depth: Mapping[str, Curve],
    by_gain: Mapping[str, Curve],
    labels: Labels,
    edge: float | None = None,
) -> Figure:
    """What is left of the input, over the gain λ (left) and over the depth (right; logarithmic).

    Args:
        name: file-name stem.
        by_depth: "P = 32" -> (gains, retention).
        by_gain: "λ = 1.1" -> (depths, retention).
        labels: `x` is the axis of the left panel; that of the right one is the number of blocks.
        edge: critical gain of the mean-field map, drawn as a vertical line.
    """
    with sheet(10.4, 5.0, columns=2) as page:
        left, right = page.axes
        draw(left, by_depth)
        draw(right, by_gain, Look(log="x"))
        if edge is not None:
            left.axvline(edge, color=OTHER, lw=1, ls="--")
            left.annotate("χ = 1", (edge, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=11)
        left.set(xlabel=labels.x, ylabel=labels.y)
        right.set(xlabel="number of blocks")
        for axes, lines in ((left, by_depth), (right, by_gain)):
            _legend_below(axes, len(lines))
        page.canvas.suptitle(labels.title, x=0.01, ha="left", fontsize=14)
        return page.figure(name, labels.alt)


@dataclass(frozen=True)
class LawPanel:
    """One cut through an error surface.

    Args:
        x: name of the axis: "number of blocks".
        measured: label -> (abscissae, errors), drawn as points.
        fitted: label -> (abscissae, errors), drawn as a line in the colour of the points of that label.
        bands: label -> confidence band around the fitted line.
        log: logarithmic axes, of "", "x", "y" and "xy".
    """

    x: str
    measured: Mapping[str, Curve]
    fitted: Mapping[str, Curve]
    bands: Mapping[str, Band] = field(default_factory=dict)
    log: str = "y"


def law_surface(name: str, panels: Sequence[LawPanel], labels: Labels) -> Figure:
    """Cuts through the error over data, blocks and steps: points measured, lines and confidence bands fitted.

    Args:
        name: file-name stem.
        panels: from one to four cuts, drawn side by side.
        labels: `y` is the axis all panels share; `x` is not used.

    Raises:
        ValueError: if there is no panel, or a fitted line has no points.
    """
    if not panels:
        raise ValueError("panels is empty: give at least one LawPanel")
    with sheet(max(7.2, 4.6 * len(panels)), 4.8, columns=len(panels)) as page:
        for axes, panel in zip(page.axes, panels, strict=True):
            _draw_law(panel, axes)
        page.axes[0].set_ylabel(labels.y)
        page.canvas.suptitle(labels.title, x=0.01, ha="left", fontsize=14)
        return page.figure(name, labels.alt)


def _draw_law(panel: LawPanel, axes: Axes) -> None:
    strangers = [label for label in panel.fitted if label not in panel.measured]
    if strangers:
        raise ValueError(f"fitted line {strangers[0]!r} has no measured points of that label")
    colours = dict(zip(panel.measured, PALETTE * len(panel.measured)))
    draw(axes, panel.fitted, Look(log=panel.log, colours=colours, marker="", bands=panel.bands))
    for label, (x, y) in panel.measured.items():
        axes.plot(x, y, "o", color=colours[label], ms=6, label=None if label in panel.fitted else label)
    axes.set_xlabel(panel.x)
    _legend_below(axes, len(panel.measured))


def condensing_profile(
    name: str,
    trained: Mapping[str, Sequence[float]],
    untrained: Mapping[str, Sequence[float]],
    labels: Labels,
    guides: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Metrics of every layer, trained against untrained, one panel a metric.

    Args:
        name: file-name stem.
        trained: metric -> its value at layer 0, 1, …
        untrained: the same metrics at initialisation.
        labels: `title` and `alt`; each panel is named by its metric.
        guides: metric -> word -> height of a thin line ("σ = 1").

    Raises:
        ValueError: if the two have different metrics.
    """
    if set(trained) != set(untrained) or not trained:
        raise ValueError(
            f"trained has the metrics {sorted(trained)}, untrained {sorted(untrained)}: give the same, at least one"
        )
    with sheet(max(7.2, 4.4 * len(trained)), 4.6, columns=len(trained)) as page:
        for axes, metric in zip(page.axes, trained, strict=True):
            lines = {
                label: (list(range(len(values))), values)
                for label, values in (("trained", trained[metric]), ("untrained", untrained[metric]))
            }
            draw(axes, lines, Look(colours={"untrained": PALETTE[3]}, guides=(guides or {}).get(metric, {})))
            axes.set(xlabel="layer")
            axes.set_title(metric, fontsize=12, color=INK)
        page.axes[-1].legend(loc="best", fontsize=12)
        page.canvas.suptitle(labels.title, x=0.01, ha="left", fontsize=14)
        return page.figure(name, labels.alt)


def depth_limits(
    name: str,
    lines: Mapping[str, Curve],
    labels: Labels,
    bands: Mapping[str, Band] | None = None,
    log: str = "xy",
) -> Figure:
    """A distance over the depth, one line a block or scaling; a line that falls has a limit.

    Args:
        name: file-name stem.
        lines: label -> (numbers of blocks, distances).
        labels: the words.
        bands: label -> confidence band.
        log: logarithmic axes; "y" shows geometric rates as straight lines, "xy" powers of the depth.
    """
    dense = any(len(x) > 24 for x, _ in lines.values())
    return curves(name, lines, labels, Look(log=log, bands=bands or {}, marker="" if dense else "o"))


def sharp_and_smooth(
    name: str, sharp: Mapping[str, Curve], smooth: Mapping[str, Curve], labels: Labels, log: str = "x"
) -> Figure:
    """The same runs under a sharp metric (left: exact match) and a smooth one (right: cross entropy, token edits).

    Args:
        name: file-name stem.
        sharp: label -> (size, exact match).
        smooth: the same labels -> (size, continuous metric).
        labels: `x` is the axis of both; `y` names the smooth metric.
        log: logarithmic axes of both panels.
    """
    with sheet(10.4, 4.8, columns=2) as page:
        left, right = page.axes
        colours = dict(zip(sharp, PALETTE * len(sharp)))
        for axes, lines, word in ((left, sharp, "exact match"), (right, smooth, labels.y)):
            draw(axes, lines, Look(log=log, colours={k: v for k, v in colours.items() if k in lines}))
            axes.set(xlabel=labels.x)
            axes.set_title(word, fontsize=12)
        left.legend(loc="best", fontsize=11)
        page.canvas.suptitle(labels.title, x=0.01, ha="left", fontsize=14)
        return page.figure(name, labels.alt)
