"""One light training loop for all claims that train: the same seeds, batches and steps for every model of a comparison.

Nothing here depends on the global random state, nor on the number of cores.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.config import GPTConfig
from ..models.looped_gpt import build_model
from ..models.tiny_gpt import LanguageModel
from ..optim import Optim, make_adamw, make_schedule

Draw = Callable[[], tuple[Tensor, Tensor]]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Effort:
    """What a training costs.

    Args:
        steps: optimiser steps.
        ctx: tokens a window.
        batch_size: windows a step.
        val_windows: windows that judge.
        rates: candidates of the peak learning rate, the same for every arm (10.11).
        warmup: steps of linear warm-up.
        compile: compile the model and train in bfloat16; for CUDA.
        parts: pieces a batch is cut into, whose gradients are added up; for memory.
    """

    steps: int
    ctx: int = 32
    batch_size: int = 16
    val_windows: int = 128
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    warmup: int = 30
    compile: bool = False
    parts: int = 1

    def optim(self, rate: float) -> Optim:
        """The recipe of §5 at one peak rate."""
        return Optim(lr=rate, warmup=self.warmup, steps=self.steps)


@dataclass(frozen=True)
class Run:
    """What a training gave.

    Args:
        model: trained; with the weights before the step that failed, if one did.
        losses: of every step.
        failure: why the run is no result; None for one that is.
        observed: step -> what was looked at after it.
        seconds: time of the steps.
    """

    model: nn.Module
    losses: tuple[float, ...]
    failure: str | None
    seconds: float
    observed: Mapping[int, Any] = field(default_factory=dict)


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def start(config: GPTConfig, seed: int, device: torch.device) -> LanguageModel:
    """The model of a configuration with the weights of a seed."""
    return seeded(seed, lambda: build_model(config)).to(device)


def train(
    model: nn.Module,
    draw: Draw,
    optim: Optim,
    steps: int,
    *,
    seed: int = 0,
    compiled: bool = False,
    parts: int = 1,
    look_at: Iterable[int] = (),
    look: Callable[[nn.Module], Any] = lambda model: None,
) -> Run:
    """Cross entropy, AdamW, warm-up and cosine, clipped gradients; random loops of a model are drawn from `seed`.

    A loss or gradient that is not finite ends the training.

    Args:
        model: maps tokens to logits; it is changed.
        draw: gives the next batch of tokens and targets, on the CPU.
        optim: the recipe.
        steps: optimiser steps.
        seed: of what the model draws while it trains.
        compiled: compile the model and train in bfloat16.
        parts: pieces a batch is cut into.
        look_at: steps after which `look` sees the model, in evaluation mode.
        look: what it sees is kept.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return _train(model, draw, optim, steps, device, compiled, parts, set(look_at), look)


def _train(
    model: nn.Module,
    draw: Draw,
    optim: Optim,
    steps: int,
    device: torch.device,
    compiled: bool,
    parts: int,
    look_at: set[int],
    look: Callable[[nn.Module], Any],
) -> Run:
    optimizer = make_adamw(model, optim)
    schedule = make_schedule(optimizer, optim, steps)
    forward = torch.compile(model) if compiled else model
    precision = torch.autocast(device.type, torch.bfloat16) if compiled else nullcontext()
    losses: list[Tensor] = []
    observed: dict[int, Any] = {}
    failure = None
    model.train()
    started = time.perf_counter()
    for step in range(1, steps + 1):
        tokens, targets = (part.to(device) for part in draw())
        optimizer.zero_grad()
        loss = torch.zeros((), device=device)
        for x, y in zip(tokens.chunk(parts), targets.chunk(parts)):
            with precision:
                logits = forward(x)
                piece = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten()) / parts
            piece.backward()
            loss = loss + piece.detach()
        norm = nn.utils.clip_grad_norm_(model.parameters(), optim.clip)
        if not (loss.isfinite() and norm.isfinite()):
            failure = f"loss or gradient is not finite at step {step}"
            break
        optimizer.step()
        schedule.step()
        losses.append(loss)
        if step in look_at:
            model.eval()
            with torch.no_grad():
                observed[step] = look(model)
            model.train()
    seconds = time.perf_counter() - started
    model.eval()
    return Run(model, tuple(torch.stack(losses).tolist()) if losses else (), failure, seconds, observed)


@torch.no_grad()
def evaluate(model: nn.Module, windows: tuple[Tensor, Tensor], batch_size: int = 32) -> float:
    """Cross entropy on windows, in nats a token, in evaluation mode."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    total = 0.0
    for tokens, targets in zip(*(part.split(batch_size) for part in windows)):
        logits = model(tokens.to(device))
        total += float(
            F.cross_entropy(logits.flatten(0, 1).float(), targets.to(device).flatten(), reduction="sum")
        )
    model.train(was_training)
    return total / windows[1].numel()


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a model trained at every candidate rate.

    Args:
        losses: rate -> validation loss; infinite for a run that failed.
        models: rate -> trained model.
    """

    losses: Mapping[float, float]
    models: Mapping[float, nn.Module]

    @property
    def rate(self) -> float:
        """The rate with the lowest validation loss."""
        return min(self.losses, key=lambda rate: self.losses[rate])

    @property
    def loss(self) -> float:
        return self.losses[self.rate]

    @property
    def model(self) -> nn.Module:
        return self.models[self.rate]


def sweep(
    config: GPTConfig,
    batches: Callable[[], Draw],
    windows: tuple[Tensor, Tensor],
    effort: Effort,
    seed: int,
    device: torch.device,
) -> Arm:
    """Train from the same weights, on the same batches, at every candidate rate."""
    losses, models = {}, {}
    for rate in effort.rates:
        model = start(config, seed, device)
        run = train(
            model,
            batches(),
            effort.optim(rate),
            effort.steps,
            seed=seed,
            compiled=effort.compile,
            parts=effort.parts,
        )
        losses[rate] = evaluate(model, windows) if run.failure is None else math.inf
        models[rate] = model
    return Arm(losses, models)


def at_rate(effort: Effort, rate: float) -> Effort:
    """The same effort with one rate alone."""
    return replace(effort, rates=(rate,))
