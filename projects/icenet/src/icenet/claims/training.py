"""What the claims share: the device of a scale, seeds, one training loop and one search of rates for every network.

All networks of a comparison see the same slots in the same order for the same number of steps, and choose their learning
rate from the same candidates on the same validation slots at a quarter of the steps (§5, 10.13). Nothing here depends on
the global random state.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from tenfold.claims import Scale

from ..estimators.base import NetworkEstimator
from ..ofdm.channel import Slots
from .setting import Setting, Stream

RATES = (5e-4, 1e-3, 2e-3)
"""Candidates of the peak learning rate, the same for every network (§5)."""


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


def derive(seed: int, count: int) -> list[int]:
    """`count` seeds of a claim seed; different claim seeds share none."""
    return [1000 * seed + i for i in range(count)]


def in_words(conditions: Iterable[str]) -> str:
    """The names of conditions as a criterion: "a_at_least_2", "b" -> "a at least 2; b"."""
    return "; ".join(name.replace("_", " ") for name in conditions)


Network = TypeVar("Network", bound=nn.Module)


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True)
class Recipe:
    """How the networks of a comparison are trained; the same for all of them.

    Args:
        steps: optimiser steps.
        batch_size: fresh slots a step.
        rates: candidates of the peak learning rate.
        search_share: share of the steps that each candidate is tried for.
        last_share: rate of the last step over the peak, at the end of the cosine.
        clip: largest norm of the gradient.
    """

    steps: int
    batch_size: int = 48
    rates: tuple[float, ...] = RATES
    search_share: float = 0.25
    last_share: float = 0.01
    clip: float = 1.0

    @property
    def search_steps(self) -> int:
        """Steps of one trial."""
        return max(1, round(self.search_share * self.steps))

    def rate_share(self, step: int, steps: int) -> float:
        """Rate of a step over the peak: a cosine from 1 to `last_share`."""
        return self.last_share + (1 - self.last_share) * (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class Training:
    """What a training gave.

    Args:
        losses: the loss of every step.
        failure: why the run is no result; None for a run that is one.
        seconds: time of the steps.
    """

    losses: tuple[float, ...]
    failure: str | None
    seconds: float

    @property
    def last(self) -> float:
        """Mean loss of the last tenth of the steps; infinite for a failed run."""
        if self.failure is not None or not self.losses:
            return math.inf
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(tail) / len(tail)


Objective = Callable[[NetworkEstimator, Slots], Tensor]
"""What a step minimises."""


def train(
    model: NetworkEstimator,
    stream: Stream,
    recipe: Recipe,
    rate: float,
    steps: int,
    objective: Objective,
    seed: int,
) -> Training:
    """Adam with a cosine and clipped gradients on fresh slots.

    Random probes of a regulariser draw from the global generators, which are seeded here and put back afterwards. A loss or
    a gradient that is not finite ends the training; the network keeps the weights of the step before.
    """
    with torch.random.fork_rng(devices=[stream.device] if stream.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return _train(model, stream, recipe, rate, steps, objective)


def _train(
    model: NetworkEstimator, stream: Stream, recipe: Recipe, rate: float, steps: int, objective: Objective
) -> Training:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate_share(step, steps))
    losses: list[Tensor] = []
    failure = None
    model.train()
    started = time.perf_counter()
    for step in range(steps):
        loss = objective(model, stream())
        if not torch.isfinite(loss):
            failure = f"the loss is not finite at step {step}"
            break
        optimizer.zero_grad()
        loss.backward()
        if not torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)):
            failure = f"the gradient is not finite at step {step}"
            break
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    seconds = time.perf_counter() - started
    return Training(tuple(torch.stack(losses).tolist()) if losses else (), failure, seconds)


@dataclass(frozen=True)
class Contender:
    """One network of a comparison: its name, how to build it, and what it minimises."""

    name: str
    build: Callable[[], NetworkEstimator]
    objective: Objective


@dataclass(frozen=True)
class Outcome:
    """A contender trained at the rate it chose.

    Args:
        name: of the contender.
        model: trained, in evaluation mode.
        parameters: trainable ones.
        rate: chosen learning rate.
        scores: validation score of each candidate; infinite for a trial that failed.
        training: what the long training gave.
    """

    name: str
    model: NetworkEstimator
    parameters: int
    rate: float
    scores: tuple[float, ...]
    training: Training


Score = Callable[[NetworkEstimator], float]
"""Judges a network on validation slots; lower is better."""


def contest(
    contender: Contender,
    setting: Setting,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    score: Score | None,
) -> Outcome:
    """Try every candidate rate for a share of the steps, train with the best one from the same start.

    Every contender gets the same slots, candidates and steps. With one candidate there is no search, and no score is needed.
    """

    def run(rate: float, steps: int) -> tuple[NetworkEstimator, Training]:
        model = seeded(seed, contender.build).to(device)
        stream = Stream(setting, recipe.batch_size, seed, device)
        return model, train(model, stream, recipe, rate, steps, contender.objective, seed)

    scores: list[float] = []
    for rate in recipe.rates if len(recipe.rates) > 1 else ():
        if score is None:
            raise ValueError(
                f"{contender.name} has {len(recipe.rates)} candidate rates and no score to choose by"
            )
        trial, found = run(rate, recipe.search_steps)
        value = score(trial) if found.failure is None else math.inf
        scores.append(value if math.isfinite(value) else math.inf)
    best = recipe.rates[scores.index(min(scores))] if scores else recipe.rates[0]
    model, training = run(best, recipe.steps)
    return Outcome(contender.name, model.eval(), count_parameters(model), best, tuple(scores), training)
