"""Covers: radii against exhaustive search, the three regimes of the bounds, and what the bounds must never do (§3.3)."""

import itertools
import math

import pytest
import torch

from emergence.covering import (
    counted_blocks,
    covering_number,
    covering_number_bound,
    covering_profile,
    covering_radius,
    farthest_point_radii,
    generalization_bound,
)


def points(n: int = 12, d: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best_radius(x: torch.Tensor, m: int) -> float:
    distances = torch.cdist(x, x)
    return min(
        float(distances[list(chosen)].amin(0).max()) for chosen in itertools.combinations(range(len(x)), m)
    )


@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_radius_is_within_a_factor_of_two_of_the_best(m: int, seed: int) -> None:
    x = points(seed=seed)
    best = best_radius(x, m)
    assert best <= covering_radius(x, m) <= 2 * best


@pytest.mark.parametrize("lip", [0.3, 1.0, 4.0])
def test_a_map_enlarges_radii_by_at_most_twice_its_constant(lip: float) -> None:
    x = points(200, 5)
    y = lip * torch.sin(x)  # Lip ≤ lip, not linear
    before, after = covering_profile(x), covering_profile(y)
    assert all(after[m] <= 2 * lip * before[m] for m in before)


def test_radii_fall_and_end_at_zero() -> None:
    radii = farthest_point_radii(points(), 20)
    assert bool((radii.diff() <= 0).all())
    assert radii[11:].tolist() == [0.0] * 9


def test_numbers_and_radii_are_inverse() -> None:
    x = points(50)
    for m in (1, 4, 20):
        radius = covering_radius(x, m)
        assert covering_number(x, radius) <= m
        assert covering_number(x, radius * 0.999) > m
    assert covering_number(torch.zeros(5, 2), 0.1) == 1


def test_many_points_are_thinned_with_a_fixed_seed() -> None:
    x = points(5000, 2)
    assert covering_radius(x, 8) == covering_radius(x, 8)
    seeded = covering_radius(x, 8, torch.Generator().manual_seed(1))
    assert seeded == pytest.approx(covering_radius(x, 8), rel=0.5)


def bound(lam: float, n_blocks: int, tied: bool, eps: float = 0.01) -> float:
    return covering_number_bound(10, R=1.0, L_theta=2.0, lam=lam, n_blocks=n_blocks, eps=eps, tied=tied)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("lam", [0.3, 0.8, 1.0, 1.3])
def test_bounds_never_fall_with_depth_and_saturate_exactly_below_one(lam: float, tied: bool) -> None:
    values = [bound(lam, p, tied) for p in (1, 2, 4, 16, 64, 256, 512)]
    # with λ = 1 and above the shares of untied blocks depend on P, but the bound still grows
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(values))
    assert (values[-1] - values[-2] < 1e-6) == (lam < 1)


def test_past_j_a_block_costs_nothing() -> None:
    j = counted_blocks(1.0, 2.0, 0.8, 0.01)
    assert bound(0.8, math.ceil(j) + 1, False) == bound(0.8, 10_000, False)
    assert bound(0.8, math.ceil(j) // 2, False) < bound(0.8, 10_000, False)


def test_saturated_capacity_is_a_square_of_j() -> None:
    j = counted_blocks(1.0, 2.0, 0.5, 1e-12)
    leading = 10 * j**2 * math.log(2) / 4
    # each counted block adds log(1 + 2x) − log x for an x of at least 1, which is between log 2 and log 3
    assert leading <= bound(0.5, 10_000, False, 1e-12) <= leading + 10 * (j + 1) * math.log(3)


def test_tied_bound_is_the_formula() -> None:
    s = sum(0.7**i for i in range(9))
    assert bound(0.7, 9, True) == pytest.approx(10 * math.log(1 + 2 * 2 * s / 0.01))
    assert bound(1.0, 9, True) == pytest.approx(10 * math.log(1 + 2 * 2 * 9 / 0.01))
    s = sum(1.5**i for i in range(9))
    assert bound(1.5, 9, True) == pytest.approx(10 * math.log(1 + 2 * 2 * s / 0.01))


def test_shares_of_untied_blocks_fit_into_the_resolution() -> None:
    from emergence.covering import _log_share

    for lam in (0.6, 1.0, 1.4):
        for n_blocks in (1, 5, 40):
            spent = sum(lam**j * math.exp(_log_share(lam, n_blocks, j)) for j in range(n_blocks))
            assert spent <= 1 + 1e-12


def test_deep_expansive_models_do_not_overflow() -> None:
    assert math.isfinite(bound(2.0, 5000, True))
    assert bound(2.0, 5000, True) == pytest.approx(10 * 5000 * math.log(2), rel=0.01)


def test_the_sample_term_falls_as_the_root_of_the_sample() -> None:
    at = [generalization_bound(100.0, n, eps=1e-9) for n in (100, 10_000)]
    assert at[0] / at[1] == pytest.approx(10, rel=1e-6)
    assert generalization_bound(100.0, 100) == pytest.approx(0.2 + math.sqrt(2 * (100 + math.log(40)) / 100))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lam": 0.0}, "lam must be finite and above 0, got 0.0"),
        ({"n_blocks": 0}, "n_blocks must be at least 1, got 0"),
        ({"eps": -1.0}, "eps must be finite and above 0"),
        ({"R": float("inf")}, "R must be finite and above 0"),
    ],
)
def test_bounds_refuse_bad_numbers(changed: dict, message: str) -> None:
    good = {"p": 10, "R": 1.0, "L_theta": 1.0, "lam": 0.5, "n_blocks": 4, "eps": 0.1}
    with pytest.raises(ValueError, match=message):
        covering_number_bound(**(good | changed))


def test_measurements_refuse_bad_points() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        covering_radius(torch.tensor([[float("nan")]]), 1)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        covering_radius(torch.zeros(3), 1)
    with pytest.raises(ValueError, match="m must be at least 1"):
        covering_radius(points(), 0)
    with pytest.raises(ValueError, match="sizes must be numbers of balls"):
        covering_profile(points(), ())
    with pytest.raises(ValueError, match="eps must be finite and above 0"):
        covering_number(points(), 0.0)
    with pytest.raises(ValueError, match=r"below 1, got 1\.0"):
        counted_blocks(1.0, 1.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="confidence must lie strictly between 0 and 1"):
        generalization_bound(1.0, 10, confidence=1.0)
    with pytest.raises(ValueError, match="log_covering must be at least 0"):
        generalization_bound(-1.0, 10)
