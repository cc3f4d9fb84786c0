"""Barycenter translation: every cluster moves to a slot of its own on a ring (§3.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

FILL = 0.98
"""The translated points fill this part of the unit disk's radius, so that none touches its rim."""


@dataclass(frozen=True, eq=False)
class Slots:
    """Where the clusters of a domain go.

    Args:
        barycenters: of the layout, one a cluster.
        scales: factor of each cluster about its barycenter.
        turns: rotation of each cluster about its barycenter, in radians.
        centres: of the slots, in the unit disk.
        unit: factor from the layout to the unit disk.
    """

    barycenters: Float[np.ndarray, "k 2"]
    scales: Float[np.ndarray, "k"]
    turns: Float[np.ndarray, "k"]
    centres: Float[np.ndarray, "k 2"]
    unit: float

    def __call__(
        self, points: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n 2"]:
        """Points of the layout at their place in the unit disk."""
        centred = (points - self.barycenters[labels]) * (self.scales[labels] * self.unit)[:, None]
        cosine, sine = np.cos(self.turns[labels]), np.sin(self.turns[labels])
        turned = np.stack(
            [cosine * centred[:, 0] - sine * centred[:, 1], sine * centred[:, 0] + cosine * centred[:, 1]], 1
        )
        return turned + self.centres[labels]


def ring_angles(n_slots: int) -> Float[np.ndarray, "k"]:
    """θ_k = 2π(k + ½)/K."""
    return 2 * np.pi * (np.arange(n_slots) + 0.5) / n_slots


def make_slots(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, "n"],
    n_clusters: int,
    *,
    margin: float = 0.1,
    quantile: float = 1.0,
    equal_size: bool = False,
    radial: bool = False,
) -> Slots:
    """Slots on a ring so far apart that the clusters' disks do not meet: R = (1 + m) max ρ / sin(π/K).

    Args:
        points: layout.
        labels: slot numbers 0 … K − 1 of the points; each occurs.
        n_clusters: K; a single one goes to the middle.
        margin: m ≥ 0.
        quantile: ρ_k is this quantile of the distances from the barycenter; 1 is the largest.
        equal_size: scale all clusters to the same root-mean-square radius.
        radial: turn each cluster so that its principal axis points outwards.
    """
    barycenters = np.stack([points[labels == k].mean(0) for k in range(n_clusters)])
    spread = [points[labels == k] - barycenters[k] for k in range(n_clusters)]
    scales = np.ones(n_clusters)
    if equal_size:
        size = np.array([np.sqrt((s**2).sum(1).mean()) for s in spread])
        scales = size.max() / size
    radii = np.array([np.quantile(np.linalg.norm(s, axis=1), quantile) for s in spread]) * scales
    # Everything has to fit into the disk, even what lies beyond the quantile.
    reach = max(float(np.linalg.norm(s, axis=1).max()) * c for s, c in zip(spread, scales, strict=True))
    ring = 0.0 if n_clusters == 1 else (1 + margin) * float(radii.max()) / np.sin(np.pi / n_clusters)
    angle = ring_angles(n_clusters)
    unit = FILL / (ring + reach)
    turns = np.zeros(n_clusters)
    if radial:
        turns = np.array([angle[k] - _principal_angle(spread[k]) for k in range(n_clusters)])
    centres = ring * unit * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Slots(barycenters, scales, turns, centres, unit)


def _principal_angle(centred: Float[np.ndarray, "n 2"]) -> float:
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    return float(np.arctan2(axis[1], axis[0]))


def slot_order(barycenters: Float[np.ndarray, "k 2"], n_rotations: int = 24) -> Int[np.ndarray, "k"]:
    """Clusters in the order of the slots that moves the barycenters least, over all turns of the ring.

    Returns:
        The cluster in each slot.
    """
    n = len(barycenters)
    centred = barycenters - barycenters.mean(0)
    ring = np.linalg.norm(centred, axis=1).mean()
    best, order = np.inf, np.arange(n)
    for turn in 2 * np.pi / n * np.arange(n_rotations) / n_rotations:
        angle = ring_angles(n) + turn
        slots = ring * np.stack([np.cos(angle), np.sin(angle)], 1)
        cost = ((centred[None] - slots[:, None]) ** 2).sum(-1)
        rows, columns = linear_sum_assignment(cost)
        if cost[rows, columns].sum() < best - 1e-12:
            best, order = cost[rows, columns].sum(), columns
    return order
