"""The pictures of the claims and of `gmaplatent demo`: stages of a domain, grids of translations, curves in two domains."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from tenfold.claims import Figure
from tenfold.drawing import INK, PALETTE, sheet

from .alignment.fitting import Fitted
from .alignment.merge import Merged
from .geometry.mesh import TriMesh
from .geometry.quality import beltrami

Images = Float[np.ndarray, "n c h w"]


def slot_colours(n_slots: int) -> list[str]:
    """One colour a slot; the palette of all pictures as far as it reaches."""
    if n_slots <= len(PALETTE):
        return list(PALETTE[:n_slots])
    chosen = matplotlib.colormaps["tab20"](np.linspace(0, 1, 20))[:n_slots]
    return [matplotlib.colors.to_hex(colour) for colour in chosen]


def stages(fitted: Fitted, name: str, title: str) -> Figure:
    """Everything that happens to one domain: layout, translated clusters, merged cells, mesh, canonical cells, distortion.

    Args:
        fitted: one of `GMapLatent.stages_`.
        name: file-name stem.
        title: of the picture.
    """
    slots = fitted.prepared.slots
    colours = slot_colours(int(slots.max()) + 1)
    with sheet(10.5, 7.4, rows=2, columns=3, axes_grid=False) as page:
        page.canvas.suptitle(title, x=0.01, ha="left", fontsize=15)
        words = ("1 layout", "2 translated", "3 merged", "4 meshed", "5 canonical", "6 distortion |μ|")
        for axes, word in zip(page.axes, words, strict=True):
            axes.set_title(word)
            axes.set_aspect("equal")
            axes.axis("off")
        _points(page.axes[0], fitted.prepared.layout, slots, colours)
        _points(page.axes[1], fitted.translated, slots, colours)
        _merged(page.axes[2], fitted.merged, colours)
        _mesh(page.axes[3], fitted.canonical.mesh, colours)
        _mesh(page.axes[4], fitted.canonical.image, colours)
        mesh = fitted.canonical.mesh
        mu = np.abs(beltrami(mesh.vertices, fitted.canonical.uv, mesh.triangles))
        shown = PolyCollection(fitted.canonical.uv[mesh.triangles], array=mu, cmap="viridis", lw=0)
        shown.set_clim(0, 1)
        page.axes[5].add_collection(shown)
        page.axes[5].autoscale_view()
        page.canvas.colorbar(shown, ax=page.axes[5], shrink=0.7)
        alt = (
            f"Six pictures of one domain with {len(colours)} clusters: the layout of its codes, the clusters moved to slots on "
            "a ring, their transport cells that tile the disk, the mesh with the borders between clusters, the convex "
            "canonical cells, and the distortion of each triangle."
        )
        return page.figure(name, alt)


def _points(
    axes: Axes, points: Float[np.ndarray, "n 2"], slots: Int[np.ndarray, "n"], colours: Sequence[str]
) -> None:
    size = float(np.clip(2500 / len(points), 1.5, 16))
    axes.scatter(points[:, 0], points[:, 1], s=size, c=[colours[k] for k in slots], linewidths=0)


def _merged(axes: Axes, merged: Merged, colours: Sequence[str]) -> None:
    """Transport cells, or the sites where there are none ("assignment")."""
    cells = merged_cells(merged)
    if not cells:
        _points(axes, merged.positions, merged.labels, colours)
        return
    faces = [colours[k] for k in merged.labels]
    axes.add_collection(PolyCollection(cells, facecolors=faces, edgecolors="white", lw=0.25))
    axes.autoscale_view()


def merged_cells(merged: Merged) -> list[Float[np.ndarray, "m 2"]]:
    """The transport cell of every point; empty for "assignment", which has none."""
    if merged.method == "global":
        return [merged.transports[0].diagram.polygon(i) for i in range(len(merged.positions))]
    if merged.method == "assignment":
        return []
    found: list[Float[np.ndarray, "m 2"]] = [np.zeros((0, 2))] * len(merged.positions)
    n_slots = int(merged.labels.max()) + 1
    for slot, transport in enumerate(merged.transports[-n_slots:]):
        for i, row in enumerate(np.flatnonzero(merged.labels == slot).tolist()):
            found[row] = transport.diagram.polygon(i)
    return found


def _mesh(axes: Axes, mesh: TriMesh, colours: Sequence[str]) -> None:
    faces = [colours[k] for k in mesh.labels]
    thin = float(np.clip(400 / len(mesh.triangles), 0.08, 0.5))
    axes.add_collection(
        PolyCollection(mesh.vertices[mesh.triangles], facecolors=faces, edgecolors="white", lw=thin)
    )
    axes.add_collection(LineCollection(mesh.vertices[mesh.interface_edges], colors=INK, lw=1.6))
    axes.autoscale_view()


def translation_grid(name: str, rows: Sequence[tuple[str, Images]], title: str, alt: str) -> Figure:
    """Images in labelled rows: sources above, what each method makes of them below.

    Args:
        name: file-name stem.
        rows: (word, images in [0, 1]); all rows have as many.
        title: of the picture.
        alt: for readers who do not see it.

    Raises:
        ValueError: for rows of different length.
    """
    counts = {len(images) for _, images in rows}
    if len(counts) != 1:
        raise ValueError(f"rows must have the same number of images, got {sorted(counts)}")
    count, (height, width) = counts.pop(), rows[0][1].shape[-2:]
    row_height = 8.0 * height / (width * count) + 0.12  # images take about 8 inches of the width
    with sheet(9.6, row_height * len(rows) + 0.5, rows=len(rows), axes_grid=False) as page:
        page.canvas.suptitle(title, x=0.01, ha="left", fontsize=15)
        for axes, (word, images) in zip(page.axes, rows, strict=True):
            axes.imshow(strip(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_ylabel(word, rotation=0, ha="right", va="center", fontsize=11)
            for spine in axes.spines.values():
                spine.set_visible(False)
        return page.figure(name, alt)


def strip(images: Images, gap: int = 1) -> Float[np.ndarray, "h w *c"]:
    """Images side by side with white gaps, as matplotlib takes them: (h, w) of grey ones, (h, w, 3) of coloured ones.

    Raises:
        ValueError: for images that have neither one channel nor three.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape (n, 1, h, w) or (n, 3, h, w), got {images.shape}")
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, gap)), constant_values=1.0)
    joined = np.concatenate(list(padded), axis=-1)[..., :-gap].clip(0, 1)
    return joined[0] if len(joined) == 1 else joined.transpose(1, 2, 0)


