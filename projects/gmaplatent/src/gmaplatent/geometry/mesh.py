"""Triangle meshes whose triangles belong to clusters: marching labels, interfaces, the feature graph (§3.3, §A.3, §A.4)."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, cKDTree

from .polygon import cross


class DisconnectedClusterError(ValueError):
    """The region of a cluster is not in one piece."""


@dataclass(frozen=True, eq=False)
class TriMesh:
    """A triangulated plane region whose triangles carry a label each.

    Args:
        vertices: (n, 2).
        triangles: (m, 3), counter-clockwise.
        labels: (m,), the cluster of each triangle.
        source: (n,), the row of the point a vertex was made from; -1 for vertices made by a subdivision or a boundary.
    """

    vertices: Float[np.ndarray, "n 2"]
    triangles: Int[np.ndarray, "m 3"]
    labels: Int[np.ndarray, "m"]
    source: Int[np.ndarray, "n"]

    @cached_property
    def areas(self) -> Float[np.ndarray, "m"]:
        """Signed areas; not above 0 where a triangle is flipped or collapsed."""
        return signed_areas(self.vertices, self.triangles)

    @cached_property
    def edges(self) -> Int[np.ndarray, "e 2"]:
        """Every edge once, the smaller vertex first."""
        return self._edges[0]

    @cached_property
    def edge_triangles(self) -> Int[np.ndarray, "e 2"]:
        """The one or two triangles beside each edge; -1 for none."""
        return self._edges[1]

    @cached_property
    def _edges(self) -> tuple[Int[np.ndarray, "e 2"], Int[np.ndarray, "e 2"]]:
        corners = self.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        edges, which = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
        which, owner = which.ravel(), np.repeat(np.arange(len(self.triangles)), 3)
        beside = np.full((len(edges), 2), -1)
        order = np.argsort(which, kind="stable")
        first = np.append(True, which[order][1:] != which[order][:-1])
        beside[which[order][first], 0] = owner[order][first]
        beside[which[order][~first], 1] = owner[order][~first]
        return edges, beside

    @cached_property
    def interface_edges(self) -> Int[np.ndarray, "i 2"]:
        """Edges between triangles of different labels."""
        left, right = self.edge_triangles.T
        return self.edges[(right >= 0) & (self.labels[left] != self.labels[right])]

    @cached_property
    def boundary_loop(self) -> Int[np.ndarray, "b"]:
        """The vertices of the outer boundary, counter-clockwise.

        Raises:
            ValueError: if the boundary is not one simple loop.
        """
        single = self.edge_triangles[:, 1] < 0
        owner = self.edge_triangles[single, 0]
        following = {}
        for (a, b), triangle in zip(self.edges[single], owner, strict=True):
            corners = self.triangles[triangle].tolist()
            # Counter-clockwise around the triangle is counter-clockwise around the mesh.
            forwards = corners[(corners.index(a) + 1) % 3] == b
            tail, head = (int(a), int(b)) if forwards else (int(b), int(a))
            if tail in following:
                raise ValueError(f"the boundary touches itself at vertex {tail}")
            following[tail] = head
        loop = [min(following)]
        while (after := following[loop[-1]]) != loop[0]:
            loop.append(after)
        if len(loop) != len(following):
            raise ValueError(
                f"the boundary has more than one loop: {len(loop)} of {len(following)} vertices in the first"
            )
        return np.array(loop)

    def moved(self, vertices: Float[np.ndarray, "n 2"]) -> "TriMesh":
        """The same triangles with their vertices elsewhere."""
        return TriMesh(vertices, self.triangles, self.labels, self.source)

    def require_connected(self) -> None:
        """Check that the triangles of every label hang together by edges.

        Raises:
            DisconnectedClusterError: naming the labels and the number of their pieces.
        """
        left, right = self.edge_triangles.T
        same = (right >= 0) & (self.labels[left] == self.labels[right])
        links = sparse.coo_matrix(
            (np.ones(same.sum()), (left[same], right[same])), shape=(len(self.labels),) * 2
        )
        piece = connected_components(links, directed=False)[1]
        pieces = {int(k): len(np.unique(piece[self.labels == k])) for k in np.unique(self.labels)}
        broken = {k: count for k, count in pieces.items() if count > 1}
        if broken:
            listed = ", ".join(f"cluster {k} in {count} pieces" for k, count in broken.items())
            raise DisconnectedClusterError(
                f"a merged region must be in one piece, got {listed}; raise the margin of the slots, "
                "or use merge='hierarchical'"
            )


def signed_areas(
    vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m"]:
    """Areas of triangles, negative for clockwise ones."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return cross(b - a, c - a) / 2


