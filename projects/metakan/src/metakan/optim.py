"""First-order optimisation: one optimiser with the groups "prompts", "meta" and "rest" (pitfall P18), real schedules (P4).

Prompts need a learning rate about ten times that of ordinary weights, because their scale is tiny; weight decay on
them pulls all edges towards the same function (P17). Networks without prompts have only the group "rest".
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["cosine", "exponential", "linear", "constant"]


@dataclass(frozen=True)
class Rates:
    """Learning rates and weight decays of the three groups.

    Args:
        prompt: learning rate of the prompts (lr_e in the paper).
        meta: learning rate of the meta-learners (lr_h).
        rest: learning rate of all other parameters: norms, heads, and everything in a network without prompts.
        decay: AdamW weight decays of (prompts, meta, rest).
    """

    prompt: float = 1e-2
    meta: float = 1e-3
    rest: float = 1e-3
    decay: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name, value in (("prompt", self.prompt), ("meta", self.meta), ("rest", self.rest)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"learning rate {name} must be positive and finite, got {value}")
        if len(self.decay) != 3 or min(self.decay) < 0:
            raise ValueError(f"decay must be three numbers >= 0 for (prompts, meta, rest), got {self.decay}")


def parameter_groups(model: nn.Module, rates: Rates) -> list[dict[str, Any]]:
    """The trainable parameters of `model` in the named groups "prompts", "meta" and "rest"; empty groups are left out.

    A part of the model (or the model) with a method `param_groups` says itself which of its parameters are which;
    everything outside such parts is "rest".
    """
    found: dict[str, list[nn.Parameter]] = {"prompts": [], "meta": [], "rest": []}
    seen: set[int] = set()
    for module in model.modules():
        if not hasattr(module, "param_groups"):
            continue
        for group in module.param_groups():  # type: ignore[operator]
            fresh = [p for p in group["params"] if id(p) not in seen and p.requires_grad]
            seen.update(id(p) for p in fresh)
            found[group["name"]].extend(fresh)
    found["rest"].extend(p for p in model.parameters() if id(p) not in seen and p.requires_grad)
    settings = zip(found, (rates.prompt, rates.meta, rates.rest), rates.decay)
    return [
        {"params": found[name], "lr": lr, "weight_decay": decay, "name": name}
        for name, lr, decay in settings
        if found[name]
    ]


def make_adamw(model: nn.Module, rates: Rates) -> torch.optim.AdamW:
    """AdamW over the named groups of `model`."""
    return torch.optim.AdamW(parameter_groups(model, rates))


def make_schedule(
    optimizer: torch.optim.Optimizer,
    kind: Schedule,
    total_steps: int,
    gamma: float = 1.0,
    epoch_steps: int = 1,
) -> LambdaLR:
    """A schedule stepped after every optimiser step, the same factor for all groups.

    Args:
        kind: "cosine" from 1 to 0 over the run; "linear" from 1 to 0; "exponential": γ per epoch; "constant".
        total_steps: length of the run.
        gamma: factor per epoch of the exponential schedule.
        epoch_steps: steps of one epoch, for the exponential schedule.

    Raises:
        ValueError: if the kind is unknown, or total_steps or epoch_steps < 1.
    """
    if total_steps < 1 or epoch_steps < 1:
        raise ValueError(
            f"total_steps and epoch_steps must be at least 1, got {total_steps} and {epoch_steps}"
        )
    factors = {
        "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * min(step, total_steps) / total_steps)),
        "linear": lambda step: 1 - min(step, total_steps) / total_steps,
        "exponential": lambda step: gamma ** (step // epoch_steps),
        "constant": lambda step: 1.0,
    }
    if kind not in factors:
        raise ValueError(f"schedule must be one of {', '.join(factors)}, got {kind!r}")
    return LambdaLR(optimizer, factors[kind])
