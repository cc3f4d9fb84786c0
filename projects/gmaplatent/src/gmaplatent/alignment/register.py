"""Registration with cluster constraints: every canonical cell of one domain onto its partner's (§3.5, §A.7)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from gmaplatent.geometry.harmonic import BijectivityError, constrained_harmonic_map, dirichlet
from gmaplatent.geometry.laplacian import Weights, laplacian
from gmaplatent.geometry.mesh import FeatureGraph, signed_areas

from .canonical import Canonical

SAME = 1e-9
MAX_STEPS = 200
MIN_SHARE = 1e-3
"""Of the way that is left: smaller steps are given up."""


class ClusterGraphMismatch(ValueError):  # noqa: N818 (the name users look for)
    """The clusters of two domains touch each other differently, so that no map of interfaces to interfaces exists."""


def require_same_graph(source: FeatureGraph, target: FeatureGraph) -> None:
    """Check that the same clusters meet inside both domains.

    Raises:
        ClusterGraphMismatch: listing the junctions that only one has.
    """
    if source.signature != target.signature:
        only_source = sorted(source.signature - target.signature)
        only_target = sorted(target.signature - source.signature)
        raise ClusterGraphMismatch(
            f"the merged clusters meet differently: slots {only_source} only in the source, {only_target} only in the "
            "target; use merge='hierarchical' or 'auto'"
        )


def register(
    source: Canonical,
    target: Canonical,
    landmarks: tuple[Int[np.ndarray, "l"], Float[np.ndarray, "l 2"]] | None = None,
    weights: Weights = "cotan",
) -> Float[np.ndarray, "n 2"]:
    """Where the vertices of the source's canonical mesh go in the target's canonical domain.

    With equal subdivisions this is the identity. Otherwise a harmonic map with all interfaces pinned to their partners
    by arc length: a bijection, since the cells are convex.

    Args:
        source: to be mapped.
        target: to be met.
        landmarks: vertices of the source mesh inside its clusters, and where they have to go.
        weights: of the harmonic map.

    Raises:
        ClusterGraphMismatch: if the interfaces differ.
        BijectivityError: if triangles are flipped, also after going to the landmarks in small steps.
    """
    require_same_graph(source.graph, target.graph)
    pinned = _pinned(source, target)
    at, to = np.array(list(pinned)), np.array(list(pinned.values()))
    shared = bool(np.abs(source.uv[at] - to).max() < SAME)
    if landmarks is None:
        if shared:
            return source.uv
        return constrained_harmonic_map(source.uv, source.mesh.triangles, at, to, weights=weights).uv
    where, goals = landmarks
    if shared:
        start = source.uv
    else:
        start = constrained_harmonic_map(source.uv, source.mesh.triangles, at, to, weights=weights).uv
    return _towards(start, source.mesh.triangles, (at, to), (np.asarray(where), np.asarray(goals)))


def _pinned(source: Canonical, target: Canonical) -> Mapping[int, Float[np.ndarray, "2"]]:
    """Every vertex on an interface or on the boundary of the source, with its place in the target."""
    by_key = {key: target.uv[chain] for key, chain in _chains(target).items()}
    found: dict[int, Float[np.ndarray, "2"]] = {}
    for key, chain in _chains(source).items():
        ours, theirs = source.uv[chain], by_key[key]
        found |= dict(zip(chain, _spread(ours, theirs), strict=True))
    return found


def _chains(domain: Canonical) -> dict[tuple, list[int]]:
    """Outer arcs and interfaces with names that both domains share."""
    graph = domain.graph
    chains: dict[tuple, list[int]] = {
        ("outer", label): arc for arc, label in zip(graph.outer_arcs, graph.outer_labels, strict=True)
    }
    name = {
        node: ("boundary", label)
        for node, label in zip(graph.boundary_nodes, graph.outer_labels, strict=False)
    } | {node: ("inner", *labels) for node, labels in graph.junctions.items()}
    for arc in graph.arcs:
        ends = (name[arc[0]], name[arc[-1]])
        chains["interface", *sorted(ends)] = arc if ends[0] <= ends[1] else arc[::-1]
    return chains


def _spread(ours: Float[np.ndarray, "a 2"], theirs: Float[np.ndarray, "b 2"]) -> Float[np.ndarray, "a 2"]:
    """The vertices of one polyline on another, at the same share of the length."""

    def along(chain: Float[np.ndarray, "c 2"]) -> Float[np.ndarray, "c"]:
        at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(chain, axis=0), axis=1))])
        return at / at[-1]

    return np.stack([np.interp(along(ours), along(theirs), theirs[:, i]) for i in range(2)], 1)


def _towards(
    uv: Float[np.ndarray, "n 2"],
    triangles: Int[np.ndarray, "m 3"],
    pinned: tuple[Int[np.ndarray, "b"], Float[np.ndarray, "b 2"]],
    landmarks: tuple[Int[np.ndarray, "l"], Float[np.ndarray, "l 2"]],
) -> Float[np.ndarray, "n 2"]:
    """Move landmarks to their goals in as large steps as flip nothing.

    Every step is a harmonic map of the mesh as the last one left it, with mean-value weights: they are positive for any
    triangles, and a step of no length moves nothing.
    """
    (at, to), (where, goals) = pinned, landmarks
    fixed = np.concatenate([at, where])
    share = 1.0
    for _ in range(MAX_STEPS):
        step = uv[where] + share * (goals - uv[where])
        moved = dirichlet(laplacian(uv, triangles, "mean_value"), fixed, np.vstack([to, step]))
        if (signed_areas(moved, triangles) <= 0).any():
            share /= 2
            if share < MIN_SHARE:
                break
            continue
        uv = moved
        if share == 1.0:
            return uv
        share = min(1.0, 2 * share)
    left = float(np.linalg.norm(uv[where] - goals, axis=1).max())
    raise BijectivityError(
        f"the landmarks cannot be reached without flipping a triangle; {left:.2g} of the way is left. Are they in the "
        "order of their goals?",
        np.flatnonzero(signed_areas(moved, triangles) <= 0),
    )