def triangulate(points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "m 3"]:
    """Delaunay triangles of points, counter-clockwise; slivers of no area on the hull are left out."""
    triangles = Delaunay(points).simplices.astype(np.int64)
    areas = signed_areas(points, triangles)
    turned = areas < 0
    triangles[turned] = triangles[turned][:, [0, 2, 1]]
    extent = float(np.ptp(points, axis=0).prod())
    return triangles[np.abs(areas) > 1e-14 * extent]


def label_subdivide(
    vertices: Float[np.ndarray, "n 2"],
    triangles: Int[np.ndarray, "m 3"],
    labels: ArrayLike,
    source: Int[np.ndarray, "n"] | None = None,
) -> TriMesh:
    """Marching labels: cut the triangles whose corners differ, so that every triangle has one label (§A.3).

    Two labels give three triangles, three labels six around the centroid; mid-points are shared between neighbours.

    Args:
        vertices: (n, 2).
        triangles: (m, 3), counter-clockwise.
        labels: of the vertices.
        source: of the vertices; each its own by default.

    Example:
        >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> label_subdivide(corners, np.array([[0, 1, 2]]), [0, 0, 1]).labels.tolist()
        [1, 0, 0]
    """
    kind = np.asarray(labels)
    n = len(vertices)
    mixed = np.array([kind[triangles[:, k]] != kind[triangles[:, (k + 1) % 3]] for k in range(3)]).T
    ends = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], -1), axis=-1)
    cut, which = np.unique(ends[mixed], axis=0, return_inverse=True)
    middle = np.full(triangles.shape, -1)
    middle[mixed] = n + which.ravel()
    count = mixed.sum(1)
    three = count == 3
    centre = np.full(len(triangles), -1)
    centre[three] = n + len(cut) + np.arange(three.sum())
    new, new_labels = [triangles[count == 0]], [kind[triangles[count == 0, 0]]]
    for k in range(3):
        # Corner r = k alone on its side: the edges before and after it are cut, the one opposite is not.
        alone = (count == 2) & ~mixed[:, (k + 1) % 3]
        r, p, q = (triangles[alone, (k + i) % 3] for i in range(3))
        after, before = middle[alone, k], middle[alone, (k + 2) % 3]
        new += [np.stack(t, 1) for t in ((r, after, before), (p, q, before), (p, before, after))]
        new_labels += [kind[r], kind[p], kind[p]]
        corner, o = triangles[three, k], centre[three]
        after, before = middle[three, k], middle[three, (k + 2) % 3]
        new += [np.stack([corner, after, o], 1), np.stack([corner, o, before], 1)]
        new_labels += [kind[corner], kind[corner]]
    points = np.vstack([vertices, vertices[cut].mean(1), vertices[triangles[three]].mean(1)])
    own = np.arange(n) if source is None else source
    own = np.concatenate([own, np.full(len(points) - n, -1)])
    return TriMesh(points, np.vstack(new), np.concatenate(new_labels), own)


@dataclass(frozen=True, eq=False)
class FeatureGraph:
    """The interfaces of a labelled mesh as a graph.

    Args:
        boundary_nodes: where an interface meets the outer boundary, counter-clockwise.
        inner_nodes: where three or more interfaces meet.
        arcs: interfaces as vertex chains from node to node.
        outer_arcs: pieces of the outer boundary between consecutive boundary nodes, counter-clockwise.
        outer_labels: the label along each outer arc.
        junctions: the labels that meet at each inner node, sorted.
    """

    boundary_nodes: list[int]
    inner_nodes: list[int]
    arcs: list[list[int]]
    outer_arcs: list[list[int]]
    outer_labels: list[int]
    junctions: dict[int, tuple[int, ...]]

    @property
    def signature(self) -> frozenset[tuple[int, ...]]:
        """Which labels meet inside: equal for two graphs that can be mapped onto each other."""
        return frozenset(self.junctions.values())


