"""What the claims share: the device of a scale, seeds, one training loop and one search of rates for every model.

All models of a comparison see the same windows in the same order, the same warm-up, the same number of steps, and choose
their learning rate from the same candidates on the same validation trajectories. Nothing here depends on the global
random state.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Scale

from ..latent import LatentModel
from ..losses import KoopGenLoss
from ..objective import reconstruction_loss, window_loss
from ..optim import Rates, make_adamw, make_schedule

RATES = (1e-3, 3e-3, 1e-2)
"""Candidates of the peak learning rate, the same for every model (§8)."""

COLLAPSED = 0.9
"""A relative prediction loss above this is a model that answers with (almost) zero: failed, not a result (10.7)."""


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


class Sets(NamedTuple):
    """Trajectories of one system, in three independent parts, with what turns errors into valid prediction times.

    Args:
        train: trajectories that windows are cut from.
        validation: judge the learning rates.
        test: give the result.
        dt: sampling interval.
        lyapunov: largest Lyapunov exponent; 0 where there is none, and times stay plain.
        sigma: the scalar σ in thresholds ε σ (10.8).
        history: samples up to and including the first of each test trajectory, for the echo-state network alone.
    """

    train: Float[Tensor, "n t c"]
    validation: Float[Tensor, "m s c"]
    test: Float[Tensor, "k r c"]
    dt: float
    lyapunov: float
    sigma: float
    history: Float[Tensor, "k h c"] | None = None

    def to(self, device: torch.device) -> "Sets":
        train, validation, test = (part.to(device) for part in self[:3])
        return self._replace(train=train, validation=validation, test=test)


@dataclass(frozen=True)
class Recipe:
    """How the models of a comparison are trained; the same for all of them.

    Args:
        steps: optimiser steps after the warm-up.
        window: samples a window.
        batch_size: windows a step.
        pretrain_steps: reconstruction-only steps before (§5).
        order, kind: of the Sobolev distance, see `KoopGenLoss`.
        rates: candidates of the peak learning rate.
        search_share: share of the steps that each candidate is tried for.
        clip: largest norm of the gradient.
        decay: AdamW's weight decay of encoder and decoder.
    """

    steps: int
    window: int = 30
    batch_size: int = 128
    pretrain_steps: int = 300
    order: int = 1
    kind: Literal["time", "space-time"] = "time"
    rates: tuple[float, ...] = RATES
    search_share: float = 0.25
    clip: float = 1.0
    decay: float = 1e-5

    @property
    def search_steps(self) -> int:
        """Steps of one trial."""
        return max(1, round(self.search_share * self.steps))


class Batches:
    """Windows from random trajectories at random starts; the same sequence for the same seed.

    Example:
        >>> x = torch.arange(20.0).reshape(2, 10, 1)
        >>> Batches(x, window=4, batch_size=3, seed=0)().shape
        torch.Size([3, 4, 1])
    """

    def __init__(self, x: Float[Tensor, "n t c"], window: int, batch_size: int, seed: int):
        if window > x.shape[1]:
            raise ValueError(f"window is {window} samples long, but the trajectories have {x.shape[1]}")
        self.x, self.window, self.batch_size = x, window, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self.offsets = torch.arange(window)

    def __call__(self) -> Float[Tensor, "b window c"]:
        n, t, _ = self.x.shape
        rows = torch.randint(n, (self.batch_size, 1), generator=self.generator)
        starts = torch.randint(t - self.window + 1, (self.batch_size, 1), generator=self.generator)
        times = starts + self.offsets
        return self.x[rows.to(self.x.device), times.to(self.x.device)]


Network = TypeVar("Network", bound=nn.Module)


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


@dataclass(frozen=True)
class Training:
    """What a training gave.

    Args:
        losses: the loss of every step.
        prediction: the relative prediction loss, mean over the last tenth of the steps; infinite if a loss was.
        failure: why the run is no result; None for a run that is one.
        seconds: time of the steps.
    """

    losses: tuple[float, ...]
    prediction: float
    failure: str | None
    seconds: float


def pretrain(model: LatentModel, x: Float[Tensor, "n t c"], recipe: Recipe, seed: int) -> None:
    """Reconstruction only, of the first samples of the windows, at rate 1e-3 (§5, warm-up)."""
    parameters = [*model.encoder.parameters(), *model.decoder.parameters()]
    if recipe.pretrain_steps == 0 or not parameters:
        return
    batches = Batches(x, 1, recipe.batch_size, seed)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=recipe.decay)
    model.train()
    for _ in range(recipe.pretrain_steps):
        loss = reconstruction_loss(model, batches()[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train(
    model: LatentModel, x: Float[Tensor, "n t c"], recipe: Recipe, rate: float, seed: int, steps: int
) -> Training:
    """The loss of §3.6 on random windows, AdamW with one cycle a group, clipped gradients.

    Noise in the gate draws from the global generators, which are seeded here and put back afterwards. A loss that is not
    finite ends the training; the model keeps the weights of the step before.
    """
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        return _train(model, x, recipe, rate, seed, steps)


def _train(
    model: LatentModel, x: Float[Tensor, "n t c"], recipe: Recipe, rate: float, seed: int, steps: int
) -> Training:
    criterion = KoopGenLoss(order=recipe.order, kind=recipe.kind)
    batches = Batches(x, recipe.window, recipe.batch_size, seed)
    optimizer = make_adamw(model, Rates(rate, decay=recipe.decay))
    schedule = make_schedule(optimizer, steps)
    losses: list[Tensor] = []
    predictions: list[Tensor] = []
    failure = None
    model.train()
    started = time.perf_counter()
    for step in range(steps):
        terms = window_loss(criterion, model, batches())
        if not torch.isfinite(terms.total):
            failure = f"the loss is not finite at step {step}"
            break
        optimizer.zero_grad()
        terms.total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            failure = f"the gradient is not finite at step {step}"
            break
        optimizer.step()
        schedule.step()
        losses.append(terms.total.detach())
        predictions.append(terms.prediction.detach())
    seconds = time.perf_counter() - started
    last = predictions[-max(1, steps // 10) :]
    prediction = float(torch.stack(last).mean()) if failure is None else math.inf
    if failure is None and prediction > COLLAPSED:
        failure = f"collapsed: relative prediction loss {prediction:.3f}"
    return Training(tuple(torch.stack(losses).tolist()) if losses else (), prediction, failure, seconds)


@torch.no_grad()
def forecast(
    model: LatentModel, x0: Float[Tensor, "n c"], steps: int, batch_size: int = 1024
) -> Float[Tensor, "n steps+1 c"]:
    """Forecasts in evaluation mode, each from its first state alone; roll-outs that turn non-finite stay so."""
    model.eval()
    return torch.cat(
        [model.decode(model.rollout(model.encode(part), steps=steps)) for part in x0.split(batch_size)]
    )


Score = Callable[[LatentModel, Float[Tensor, "m s c"]], float]
"""Judges a model on validation trajectories; higher is better."""


@dataclass(frozen=True)
class Contender:
    """One model of a comparison: its name and how to build it."""

    name: str
    build: Callable[[], LatentModel]


@dataclass(frozen=True)
class Outcome:
    """A contender trained at the rate it chose.

    Args:
        name: of the contender.
        model: trained.
        parameters: trainable ones.
        rate: chosen learning rate.
        scores: validation score of each candidate, −inf for a trial whose loss was not finite.
        training: what the long training gave.
    """

    name: str
    model: LatentModel
    parameters: int
    rate: float
    scores: tuple[float, ...]
    training: Training

    @property
    def failed(self) -> bool:
        return self.training.failure is not None


def contest(contender: Contender, sets: Sets, recipe: Recipe, seed: int, score: Score) -> Outcome:
    """Warm up once, try every candidate rate from there for a share of the steps, train with the best one.

    Every contender gets the same warm-up, candidates and steps. With one candidate there is no search.
    """
    device = sets.train.device
    warm = seeded(seed, contender.build).to(device)
    if not bool(warm.scaler.fitted):
        warm.scaler.fit(sets.train)
    pretrain(warm, sets.train, recipe, seed)
    judged: list[tuple[bool, float]] = []  # a trial that has collapsed ranks below all that have not
    for rate in recipe.rates if len(recipe.rates) > 1 else ():
        trial = copy.deepcopy(warm)
        found = train(trial, sets.train, recipe, rate, seed, recipe.search_steps)
        value = score(trial, sets.validation) if math.isfinite(found.prediction) else -math.inf
        judged.append((found.failure is None, value))
    best = recipe.rates[judged.index(max(judged))] if judged else recipe.rates[0]
    scores = [value for _, value in judged]
    training = train(warm, sets.train, recipe, best, seed, recipe.steps)
    return Outcome(contender.name, warm, count_parameters(warm), best, tuple(scores), training)


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
