"""From merged points to a mesh in which every cluster has its own triangles and all interfaces are explicit (§3.3).

`global` and `assignment`: Delaunay triangles of the points, cut by marching labels. `hierarchical`: every cell is
triangulated by itself with common vertices on the straight interfaces, which meet in one hub.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gmaplatent.geometry.mesh import DisconnectedClusterError, TriMesh, label_subdivide, triangulate
from gmaplatent.geometry.polygon import ConvexPolygon

from .merge import Merged

FINE = 200
"""Places a cluster at which the boundary is asked for its label."""


def mesh_of(merged: Merged, n_arc: int = 24) -> TriMesh:
    """The labelled mesh of a merged domain; no chord joins two vertices of an interface or of the boundary.

    Args:
        merged: of `merge_clusters`.
        n_arc: vertices on the outer boundary of each cluster, and about as dense on the interfaces of "hierarchical".

    Raises:
        DisconnectedClusterError: if the region of a cluster is in pieces, does not reach the boundary, or reaches it out
            of the order of the slots.
    """
    mesh = _from_cells(merged, n_arc) if merged.cells is not None else _from_labels(merged, n_arc)
    mesh.require_connected()
    return split_chords(mesh)


def _from_labels(merged: Merged, n_arc: int) -> TriMesh:
    rim, rim_labels = _boundary_samples(merged, n_arc)
    vertices = np.vstack([merged.positions, rim])
    labels = np.concatenate([merged.labels, rim_labels])
    source = np.concatenate([np.arange(len(merged.positions)), np.full(len(rim), -1)])
    return label_subdivide(vertices, triangulate(vertices), labels, source)


def _boundary_samples(merged: Merged, n_arc: int) -> tuple[Float[np.ndarray, "b 2"], Int[np.ndarray, "b"]]:
    """n_arc points on the boundary of each cluster, whatever its length, labelled by the nearest point.

    The ends of a cluster's piece lie half-way between its last sample and the next one's first: where a mixed edge is
    cut. So the boundaries of two domains have equally many vertices, and equal images.
    """
    n_clusters = int(merged.labels.max()) + 1
    if n_clusters == 1:
        rim = merged.domain.boundary(n_arc)
        return rim, np.zeros(n_arc, int)
    fine = merged.domain.boundary(FINE * n_clusters)
    nearest = merged.labels[cKDTree(merged.positions).query(fine)[1]]
    starts = np.flatnonzero(nearest != np.roll(nearest, 1))
    runs = nearest[starts]
    if len(runs) != n_clusters or len(np.unique(runs)) != n_clusters:
        counts = {int(k): int((runs == k).sum()) for k in range(n_clusters)}
        wrong = ", ".join(f"cluster {k} in {c} pieces" for k, c in counts.items() if c != 1)
        raise DisconnectedClusterError(
            f"every merged cluster must reach the boundary in one piece, got {wrong}; raise the margin of the slots, or "
            "use merge='hierarchical'"
        )
    if (np.diff(np.append(runs, runs[0])) % n_clusters != 1).any():
        raise DisconnectedClusterError(
            f"the clusters reach the boundary in the order {runs.tolist()}, not in that of the slots; raise the margin, "
            "or use merge='hierarchical'"
        )
    samples, labels = [], []
    ends = np.append(starts[1:], starts[0] + len(fine))
    for start, end, label in zip(starts, ends, runs, strict=True):
        where = start + (end - start) * (np.arange(n_arc) + 0.5) / n_arc
        samples.append(_along(fine, where))
        labels.append(np.full(n_arc, label))
    return np.vstack(samples), np.concatenate(labels)


def _along(ring: Float[np.ndarray, "f 2"], where: Float[np.ndarray, "s"]) -> Float[np.ndarray, "s 2"]:
    low = np.floor(where).astype(int)
    part = (where - low)[:, None]
    return (1 - part) * ring[low % len(ring)] + part * ring[(low + 1) % len(ring)]


def _from_cells(merged: Merged, n_arc: int) -> TriMesh:
    """Triangulate every convex cell by itself, and glue equal boundary vertices together."""
    assert merged.cells is not None
    vertices, triangles, labels = [merged.positions], [], []
    count = len(merged.positions)
    for k, cell in enumerate(merged.cells):
        rim = _outline(cell, merged.domain, n_arc, 2 * np.pi / (max(len(merged.cells), 2) * n_arc))
        own = np.flatnonzero(merged.labels == k)
        number = np.concatenate([own, count + np.arange(len(rim))])
        found = number[triangulate(np.vstack([merged.positions[own], rim]))]
        vertices.append(rim)
        triangles.append(found)
        labels.append(np.full(len(found), k))
        count += len(rim)
    points = np.vstack(vertices)
    first, number = _glued(points, len(merged.positions))
    source = np.where(first < len(merged.positions), first, -1)
    return TriMesh(points[first], number[np.vstack(triangles)], np.concatenate(labels), source)


def _glued(points: Float[np.ndarray, "p 2"], n_own: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "p"]]:
    """Outline vertices in the same place become one: rows that are kept, and the new number of every row."""
    pairs = cKDTree(points[n_own:]).query_pairs(1e-9, output_type="ndarray")
    size = len(points) - n_own
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(size, size))
    place = connected_components(links, directed=False)[1]
    _, first, number = np.unique(place, return_index=True, return_inverse=True)
    return np.concatenate([np.arange(n_own), n_own + first]), np.concatenate(
        [np.arange(n_own), n_own + number.ravel()]
    )


def _outline(
    cell: ConvexPolygon, domain: ConvexPolygon, n_arc: int, spacing: float
) -> Float[np.ndarray, "b 2"]:
    """The outline of a cell: its part of the domain's boundary in `n_arc` pieces, other sides in pieces of `spacing`.

    Both neighbours of a side cut it alike.
    """
    start, end = cell.vertices, np.roll(cell.vertices, -1, axis=0)
    outer = np.abs(domain.depth((start + end) / 2)) < 1e-9
    if outer.all():
        return _resampled(np.vstack([cell.vertices, cell.vertices[:1]]), n_arc)[:-1]
    # Begin where the outer part begins.
    turn = int(np.flatnonzero(outer & ~np.roll(outer, 1))[0])
    corners, outer = np.roll(cell.vertices, -turn, axis=0), np.roll(outer, -turn)
    n_outer = int(outer.argmin())
    points = [_resampled(corners[: n_outer + 1], n_arc)[:-1]]
    for a, b in pairwise([*corners[n_outer:], corners[0]]):
        pieces = max(1, round(float(np.linalg.norm(b - a)) / spacing))
        s = np.arange(pieces)[:, None] / pieces
        points.append((1 - s) * a + s * b)
    return np.vstack(points)


def _resampled(chain: Float[np.ndarray, "c 2"], pieces: int) -> Float[np.ndarray, "s 2"]:
    """Points along a polyline that cut it into pieces of equal length; a chain that is cut so already is kept."""
    lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
    if len(lengths) == pieces and np.ptp(lengths) < 1e-12:
        return chain
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    where = np.linspace(0, at[-1], pieces + 1)
    return np.stack([np.interp(where, at, chain[:, i]) for i in range(2)], 1)


def split_chords(mesh: TriMesh) -> TriMesh:
    """Cut every edge inside a cluster that joins two vertices of its outline in two.

    Then the uniform weights of Tutte's theorem map every cluster to a convex cell without a flip, even if several
    vertices of its outline come to lie on one straight line.
    """
    left, right = mesh.edge_triangles.T
    inside = (right >= 0) & (mesh.labels[left] == mesh.labels[right])
    outline = np.zeros(len(mesh.vertices), bool)
    outline[mesh.edges[~inside]] = True
    chord = inside & outline[mesh.edges].all(1)
    return mesh if not chord.any() else _split(mesh, chord)


def _split(mesh: TriMesh, cut: Bool[np.ndarray, "e"]) -> TriMesh:
    """Cut edges in the middle, and the triangles beside them into two, three or four."""
    n = len(mesh.vertices)
    middle = np.full(len(mesh.edges), -1)
    middle[cut] = n + np.arange(cut.sum())
    number = {tuple(edge): int(m) for edge, m in zip(mesh.edges.tolist(), middle, strict=True) if m >= 0}
    triangles, labels = [], []
    for corners, label in zip(mesh.triangles.tolist(), mesh.labels.tolist(), strict=True):
        pieces = _pieces(corners, [number.get((min(a, b), max(a, b)), -1) for a, b in _sides(corners)])
        triangles += pieces
        labels += [label] * len(pieces)
    vertices = np.vstack([mesh.vertices, mesh.vertices[mesh.edges[cut]].mean(1)])
    source = np.concatenate([mesh.source, np.full(int(cut.sum()), -1)])
    return TriMesh(vertices, np.array(triangles), np.array(labels), source)


def _sides(corners: list[int]) -> list[tuple[int, int]]:
    return [(corners[k], corners[(k + 1) % 3]) for k in range(3)]


def _pieces(corners: list[int], middles: list[int]) -> list[list[int]]:
    """A triangle cut at the middles of some of its sides; -1 for a side that is whole."""
    cut = [k for k in range(3) if middles[k] >= 0]
    if not cut:
        return [corners]
    if len(cut) == 3:
        (a, b, c), (ab, bc, ca) = corners, middles
        return [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    # Turn the triangle so that its first side is cut and, of two, the second one too.
    first = cut[0] if len(cut) == 1 or (cut[0] + 1) % 3 == cut[1] else cut[1]
    a, b, c = (corners[(first + s) % 3] for s in range(3))
    ab, bc = middles[first], middles[(first + 1) % 3]
    if len(cut) == 1:
        return [[a, ab, c], [ab, b, c]]
    return [[ab, b, bc], [a, ab, bc], [a, bc, c]]
