"""Named groups, schedules that do what they say, and L-BFGS that survives a non-finite loss."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from metakan.lbfgs import BestState, fit_lbfgs
from metakan.optim import Rates, make_adamw, make_schedule, parameter_groups


class Prompted(nn.Module):
    """The protocol of a network with generated weights, at its smallest."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(3))
        self.meta = nn.Linear(1, 2)
        self.head = nn.Linear(2, 1)

    def param_groups(self) -> list[dict]:
        return [
            {"name": "prompts", "params": [self.prompts]},
            {"name": "meta", "params": list(self.meta.parameters())},
        ]


def names_of(model: nn.Module, groups: list[dict]) -> dict[str, set[str]]:
    by_id = {id(p): name for name, p in model.named_parameters()}
    return {g["name"]: {by_id[id(p)] for p in g["params"]} for g in groups}


def test_a_wrapped_network_keeps_its_groups_and_everything_else_is_rest() -> None:
    model = nn.Sequential(Prompted(), nn.Linear(1, 1))
    groups = parameter_groups(model, Rates(prompt=3e-2, meta=1e-2, rest=1e-3, decay=(5e-4, 1e-4, 0.0)))
    assert names_of(model, groups) == {
        "prompts": {"0.prompts"},
        "meta": {"0.meta.weight", "0.meta.bias"},
        "rest": {"0.head.weight", "0.head.bias", "1.weight", "1.bias"},
    }
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(3e-2, 5e-4), (1e-2, 1e-4), (1e-3, 0.0)]


def test_frozen_parameters_are_left_out_and_empty_groups_too() -> None:
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    groups = parameter_groups(model, Rates())
    assert names_of(model, groups) == {"rest": {"weight"}}


def rates_over_a_run(kind: str, steps: int = 10, **options: float) -> list[float]:
    optimizer = make_adamw(nn.Linear(1, 1), Rates(rest=1.0))
    schedule = make_schedule(optimizer, kind, steps, **options)  # type: ignore[arg-type]
    seen = []
    for _ in range(steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_cosine_is_a_real_cosine_over_the_run() -> None:
    """The reference's "cos" alternates between the rate and 0 (P4)."""
    seen = rates_over_a_run("cosine")
    assert seen == pytest.approx([0.5 * (1 + math.cos(math.pi * i / 10)) for i in range(11)])
    assert all(a > b for a, b in pairwise(seen))


def test_other_schedules() -> None:
    assert rates_over_a_run("linear") == pytest.approx([1 - i / 10 for i in range(11)])
    assert rates_over_a_run("constant") == [1.0] * 11
    assert rates_over_a_run("exponential", 4, gamma=0.5, epoch_steps=2) == [1, 1, 0.5, 0.5, 0.25]


def test_bad_settings_are_errors() -> None:
    optimizer = make_adamw(nn.Linear(1, 1), Rates())
    with pytest.raises(ValueError, match=r"schedule must be one of cosine.*'cos'"):
        make_schedule(optimizer, "cos", 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="total_steps and epoch_steps must be at least 1, got 0"):
        make_schedule(optimizer, "linear", 0)
    with pytest.raises(ValueError, match="learning rate meta must be positive and finite, got 0"):
        Rates(meta=0.0)
    with pytest.raises(ValueError, match="decay must be three numbers"):
        Rates(decay=(0.0, -1.0, 0.0))


def line(n: int = 50) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    return x, 3 * x - 1


def test_lbfgs_finds_the_least_squares_solution() -> None:
    x, y = line()
    model = nn.Linear(1, 1).double()
    report = fit_lbfgs(model, lambda: (model(x) - y).square().mean(), epochs=5)
    assert report.finite
    assert report.epochs == 5
    assert report.loss < 1e-20
    assert model.weight.item() == pytest.approx(3, abs=1e-8)


def test_lbfgs_stops_at_a_non_finite_loss_and_restores_the_best_state() -> None:
    x, y = line()
    model = nn.Linear(1, 1).double()
    calls = 0

    def loss() -> Tensor:
        nonlocal calls
        calls += 1
        value = (model(x) - y).square().mean()
        return value * float("nan") if calls > 12 else value

    report = fit_lbfgs(model, loss, epochs=50, iterations=3)
    assert not report.finite
    assert report.non_finite_epoch is not None
    assert report.epochs < 50
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert (model(x) - y).square().mean().item() == pytest.approx(report.loss)


def test_lbfgs_refuses_a_loss_that_is_not_finite_from_the_start() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="nan before the first step"):
        fit_lbfgs(model, lambda: model.weight.sum() * float("nan"))
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        fit_lbfgs(model, model.weight.sum, epochs=0)


def test_best_state_ignores_worse_and_non_finite_losses() -> None:
    model = nn.Linear(1, 1)
    best = BestState(model)
    best.offer(1.0)
    kept = model.weight.item()
    with torch.no_grad():
        model.weight.add_(1)
    assert best.offer(2.0)
    assert not best.offer(float("inf"))
    best.restore()
    assert model.weight.item() == kept
