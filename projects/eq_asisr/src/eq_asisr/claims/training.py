"""One training loop and one search of the learning rate for all models of a comparison.

Batches are a pure function of the step and networks are drawn under a seed of their own: every model of a comparison
sees the same samples in the same order, and nothing depends on the global random state or on the number of cores.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from eq_asisr.claims.starts import seeded
from eq_asisr.data.samples import Batch, SRDownsampled
from eq_asisr.model import ASISR, normalize
from eq_asisr.schedules import warm_cosine

Batches = Callable[[int], Iterator[Batch]]
"""Number of steps → their batches, on the CPU."""

Judge = Callable[[ASISR], float]
"""Model → validation score, higher is better."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: L1 on normalised colours, Adam; the same for all of a comparison.

    Args:
        steps: optimiser steps.
        rates: candidates for the learning rate.
        search_steps: steps of each trial of the search; 0 takes the first candidate.
        warmup: share of the steps with a rising learning rate, before a cosine down to zero.
        milestones: steps at which the learning rate halves instead, as published.
        autocast: bf16 convolutions and linear layers; coordinates stay in float32 (§10.5).
    """

    steps: int
    rates: tuple[float, ...] = (1e-3,)
    search_steps: int = 0
    warmup: float = 0.05
    milestones: tuple[int, ...] = ()
    autocast: bool = False

    def factor(self, step: int) -> float:
        """Of the learning rate."""
        if self.milestones:
            return 0.5 ** sum(step >= milestone for milestone in self.milestones)
        return warm_cosine(step, self.steps, self.warmup)


@dataclass(frozen=True)
class Contender:
    """One model of a comparison: a name and how to build it."""

    name: str
    build: Callable[[], ASISR]


@dataclass(frozen=True)
class Trained:
    """A trained contender, the learning rate that the search chose and the score of every candidate."""

    name: str
    model: ASISR = field(repr=False)
    parameters: int
    rate: float
    candidate_scores: tuple[float, ...]
    seconds_per_step: float


def batches_of(samples: SRDownsampled, batch_size: int, threads: int = 0) -> Batches:
    """Batch k holds the draws k · batch_size … of `samples`; with threads, some are made ahead of time."""

    def one(step: int) -> Batch:
        return samples.batch(range(step * batch_size, (step + 1) * batch_size))

    def iterate(steps: int) -> Iterator[Batch]:
        if not threads:
            yield from map(one, range(steps))
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[Batch]] = deque()
            for step in range(steps):
                ahead.append(pool.submit(one, step))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    return iterate


def train(model: ASISR, batches: Batches, recipe: Recipe, rate: float, device: torch.device) -> float:
    """Train in place; returns the seconds a step takes (median, without making the batch).

    Raises:
        FloatingPointError: if the loss stops being finite, naming the step.
    """
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, recipe.factor)
    seconds = []
    for step, batch in enumerate(batches(recipe.steps)):
        lr, coord, cell, colour = batch.to(device)
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.autocast):
            loss = (model(lr, coord, cell).float() - normalize(colour)).abs().mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}, learning rate {rate:g}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        seconds.append(time.perf_counter() - start)
    model.eval()
    return sorted(seconds)[len(seconds) // 2]


def school(
    contender: Contender, batches: Batches, judge: Judge, recipe: Recipe, seed: int, device: torch.device
) -> Trained:
    """Choose the learning rate by short trainings on a validation score, then train in full.

    Every contender gets the same candidates, trial lengths and batches. A trial that diverges loses.
    """
    rate, scores = recipe.rates[0], []
    if recipe.search_steps and len(recipe.rates) > 1:
        trial = replace(recipe, steps=recipe.search_steps, milestones=())
        for candidate in recipe.rates:
            model = seeded(seed, contender.build)
            try:
                train(model, batches, trial, candidate, device)
                scores.append(judge(model))
            except FloatingPointError:
                scores.append(float("-inf"))
        rate = recipe.rates[scores.index(max(scores))]
    model = seeded(seed, contender.build)
    seconds = train(model, batches, recipe, rate, device)
    return Trained(contender.name, model, parameters(model), rate, tuple(scores), seconds)


@torch.no_grad()
def validation_psnr(model: ASISR, batches: Batches, steps: int) -> float:
    """Mean PSNR at the drawn pixels of some batches, in decibels."""
    device = next(model.parameters()).device
    scores = []
    for batch in batches(steps):
        lr, coord, cell, colour = batch.to(device)
        answer = (model(lr, coord, cell).float() * 0.5 + 0.5).clamp(0, 1)
        scores.append(-10 * (answer - colour).square().mean((1, 2)).log10())
    return torch.cat(scores).mean().item()


def parameters(model: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(p.numel() for p in model.parameters())
