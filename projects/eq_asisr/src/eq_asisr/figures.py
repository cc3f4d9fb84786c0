"""The pictures of the claims, as encoded PNG files: few lines, direct labels, readable on a phone.

Drawn through matplotlib's object interface without pyplot, so that no global state is touched.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from tenfold.claims import Figure

from .coords import coord_of_pixels
from .equivariance import Renderer
from .model import ASISR, Features, denormalize

COLOURS = {"EQ4": "#d1663b", "EQ8": "#e3b23c", "EQ16": "#0b6e99", "EQ": "#0b6e99", "plain": "#7a7f87"}
"""One colour a model in every picture; readable for colour-blind eyes and in grey."""

MARKERS = {"EQ4": "s", "EQ8": "D", "EQ16": "o", "EQ": "o", "plain": "^"}
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
PICTURES = {"font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "center"}

FLOOR = 1e-7
"""Errors below rounding in float32 are drawn here."""


def error_against_angle(
    name: str, errors: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, alt: str
) -> Figure:
    """Relative equivariance error over the angle in degrees, logarithmic, one line a model; see `FLOOR`."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.2, 4.6), dpi=130, layout="constrained")
        axes = canvas.add_subplot()
        axes.set(xlabel="angle of rotation (degrees)", ylabel="relative equivariance error")
        axes.set_title(title, pad=12)
        for label, (angles, values) in errors.items():
            axes.plot(
                angles,
                [max(v, FLOOR) for v in values],
                marker=MARKERS.get(label, "o"),
                ms=6,
                lw=2.2,
                color=COLOURS.get(label, OTHER),
                label=label,
            )
        last = max(max(angles) for angles, _ in errors.values())
        ticks = [22.5 * i for i in range(int(last / 22.5) + 1)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yscale("log")
        axes.legend(loc="lower center", ncols=len(errors))
        return Figure(name, _encode(canvas), alt)


def zoom_sweep(
    name: str,
    models: Mapping[str, ASISR],
    image: Float[Tensor, "3 h w"],
    title: str,
    alt: str,
    *,
    scales: Sequence[float] = (1, 2, 3, 4, 6, 8),
    side: int = 96,
    centre: tuple[float, float] = (0.5, 0.5),
) -> Figure:
    """A photograph at growing scales: windows of `side` output pixels, each showing less of it; one row a model.

    The first row is bicubic interpolation. Only the pixels in the windows are asked for.

    Args:
        models: by label, in eval mode.
        image: the low-resolution photograph in [0, 1].
        scales: from left to right.
        side: pixels of a window; at ×1 no more than the image has.
        centre: what is zoomed into, as fractions of height and width.

    Raises:
        ValueError: if there is no model, one is in training mode, or the window is larger than the image at a scale.
    """
    if not models:
        raise ValueError("models is empty; there is nothing to compare")
    for label, model in models.items():
        if model.training:
            raise ValueError(f"model {label!r} is in training mode; call .eval() before it is drawn")
    windows = [_window(image, scale, side, centre) for scale in scales]
    rows = {"bicubic": [_bicubic_window(image, window) for window in windows]}
    for label, model in models.items():
        with torch.no_grad():
            features = model.encode(image.unsqueeze(0))
            rows[label] = [_model_window(model, features, window, image) for window in windows]
    with matplotlib.rc_context(STYLE | PICTURES):
        canvas, grid = _grid(len(rows), len(scales), title)
        for (label, pictures), line in zip(rows.items(), grid):
            for scale, picture, axes in zip(scales, pictures, line):
                _show(axes, picture)
                axes.set_title(f"{label} ×{scale:g}", pad=4)
        return Figure(name, _encode(canvas), alt)


@dataclass(frozen=True)
class Turned:
    """An image enlarged as it lies, and turned by 90°, enlarged and turned back; both in [0, 1].

    Attributes:
        difference: mean over the colours of the absolute difference.
        largest: the largest entry of the difference before that, in grey levels of 255.
    """

    upright: Float[Tensor, "3 h w"]
    back: Float[Tensor, "3 h w"]

    @property
    def difference(self) -> Float[Tensor, "h w"]:
        return (self.upright - self.back).abs().mean(0)

    @property
    def largest(self) -> float:
        return 255 * (self.upright - self.back).abs().max().item()


def turned(upscale: Renderer, image: Float[Tensor, "3 h w"], scale: float) -> Turned:
    """Enlarge an image and its rotation by 90°; `upscale` as `ASISR.upscale`: (images, scale=…) → larger images.

    Example:
        >>> nearest = lambda lr, scale: lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        >>> turned(nearest, torch.rand(3, 4, 5), 2).largest
        0.0
    """
    upright = upscale(image.unsqueeze(0), scale=scale)
    other = upscale(torch.rot90(image, 1, (-2, -1)).unsqueeze(0), scale=scale)
    return Turned(upright[0], torch.rot90(other, -1, (-2, -1))[0])


def turned_photograph(
    name: str,
    upscalers: Mapping[str, Renderer],
    image: Float[Tensor, "3 h w"],
    scale: float,
    title: str,
    alt: str,
) -> Figure:
    """The same photograph upright and turned by 90° through several models, with difference maps on one colour scale.

    Args:
        upscalers: by label; each as `ASISR.upscale`.
        image: the low-resolution photograph in [0, 1].
        scale: the scale.

    Raises:
        ValueError: if there is no model.
    """
    if not upscalers:
        raise ValueError("upscalers is empty; there is nothing to compare")
    found = {label: turned(upscale, image, scale) for label, upscale in upscalers.items()}
    top = max(_quantile(pair.difference, 0.995) for pair in found.values()) or 1.0
    with matplotlib.rc_context(STYLE | PICTURES):
        canvas, grid = _grid(len(found), 3, title, width=2.9, aspect=image.shape[-2] / image.shape[-1])
        for (label, pair), (first, second, third) in zip(found.items(), grid):
            _show(first, pair.upright)
            first.set_title(f"{label} ×{scale:g}", pad=4)
            _show(second, pair.back)
            second.set_title("turned, enlarged, turned back", pad=4)
            third.imshow(
                pair.difference.cpu().numpy(), cmap="magma", vmin=0, vmax=top, interpolation="nearest"
            )
            third.set_title(f"difference, at most {pair.largest:.2g} of 255", pad=4)
        return Figure(name, _encode(canvas), alt)


@dataclass(frozen=True)
class _Window:
    """Some pixels of an enlarged image: their rows and columns, the size of all of it, and the scale."""

    top: int
    left: int
    side: int
    size: tuple[int, int]
    scale: float


def _window(image: Tensor, scale: float, side: int, centre: tuple[float, float]) -> _Window:
    size = (round(image.shape[-2] * scale), round(image.shape[-1] * scale))
    if side > min(size):
        raise ValueError(
            f"side is {side}, larger than the image of {size[0]}×{size[1]} pixels at scale {scale:g}"
        )
    top, left = (
        min(max(0, round(part * length - side / 2)), length - side) for part, length in zip(centre, size)
    )
    return _Window(top, left, side, size, scale)


def _bicubic_window(image: Tensor, window: _Window) -> Float[Tensor, "3 side side"]:
    large = F.interpolate(image.unsqueeze(0), window.size, mode="bicubic", align_corners=False)[0]
    return large[:, window.top : window.top + window.side, window.left : window.left + window.side]


def _model_window(
    model: ASISR, features: Features, window: _Window, image: Tensor
) -> Float[Tensor, "3 side side"]:
    steps = torch.arange(window.side, device=image.device)
    index = (window.top + steps)[:, None] * window.size[1] + window.left + steps
    coord = coord_of_pixels(index.flatten(), window.size, dtype=torch.float64)
    cell = torch.tensor([2 / (n * window.scale) for n in image.shape[-2:]], dtype=torch.float64)
    colours = model.query(features, coord, cell.to(image.device))
    return denormalize(colours[0]).T.unflatten(1, (window.side, window.side))


def _quantile(values: Tensor, share: float) -> float:
    # torch.quantile refuses more than 16 million values
    flat = values.flatten().double().sort().values
    return flat[min(len(flat) - 1, int(share * len(flat)))].item()


def _grid(
    rows: int, columns: int, title: str, width: float = 1.75, aspect: float = 1.0
) -> tuple[Canvas, list[list[Axes]]]:
    canvas = Canvas(
        figsize=(width * columns, 0.4 + (0.25 + width * aspect) * rows), dpi=130, layout="constrained"
    )
    grid = canvas.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    canvas.suptitle(title, x=0.01, ha="left", fontsize=13)
    return canvas, grid.tolist()


def _show(axes: Axes, image: Float[Tensor, "3 h w"]) -> None:
    array = image.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    axes.imshow(array, interpolation="nearest")


def _encode(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    # No software version or date in the file: the same numbers give the same bytes.
    FigureCanvasAgg(canvas).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
