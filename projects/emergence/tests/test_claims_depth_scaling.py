"""C6: exponents and distances on sequences whose answers are known, and the claim itself at a small size."""

import pytest
import torch

from emergence.claims import depth_scaling as c6
from tenfold.claims import Scale

CPU = torch.device("cpu")


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0])
def test_the_exponent_of_a_power_law(power: float) -> None:
    layers = torch.arange(1, 65, dtype=torch.float64)
    updates = 0.7 * layers**power
    updates[: c6.FROM_LAYER - 1] = 5.0  # what comes before is not fitted
    assert c6.exponent(updates) == pytest.approx(power, abs=1e-10)


def test_tied_blocks_are_one_block_whose_branches_alone_change_with_depth() -> None:
    setting = c6.Setting(d=8)
    shallow, deep = (c6.make_blocks(setting, ("pre", True, "1/L"), n, 3) for n in (4, 8))
    assert len({id(block) for block in deep}) == 1
    torch.testing.assert_close(deep[0].attn.out.weight * 2, shallow[0].attn.out.weight)
    torch.testing.assert_close(deep[0].mlp.up.weight, shallow[0].mlp.up.weight)
    independent = c6.make_blocks(setting, ("pre", False, "1"), 3, 3)
    assert not torch.equal(independent[0].mlp.up.weight, independent[1].mlp.up.weight)


@torch.no_grad()
def test_relative_updates_start_at_the_first_block() -> None:
    setting = c6.Setting(d=8, tokens=4, n_blocks=3)
    updates = c6.relative_updates(setting, ("pre", True, "1"), 0, CPU)
    h, block = c6.tokens_for(setting, 0, CPU), c6.make_blocks(setting, ("pre", True, "1"), 3, 0)[0]
    assert float(updates[0]) == pytest.approx(float((block(h) - h).norm() / h.norm()))
    assert updates.shape == (3,)


@pytest.mark.slow
def test_smoke_holds_and_the_wrong_scaling_would_not() -> None:
    measured = c6.depth_scaling(Scale.SMOKE, 0)
    assert measured.passed, measured.values
    setting = c6.Setting(draws=1, depths=(8, 16, 32))
    wrong = c6.doubling_distances(setting, ("pre", True, "1/sqrt(2L)"), 0, CPU)
    assert float(wrong[0] / wrong[1]) < 1.5  # nowhere near the factor of two
