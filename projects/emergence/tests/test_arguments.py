"""Every check names the argument, what was given, and the mend."""

import math

import pytest
import torch

from emergence.arguments import (
    check_above_zero,
    check_choice,
    check_count,
    check_finite,
    check_open_unit,
    check_points,
    check_positive,
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_positive(n_blocks=0), ValueError, "n_blocks must be at least 1, got 0"),
        (lambda: check_positive(n_blocks=1.5), TypeError, "n_blocks must be an integer, got 1.5"),
        (lambda: check_count(n_steps=-1), ValueError, "n_steps must be at least 0, got -1"),
        (lambda: check_count(n_steps=True), TypeError, "n_steps must be an integer, got True"),
        (
            lambda: check_choice("norm", "up", ("pre", "post")),
            ValueError,
            "norm must be one of 'pre', 'post', got 'up'",
        ),
        (lambda: check_above_zero(lam=0.0), ValueError, "lam must be finite and above 0, got 0.0"),
        (lambda: check_above_zero(lam=math.inf), ValueError, "lam must be finite"),
        (lambda: check_open_unit(alpha=1.0), ValueError, "alpha must lie strictly between 0 and 1, got 1.0"),
        (lambda: check_open_unit(alpha=math.nan), ValueError, "alpha must lie strictly"),
        (
            lambda: check_finite("x", torch.tensor([1.0, math.inf])),
            ValueError,
            r"x has 1 .* first at index \(1,\)",
        ),
        (lambda: check_points("x", [1.0]), TypeError, "x must be a torch tensor, got list"),
        (lambda: check_points("x", torch.ones(2, 2, dtype=torch.long)), TypeError, "x is torch.int64"),
        (lambda: check_points("x", torch.ones(2, 2).bfloat16()), TypeError, r"x.double\(\)"),
        (lambda: check_points("x", torch.ones(2)), ValueError, r"x.unsqueeze\(0\)"),
        (lambda: check_points("x", torch.ones(1, 2), least=2), ValueError, "at least 2 sample"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_is_allowed():
    check_positive(n=1)
    check_count(n=0)
    check_choice("norm", "pre", ("pre",))
    check_above_zero(lam=1e-9)
    check_open_unit(alpha=0.5)
    check_points("x", torch.ones(1, 2))
