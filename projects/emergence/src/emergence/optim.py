"""AdamW with linear warm-up and a cosine down to a tenth: the recipe of §5 for every model of the package."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Optim:
    """How a language model is optimised.

    Args:
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        steps: optimiser steps in all; None takes them from the trainer.
        final: share of the peak that the cosine ends at.
        weight_decay: of matrices and embeddings; vectors have none.
        betas: of AdamW.
        clip: largest norm of the gradient, for loops without a trainer (a trainer has `gradient_clip_val`).

    Raises:
        ValueError: naming the setting, its value and what is allowed.
    """

    lr: float = 1e-3
    warmup: int = 30
    steps: int | None = None
    final: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("warmup", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final must lie in [0, 1], got {self.final}")
        if self.steps is not None and self.steps <= self.warmup:
            raise ValueError(f"steps must exceed the warm-up of {self.warmup}, got {self.steps}")

    def factor(self, step: int, steps: int) -> float:
        """Share of the peak rate at a step, counted from 0, of a run of `steps` steps.

        Example:
            >>> [round(Optim(warmup=2).factor(step, 10), 3) for step in (0, 1, 2, 10)]
            [0.5, 1.0, 1.0, 0.1]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


def make_adamw(model: nn.Module, optim: Optim) -> torch.optim.AdamW:
    """AdamW, with weight decay for parameters of two axes and more only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=optim.lr, betas=optim.betas, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, optim: Optim, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Warm-up and cosine over `steps` steps."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: optim.factor(step, steps))
