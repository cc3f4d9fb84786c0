"""What the claims share: the device of a scale, seeds, a training loop, and one search of the learning rate for all.

Batches are a pure function of the step, networks are built under a seed of their own: nothing depends on the global
random state or on the number of cores.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Scale

Batches = Callable[[int], tuple[Tensor, Tensor]]
"""Step → degraded and clean images, on the CPU."""

Loss = Callable[[nn.Module, Tensor, Tensor], Float[Tensor, ""]]
"""Model, degraded, clean → loss."""

Judge = Callable[[nn.Module], float]
"""Model in evaluation mode → validation score, higher is better."""


def device_for(scale: Scale) -> torch.device:
    """The CPU for smoke and cpu, CUDA for gpu and paper; never a fallback.

    Raises:
        RuntimeError: if the scale needs CUDA and there is no device.
    """
    if scale in (Scale.SMOKE, Scale.CPU):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"scale {scale} needs a CUDA device and there is none; run scale smoke or cpu instead"
        )
    return torch.device("cuda")


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def trainable(model: nn.Module) -> int:
    """Numbers that receive a gradient."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def l2_loss(model: nn.Module, degraded: Tensor, clean: Tensor) -> Float[Tensor, ""]:
    return (model(degraded) - clean).square().mean()


def l1_loss(model: nn.Module, degraded: Tensor, clean: Tensor) -> Float[Tensor, ""]:
    return (model(degraded) - clean).abs().mean()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the same for all of a comparison.

    Args:
        steps: optimiser steps of Adam.
        rates: candidates for the peak learning rate.
        search_steps: steps of each trial of the search; 0 takes the first candidate.
        loss: what is minimised.
        milestones: steps at which the learning rate falls by `gamma`, as in the paper; none: one-cycle learning rate.
        gamma: see `milestones`.
        autocast: bf16 convolutions, on CUDA.
    """

    steps: int
    rates: tuple[float, ...] = (2e-3, 5e-3)
    search_steps: int = 0
    loss: Loss = l2_loss
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5
    autocast: bool = False


def train(
    model: nn.Module, batches: Batches, recipe: Recipe, rate: float, device: torch.device, first_step: int = 0
) -> float:
    """Train in place; returns the seconds a step takes (median).

    Raises:
        FloatingPointError: if the loss stops being finite, naming the step.
    """
    model.to(device).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, rate)
    schedule = (
        torch.optim.lr_scheduler.MultiStepLR(optimizer, recipe.milestones, recipe.gamma)
        if recipe.milestones
        else torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=recipe.steps)
    )
    seconds = []
    for step in range(recipe.steps):
        degraded, clean = (x.to(device, non_blocking=True) for x in batches(first_step + step))
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.autocast):
            loss = recipe.loss(model, degraded, clean)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of {type(model).__name__} is {loss.item()} at step {step}, lr {rate:g}"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


@dataclass(frozen=True)
class Contender:
    """One model of a comparison: a name and how to build it."""

    name: str
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class Trained:
    """A trained contender, the learning rate that the search chose and the score of every candidate."""

    name: str
    model: nn.Module = field(repr=False)
    parameters: int
    rate: float
    candidate_scores: tuple[float, ...]
    seconds_per_step: float


def school(
    contender: Contender, batches: Batches, judge: Judge, recipe: Recipe, seed: int, device: torch.device
) -> Trained:
    """Choose the learning rate by short trainings on a validation score, then train in full.

    Every contender gets the same candidates, trial lengths and batches. A trial that diverges loses.
    """
    rate, scores = recipe.rates[0], []
    if recipe.search_steps:
        trial = replace(recipe, steps=recipe.search_steps)
        for candidate in recipe.rates:
            model = seeded(seed, contender.build)
            try:
                train(model, batches, trial, candidate, device)
                scores.append(judge(model.eval()))
            except FloatingPointError:
                scores.append(float("-inf"))
        rate = recipe.rates[scores.index(max(scores))]
    model = seeded(seed, contender.build)
    seconds = train(model, batches, recipe, rate, device)
    return Trained(contender.name, model.eval(), trainable(model), rate, tuple(scores), seconds)


@torch.no_grad()
def apply(model: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int = 50) -> Tensor:
    """The model on many images, in evaluation mode, on its own device; the answer comes back to the CPU."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(x.to(device)).float().cpu() for x in images.split(batch_size)])


def derive(seed: int, purpose: int) -> int:
    """A seed for one purpose (training set, test set, network, noise …) of a claim's seed; none is shared."""
    return 1_000_003 * (seed + 1) + purpose


def table_rows(
    trained: Sequence[Trained], scores: Sequence[float]
) -> tuple[tuple[str, int, float, float, float], ...]:
    """Rows (model, parameters, learning rate, seconds per step, score) for a table of a measurement."""
    return tuple(
        (t.name, t.parameters, t.rate, round(t.seconds_per_step, 4), round(s, 4))
        for t, s in zip(trained, scores)
    )
