"""ρ(T) of the non-normal matrix and of maps whose answer is known (T1 of §3.2)."""

import pytest
import torch

from emergence.blocks import ExactRateBlock
from emergence.lipschitz.power_rate import lip_power_rate
from emergence.operators import NON_NORMAL, MatrixBlock


def non_normal():
    return MatrixBlock(torch.tensor(NON_NORMAL, dtype=torch.float64))


def test_powers_of_the_non_normal_matrix_grow_and_vanish():
    x = torch.randn(3, 2, dtype=torch.float64)
    estimate = lip_power_rate(non_normal(), x, tuple(range(1, 12)))
    assert float(estimate.values[0]) == pytest.approx(10.08, abs=0.005)
    assert int(estimate.values.argmax()) + 1 == 9
    assert float(estimate.values.max()) == pytest.approx(38.745923, abs=1e-6)


def test_slow_roots_and_the_extrapolation():
    x = torch.randn(3, 2, dtype=torch.float64)
    estimate = lip_power_rate(non_normal(), x, (50, 100, 199))
    assert float(estimate.roots[0]) == pytest.approx(1.021, abs=5e-4)
    assert float(estimate.roots[-1]) == pytest.approx(0.9355, abs=5e-5)
    assert estimate.rho == pytest.approx(0.9, abs=1e-3)
    assert estimate.verdict == "below"


def test_few_powers_of_it_are_inconclusive():
    """Honest: up to n = 4 the powers only grow."""
    estimate = lip_power_rate(non_normal(), torch.randn(3, 2, dtype=torch.float64), (1, 2, 4))
    assert float(estimate.ratios[-1]) > 1
    assert estimate.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("lam", "verdict"), [(0.5, "below"), (0.9, "below"), (1.0, "inconclusive"), (1.05, "above")]
)
def test_exact_rates(lam, verdict):
    block = ExactRateBlock(6, lam)
    estimate = lip_power_rate(block, torch.randn(4, 6, dtype=torch.float64))
    torch.testing.assert_close(
        estimate.values, lam ** torch.tensor(estimate.powers).double(), rtol=1e-9, atol=0
    )
    assert estimate.rho == pytest.approx(lam, rel=1e-6)
    assert estimate.verdict == verdict


def test_nilpotent_maps():
    shift = MatrixBlock(torch.diag(torch.ones(3, dtype=torch.float64), 1))
    estimate = lip_power_rate(shift, torch.randn(2, 4, dtype=torch.float64), (1, 2, 4))
    assert (estimate.rho, estimate.verdict) == (0.0, "below")


@pytest.mark.parametrize("powers", [(1, 2), (2, 1, 4), (0, 1, 2)])
def test_bad_powers(powers):
    with pytest.raises(ValueError, match="three ascending"):
        lip_power_rate(torch.tanh, torch.randn(2, 3), powers)


def test_other_shapes():
    with pytest.raises(ValueError, match="need the same"):
        lip_power_rate(lambda x: x[:, :1], torch.randn(2, 3))
