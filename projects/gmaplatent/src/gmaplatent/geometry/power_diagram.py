"""Power diagrams clipped to a convex polygon, exact and vectorised (§A.1).

The sites are lifted to (x, y, |y|² − w); the lower faces of the convex hull are the triangles of the dual, and each gives
one vertex of the diagram. Only the cells that leave the polygon are clipped.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull, QhullError

from .polygon import ConvexPolygon, cross

GHOST_DISTANCE = 8.0
"""Distance of the ghost sites that bound every cell, in diameters: far enough to win nowhere inside."""


@dataclass(frozen=True, eq=False)
class PowerDiagram:
    """Cells `W_i = {x in Ω: |x − y_i|² − w_i ≤ |x − y_j|² − w_j for all j}`.

    Args:
        sites: y, (n, 2).
        weights: w, (n,); adding a constant to all changes nothing.
        domain: Ω.
        ring_points: corners of all cells, counter-clockwise, cell after cell.
        ring_cells: the cell each corner belongs to, ascending.
        pairs: neighbours i < j whose common edge meets Ω.
        lengths: of those common edges inside Ω.
    """

    sites: Float[np.ndarray, "n 2"]
    weights: Float[np.ndarray, "n"]
    domain: ConvexPolygon
    ring_points: Float[np.ndarray, "r 2"]
    ring_cells: Int[np.ndarray, "r"]
    pairs: Int[np.ndarray, "e 2"]
    lengths: Float[np.ndarray, "e"]

    @cached_property
    def _fan(self) -> tuple[Float[np.ndarray, "r 2"], Float[np.ndarray, "r 2"], Float[np.ndarray, "r"]]:
        """Triangles (y_i, corner, next corner) of every cell: the two corners seen from the site, and twice the area."""
        n, cells = len(self.ring_cells), self.ring_cells
        following = np.arange(1, n + 1)
        last = np.flatnonzero(np.append(cells[1:] != cells[:-1], True)) if n else np.zeros(0, int)
        first = np.concatenate([[0], last[:-1] + 1]) if n else last
        following[last] = first
        a = self.ring_points - self.sites[cells]
        b = self.ring_points[following] - self.sites[cells]
        return a, b, cross(a, b)

    def _sum(self, values: Float[np.ndarray, "r"]) -> Float[np.ndarray, "n"]:
        return np.bincount(self.ring_cells, values, minlength=len(self.sites))

    @cached_property
    def areas(self) -> Float[np.ndarray, "n"]:
        """Of the cells; 0 for a hidden site."""
        return self._sum(self._fan[2] / 2)

    @property
    def masses(self) -> Float[np.ndarray, "n"]:
        """Areas over the area of the domain: the uniform probability of each cell."""
        return self.areas / self.domain.area

    @cached_property
    def centroids(self) -> Float[np.ndarray, "n 2"]:
        """Centres of mass of the cells; NaN for a hidden site."""
        a, b, double = self._fan
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = [self._sum(double * (a + b)[:, i] / 6) / self.areas for i in range(2)]
        return self.sites + np.stack(moved, 1)

    @cached_property
    def costs(self) -> Float[np.ndarray, "n"]:
        """∫_{W_i} |x − y_i|² dx / |Ω|: what the uniform measure pays to move to each site."""
        a, b, double = self._fan
        moment = (a * a).sum(1) + (a * b).sum(1) + (b * b).sum(1)
        return self._sum(double * moment / 12) / self.domain.area

    def polygon(self, i: int) -> Float[np.ndarray, "m 2"]:
        """Corners of cell i, counter-clockwise; none for a hidden site."""
        start, end = np.searchsorted(self.ring_cells, [i, i + 1])
        return self.ring_points[start:end]


def power_diagram(sites: ArrayLike, weights: ArrayLike | None, domain: ConvexPolygon) -> PowerDiagram:
    """The power diagram of weighted sites, clipped to a convex polygon.

    Args:
        sites: (n, 2), finite; they may lie outside.
        weights: (n,); None is the Voronoi diagram.
        domain: that all cells tile.

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Example:
        >>> from gmaplatent.geometry.polygon import disk
        >>> halves = power_diagram([[-0.5, 0], [0.5, 0]], None, disk())
        >>> halves.masses.round(12).tolist()
        [0.5, 0.5]
    """
    points = np.asarray(sites, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 1:
        raise ValueError(f"sites must have shape (n, 2) with n >= 1, got {points.shape}")
    w = np.zeros(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(points),):
        raise ValueError(f"weights must have shape ({len(points)},), got {w.shape}")
    if not (np.isfinite(points).all() and np.isfinite(w).all()):
        raise ValueError("sites and weights must be finite")
    corners, faces, edges = _dual(points, w, domain)
    cells, rings = _rings(len(points), corners, faces)
    rings, cells = _clip(rings, cells, domain)
    pairs, lengths = _edges(len(points), corners, edges, domain)
    return PowerDiagram(points, w, domain, rings, cells, pairs, lengths)


def _dual(
    points: Float[np.ndarray, "n 2"], w: Float[np.ndarray, "n"], domain: ConvexPolygon
) -> tuple[Float[np.ndarray, "f 2"], Int[np.ndarray, "f 3"], Int[np.ndarray, "e 4"]]:
    """Corners of the diagram, the three sites of each, and edges (site, site, corner, corner)."""
    centre = domain.vertices.mean(0)
    spread = max(np.abs(points - centre).max(), 1e-300)
    unit = max(domain.diameter, 2 * spread)
    angle = 2 * np.pi * (np.arange(8) + 0.5) / 8
    ghosts = GHOST_DISTANCE * np.stack([np.cos(angle), np.sin(angle)], 1)
    sites = np.vstack([(points - centre) / unit, ghosts])
    # The largest weight is moved to 0: somewhere inside, a real site is nearer than any ghost.
    lifted = (sites**2).sum(1) - np.concatenate([(w - w.max()) / unit**2, np.zeros(8)])
    try:
        hull = ConvexHull(np.column_stack([sites, lifted]), qhull_options="Qt")
    except QhullError as error:
        raise ValueError(f"the power diagram cannot be built: {str(error).splitlines()[0]}") from error
    lower = hull.equations[:, 2] < -1e-14
    number = np.cumsum(lower) - 1
    plane = hull.equations[lower]
    corners = centre - unit * plane[:, :2] / (2 * plane[:, 2:3])
    faces = hull.simplices[lower].astype(np.int64)
    beside = np.where(lower[hull.neighbors], number[hull.neighbors], -1)[lower]
    edges = []
    for k in range(3):
        # The neighbour opposite corner k shares the other two sites.
        shared = np.sort(np.delete(faces, k, axis=1), axis=1)
        own = np.arange(len(faces))
        once = beside[:, k] > own
        edges.append(np.column_stack([shared, own, beside[:, k]])[once])
    return corners, faces, np.vstack(edges)


def _rings(
    n: int, corners: Float[np.ndarray, "f 2"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Int[np.ndarray, "r"], Float[np.ndarray, "r 2"]]:
    """The corners of each cell in counter-clockwise order, not yet clipped."""
    site, face = faces.ravel(), np.repeat(np.arange(len(faces)), 3)
    real = site < n
    site, face = site[real], face[real]
    counts = np.maximum(np.bincount(site, minlength=n), 1)
    middle = np.stack([np.bincount(site, corners[face, i], minlength=n) / counts for i in range(2)], 1)
    from_middle = corners[face] - middle[site]
    order = np.lexsort([np.arctan2(from_middle[:, 1], from_middle[:, 0]), site])
    return site[order], corners[face[order]]


def _clip(
    rings: Float[np.ndarray, "r 2"], cells: Int[np.ndarray, "r"], domain: ConvexPolygon
) -> tuple[Float[np.ndarray, "s 2"], Int[np.ndarray, "s"]]:
    """Replace the cells that leave the domain by their parts inside."""
    outside = np.unique(cells[domain.leaves(rings)])
    if not len(outside):
        return rings, cells
    leaves = np.isin(cells, outside)
    number = np.searchsorted(outside, cells[leaves])
    whole = np.bincount(number) >= 3
    used = whole[number]
    renumbered = (np.cumsum(whole) - 1)[number[used]]
    shapes = shapely.polygons(shapely.linearrings(rings[leaves][used], indices=renumbered))
    parts = shapely.intersection(shapes, domain.shape)
    solid = shapely.area(parts) > 0
    outer = shapely.get_exterior_ring(shapely.normalize(parts[solid]))
    points, index = shapely.get_coordinates(outer, return_index=True)
    # A ring repeats its first point at its end, and runs clockwise once it is normalised.
    inner = np.append(index[1:] == index[:-1], False)
    points, index = points[inner][::-1], index[inner][::-1]
    owner = outside[whole][solid][index]
    merged, points = np.concatenate([cells[~leaves], owner]), np.vstack([rings[~leaves], points])
    order = np.argsort(merged, kind="stable")
    return points[order], merged[order]


def _edges(
    n: int, corners: Float[np.ndarray, "f 2"], edges: Int[np.ndarray, "e 4"], domain: ConvexPolygon
) -> tuple[Int[np.ndarray, "e 2"], Float[np.ndarray, "e"]]:
    """Neighbouring cells with the length of their common edge inside the domain."""
    edges = edges[edges[:, 1] < n]
    start, end = corners[edges[:, 2]], corners[edges[:, 3]]
    leaves = domain.leaves(start) | domain.leaves(end)
    start[leaves], end[leaves] = domain.clip_segments(start[leaves], end[leaves])
    lengths = np.linalg.norm(end - start, axis=1)
    kept = lengths > 0
    return edges[kept, :2], lengths[kept]
