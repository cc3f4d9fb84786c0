"""The canonical domain: every cluster on a convex cell of the disk or of a polygon (§3.4, §A.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from gmaplatent.geometry.harmonic import (
    HarmonicMap,
    Line,
    chord_positions,
    constrained_harmonic_map,
    tutte_embedding,
)
from gmaplatent.geometry.laplacian import Weights
from gmaplatent.geometry.mesh import FeatureGraph, TriMesh, feature_graph

Shape = Literal["disk", "polygon"]
Interface = Literal["pinned", "sliding"]


@dataclass(frozen=True, eq=False)
class Canonical:
    """A labelled mesh with its image on the canonical domain.

    Args:
        mesh: the merged domain.
        graph: its interfaces.
        uv: where the vertices go.
        nodes: canonical position of every node of the graph.
        harmonic: the map, with the weights it used.
    """

    mesh: TriMesh
    graph: FeatureGraph
    uv: Float[np.ndarray, "n 2"]
    nodes: dict[int, Float[np.ndarray, "2"]]
    harmonic: HarmonicMap

    @property
    def image(self) -> TriMesh:
        """The mesh in canonical coordinates."""
        return self.mesh.moved(self.uv)

    @property
    def area(self) -> float:
        """Of the canonical domain: of the polygon through the images of the boundary."""
        from gmaplatent.geometry.polygon import cross

        ring = self.uv[self.mesh.boundary_loop]
        return float(cross(ring, np.roll(ring, -1, axis=0)).sum() / 2)


def to_canonical(
    mesh: TriMesh,
    *,
    shape: Shape = "disk",
    weights: Weights = "cotan",
    interface: Interface = "pinned",
) -> Canonical:
    """Map the clusters of a labelled mesh to convex cells by a constrained harmonic map.

    The boundary node between slots k − 1 and k goes to the angle 2πk/K, inner nodes where Tutte's embedding of the
    interfaces puts them, interfaces become straight.

    Args:
        mesh: with the slots as labels; every slot reaches the boundary, in order.
        shape: "disk", or the regular polygon with a side for every cluster (at least three).
        weights: of the harmonic map.
        interface: whether interface vertices are fixed by arc length or slide along their line.

    Raises:
        ValueError: for unknown words, or a polygon for fewer than three clusters.
        DisconnectedClusterError: if a region is in pieces.
        BijectivityError: if triangles stay flipped.
    """
    for value, known, name in ((shape, Shape, "shape"), (interface, Interface, "interface")):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
    graph = feature_graph(mesh)
    n_slots = len(graph.outer_arcs)
    if shape == "polygon" and n_slots < 3:
        raise ValueError(f"a polygon needs at least three clusters, got {n_slots}; use shape='disk'")
    nodes = node_positions(graph)
    fixed: dict[int, Float[np.ndarray, "2"]] = dict(nodes)
    for arc, label in zip(graph.outer_arcs, graph.outer_labels, strict=True):
        fixed |= _outer_positions(mesh, arc, label, n_slots, shape)
    lines = tuple(Line(tuple(arc), tuple(nodes[arc[0]]), tuple(nodes[arc[-1]])) for arc in graph.arcs)
    if interface == "pinned":
        for line in lines:
            fixed |= dict(zip(line.chain[1:-1], chord_positions(mesh.vertices, line), strict=True))
        lines = ()
    found = constrained_harmonic_map(
        mesh.vertices, mesh.triangles, list(fixed), np.array(list(fixed.values())), lines, weights
    )
    return Canonical(mesh, graph, found.uv, nodes, found)


def node_positions(graph: FeatureGraph) -> dict[int, Float[np.ndarray, "2"]]:
    """Boundary nodes at equal angles, inner nodes at the mean of their neighbours."""
    n_slots = len(graph.outer_arcs)
    positions: dict[int, Float[np.ndarray, "2"]] = {}
    for node, label in zip(graph.boundary_nodes, graph.outer_labels, strict=False):
        positions[node] = _on_circle(2 * np.pi * label / n_slots)
    if not graph.inner_nodes:
        return positions
    order = [*graph.boundary_nodes, *graph.inner_nodes]
    number = {node: i for i, node in enumerate(order)}
    edges = [(number[arc[0]], number[arc[-1]]) for arc in graph.arcs]
    rim = np.array([positions[node] for node in graph.boundary_nodes])
    embedded = tutte_embedding(len(order), edges, np.arange(len(rim)), rim)
    return {node: embedded[number[node]] for node in order}


def _outer_positions(
    mesh: TriMesh, arc: Sequence[int], label: int, n_slots: int, shape: Shape
) -> dict[int, Float[np.ndarray, "2"]]:
    """The inner vertices of an outer arc on the circle (or the polygon's side) between the nodes of its slot.

    They are placed by their number along the arc, and every arc has as many: two domains get the same boundary.
    """
    inner: Int[np.ndarray, "s"] = np.array(arc[1:-1] if n_slots > 1 else arc[:-1], int)
    if n_slots == 1:
        angle = 2 * np.pi * np.arange(len(inner)) / len(inner)
        return dict(zip(inner.tolist(), _on_circle(angle), strict=True))
    part = np.arange(1, len(inner) + 1) / (len(inner) + 1)
    if shape == "disk":
        return dict(zip(inner.tolist(), _on_circle(2 * np.pi * (label + part) / n_slots), strict=True))
    start, end = (_on_circle(2 * np.pi * (label + k) / n_slots) for k in (0, 1))
    return dict(zip(inner.tolist(), (1 - part[:, None]) * start + part[:, None] * end, strict=True))


def _on_circle(angle: float | Float[np.ndarray, "s"]) -> Float[np.ndarray, "*s 2"]:
    return np.stack([np.cos(angle), np.sin(angle)], -1)
