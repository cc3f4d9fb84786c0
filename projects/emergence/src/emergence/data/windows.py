"""Windows of a long row of tokens: random ones to train on, always the same ones to judge with (§5)."""

import torch
from jaxtyping import Int
from torch import Tensor


def random_windows(
    tokens: Int[Tensor, "n"], ctx: int, count: int, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "count ctx"], Int[Tensor, "count ctx"]]:
    """Windows from random places and, for each position, the token that follows.

    Args:
        tokens: the text.
        ctx: tokens a window.
        count: windows.
        generator: of the places; torch's global one if None, which a training run seeds.

    Example:
        >>> inputs, targets = random_windows(torch.arange(100), ctx=8, count=2)
        >>> bool((targets == inputs + 1).all())
        True
    """
    _check(tokens, ctx, count)
    starts = torch.randint(len(tokens) - ctx, (count,), generator=generator)
    return _cut(tokens, starts, ctx)


def fixed_windows(
    tokens: Int[Tensor, "n"], ctx: int, count: int, shift: float = 0.0
) -> tuple[Int[Tensor, "count ctx"], Int[Tensor, "count ctx"]]:
    """Evenly spaced windows, the same in every run, and the tokens that follow.

    Args:
        tokens: the text.
        ctx: tokens a window.
        count: windows; they may not overlap.
        shift: in [0, 1), where between one window's start and the next all are moved to; with ½, windows between those
            of shift 0 (disjoint from them if 2·count·(ctx + 1) tokens are there).

    Example:
        >>> fixed_windows(torch.arange(100), ctx=4, count=3)[0][:, 0].tolist()
        [0, 33, 66]
    """
    _check(tokens, ctx, count)
    spacing = len(tokens) // count
    if spacing <= ctx:
        raise ValueError(
            f"{count} windows of {ctx} + 1 tokens do not fit side by side into {len(tokens)} tokens; "
            f"take at most {len(tokens) // (ctx + 1)}"
        )
    if not 0 <= shift < 1:
        raise ValueError(f"shift must lie in [0, 1), got {shift}")
    starts = spacing * torch.arange(count) + int(shift * (spacing - ctx))
    return _cut(tokens, starts, ctx)


def _check(tokens: Tensor, ctx: int, count: int) -> None:
    for name, value in (("ctx", ctx), ("count", count)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if tokens.dim() != 1 or len(tokens) < ctx + 1:
        raise ValueError(
            f"tokens must be a row of at least ctx + 1 = {ctx + 1} tokens, got shape {tuple(tokens.shape)}"
        )


def _cut(tokens: Tensor, starts: Tensor, ctx: int) -> tuple[Tensor, Tensor]:
    cut = tokens[starts[:, None] + torch.arange(ctx + 1)].long()
    return cut[:, :-1], cut[:, 1:]
