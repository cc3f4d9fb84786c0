"""The pictures of the claims: one channel before and after, NMSE and iterations over SNR, residuals, cost, memory.

Tenfold's common look (`tenfold.drawing`); an estimator has one colour in every picture, ICENet the first of the palette.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from tenfold.claims import Figure
from tenfold.drawing import OTHER, PALETTE, Curve, Labels, Look, curves, draw, sheet

COLOURS = {
    "ICENet": PALETTE[0],
    "LS": PALETTE[1],
    "LMMSE": PALETTE[3],
    "ReEsNet": PALETTE[2],
    "StackedCE": PALETTE[4],
    "TiedUnroll": PALETTE[5],
    "InterpolationResNet": PALETTE[6],
    "perfect": OTHER,
}
"""Family of an estimator -> its colour."""

SNR = "SNR (dB)"
NMSE = "NMSE (dB)"


def family(label: str) -> str:
    """The key of `COLOURS` that a label starts with, the longest one; else the label itself.

    Example:
        >>> family("ICENet, contractive"), family("LMMSE, mismatched"), family("theory")
        ('ICENet', 'LMMSE', 'theory')
    """
    known = [name for name in COLOURS if label.startswith(name)]
    return max(known, key=len) if known else label


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for the first label of each known family; further ones and unknown ones take free colours of the palette."""
    found: dict[str, str] = {}
    for label in labels:
        name = family(label)
        if name in COLOURS and COLOURS[name] not in found.values():
            found[label] = COLOURS[name]
    return found


def over_snr(
    name: str, lines: Mapping[str, Curve], title: str, alt: str, quantity: str = NMSE, log: str = ""
) -> Figure:
    """One line an estimator over the signal-to-noise ratio.

    Args:
        name: file-name stem.
        lines: estimator -> (SNRs in dB, values).
        title: the picture's title.
        alt: what the picture shows.
        quantity: label of the ordinate.
        log: "y" for error rates.
    """
    return curves(name, lines, Labels(title, SNR, quantity, alt), Look(log=log, colours=colours(list(lines))))


def over_doppler(name: str, lines: Mapping[str, Curve], title: str, alt: str) -> Figure:
    """One line an estimator over the Doppler frequency in Hz."""
    labels = Labels(title, "Doppler frequency (Hz)", NMSE, alt)
    return curves(name, lines, labels, Look(colours=colours(list(lines))))


def iterations_over_snr(
    name: str, counts: Mapping[float, Sequence[int]], cap: int, title: str, alt: str
) -> Figure:
    """Evaluations that each slot took, one dot a slot, and their mean at each SNR.

    Args:
        name: file-name stem.
        counts: SNR in dB -> first-hit counts of its slots.
        cap: τ, drawn as a guide if a slot comes near it.
        title: the picture's title.
        alt: what the picture shows.
    """
    ratios = sorted(counts)
    gap = min((b - a for a, b in pairwise(ratios)), default=1.0)
    spread = np.random.default_rng(0)  # where the dots lie beside each other, nothing else
    with sheet() as picture:
        axes = picture.axes[0]
        for ratio in ratios:
            found = np.asarray(counts[ratio], dtype=float)
            x = ratio + gap * spread.uniform(-0.25, 0.25, len(found))
            y = found + spread.uniform(-0.3, 0.3, len(found))
            axes.plot(x, y, ls="", marker="o", ms=3, alpha=0.25, color=PALETTE[0])
        means = [float(np.mean(counts[ratio])) for ratio in ratios]
        axes.plot(ratios, means, color=OTHER, lw=2.3, marker="o", label="mean")
        if 2 * max(max(found) for found in counts.values()) > cap:
            axes.axhline(cap, color=OTHER, lw=1, ls="--", label=f"cap τ = {cap}")
        axes.set(xlabel=SNR, ylabel="evaluations of the block")
        axes.set_title(title, pad=12)
        axes.legend(loc="best", fontsize=12)
        return picture.figure(name, alt)


