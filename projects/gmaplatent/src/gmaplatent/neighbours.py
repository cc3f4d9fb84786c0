"""The vote of the nearest codes on the cluster of a code without a label."""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.spatial import cKDTree


def vote(
    codes: Float[np.ndarray, "n d"],
    labels: Shaped[np.ndarray, "n"],
    query: Float[np.ndarray, "q d"],
    k: int = 15,
) -> Shaped[np.ndarray, "q"]:
    """Labels of `query` by the k nearest codes; a tie goes to the smallest label.

    Raises:
        ValueError: if k is below 1.

    Example:
        >>> vote(np.array([[0.0], [0.1], [5.0]]), np.array([3, 3, 1]), np.array([[0.2]]), k=2).tolist()
        [3]
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    nearest = cKDTree(codes).query(query, min(k, len(codes)))[1].reshape(len(query), -1)
    names, numbers = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(query), len(names)), dtype=np.int64)
    np.add.at(counts, (np.arange(len(query))[:, None], numbers[nearest]), 1)
    return names[counts.argmax(1)]
