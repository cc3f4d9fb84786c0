"""Fitting one domain: subsample, layout, translation, merging, mesh, canonical map (§3.1–3.4)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from gmaplatent.geometry.harmonic import HarmonicMap
from gmaplatent.geometry.laplacian import Weights
from gmaplatent.geometry.mesh import FeatureGraph, TriMesh, feature_graph
from gmaplatent.geometry.quality import map_quality

from .canonical import Canonical, Interface, to_canonical
from .layout import Layout, LayoutFunction, planar_layout
from .merge import Mass, Merged, Method, merge_clusters
from .meshing import mesh_of
from .translate import make_slots

CanonicalShape = Literal["disk", "polygon", "own"]


@dataclass(frozen=True)
class Options:
    """What `GMapLatent` hands on; see there."""

    layout: Layout | LayoutFunction = "auto"
    canonical: CanonicalShape = "disk"
    weights: Weights = "cotan"
    mass: Mass = "equal"
    interface: Interface = "pinned"
    margin: float = 0.1
    n_arc: int = 24
    max_per_cluster: int | None = 300
    outlier_quantile: float = 0.995
    tol: float = 1e-8
    random_state: int = 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A domain that is laid out, not merged yet.

    Args:
        rows: of the training codes that make the mesh.
        codes: those codes.
        slots: slot of each.
        layout: their planar coordinates.
        seconds: step -> time.
    """

    rows: Int[np.ndarray, "n"]
    codes: Float[np.ndarray, "n d"]
    slots: Int[np.ndarray, "n"]
    layout: Float[np.ndarray, "n 2"]
    seconds: dict[str, float] = field(default_factory=dict)

    def renumbered(self, slot: Int[np.ndarray, "k"]) -> "Prepared":
        """With other slots: that of cluster k becomes slot[k]."""
        return replace(self, slots=slot[self.slots])


@dataclass(frozen=True, eq=False)
class Fitted:
    """A domain after every step.

    Args:
        prepared: laid out.
        translated: in the slots.
        merged: without gaps.
        canonical: on convex cells.
        seconds: step -> time.
    """

    prepared: Prepared
    translated: Float[np.ndarray, "n 2"]
    merged: Merged
    canonical: Canonical
    seconds: Mapping[str, float]


def subsample(
    labels: Int[np.ndarray, "n"], max_per_cluster: int | None, generator: np.random.Generator
) -> Int[np.ndarray, "m"]:
    """At most so many rows of every cluster, in ascending order."""
    if max_per_cluster is None:
        return np.arange(len(labels))
    kept = []
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        kept.append(
            own if len(own) <= max_per_cluster else generator.choice(own, max_per_cluster, replace=False)
        )
    return np.sort(np.concatenate(kept))


def lay_out(codes: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], options: Options) -> Prepared:
    """Subsample, lay out, and leave out what lies far from its cluster (it can still be translated)."""
    started = time.perf_counter()
    rows = subsample(labels, options.max_per_cluster, np.random.default_rng(options.random_state))
    layout = planar_layout(codes[rows], options.layout, options.random_state)
    kept = np.ones(len(rows), bool)
    for k in np.unique(labels):
        own = np.flatnonzero(labels[rows] == k)
        if len(own) * (1 - options.outlier_quantile) >= 1:
            distance = np.linalg.norm(layout[own] - layout[own].mean(0), axis=1)
            kept[own] = distance <= np.quantile(distance, options.outlier_quantile)
    seconds = {"layout": time.perf_counter() - started}
    return Prepared(rows[kept], codes[rows[kept]], labels[rows[kept]], layout[kept], seconds)


def require_planar(prepared: Prepared, names: list[str]) -> None:
    """Check that every cluster has three points that are not on one line.

    Raises:
        ValueError: naming the cluster.
    """
    for k, name in enumerate(names):
        own = prepared.layout[prepared.slots == k]
        if len(own) < 3:
            raise ValueError(f"cluster {name} has {len(own)} points; at least 3 are needed")
        sizes = np.linalg.svd(own - own.mean(0), compute_uv=False)
        if sizes[1] <= 1e-9 * sizes[0]:
            raise ValueError(
                f"the layout of cluster {name} lies on one line; the merged region would have no area"
            )


@dataclass(frozen=True, eq=False)
class Meshed:
    """A domain that is merged and meshed, not mapped yet."""

    prepared: Prepared
    translated: Float[np.ndarray, "n 2"]
    merged: Merged
    mesh: TriMesh
    graph: FeatureGraph
    seconds: Mapping[str, float]


def merge_domain(prepared: Prepared, n_clusters: int, method: Method, options: Options) -> Meshed:
    """Translate, merge and mesh.

    Raises:
        DisconnectedClusterError: if the region of a cluster is in pieces.
        NotConvergedError: if the masses stay off.
    """
    started = time.perf_counter()
    slots = make_slots(prepared.layout, prepared.slots, n_clusters, margin=options.margin)
    translated = slots(prepared.layout, prepared.slots)
    merged = merge_clusters(
        translated,
        prepared.slots,
        slots.centres,
        method,
        mass=options.mass,
        n_arc=options.n_arc,
        tol=options.tol,
    )
    merging = time.perf_counter() - started
    started = time.perf_counter()
    mesh = mesh_of(merged, options.n_arc)
    graph = feature_graph(mesh)
    seconds = {**prepared.seconds, "merge": merging, "mesh": time.perf_counter() - started}
    return Meshed(prepared, translated, merged, mesh, graph, seconds)


def map_domain(meshed: Meshed, options: Options) -> Fitted:
    """Map to the canonical domain.

    Raises:
        ValueError: for canonical="own" with cells that are not convex.
        BijectivityError: if triangles stay flipped.
    """
    started = time.perf_counter()
    if options.canonical == "own":
        canonical = own_canonical(meshed)
    else:
        canonical = to_canonical(
            meshed.mesh, shape=options.canonical, weights=options.weights, interface=options.interface
        )
    seconds = {**meshed.seconds, "canonical": time.perf_counter() - started}
    return Fitted(meshed.prepared, meshed.translated, meshed.merged, canonical, seconds)


def own_canonical(meshed: Meshed) -> Canonical:
    """The merged domain as it is: its cells are convex already.

    Raises:
        ValueError: if they are not, that is for any merge but "hierarchical".
    """
    if meshed.merged.cells is None:
        raise ValueError(
            f"canonical='own' needs convex cells, that is merge='hierarchical', got {meshed.merged.method!r}"
        )
    mesh, graph = meshed.mesh, meshed.graph
    nodes = {node: mesh.vertices[node] for node in [*graph.boundary_nodes, *graph.inner_nodes]}
    return Canonical(mesh, graph, mesh.vertices, nodes, HarmonicMap(mesh.vertices, "cotan"))


def figures_of(fitted: Fitted) -> dict[str, float | int | str]:
    """Flips, areas, masses and distortion of a domain, and the seconds of every step."""
    canonical = fitted.canonical
    quality = map_quality(canonical.mesh.vertices, canonical.uv, canonical.mesh.triangles)
    return {
        "points": len(fitted.prepared.codes),
        "triangles": len(canonical.mesh.triangles),
        "flips": quality.flips,
        "min_area": quality.min_area,
        "area_error": abs(quality.total_area - canonical.area),
        "mass_error": fitted.merged.mass_error,
        "mean_distortion": quality.mean_distortion,
        "max_distortion": quality.max_distortion,
        "weights": canonical.harmonic.weights,
        **{f"seconds_{step}": seconds for step, seconds in fitted.seconds.items()},
    }