def residual_per_iteration(
    name: str, traces: Mapping[str, Float[Tensor, "n k"]], title: str, alt: str, eps: float
) -> Figure:
    """Relative residual over the evaluations: median, and a band from the 5th to the 95th percentile of the slots.

    Args:
        name: file-name stem.
        traces: label -> residual of each slot after each evaluation; NaN where a slot was no longer evaluated.
        title: the picture's title.
        alt: what the picture shows.
        eps: tolerance, drawn as a guide.
    """
    lines: dict[str, Curve] = {}
    bands: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for label, trace in traces.items():
        low, middle, high = trace.double().nanquantile(trace.new_tensor([0.05, 0.5, 0.95]).double(), dim=0)
        lines[label] = (list(range(1, trace.shape[1] + 1)), middle.tolist())
        bands[label] = (low.tolist(), high.tolist())
    look = Look("y", colours(list(lines)), "", bands, {f"ε = {eps:g}": eps})
    return curves(name, lines, Labels(title, "evaluations of the block", "relative residual", alt), look)


def cost_against_error(
    name: str, curve: tuple[str, Curve], points: Mapping[str, tuple[float, float]], title: str, alt: str
) -> Figure:
    """One set of weights as a curve of multiply-accumulates and NMSE, explicit networks as points.

    Args:
        name: file-name stem.
        curve: label and (MACs a slot, NMSE in dB) for growing depth.
        points: network -> (MACs a slot, NMSE in dB), each with weights of its own.
        title: the picture's title.
        alt: what the picture shows.
    """
    label, line = curve
    with sheet() as picture:
        axes = picture.axes[0]
        draw(axes, {label: line}, Look("x", {label: PALETTE[0]}))
        for (word, (macs, error)), marker in zip(points.items(), "sD^vPX*<>h" * 4):
            axes.plot([macs], [error], ls="", marker=marker, ms=9, label=word, color=_point_colour(word))
        axes.set(xlabel="multiply-accumulates a slot", ylabel=NMSE)
        axes.set_title(title, pad=12)
        axes.legend(loc="best", fontsize=10, ncols=2)
        return picture.figure(name, alt)


def _point_colour(label: str) -> str:
    return COLOURS.get(family(label), OTHER)


def memory_over_depth(name: str, lines: Mapping[str, Curve], title: str, alt: str) -> Figure:
    """Bytes that a training step keeps for the backward pass, over the number of evaluations; both logarithmic."""
    with sheet() as picture:
        axes = picture.axes[0]
        draw(axes, lines, Look("xy", colours(list(lines))))
        depths = sorted({depth for x, _ in lines.values() for depth in x})
        axes.set_xticks(depths, [f"{depth:g}" for depth in depths])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(base=2.0))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="evaluations of the block, τ", ylabel="saved for the backward pass (MiB)")
        axes.set_title(title, pad=12)
        axes.legend(loc="best", fontsize=12)
        return picture.figure(name, alt)


@dataclass(frozen=True)
class Panel:
    """One picture of a channel.

    Args:
        title: what it is.
        h: the channel on the grid of subcarriers × symbols, or on the pilots alone.
    """

    title: str
    h: Complex[Tensor, "k s"]


def channel_magnitudes(name: str, panels: Sequence[Panel], title: str, alt: str) -> Figure:
    """Magnitudes |H| of one slot side by side on one colour scale: pilots, estimates, truth.

    Args:
        name: file-name stem.
        panels: from left to right; the last one, the truth, sets the colour scale.
        title: the picture's title.
        alt: what the picture shows.

    Raises:
        ValueError: if there is no panel.
    """
    if not panels:
        raise ValueError("panels is empty: give at least the true channel")
    top = float(panels[-1].h.abs().max())
    options: dict[str, Any] = {
        "origin": "lower",
        "aspect": "auto",
        "vmin": 0.0,
        "vmax": top,
        "cmap": "viridis",
    }
    with sheet(2.6 * len(panels) + 0.8, 4.4, 1, len(panels), axes_grid=False) as picture:
        for axes, panel in zip(picture.axes, panels):
            image = axes.imshow(panel.h.abs().cpu().numpy(), **options)
            axes.set_title(panel.title, fontsize=12)
            axes.set_xlabel("symbol")
        picture.axes[0].set_ylabel("subcarrier")
        picture.canvas.colorbar(image, ax=picture.axes, label="|H|")
        picture.canvas.suptitle(title, x=0.01, ha="left")
        return picture.figure(name, alt)