def curve_strip(name: str, source: Images, target: Images, title: str, alt: str, shown: int = 16) -> Figure:
    """A curve in the source's canonical domain, decoded in both domains: "curve to curve".

    Args:
        name: file-name stem.
        source: images along the curve.
        target: their translations.
        title: of the picture.
        alt: for readers who do not see it.
        shown: images of each, evenly spread.
    """
    where = np.linspace(0, len(source) - 1, min(shown, len(source))).round().astype(int)
    rows = (("source", source[where]), ("target", target[where]))
    return translation_grid(name, rows, title, alt)


def planar_curves(
    domains: Sequence[tuple[str, Float[np.ndarray, "n 2"], Int[np.ndarray, "n"], Float[np.ndarray, "t 2"]]],
    name: str,
    title: str,
) -> Figure:
    """Curves among planar codes, one picture a domain.

    Args:
        domains: word, codes, slot of each, codes along the curve.
        name: file-name stem.
        title: of the picture.
    """
    with sheet(10.5, 4.6, columns=len(domains), axes_grid=False) as page:
        page.canvas.suptitle(title, x=0.01, ha="left", fontsize=15)
        for axes, (word, codes, slots, curve) in zip(page.axes, domains, strict=True):
            axes.set_title(word)
            axes.set_aspect("equal")
            axes.axis("off")
            _points(axes, codes, slots, slot_colours(int(slots.max()) + 1))
            axes.plot(*curve.T, color=INK, lw=1.8)
            axes.plot(*curve[0], color=INK, marker="o", ms=7)
        return page.figure(
            name,
            f"{title}: the codes of {len(domains)} domains, coloured by cluster, with the curve and a dot at its start.",
        )
