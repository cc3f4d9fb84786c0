"""Composition of blocks to growing depth, in forward and in reversed order (T2, T3 of §3.2).

Forward, A_P = T_P ∘ … ∘ T_1: what a network does. With contracting blocks it converges iff the blocks settle down.
Reversed, A_P = T_1 ∘ … ∘ T_P: a new block is put *before* the others; with contracting blocks it always converges.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..arguments import check_choice, check_points, check_positive
from .trace import DepthTrace

Block = Callable[[Tensor], Tensor]
RECORDS = ("delta", "residual", "retention")


@torch.no_grad()
def iterate_depth(
    block: Block | Sequence[Block] | nn.ModuleList,
    x: Float[Tensor, "b ..."],
    n_blocks: int,
    record: Sequence[str] = RECORDS,
    order: Literal["forward", "reversed"] = "forward",
) -> DepthTrace:
    """Apply one block again and again, or the blocks of a sequence, and record how the state settles.

    Args:
        block: T, the same at every depth, or T_1, T_2, …, at least `n_blocks` of them.
        x: samples, in float32 or float64.
        n_blocks: depth P.
        record: any of "delta", "residual", "retention"; see `DepthTrace`. Retention needs two samples.
        order: "reversed" costs P²/2 evaluations with different blocks, since nothing can be reused.

    Raises:
        ValueError: if a block changes the shape, there are too few blocks, or a name is unknown.

    Example:
        >>> trace = iterate_depth(lambda x: 0.5 * x, torch.randn(4, 3), n_blocks=10)
        >>> round(trace.rate(), 3), round(float(trace.retention[-1]), 6)
        (0.5, 0.000977)
    """
    check_positive(n_blocks=n_blocks)
    check_points("x", x, least=2 if "retention" in record else 1)
    check_choice("order", order, ("forward", "reversed"))
    if not record:
        raise ValueError(f"record is empty; give some of {', '.join(map(repr, RECORDS))}")
    for name in record:
        check_choice("record", name, RECORDS)
    blocks = sequence_of(block, n_blocks)
    start = float(torch.pdist(x.flatten(1)).mean()) if "retention" in record else 1.0
    if "retention" in record and start == 0:
        raise ValueError(
            "all samples of x coincide: retention is a ratio of distances between different samples"
        )
    found: dict[str, list[Tensor]] = {name: [] for name in RECORDS}
    state = x
    tied = not isinstance(block, Sequence | nn.ModuleList)
    for p, new in enumerate(_states(blocks, x, order if not tied else "forward")):
        if "delta" in record:
            found["delta"].append((new - state).flatten(1).norm(dim=1))
        if "residual" in record:
            found["residual"].append((apply(blocks[p], new) - new).flatten(1).norm(dim=1))
        if "retention" in record:
            found["retention"].append(torch.pdist(new.flatten(1)).mean() / start)
        state = new
    stacked = {name: torch.stack(values) if values else None for name, values in found.items()}
    return DepthTrace(state, order, **stacked)


def sequence_of(block: Block | Sequence[Block] | nn.ModuleList, n_blocks: int) -> list[Block]:
    """The first `n_blocks` blocks of a sequence, or one block that many times."""
    if not isinstance(block, Sequence | nn.ModuleList):
        return [block] * n_blocks
    if len(block) < n_blocks:
        raise ValueError(f"n_blocks is {n_blocks}, but block holds only {len(block)} blocks")
    blocks: list[Block] = [*block]
    return blocks[:n_blocks]


def _states(blocks: Sequence[Block], x: Tensor, order: str) -> Iterator[Tensor]:
    """A_1 x, A_2 x, …"""
    state = x
    for p, block in enumerate(blocks):
        if order == "forward":
            state = apply(block, state)
        else:
            state = x
            for earlier in reversed(blocks[: p + 1]):
                state = apply(earlier, state)
        yield state


def apply(block: Block, x: Tensor) -> Tensor:
    """One application, which must keep the shape.

    Raises:
        ValueError: if the output has another shape.
    """
    y = block(x)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"the block returned a {type(y).__name__}; wrap it so that it maps a tensor to a tensor"
        )
    if y.shape != x.shape:
        raise ValueError(
            f"the block maps shape {tuple(x.shape)} to {tuple(y.shape)}; only blocks that keep the shape can be iterated"
        )
    return y
