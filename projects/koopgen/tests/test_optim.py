"""Three groups of parameters and their one-cycle schedules."""

import pytest
import torch
from torch import nn

from koopgen.baselines import MODELS
from koopgen.optim import CYCLES, Cycle, Rates, make_adamw, make_schedule, one_cycle, parameter_groups


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.bases = nn.Linear(2, 2), nn.Linear(2, 2)
        self.gate = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "main": [*self.encoder.parameters(), self.frozen],
            "bases": list(self.bases.parameters()),
            "gate": list(self.gate.parameters()),
        }


def test_every_trainable_parameter_is_in_one_group() -> None:
    model = Network()
    groups = {group["name"]: group for group in parameter_groups(model, Rates(1e-2, 2e-2, 5e-3))}
    assert {name: group["lr"] for name, group in groups.items()} == {
        "main": 1e-2,
        "bases": 2e-2,
        "gate": 5e-3,
    }
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "main": 1e-5,
        "bases": 0,
        "gate": 0,
    }
    assert [len(groups[name]["params"]) for name in ("main", "bases", "gate")] == [2, 2, 4]
    grouped = {id(p) for group in groups.values() for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}


def test_empty_groups_are_left_out() -> None:
    assert [group["name"] for group in parameter_groups(nn.Linear(2, 2), Rates())] == ["main"]


def test_an_unknown_group_is_named() -> None:
    class Lost(nn.Linear):
        def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
            return {"else": list(self.parameters())}

    with pytest.raises(ValueError, match="Lost has the parameter group 'else'; known: main, bases, gate"):
        parameter_groups(Lost(1, 1), Rates())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_of_the_package_puts_all_its_parameters_into_known_groups(name: str) -> None:
    model = MODELS[name](2, 4, dt=0.1)
    grouped = [id(p) for group in parameter_groups(model, Rates()) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", sorted(CYCLES))
def test_a_cycle_starts_peaks_and_ends_where_the_recipe_says(name: str) -> None:
    factor = one_cycle(200, CYCLES[name])
    assert factor(0) == pytest.approx(CYCLES[name].start)
    assert factor(20) == pytest.approx(1)
    assert factor(200) == pytest.approx(CYCLES[name].end)
    assert factor(300) == pytest.approx(CYCLES[name].end)  # a step more than planned changes nothing
    rising = [factor(s) for s in range(21)]
    falling = [factor(s) for s in range(20, 201)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


def test_the_groups_of_an_optimiser_follow_their_own_cycles() -> None:
    optimizer = make_adamw(Network(), Rates(1e-2, 2e-2, 5e-3))
    schedule = make_schedule(optimizer, 10)
    start = [group["lr"] for group in optimizer.param_groups]
    assert start == pytest.approx([1e-2 / 25, 2e-2 / 25, 5e-3 / 100])
    for _ in range(10):
        optimizer.step()
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-6, 2e-7, 5e-7])


def test_the_warm_up_moves_encoder_and_decoder_only_then_the_cycle_begins() -> None:
    optimizer = make_adamw(Network(), Rates(1e-2, 2e-2, 5e-3))
    schedule = make_schedule(optimizer, 15, pretrain_steps=5, pretrain_rate=3e-3)
    seen = []
    for _ in range(15):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert seen[:5] == [pytest.approx([3e-3, 0, 0])] * 5
    assert seen[5] == pytest.approx([1e-2 / 25, 2e-2 / 25, 5e-3 / 100])
    assert seen[6] == pytest.approx([1e-2, 2e-2, 5e-3])
    with pytest.raises(
        ValueError, match="pretrain_steps must be at least 0 and below total_steps = 5, got 5"
    ):
        make_schedule(optimizer, 5, pretrain_steps=5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["main", "bases", "gate"])
def test_bad_rates_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"learning rate {name} must be positive and finite, got {value}"):
        Rates(**{name: value})


def test_bad_decay_steps_and_rise_are_named() -> None:
    with pytest.raises(ValueError, match="decay must be at least 0 and finite, got -1"):
        Rates(decay=-1)
    with pytest.raises(ValueError, match="total_steps must be at least 1, got 0"):
        one_cycle(0, Cycle(0.1, 0.1))
    with pytest.raises(ValueError, match=r"rise must be at least 0 and below 1, got 1.0"):
        one_cycle(10, Cycle(0.1, 0.1), 1.0)
