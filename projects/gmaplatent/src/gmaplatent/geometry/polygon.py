"""Convex polygons: the canonical disk, its sectors, half-planes, clipping of segments."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import shapely
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class ConvexPolygon:
    """A convex polygon; vertices in counter-clockwise order.

    Args:
        vertices: (m, 2), m ≥ 3, turning left (or straight on) at every vertex.

    Raises:
        ValueError: for fewer than three vertices, numbers that are not finite, or a polygon that is not convex and
            counter-clockwise.

    Example:
        >>> square = ConvexPolygon([[0, 0], [1, 0], [1, 1], [0, 1]])
        >>> square.area
        1.0
        >>> square.contains([[0.5, 0.5], [2.0, 0.5]]).tolist()
        [True, False]
    """

    vertices: Float[np.ndarray, "m 2"]

    def __post_init__(self) -> None:
        points = np.asarray(self.vertices, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
            raise ValueError(f"vertices must have shape (m, 2) with m >= 3, got {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError("vertices must be finite")
        object.__setattr__(self, "vertices", points)
        edges = np.roll(points, -1, 0) - points
        turns = cross(edges, np.roll(edges, -1, 0))
        if (turns < -1e-12 * np.abs(turns).max()).any() or self.area <= 0:
            raise ValueError("vertices must run counter-clockwise around a convex polygon of positive area")

    @cached_property
    def area(self) -> float:
        """Of the polygon, not of the disk it may stand for."""
        origin = self.vertices[0]
        return float(cross(self.vertices - origin, np.roll(self.vertices, -1, 0) - origin).sum() / 2)

    @cached_property
    def centroid(self) -> Float[np.ndarray, "2"]:
        """Centre of mass."""
        a, b = self.vertices - self.vertices[0], np.roll(self.vertices, -1, 0) - self.vertices[0]
        return self.vertices[0] + (cross(a, b)[:, None] * (a + b)).sum(0) / (6 * self.area)

    @cached_property
    def diameter(self) -> float:
        """Largest distance of two vertices."""
        difference = self.vertices[:, None] - self.vertices[None]
        return float(np.sqrt((difference**2).sum(-1).max()))

    @cached_property
    def normals(self) -> Float[np.ndarray, "m 2"]:
        """Unit normals of the sides, pointing inwards."""
        edges = np.roll(self.vertices, -1, 0) - self.vertices
        return np.stack([-edges[:, 1], edges[:, 0]], 1) / np.linalg.norm(edges, axis=1, keepdims=True)

    @cached_property
    def offsets(self) -> Float[np.ndarray, "m"]:
        """A point x lies inside if `normals @ x ≥ offsets`."""
        return (self.normals * self.vertices).sum(1)

    @cached_property
    def shape(self) -> shapely.Polygon:
        """For Shapely."""
        return shapely.Polygon(self.vertices)

    def depth(self, points: ArrayLike) -> Float[np.ndarray, "n"]:
        """Signed distance to the nearest side's line; negative outside."""
        return (np.asarray(points, dtype=np.float64) @ self.normals.T - self.offsets).min(1)

    def leaves(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
        """Whether points lie outside; those in the inscribed circle around the centroid are not looked at closely."""
        reach = float(self.depth(self.centroid[None])[0])
        outside = ((points - self.centroid) ** 2).sum(1) > reach**2
        outside[outside] = self.depth(points[outside]) < 0
        return outside

    def contains(self, points: ArrayLike, tolerance: float = 1e-12) -> Bool[np.ndarray, "n"]:
        """Whether points lie inside or within `tolerance` diameters of it."""
        return self.depth(points) >= -tolerance * self.diameter

    def clip_segments(
        self, start: Float[np.ndarray, "e 2"], end: Float[np.ndarray, "e 2"]
    ) -> tuple[Float[np.ndarray, "e 2"], Float[np.ndarray, "e 2"]]:
        """The parts of segments inside (Cyrus–Beck); a segment outside comes back with length zero."""
        here, there = start @ self.normals.T - self.offsets, end @ self.normals.T - self.offsets
        fall = here - there
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = here / fall
        enter = np.where(fall < 0, crossing, 0.0).max(1).clip(0)
        leave = np.where(fall > 0, crossing, 1.0).min(1).clip(max=1)
        missed = ((fall == 0) & (here < 0)).any(1) | (leave < enter)
        enter, leave = np.where(missed, 0.0, enter), np.where(missed, 0.0, leave)
        run = end - start
        return start + enter[:, None] * run, start + leave[:, None] * run

    def boundary(self, n: int) -> Float[np.ndarray, "n 2"]:
        """`n` points along the boundary at equal distances, the first at the first vertex."""
        ring = np.vstack([self.vertices, self.vertices[:1]])
        lengths = np.linalg.norm(np.diff(ring, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(lengths)])
        where = np.arange(n) * at[-1] / n
        return np.stack([np.interp(where, at, ring[:, i]) for i in range(2)], 1)


def cross(a: Float[np.ndarray, "*n 2"], b: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    """The third component of the cross product of plane vectors."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def disk(n: int = 128, radius: float = 1.0) -> ConvexPolygon:
    """A regular polygon that stands for the disk; areas are those of the polygon, not π.

    Args:
        n: sides, at least 3.
        radius: of the circle through the vertices.
    """
    if n < 3:
        raise ValueError(f"n must be at least 3 sides, got {n}")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be positive and finite, got {radius}")
    angle = 2 * np.pi * np.arange(n) / n
    return ConvexPolygon(radius * np.stack([np.cos(angle), np.sin(angle)], 1))


def sectors(n_sectors: int, n_arc: int = 24, radius: float = 1.0) -> list[ConvexPolygon]:
    """The disk polygon with `n_sectors · n_arc` sides, cut into equal sectors; sector k begins at angle 2πk/K.

    One sector is the whole disk, two are half-disks.

    Args:
        n_sectors: K ≥ 1.
        n_arc: sides of each sector's arc.
        radius: of the circle.

    Example:
        >>> parts = sectors(5)
        >>> whole = disk(5 * 24)
        >>> abs(sum(part.area for part in parts) - whole.area) < 1e-12
        True
    """
    if n_sectors < 1:
        raise ValueError(f"n_sectors must be at least 1, got {n_sectors}")
    whole = disk(max(n_sectors * n_arc, 3), radius)
    if n_sectors == 1:
        return [whole]
    ring = np.vstack([whole.vertices, whole.vertices[:1]])
    arcs = [ring[k * n_arc : (k + 1) * n_arc + 1] for k in range(n_sectors)]
    if n_sectors == 2:
        return [ConvexPolygon(arc) for arc in arcs]
    return [ConvexPolygon(np.vstack([np.zeros((1, 2)), arc])) for arc in arcs]


def mass_sectors(masses: Float[np.ndarray, "k"], n_arc: int = 24) -> list[ConvexPolygon]:
    """Sectors of the disk polygon with K · n_arc sides whose areas are the given shares of it; K ≥ 3.

    All triangles from the middle to a piece of the rim are equally high, so that areas are shares of the rim's length.

    Args:
        masses: positive, adding up to 1.
        n_arc: sides of the polygon for each sector.

    Raises:
        ValueError: for a share of more than a half: its sector is not convex.

    Example:
        >>> parts = mass_sectors(np.array([0.2, 0.3, 0.5]))
        >>> [round(part.area / disk(72).area, 9) for part in parts]
        [0.2, 0.3, 0.5]
    """
    if masses.max() > 0.5 + 1e-12:
        raise ValueError(
            f"a cluster has {masses.max():.3g} of all points, more than a half, and its sector would not be convex; "
            "use mass='equal'"
        )
    whole = disk(len(masses) * n_arc)
    ring = np.vstack([whole.vertices, whole.vertices[:1]])
    side = np.arange(len(ring))
    cuts = np.concatenate([[0.0], np.cumsum(masses)]) / masses.sum() * (len(ring) - 1)
    parts = []
    for start, end in pairwise(cuts):
        between = side[(side > start + 1e-9) & (side < end - 1e-9)]
        where = np.concatenate([[start], between, [end]])
        arc = np.stack([np.interp(where, side, ring[:, i]) for i in range(2)], 1)
        parts.append(ConvexPolygon(np.vstack([np.zeros((1, 2)), arc])))
    return parts


def as_domain(domain: ConvexPolygon | str | ArrayLike) -> ConvexPolygon:
    """`"disk"`, a polygon, or its vertices in counter-clockwise order.

    Raises:
        ValueError: for another word.
    """
    if isinstance(domain, ConvexPolygon):
        return domain
    if isinstance(domain, str):
        if domain != "disk":
            raise ValueError(f"domain must be 'disk', a ConvexPolygon or its vertices, got {domain!r}")
        return disk()
    return ConvexPolygon(np.asarray(domain, dtype=np.float64))
