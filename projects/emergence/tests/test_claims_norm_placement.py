"""C4: the arms differ in style alone, and the criteria are those of the notes."""

import math
from dataclasses import fields
from itertools import pairwise

import pytest
import torch

from emergence.claims.corpora import split
from emergence.claims.norm_placement import (
    SETTINGS,
    entropy_of_single_tokens,
    ladder,
    norm_placement,
    verdict,
)
from emergence.models import GPTConfig, gpt1_style, gpt2_style
from tenfold.claims import Scale

SIZES = {"vocab": 65, "ctx": 32, "d": 48, "heads": 4, "n_blocks": 16}


def test_the_recipe_is_that_of_the_notes() -> None:
    setting = SETTINGS[Scale.CPU]
    effort = setting.effort
    assert (effort.steps, effort.ctx, effort.batch_size, effort.val_windows) == (400, 32, 16, 128)
    assert (effort.rates, effort.warmup) == ((3e-4, 1e-3, 3e-3), 30)
    assert setting.sizes["n_blocks"] == 16
    assert SETTINGS[Scale.SMOKE].effort.rates == (3e-3,)


def test_the_ladder_leads_from_one_style_to_the_other_one_change_at_a_time() -> None:
    rungs = list(ladder(SIZES).values())
    assert rungs[0] == gpt1_style(**SIZES)
    assert gpt2_style(**SIZES) in rungs

    def changes(a: GPTConfig, b: GPTConfig) -> int:
        own = [f.name for f in fields(a) if f.name != "final_ln"]
        return sum(getattr(a, n) != getattr(b, n) for n in own) + (a.has_final_ln != b.has_final_ln)

    assert [changes(a, b) for a, b in pairwise(rungs[:3])] == [1, 1]
    assert [changes(a, b) for a, b in pairwise(rungs[3:6])] == [1, 1]
    assert changes(rungs[0], rungs[3]) == 1  # post-LN to pre-LN with everything else alike


@pytest.mark.parametrize(
    ("scale", "pre", "post", "holds"),
    [
        (Scale.SMOKE, 2.74, 3.01, True),
        (Scale.SMOKE, 2.76, 3.01, False),
        (Scale.SMOKE, 2.74, 2.99, False),
        (Scale.CPU, 2.40, 2.56, True),
        (Scale.CPU, 2.40, 2.54, False),
        (Scale.GPU, 1.00, 1.04, True),
        (Scale.GPU, 1.00, 1.03, False),
        (Scale.GPU, 1.00, math.inf, True),
        (Scale.GPU, 3.31, math.inf, False),
    ],
)
def test_verdicts(scale: Scale, pre: float, post: float, holds: bool) -> None:
    assert all(verdict(scale, pre, post, plateau=3.3).values()) is holds


def test_the_plateau_is_the_entropy_of_single_tokens() -> None:
    assert entropy_of_single_tokens(split("even", torch.arange(1000) % 4, 4)) == pytest.approx(
        math.log(4), rel=1e-3
    )


@pytest.mark.slow
def test_smoke() -> None:
    measured = norm_placement(Scale.SMOKE, 0)
    assert measured.passed
    assert measured.ours is not None
    assert measured.baseline is not None
    assert float(measured.ours) < float(measured.baseline)
    assert len(measured.figures) == 1
