"""Blobs and bananas: clusters of points for the geometry."""

import numpy as np
import pytest

from gmaplatent.data import (
    bananas,
    blobs,
)


@pytest.mark.parametrize("dim", [1, 2, 16])
def test_blobs_have_the_sizes_that_were_asked_for(dim):
    domain = blobs(5, 10, dim=dim, imbalance=10, seed=3)
    counts = np.bincount(domain.labels)
    assert domain.codes.shape == (counts.sum(), dim)
    assert (counts[0], counts[-1]) == (10, 100)
    assert (np.diff(counts) > 0).all()
    assert np.array_equal(domain.codes, blobs(5, 10, dim=dim, imbalance=10, seed=3).codes)
    assert not np.array_equal(domain.codes, blobs(5, 10, dim=dim, imbalance=10, seed=4).codes)


def test_bananas_are_not_convex():
    domain = bananas(3, 400, bend=1.5)
    for k in range(3):
        arc = domain.codes[domain.labels == k]
        # The middle of a convex cluster is inside it; that of an arc is away from every point.
        assert np.linalg.norm(arc - arc.mean(0), axis=1).min() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: blobs(0), "n_clusters must be at least 1, got 0"),
        (lambda: blobs(3, 2), "per_cluster must be at least 3, got 2"),
        (lambda: blobs(3, dim=0), "dim must be at least 1, got 0"),
        (lambda: blobs(3, spread=0), "spread must be above 0"),
        (lambda: blobs(3, imbalance=0.5), "imbalance at least 1, got 4.0 and 0.5"),
        (lambda: bananas(3, bend=4), r"bend in \(0, π\], got 4.0 and 4"),
    ],
)
def test_bad_clusters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
