"""Without transport: translation of means and the nearest code (iv), a random partner of the cluster (v)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from .interface import Baseline, Problem


@dataclass(frozen=True)
class BarycentreNearest(Baseline):
    """(iv) Translation alone: a cluster's mean is moved onto its partner's, then the nearest target code is taken.

    The nearest code may belong to another cluster: clusters that overlap are not kept apart.

    Example:
        >>> codes = np.array([[0.0], [1.0], [10.0], [11.0]])
        >>> BarycentreNearest().translate(codes, [0, 0, 1, 1], codes[::-1], [0, 0, 1, 1], [[0.9]]).tolist()
        [[11.0]]
    """

    def solve(self, problem: Problem) -> Float[np.ndarray, "q d"]:
        problem.require_one_dimension("translation of means")
        moved, labels = problem.query.copy(), problem.voted()
        for label in np.unique(labels):
            there = problem.target[problem.labels_tgt == label].mean(0)
            moved[labels == label] += there - problem.source[problem.labels_src == label].mean(0)
        return problem.target[cKDTree(problem.target).query(moved)[1]]


@dataclass(frozen=True)
class RandomPairing(Baseline):
    """(v) A random target code of the same cluster: as accurate as labels allow, and nothing of the geometry is kept.

    Args:
        seed: of the draw.

    Example:
        >>> RandomPairing().translate([[0.0], [1.0]], ["a", "b"], [[7.0], [8.0]], ["a", "b"], [[0.2]], ["b"]).tolist()
        [[8.0]]
    """

    seed: int = 0

    def solve(self, problem: Problem) -> Float[np.ndarray, "q e"]:
        generator = np.random.default_rng(self.seed)
        labels = problem.voted()
        partners = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            wanted = labels == label
            partners[wanted] = generator.choice(
                np.flatnonzero(problem.labels_tgt == label), int(wanted.sum())
            )
        return problem.target[partners]
