"""AdamW over three groups of parameters, each with a one-cycle schedule of its own (§5).

factor(s) rises on a cosine from `start` to 1 over the first tenth of the steps, then falls on a cosine to `end`

group   decay  start   end
main    1e-5   1/25    1e-4     encoder, decoder, and everything that is neither of the other two
bases   0      1/25    1e-5     basis generators, or the one matrix of a model with constant spectrum
gate    0      1/100   1e-4     the network that mixes the bases
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


class Cycle(NamedTuple):
    """Where a one-cycle schedule starts and ends, as shares of its peak."""

    start: float
    end: float


CYCLES = {"main": Cycle(1 / 25, 1e-4), "bases": Cycle(1 / 25, 1e-5), "gate": Cycle(1 / 100, 1e-4)}
RISE = 0.1
"""Share of the steps after which the peak is reached."""


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of the three groups, and the weight decay of the group "main".

    Args:
        main: peak rate of encoder and decoder.
        bases: peak rate of the basis generators; that of `main` if None.
        gate: peak rate of the gate; that of `main` if None.
        decay: AdamW's weight decay of the group "main"; the other groups have none.

    Example:
        >>> Rates(1e-2, gate=5e-3).peaks
        {'main': 0.01, 'bases': 0.01, 'gate': 0.005}
    """

    main: float = 1e-2
    bases: float | None = None
    gate: float | None = None
    decay: float = 1e-5

    def __post_init__(self) -> None:
        for name, value in self.peaks.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"learning rate {name} must be positive and finite, got {value}")
        if not (math.isfinite(self.decay) and self.decay >= 0):
            raise ValueError(f"decay must be at least 0 and finite, got {self.decay}")

    @property
    def peaks(self) -> dict[str, float]:
        """The peak rate of each group."""
        return {
            "main": self.main,
            "bases": self.main if self.bases is None else self.bases,
            "gate": self.main if self.gate is None else self.gate,
        }


def parameter_groups(model: nn.Module, rates: Rates) -> list[dict[str, Any]]:
    """The trainable parameters of `model` in the groups "main", "bases" and "gate"; empty groups are left out.

    A model with a method `parameter_groups` says itself which are which (`LatentModel` has it); else all are "main".
    """
    said = getattr(model, "parameter_groups", None)
    found: dict[str, list[nn.Parameter]] = {"main": list(model.parameters())} if said is None else said()
    unknown = sorted(set(found) - set(CYCLES))
    if unknown:
        raise ValueError(
            f"{type(model).__name__} has the parameter group {unknown[0]!r}; known: {', '.join(CYCLES)}"
        )
    groups = []
    for name, peak in rates.peaks.items():
        trainable = [p for p in found.get(name, []) if p.requires_grad]
        decay = rates.decay if name == "main" else 0.0
        if trainable:
            groups.append({"params": trainable, "lr": peak, "weight_decay": decay, "name": name})
    return groups


def one_cycle(total_steps: int, cycle: Cycle, rise: float = RISE) -> Callable[[int], float]:
    """The factor of a one-cycle schedule at step 0 … total_steps; 1 is the peak.

    Example:
        >>> factor = one_cycle(100, Cycle(start=0.04, end=1e-4))
        >>> round(factor(0), 6), round(factor(10), 6), round(factor(100), 6)
        (0.04, 1.0, 0.0001)
    """
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= rise < 1:
        raise ValueError(f"rise must be at least 0 and below 1, got {rise}")
    top = rise * total_steps

    def factor(step: int) -> float:
        if step < top:
            return _between(cycle.start, 1.0, step / top)
        return _between(1.0, cycle.end, min(1.0, (step - top) / (total_steps - top)))

    return factor


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from `first` at share 0 to `last` at share 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def make_adamw(model: nn.Module, rates: Rates) -> torch.optim.AdamW:
    """AdamW over the named groups of `model`, at their peak rates."""
    return torch.optim.AdamW(parameter_groups(model, rates))


def make_schedule(
    optimizer: torch.optim.Optimizer, total_steps: int, pretrain_steps: int = 0, pretrain_rate: float = 1e-3
) -> LambdaLR:
    """Constant rates while encoder and decoder are warmed up, then one cycle a group; stepped after every step.

    Args:
        optimizer: made by `make_adamw`: its groups have names and start at their peak rates.
        total_steps: all steps, those of the warm-up included.
        pretrain_steps: steps of the warm-up (§5): the group "main" has `pretrain_rate`, the other groups rest.
        pretrain_rate: learning rate of the warm-up.

    Raises:
        ValueError: if the warm-up leaves no step for training.
    """
    if not 0 <= pretrain_steps < total_steps:
        raise ValueError(
            f"pretrain_steps must be at least 0 and below total_steps = {total_steps}, got {pretrain_steps}"
        )

    def factor_of(group: dict[str, Any]) -> Callable[[int], float]:
        cycle = one_cycle(total_steps - pretrain_steps, CYCLES[group["name"]])
        constant = pretrain_rate / group.get("initial_lr", group["lr"]) if group["name"] == "main" else 0.0
        return lambda step: constant if step < pretrain_steps else cycle(step - pretrain_steps)

    return LambdaLR(optimizer, [factor_of(group) for group in optimizer.param_groups])
