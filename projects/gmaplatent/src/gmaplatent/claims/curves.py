"""G5: a curve in one domain is a curve in the other: no jumps inside a cluster, one switch across a border."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Value, claim

from ..alignment.aligner import GMapLatent
from ..figures import curve_strip
from ..geometry.quality import lipschitz_constants
from ..metrics import judge
from .pair import PAIRS, AlignedPair, aligned_pair
from .training import derive, device_for, in_words

N_PATHS, N_STEPS = 100, 64
RATIO, SAME_CLASS, SLACK = 3.0, 0.95, 1e-9


@dataclass(frozen=True)
class Paths:
    """Curves in the source's canonical domain.

    Args:
        points: (p, t, 2).
        slots: the slot each starts in.
        ends: the slot each ends in.
    """

    points: Float[np.ndarray, "p t 2"]
    slots: Int[np.ndarray, "p"]
    ends: Int[np.ndarray, "p"]


def inner_paths(model: GMapLatent, count: int, steps: int, seed: int) -> Paths:
    """Straight paths between two uniform points of one cell: cells are convex, so that a path stays inside."""
    generator = np.random.default_rng(seed)
    n_slots = len(model.classes_src_)
    slots = np.arange(count) % n_slots
    ends = np.stack(
        [[model.src_.sample(1, slot, generator)[0][0] for _ in range(2)] for slot in slots.tolist()]
    )
    s = np.linspace(0, 1, steps)[None, :, None]
    return Paths((1 - s) * ends[:, :1] + s * ends[:, 1:], slots, slots)


def crossing_paths(model: GMapLatent, count: int, steps: int, seed: int) -> Paths:
    """From a point of a cell straight to the border with another one, and on to a point of that cell; none on the border."""
    generator = np.random.default_rng(seed)
    mesh = model.src_.mesh
    left, right = mesh.edge_triangles.T
    border = np.flatnonzero((right >= 0) & (mesh.labels[left] != mesh.labels[right]))
    chosen = generator.choice(border, count)
    gates = mesh.vertices[mesh.edges[chosen]].mean(1)
    sides = mesh.labels[mesh.edge_triangles[chosen]]
    first, last = (
        np.stack([model.src_.sample(1, slot, generator)[0][0] for slot in side.tolist()]) for side in sides.T
    )
    half = steps // 2
    s = ((np.arange(half) + 0.5) / half)[None, :, None]
    there = (1 - s) * first[:, None] + s * gates[:, None]
    on = (1 - s) * gates[:, None] + s * last[:, None]
    return Paths(np.concatenate([there, on], 1), sides[:, 0], sides[:, 1])


def step_over_bound(model: GMapLatent, paths: Paths) -> float:
    """Largest step in the target's canonical domain, over its bound: the step before times the cluster's largest stretch."""
    mesh = model.src_.mesh
    stretch = lipschitz_constants(mesh.vertices, model.registration_.image, mesh.triangles)
    most = np.array([stretch[mesh.labels == k].max() for k in range(len(model.classes_src_))])
    count, steps = paths.points.shape[:2]
    moved = model.registration_.forward(paths.points.reshape(-1, 2), np.repeat(paths.slots, steps))
    after = np.linalg.norm(np.diff(moved.reshape(count, steps, 2), axis=1), axis=2)
    before = np.linalg.norm(np.diff(paths.points, axis=1), axis=2)
    return float((after / (before * most[paths.slots][:, None])).max())


def mapped(
    model: GMapLatent, aligned: AlignedPair, paths: Paths
) -> tuple[Float32[Tensor, "p t c h w"], Float32[Tensor, "p t c h w"], Int[np.ndarray, "p t"]]:
    """Images of the source and of the target along the paths, and the slot the model names at every point."""
    count, steps = paths.points.shape[:2]
    ours, theirs, labels = model.map_curve(paths.points.reshape(-1, 2))
    slot = {label: k for k, label in enumerate(model.classes_src_.tolist())}
    slots = np.array([slot[label] for label in labels.tolist()]).reshape(count, steps)
    source, target = aligned.pair.source.codec.decode(ours), aligned.pair.target.codec.decode(theirs)
    return source.unflatten(0, (count, steps)), target.unflatten(0, (count, steps)), slots


def classes_along(aligned: AlignedPair, images: Float32[Tensor, "p t c h w"]) -> Int[np.ndarray, "p t"]:
    """The judge's class of every image."""
    found = judge(aligned.pair.judge, images.flatten(0, 1)).probabilities.argmax(1)
    return found.reshape(images.shape[:2])


