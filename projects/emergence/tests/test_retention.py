"""Retention: forgetting at the rate promised, isometries that are exact, a probe that cannot cheat (T6, §7.4)."""

import pytest
import torch

from emergence.blocks import GroupSort2
from emergence.retention import (
    digits,
    digits_retention,
    groupsort_isometry,
    pair_retention,
    probe_accuracy,
    random_weights,
    tanh_states,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_below_the_critical_gain_distances_die_at_least_at_the_rate() -> None:
    x = torch.randn(20, 16, dtype=torch.float64, generator=generator())
    states = tanh_states(x, 0.8, (1, 5, 20), generator=generator())
    assert all(pair_retention(x, state) <= 0.8**p for p, state in states.items())


def test_weights_are_orthogonal_or_of_unit_gain() -> None:
    q = random_weights(3, 8, generator=generator())
    torch.testing.assert_close(q @ q.mT, torch.eye(8, dtype=q.dtype).expand(3, 8, 8))
    iid = random_weights(50, 40, "iid", generator())
    assert float(iid.var()) == pytest.approx(1 / 40, rel=0.05)


def test_the_same_draw_for_every_gain() -> None:
    x = torch.randn(3, 8, dtype=torch.float64)
    one, two = (tanh_states(x, g, (1,), bias_std=0.0, generator=generator())[1].atanh() for g in (0.5, 1.0))
    torch.testing.assert_close(2 * one, two)


def test_an_orthogonal_stack_with_groupsort_is_a_local_isometry_but_not_a_global_one() -> None:
    shallow, deep = groupsort_isometry(16, (1, 128), n=32)
    assert max(shallow.largest_deviation, deep.largest_deviation) < 1e-10
    assert max(shallow.pair_max, deep.pair_max) <= 1 + 1e-12
    assert deep.pair_mean < 0.5 * shallow.pair_mean


def test_the_jacobian_of_the_stack_is_that_of_autograd() -> None:
    matrices = random_weights(5, 8, generator=generator(7))
    sort, x = GroupSort2(), torch.randn(8, dtype=torch.float64, generator=generator(1))

    def stack(z: torch.Tensor) -> torch.Tensor:
        for matrix in matrices:
            z = sort(matrix @ z)
        return z

    values = torch.linalg.svdvals(torch.func.jacrev(stack)(x))
    torch.testing.assert_close(values, torch.ones(8, dtype=torch.float64))


def test_the_probe_sees_through_noise_only_what_is_above_it() -> None:
    x, labels = digits()
    clear = probe_accuracy(x, labels, generator=generator())
    faint = probe_accuracy(1e-4 * x, labels, generator=generator())
    assert clear > 0.9
    assert faint < 0.2
    assert (
        probe_accuracy(1e-4 * x, labels, noise=0.0, ridge=1e-12) > 0.85
    )  # without a floor nothing would seem lost


def test_shuffled_labels_are_not_read() -> None:
    x, labels = digits()
    assert probe_accuracy(x, labels[torch.randperm(len(labels), generator=generator())]) < 0.2


def test_retention_over_gains_and_depths() -> None:
    table = digits_retention((0.5, 1.05), (1, 24), seeds=(0, 1))
    assert table.at(1.05, 24) > 0.8 > 0.3 > table.at(0.5, 24)
    assert table.best_gain(24) == 1.05
    assert table.retention[0, 1] < 1e-4 < table.retention[1, 1]
    assert digits_retention((1.05,), (24,), (0,)).at(1.05, 24) == digits_retention((1.05,), (24,), (0,)).at(
        1.05, 24
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tanh_states(torch.randn(2, 4), 0.0, (1,)), "gain must be finite and above 0"),
        (lambda: tanh_states(torch.randn(2, 4), 1.0, ()), "depths is empty"),
        (lambda: tanh_states(torch.randn(2, 4), 1.0, (0,)), "must be at least 1, got 0"),
        (lambda: random_weights(1, 4, "sparse"), "weights must be one of"),  # type: ignore[arg-type]
        (lambda: pair_retention(torch.ones(3, 2), torch.ones(3, 2)), "all samples of x coincide"),
        (lambda: digits_retention((), (1,)), "gains and seeds"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
