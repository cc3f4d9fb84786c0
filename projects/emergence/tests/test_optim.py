import pytest
import torch

from emergence.models import GPTConfig, TinyGPT
from emergence.optim import Optim, make_adamw, make_schedule


def test_the_rate_rises_linearly_and_falls_by_a_cosine_to_a_tenth():
    optim = Optim(lr=2.0, warmup=10)
    factors = [optim.factor(step, 100) for step in range(101)]
    assert factors[4] == pytest.approx(0.5)
    assert max(factors) == factors[10] == 1
    assert factors[55] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)


def test_vectors_are_not_decayed_and_everything_is_optimised_once():
    model = TinyGPT(11, 9, 8, 2, 2)
    optimizer = make_adamw(model, Optim())
    decayed, free = (group["params"] for group in optimizer.param_groups)
    assert all(p.ndim >= 2 for p in decayed)
    assert all(p.ndim < 2 for p in free)
    assert sum(p.numel() for p in (*decayed, *free)) == GPTConfig(11, 9, 8, 2, 2).n_params
    assert (optimizer.param_groups[0]["weight_decay"], optimizer.param_groups[1]["weight_decay"]) == (
        0.1,
        0.0,
    )


def test_the_schedule_starts_at_the_first_step_of_the_warm_up():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=4.0)
    make_schedule(optimizer, Optim(warmup=4), 20)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr must be positive, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"final": 2}, r"final must lie in \[0, 1\], got 2"),
        ({"steps": 30, "warmup": 30}, "steps must exceed the warm-up of 30, got 30"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Optim(**options)