def step_ratio(images: Float32[Tensor, "p t c h w"]) -> float:
    """Median of the larger over the smaller of two consecutive L2 steps; steps of nothing are left out."""
    steps = images.double().diff(dim=1).flatten(2).norm(dim=2)
    first, second = steps[:, :-1].flatten(), steps[:, 1:].flatten()
    moving = (first > 1e-12) & (second > 1e-12)
    ratio = torch.maximum(first, second)[moving] / torch.minimum(first, second)[moving]
    return float(ratio.median()) if len(ratio) else float("inf")


def switches(labels: Int[np.ndarray, "p t"]) -> Int[np.ndarray, "p"]:
    """How often the label changes along each path."""
    return (np.diff(labels, axis=1) != 0).sum(1)


@claim(
    "G5",
    "Curves map to curves: continuous inside a cluster, one switch across a border",
    source="summary of the paper: curve-to-curve generation; criterion inferred",
    known_gaps={
        "cpu": "0.73, 0.72, 0.75 of the images along a path have its class (seeds 0, 1, 2), where 0.95 are asked for: the same limit as in G2, images "
        "that the judge does not recognise; the canonical curves keep their bound and switch cluster exactly once, decoded steps have a "
        "median ratio of 1.07 to 1.09"
    },
)
def curve_to_curve(scale: Scale, seed: int) -> Measurement:
    """100 random paths of 64 steps inside one cluster: the largest step in the target's canonical domain is at most the
    Lipschitz bound from the Jacobians of the triangles; the median ratio of consecutive steps of decoded images is at
    most 3; at least 95 % of the images along the paths have the path's class. Across a border the cluster switches
    exactly once.

    With equal cells the registration is the identity and the bound says nothing; it is checked too on an alignment of clusters
    of unequal size, in which every domain keeps cells of its own."""
    aligned = aligned_pair(PAIRS[scale], seed, device_for(scale))
    first, second, third = derive(seed, 3)
    own = own_cells(aligned)
    inner = inner_paths(aligned.model, N_PATHS, N_STEPS, first)
    bound = step_over_bound(aligned.model, inner)
    bound_own = step_over_bound(own, inner_paths(own, N_PATHS, N_STEPS, second))
    source, target, _ = mapped(aligned.model, aligned, inner)
    names = np.array([int(label) for label in aligned.model.classes_tgt_])
    classes = classes_along(aligned, target)
    right = classes == names[inner.slots][:, None]
    ratio = step_ratio(target)
    crossing = crossing_paths(aligned.model, N_PATHS, N_STEPS, third)
    across_source, across, slots = mapped(aligned.model, aligned, crossing)
    once = switches(slots) == 1
    conditions = {
        "largest_step_at_most_the_Lipschitz_bound": max(bound, bound_own) <= 1 + SLACK,
        "median_ratio_of_consecutive_image_steps_at_most_3": ratio <= RATIO,
        "class_along_the_paths_constant_for_at_least_95_percent": bool(right.mean() >= SAME_CLASS),
        "cluster_switches_exactly_once_across_a_border": bool(once.all()),
    }
    values: dict[str, Value] = {
        "step_over_bound": bound,
        "step_over_bound_with_own_cells": bound_own,
        "registration_with_own_cells": own.report()["registration"],
        "median_ratio": ratio,
        "median_ratio_in_the_source": step_ratio(source),
        "paths_with_one_class": float((switches(classes) == 0).mean()),
        "share_switching_once": float(once.mean()),
        "share_where_the_judge_switches_once": float((switches(classes_along(aligned, across)) == 1).mean()),
    }
    return Measurement(
        quantity="share of images along paths inside a cluster that have its class, by a classifier of real images",
        ours=float(right.mean()),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        figures=[
            _strip("curve-inside", "Along a path inside one cluster", source[0], target[0]),
            _strip("curve-across", "Along a path across a border", across_source[0], across[0]),
        ],
    )


def own_cells(aligned: AlignedPair) -> GMapLatent:
    """Codes of both meshes, thinned out to clusters of different size, aligned with the cells each domain gets by its sizes.

    The clusters that are thinned out most in the source are thinned out least in the target.
    """
    model = aligned.model
    shares = np.linspace(0.6, 1, len(model.classes_src_))
    sides = []
    for domain, share in ((model.src_, shares), (model.tgt_, shares[::-1])):
        kept = np.concatenate([
            own[: round(share[k] * len(own))]
            for k in range(len(shares))
            for own in [np.flatnonzero(domain.slots == k)]
        ])  # fmt: skip
        sides += [domain.codes[kept], domain.slots[kept]]
    options: dict[str, Any] = model.get_params() | {
        "canonical": "own",
        "mass": "sample",
        "merge": "hierarchical",
    }
    return GMapLatent(**options).fit(*sides)


def _strip(
    name: str, title: str, source: Float32[Tensor, "t c h w"], target: Float32[Tensor, "t c h w"]
) -> Figure:
    return curve_strip(
        name,
        source.numpy(),
        target.numpy(),
        title,
        f"{title}: images of the source above, of the target below.",
    )
