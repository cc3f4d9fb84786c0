"""Closing the gaps between the translated clusters by optimal transport: three methods, one interface (§3.2)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from gmaplatent.geometry.polygon import ConvexPolygon, disk, mass_sectors, sectors
from gmaplatent.geometry.semidiscrete import Transport, semidiscrete_ot

Method = Literal["global", "hierarchical", "assignment"]
Mass = Literal["equal", "sample"]
MAX_ASSIGNED = 5000


@dataclass(frozen=True, eq=False)
class Merged:
    """The points of a domain spread over the unit disk.

    Args:
        positions: (n, 2).
        labels: slot of each point.
        domain: the disk polygon.
        cells: convex cells of the clusters that tile the disk, slot by slot; only with "hierarchical".
        method: how it was made.
        mass_error: largest error of a cell's mass; NaN for "assignment", which has none.
        transports: the semi-discrete problems that were solved.
    """

    positions: Float[np.ndarray, "n 2"]
    labels: Int[np.ndarray, "n"]
    domain: ConvexPolygon
    cells: list[ConvexPolygon] | None
    method: Method
    mass_error: float
    transports: list[Transport] = field(default_factory=list, repr=False)


def merge_clusters(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, "n"],
    slots: Float[np.ndarray, "k 2"],
    method: Method,
    *,
    mass: Mass = "equal",
    n_arc: int = 24,
    tol: float = 1e-8,
) -> Merged:
    """Spread translated points over the whole disk.

    Args:
        points: in the unit disk.
        labels: slot numbers 0 … K − 1.
        slots: centres of the slots.
        method: "global" is one transport problem; "hierarchical" first divides the disk among the clusters, then each
            cell among its points; "assignment" matches points to a sunflower of as many sites, at most 5,000.
        mass: "equal" gives every cluster the same area, "sample" every point.
            Hierarchical cells are sectors from the middle in both cases.
        n_arc: sides of the disk polygon for each cluster.
        tol: of the masses.

    Raises:
        ValueError: for an unknown method or mass, too many points for "assignment", or "assignment" of clusters of
            different size with mass="equal": its sites are all alike.
        NotConvergedError: of `semidiscrete_ot`.
    """
    if method not in get_args(Method):
        raise ValueError(f"merge must be one of {', '.join(get_args(Method))}, got {method!r}")
    if mass not in get_args(Mass):
        raise ValueError(f"mass must be one of {', '.join(get_args(Mass))}, got {mass!r}")
    counts = np.bincount(labels, minlength=len(slots))
    per_point = (
        1 / (len(slots) * counts[labels]) if mass == "equal" else np.full(len(labels), 1 / len(labels))
    )
    domain = disk(max(len(slots) * n_arc, 24))
    if method == "global":
        transport = semidiscrete_ot(points, per_point, domain, tol=tol)
        return Merged(transport.centroids, labels, domain, None, method, transport.mass_error, [transport])
    if method == "assignment":
        return _assign(points, labels, domain, mass, counts)
    return _hierarchical(points, labels, slots, domain, per_point, n_arc, tol)


def _hierarchical(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, "n"],
    slots: Float[np.ndarray, "k 2"],
    domain: ConvexPolygon,
    per_point: Float[np.ndarray, "n"],
    n_arc: int,
    tol: float,
) -> Merged:
    masses = np.bincount(labels, per_point, minlength=len(slots))
    solved = []
    if np.ptp(masses) < 1e-12:
        # By symmetry the transport to the ring gives exactly the equal sectors.
        cells = sectors(len(slots), max(n_arc, 3) if len(slots) > 1 else 24)
    elif len(slots) > 2:
        # The transport's cells would meet in several points, not in one hub, and differently in every domain.
        cells = mass_sectors(masses, n_arc)
    else:
        first = semidiscrete_ot(slots, masses / masses.sum(), domain, tol=tol)
        cells = [ConvexPolygon(_tidy(first.diagram.polygon(k))) for k in range(len(slots))]
        solved.append(first)
    positions = np.empty_like(points)
    for k, cell in enumerate(cells):
        own = labels == k
        transport = semidiscrete_ot(_fit_into(points[own], cell), None, cell, tol=tol)
        positions[own] = transport.centroids
        solved.append(transport)
    error = max(t.mass_error for t in solved)
    return Merged(positions, labels, domain, cells, "hierarchical", error, solved)


def _tidy(corners: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m 2"]:
    """Without corners that coincide."""
    return corners[np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > 1e-12]


def _fit_into(points: Float[np.ndarray, "n 2"], cell: ConvexPolygon) -> Float[np.ndarray, "n 2"]:
    """A cluster about the middle of its cell, as large as its spread there should be but inside."""
    centred = points - points.mean(0)
    wanted = np.sqrt(cell.area / (2 * np.pi)) / max(np.sqrt((centred**2).sum(1).mean()), 1e-300)
    room = cell.normals @ cell.centroid - cell.offsets
    with np.errstate(divide="ignore"):
        allowed = (-room / np.minimum((centred @ cell.normals.T).min(0), -1e-300)).min()
    return cell.centroid + min(wanted, 0.98 * allowed) * centred


def sunflower(n: int) -> Float[np.ndarray, "n 2"]:
    """Vogel's spiral: n points spread evenly over the unit disk.

    Example:
        >>> bool((np.linalg.norm(sunflower(200), axis=1) < 1).all())
        True
    """
    k = np.arange(n)
    radius, angle = np.sqrt((k + 0.5) / n), np.pi * (3 - np.sqrt(5)) * k
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _assign(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, "n"],
    domain: ConvexPolygon,
    mass: Mass,
    counts: Int[np.ndarray, "k"],
) -> Merged:
    n = len(points)
    if n > MAX_ASSIGNED:
        raise ValueError(
            f"merge='assignment' takes at most {MAX_ASSIGNED} points, got {n}; use merge='hierarchical'"
        )
    if mass == "equal" and np.ptp(counts):
        raise ValueError(
            f"merge='assignment' gives every point the same area, and the clusters have {counts.min()} to "
            f"{counts.max()} points; use mass='sample' or merge='hierarchical'"
        )
    sites = 0.98 * sunflower(n)
    distance = ((points[:, None] - sites[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(distance)
    positions = np.empty_like(points)
    positions[rows] = sites[columns]
    return Merged(positions, labels, domain, None, "assignment", float("nan"))
