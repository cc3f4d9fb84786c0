"""Pair ratios: exact on linear maps, bounded by σ_max, pairs that coincide left out."""

import pytest
import torch
from torch import nn

from emergence.lipschitz.local import local_lipschitz
from emergence.lipschitz.pairs import empirical_lipschitz, pair_statistics


@pytest.mark.parametrize("pairs", ["all", "random"])
def test_multiples_of_isometries(pairs):
    q = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    stats = empirical_lipschitz(lambda x: 3 * x @ q, torch.randn(20, 5, dtype=torch.float64), pairs=pairs)
    assert stats.max == pytest.approx(3, rel=1e-12)
    assert stats.median == pytest.approx(3, rel=1e-12)
    assert stats.min == pytest.approx(3, rel=1e-12)
    assert stats.n_pairs == (190 if pairs == "all" else 4096)


def test_ratios_lie_between_the_singular_values():
    net = nn.Linear(4, 4).double()
    x = torch.randn(50, 4, dtype=torch.float64)
    values = torch.linalg.svdvals(net.weight)
    stats = empirical_lipschitz(net, x)
    assert values[-1] <= stats.min <= stats.median <= stats.max <= values[0]
    assert stats.max <= local_lipschitz(net, x, method="exact").best


def test_a_local_isometry_may_shrink_pairs():
    """|x| has slope ±1 everywhere and takes −1 and 1 to one point."""
    x = torch.tensor([[-1.0], [1.0]])
    assert empirical_lipschitz(torch.abs, x).max == 0
    assert local_lipschitz(torch.abs, x, method="exact").best == 1


def test_pairs_that_almost_coincide_are_skipped():
    x = torch.randn(6, 3)
    near = torch.cat([x, x[:1] + 1e-7])
    noisy = near.clone()
    noisy[-1] += 1.0  # a ratio of 1e7, were it counted
    stats = pair_statistics(near, noisy)
    assert stats.n_skipped == 1
    assert stats.max < 100
    assert pair_statistics(near, noisy, min_dist=0).max > 1e5


def test_duplicates_are_counted_and_needed_to_differ():
    x = torch.randn(3, 4)
    stats = pair_statistics(torch.cat([x, x]), torch.cat([x, x]))
    assert (stats.n_pairs, stats.n_skipped) == (12, 3)
    with pytest.raises(ValueError, match="fewer than 2 distinct"):
        pair_statistics(torch.ones(4, 2), torch.ones(4, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": "some"}, "pairs must be one of 'all', 'random'"),
        ({"n_pairs": 0}, "n_pairs must be at least 1"),
        ({"min_dist": -1.0}, "min_dist must be at least 0"),
        ({"x": torch.randn(1, 3)}, "at least 2 sample"),
        ({"y": torch.randn(4, 3)}, "as many samples, got 3 and 4"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pair_statistics(**{"x": torch.randn(3, 3), "y": torch.randn(3, 3), **arguments})
