"""Clusters of points: what the geometry is tested and shown on (§6, substitute c)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Codes of one domain with labels 0 … K-1."""

    codes: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.codes)


def blobs(
    n_clusters: int,
    per_cluster: int = 40,
    *,
    seed: int = 0,
    dim: int = 2,
    spread: float = 4.0,
    imbalance: float = 1.0,
) -> LabelledCodes:
    """Gaussian clusters, each with its own random, anisotropic covariance.

    Args:
        n_clusters: K, at least 1.
        per_cluster: points of the smallest cluster, at least 3.
        seed: of everything.
        dim: dimension of the codes.
        spread: standard deviation of the centres, in units of a cluster's; near 1 they overlap.
        imbalance: size of the largest cluster over that of the smallest; sizes in between are geometric.

    Raises:
        ValueError: for values below these limits.

    Example:
        >>> domain = blobs(3, 10, imbalance=4)
        >>> np.bincount(domain.labels).tolist()
        [10, 20, 40]
    """
    _require(n_clusters, per_cluster, dim, 1)
    if spread <= 0 or imbalance < 1:
        raise ValueError(f"spread must be above 0 and imbalance at least 1, got {spread} and {imbalance}")
    generator = np.random.default_rng(seed)
    sizes = np.rint(per_cluster * np.geomspace(1, imbalance, n_clusters)).astype(int)
    labels = np.repeat(np.arange(n_clusters), sizes)
    centres = spread * generator.normal(size=(n_clusters, dim))
    shapes = generator.normal(size=(n_clusters, dim, dim)) / dim**0.5
    noise = generator.normal(size=(len(labels), dim))
    return LabelledCodes(centres[labels] + np.einsum("nij,nj->ni", shapes[labels], noise), labels)


def bananas(
    n_clusters: int, per_cluster: int = 40, *, seed: int = 0, spread: float = 4.0, bend: float = 1.0
) -> LabelledCodes:
    """Curved clusters in the plane: arcs of a circle with noise, turned and placed at random; none of them is convex.

    Args:
        n_clusters: K, at least 1.
        per_cluster: points of each, at least 3.
        seed: of everything.
        spread: standard deviation of the centres, in units of the arcs' radius.
        bend: half the angle of the arc in radians, in (0, π].

    Raises:
        ValueError: for values outside these limits.

    Example:
        >>> bananas(4, 25).codes.shape
        (100, 2)
    """
    _require(n_clusters, per_cluster, 2, 2)
    if spread <= 0 or not 0 < bend <= np.pi:
        raise ValueError(f"spread must be above 0 and bend in (0, π], got {spread} and {bend}")
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_clusters), per_cluster)
    centres = spread * generator.normal(size=(n_clusters, 2))
    turns = generator.uniform(0, 2 * np.pi, n_clusters)
    angles = turns[labels] + generator.uniform(-bend, bend, len(labels))
    radii = 1 + 0.1 * generator.normal(size=len(labels))
    arcs = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return LabelledCodes(centres[labels] + arcs, labels)


def _require(n_clusters: int, per_cluster: int, dim: int, least_dim: int) -> None:
    for name, value, least in (
        ("n_clusters", n_clusters, 1),
        ("per_cluster", per_cluster, 3),
        ("dim", dim, least_dim),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