def feature_graph(mesh: TriMesh) -> FeatureGraph:
    """Trace the interfaces between the clusters of a mesh (§A.4).

    Raises:
        DisconnectedClusterError: if a cluster is in several pieces.
    """
    mesh.require_connected()
    beside: dict[int, list[int]] = defaultdict(list)
    for a, b in mesh.interface_edges.tolist():
        beside[a].append(b)
        beside[b].append(a)
    loop = mesh.boundary_loop.tolist()
    on_boundary = set(loop)
    boundary_nodes = [v for v in loop if v in beside]
    inner = sorted(v for v, others in beside.items() if len(others) != 2 and v not in on_boundary)
    nodes = set(inner) | set(boundary_nodes)
    arcs = _arcs(beside, nodes)
    outer, outer_labels = _outer_arcs(mesh, loop, boundary_nodes)
    around: dict[int, set[int]] = {v: set() for v in inner}
    for triangle, label in zip(mesh.triangles.tolist(), mesh.labels.tolist(), strict=True):
        for v in triangle:
            if v in around:
                around[v].add(label)
    junctions = {v: tuple(sorted(labels)) for v, labels in around.items()}
    return FeatureGraph(boundary_nodes, inner, arcs, outer, outer_labels, junctions)


def _arcs(beside: dict[int, list[int]], nodes: set[int]) -> list[list[int]]:
    """Walk from every node along the interfaces to the next node, each interface once."""
    arcs, walked = [], set()
    for node in sorted(nodes):
        for first in sorted(beside[node]):
            if (node, first) in walked:
                continue
            chain = [node, first]
            while chain[-1] not in nodes:
                chain.append(next(v for v in beside[chain[-1]] if v != chain[-2]))
            walked |= {(chain[0], chain[1]), (chain[-1], chain[-2])}
            arcs.append(chain)
    return arcs


def _outer_arcs(mesh: TriMesh, loop: list[int], nodes: list[int]) -> tuple[list[list[int]], list[int]]:
    """The boundary between consecutive nodes, with the label of the triangles along it."""
    label_of = {}
    single = mesh.edge_triangles[:, 1] < 0
    for edge, triangle in zip(mesh.edges[single].tolist(), mesh.edge_triangles[single, 0], strict=True):
        label_of[frozenset(edge)] = int(mesh.labels[triangle])
    if not nodes:
        return [[*loop, loop[0]]], [label_of[frozenset(loop[:2])]]
    start = loop.index(nodes[0])
    ring = loop[start:] + loop[:start] + [nodes[0]]
    at = [ring.index(v) for v in nodes] + [len(ring) - 1]
    arcs = [ring[a : b + 1] for a, b in pairwise(at)]
    return arcs, [label_of[frozenset(arc[:2])] for arc in arcs]


@dataclass(frozen=True, eq=False)
class Location:
    """Where points lie in a mesh.

    Args:
        triangle: (q,), the triangle of each point; for a point outside, the nearest one by its centroid.
        barycentric: (q, 3), its coordinates there; negative for a point outside.
    """

    triangle: Int[np.ndarray, "q"]
    barycentric: Float[np.ndarray, "q 3"]

    def inside(self, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each point was found in its triangle."""
        return self.barycentric.min(1) >= -tolerance


class Locator:
    """Point location by the nearest centroids, then exhaustively.

    Args:
        vertices: (n, 2).
        triangles: (m, 3), of positive area.
        candidates: centroids looked at first.

    Example:
        >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> Locator(corners, np.array([[0, 1, 2]])).locate([[0.25, 0.25]]).barycentric.tolist()
        [[0.5, 0.25, 0.25]]
    """

    def __init__(
        self, vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"], candidates: int = 12
    ):
        a, b, c = (vertices[triangles[:, k]] for k in range(3))
        self._origin, self._inverse = a, np.linalg.inv(np.stack([b - a, c - a], -1))
        self._tree = cKDTree((a + b + c) / 3)
        self._candidates = min(candidates, len(triangles))

    def locate(self, points: ArrayLike, tolerance: float = 1e-9) -> Location:
        """Triangles and barycentric coordinates of points (q, 2)."""
        query = np.asarray(points, dtype=np.float64)
        near = self._tree.query(query, self._candidates)[1].reshape(len(query), -1)
        triangle, weights = self._best(query, near)
        for i in np.flatnonzero(weights.min(1) < -tolerance):
            every = np.arange(len(self._origin))[None]
            found, coordinates = self._best(query[i : i + 1], every)
            if coordinates.min() > weights[i].min():
                triangle[i], weights[i] = found[0], coordinates[0]
        return Location(triangle, weights)

    def _best(
        self, query: Float[np.ndarray, "q 2"], among: Int[np.ndarray, "q c"]
    ) -> tuple[Int[np.ndarray, "q"], Float[np.ndarray, "q 3"]]:
        local = np.einsum("qcij,qcj->qci", self._inverse[among], query[:, None] - self._origin[among])
        weights = np.concatenate([1 - local.sum(-1, keepdims=True), local], -1)
        best = weights.min(-1).argmax(1)
        rows = np.arange(len(query))
        return among[rows, best], weights[rows, best]
