"""Depth compositions: rates are exact, the order decides for untied blocks, bad blocks are refused (T2, T3)."""

import pytest
import torch
from torch import nn

from emergence.blocks import ExactRateBlock, InjectedBlock, TanhBlock
from emergence.claims.existence_checks import banach, orders
from emergence.limits.iterate import iterate_depth
from emergence.limits.trace import geometric_rate


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("lam", [0.5, 0.9, 1.0, 1.05])
def test_the_exact_rate_block_changes_by_its_rate(lam: float) -> None:
    block = ExactRateBlock(6, lam, generator=generator())
    trace = iterate_depth(block, torch.randn(8, 6, dtype=torch.float64), 30)
    assert trace.rate() == pytest.approx(lam, rel=1e-9)
    assert trace.retention is not None
    assert trace.retention.tolist() == pytest.approx([lam**p for p in range(1, 31)], rel=1e-9)


def test_the_residual_of_a_tied_block_is_its_next_step() -> None:
    trace = iterate_depth(TanhBlock(5, 0.9, bias_std=1.0), torch.randn(3, 5, dtype=torch.float64), 10)
    assert trace.residual is not None
    torch.testing.assert_close(trace.residual[:-1], trace.steps[1:])


def test_untied_blocks_forward_keep_moving_and_reversed_settle() -> None:
    check = orders(6, 100, generator())
    assert check.holds
    assert check.steps["forward"][-1] > 0.1
    assert check.steps["reversed"][-1] < 1e-12
    assert 0.99 < check.reversed <= 1 + 1e-9  # the bound is attained, not merely kept


def test_forward_and_reversed_order_are_what_they_say() -> None:
    blocks = [lambda x: 2 * x, lambda x: x + 1, lambda x: -x]
    x = torch.tensor([[3.0], [0.5]])
    forward = iterate_depth(blocks, x, 3, ("delta",)).final
    backward = iterate_depth(blocks, x, 3, ("delta",), order="reversed").final
    assert forward.flatten().tolist() == [-7.0, -2.0]  # −(2x + 1)
    assert backward.flatten().tolist() == [-4.0, 1.0]  # 2(−x + 1)


@pytest.mark.parametrize(
    "block", [ExactRateBlock(4, 0.5), ExactRateBlock(4, 0.9), TanhBlock(4, 0.9, bias_std=0.5)]
)
def test_banach_bounds_hold_at_every_step(block: ExactRateBlock | TanhBlock) -> None:
    assert banach(block, torch.randn(6, 4, dtype=torch.float64)).holds


def test_banach_check_notices_a_rate_that_is_too_small() -> None:
    honest = ExactRateBlock(4, 0.9, generator=generator())

    class Liar(nn.Module):
        lam = 0.8

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return honest(z)

    assert not banach(Liar(), torch.randn(6, 4, dtype=torch.float64)).holds  # type: ignore[arg-type]


def test_injected_limits_depend_on_the_input_at_the_rate_promised() -> None:
    block = InjectedBlock(6, 3, lam=0.6).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    z = torch.zeros(2, 6, dtype=torch.float64)
    trace = iterate_depth(lambda state: block(state, x), z, 60, ("delta",))
    assert float((trace.final[0] - trace.final[1]).norm()) > 1e-3  # not the same for both inputs (T6)
    bound = float(torch.linalg.matrix_norm(block.input.weight.detach(), 2)) / (1 - 0.6)
    assert float((trace.final[0] - trace.final[1]).norm() / (x[0] - x[1]).norm()) <= bound


def test_a_trace_becomes_a_table() -> None:
    table = iterate_depth(nn.Identity(), torch.randn(3, 2), 4, ("delta", "retention")).to_pandas()
    assert list(table.columns) == ["n_blocks", "delta", "retention"]
    assert table["retention"].tolist() == pytest.approx([1.0] * 4)


X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Identity(), X, 0), "n_blocks must be at least 1, got 0"),
        ((nn.Linear(3, 2), X, 2), r"maps shape \(4, 3\) to \(4, 2\)"),
        (([nn.Identity()], X, 2), "holds only 1 blocks"),
        (
            (nn.Identity(), X, 2, ("speed",)),
            "record must be one of 'delta', 'residual', 'retention', got 'speed'",
        ),
        ((nn.Identity(), X, 2, ()), "record is empty"),
        ((nn.Identity(), X, 2, ("delta",), "sideways"), "order must be one of"),
        ((nn.Identity(), torch.ones(4, 3), 2), "all samples of x coincide"),
        ((nn.Identity(), X * float("nan"), 2), "NaN or infinite"),
    ],
)
def test_bad_input_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        iterate_depth(*arguments)


def test_blocks_must_return_tensors_and_states_carry_enough_precision() -> None:
    with pytest.raises(TypeError, match="returned a tuple"):
        iterate_depth(lambda x: (x,), X, 2)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="bfloat16"):
        iterate_depth(nn.Identity(), X.bfloat16(), 2)


def test_a_rate_needs_differences_above_rounding() -> None:
    with pytest.raises(ValueError, match="above rounding error"):
        geometric_rate(torch.full((10,), 1e-16), 1.0, torch.float64)
    with pytest.raises(ValueError, match="delta was not recorded"):
        iterate_depth(nn.Identity(), X, 2, ("retention",)).rate()
