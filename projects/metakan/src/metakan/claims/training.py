"""What the claims share: the device of a scale, seeds, a training loop, and the same search of rates for every model.

Nothing here depends on the global random state: networks are built under a seed of their own, batches come from their
own generator.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.claims import Scale

from ..images import split_indices
from ..optim import Rates, Schedule, make_adamw, make_schedule
from . import networks

PLAIN_RATES = (Rates(rest=1e-3), Rates(rest=3e-3), Rates(rest=1e-2))
"""Candidates for networks without prompts."""

META_RATES = (
    Rates(prompt=1e-2, meta=1e-3, rest=1e-3),
    Rates(prompt=1e-2, meta=3e-3, rest=3e-3),
    Rates(prompt=3e-2, meta=3e-3, rest=3e-3),
)
"""As many candidates for networks with prompts (pitfall P18). A rate of 1e-2 for the meta-learners is left out: it sends
about half of the fully connected runs on digits to chance, so that one validation run would not show what it is worth."""

PLAIN_CONV_RATES = (Rates(rest=1e-3), Rates(rest=3e-3), Rates(rest=1e-2), Rates(rest=3e-2))
"""Candidates for convolutions without prompts; batch normalisation allows one rate more than dense networks."""

META_CONV_RATES = (
    Rates(prompt=1e-2, meta=1e-3, rest=1e-3),
    Rates(prompt=1e-2, meta=1e-2, rest=1e-2),
    Rates(prompt=3e-2, meta=1e-2, rest=1e-2),
    Rates(prompt=1e-1, meta=3e-2, rest=1e-2),
)
"""The same number for convolutions with prompts: the pairs of P18 and one above them."""


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


class Labelled(NamedTuple):
    """Inputs with class labels."""

    x: Float[Tensor, "n ..."]
    labels: Int[Tensor, "n"]

    def take(self, indices: Int[Tensor, "m"]) -> "Labelled":
        return Labelled(self.x[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Labelled":
        return Labelled(self.x.to(device), self.labels.to(device))


class Splits(NamedTuple):
    """Training data, the same data divided for the search of rates, and test data."""

    train: Labelled
    fit: Labelled
    validation: Labelled
    test: Labelled


def make_splits(train: Labelled, test: Labelled, seed: int, fraction: float = 0.15) -> Splits:
    """Hold out `fraction` of the training data for choosing learning rates."""
    fit, held_out = split_indices(len(train.labels), fraction, seed)
    return Splits(train, train.take(fit), train.take(held_out), test)


@dataclass(frozen=True)
class Schooling:
    """How a classifier is trained; the same for all models of a comparison.

    Args:
        epochs: passes over the data.
        batch_size: examples a step.
        schedule, gamma: see `make_schedule`.
        augment: maps a batch of training inputs to a batch, or None.
        autocast: bf16 matrix products, on CUDA.
    """

    epochs: int
    batch_size: int
    schedule: Schedule = "cosine"
    gamma: float = 1.0
    augment: Callable[[Tensor], Tensor] | None = None
    autocast: bool = False


def train_classifier(
    model: nn.Module, data: Labelled, schooling: Schooling, rates: Rates, seed: int
) -> nn.Module:
    """Cross-entropy with AdamW over shuffled batches; the last incomplete batch of an epoch is dropped.

    Dropout and augmentation draw from the global generators, which are seeded here and put back afterwards.
    """
    with torch.random.fork_rng(devices=[data.x.device] if data.x.is_cuda else []):
        torch.manual_seed(seed)
        return _train(model, data, schooling, rates, seed)


def _train(model: nn.Module, data: Labelled, schooling: Schooling, rates: Rates, seed: int) -> nn.Module:
    device = data.x.device
    generator = torch.Generator().manual_seed(seed)
    per_epoch = max(1, len(data.labels) // schooling.batch_size)
    optimizer = make_adamw(model, rates)
    schedule = make_schedule(
        optimizer, schooling.schedule, schooling.epochs * per_epoch, schooling.gamma, per_epoch
    )
    model.train()
    for _ in range(schooling.epochs):
        order = torch.randperm(len(data.labels), generator=generator).to(device)
        for batch in order[: per_epoch * schooling.batch_size].split(schooling.batch_size):
            x = data.x[batch] if schooling.augment is None else schooling.augment(data.x[batch])
            with torch.autocast(device.type, torch.bfloat16, enabled=schooling.autocast):
                loss = F.cross_entropy(model(x), data.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: Labelled, batch_size: int = 1024) -> float:
    """Share of right labels in percent, in evaluation mode."""
    model.eval()
    right = [
        (model(x).argmax(-1) == labels).sum()
        for x, labels in zip(data.x.split(batch_size), data.labels.split(batch_size))
    ]
    return 100 * int(torch.stack(right).sum()) / len(data.labels)


@torch.no_grad()
def cross_entropy(model: nn.Module, data: Labelled) -> float:
    """The mean loss, in evaluation mode."""
    model.eval()
    losses = [
        F.cross_entropy(model(x), labels, reduction="sum")
        for x, labels in zip(data.x.split(1024), data.labels.split(1024))
    ]
    return float(torch.stack(losses).sum()) / len(data.labels)


@dataclass(frozen=True)
class Contender:
    """One model of a comparison: its name, how to build it, the rates it may choose from."""

    name: str
    build: Callable[[], nn.Module]
    candidates: Sequence[Rates]


@dataclass(frozen=True)
class Outcome:
    """What training a contender gave: the rates chosen, the validation score of each candidate, one test score a run."""

    name: str
    parameters: int
    rates: Rates
    candidate_scores: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    @property
    def spread(self) -> float:
        """Standard deviation over runs (0 for one run)."""
        if len(self.scores) < 2:
            return 0.0
        return (sum((s - self.mean) ** 2 for s in self.scores) / (len(self.scores) - 1)) ** 0.5

    def row(self) -> tuple[str, int, float, float, str]:
        """For a table: name, parameters, mean, spread, rates."""
        return self.name, self.parameters, self.mean, self.spread, describe(self.rates)


OUTCOME_COLUMNS = (
    "model",
    "trainable parameters",
    "mean",
    "std over runs",
    "chosen rates (prompts/meta/rest)",
)


def in_words(conditions: Iterable[str]) -> str:
    """The names of conditions as a criterion: "a_at_least_2", "b" -> "a at least 2; b"."""
    return "; ".join(name.replace("_", " ") for name in conditions)


def describe(rates: Rates) -> str:
    return f"{rates.prompt:g}/{rates.meta:g}/{rates.rest:g}"


def contest(
    contender: Contender,
    splits: Splits,
    schooling: Schooling,
    seeds: Sequence[int],
    search_epochs: int | None = None,
) -> Outcome:
    """Choose the rates on the validation split (mean over the first two seeds), then train once a seed on all data.

    Every contender gets the same number of candidates and the same schooling for each; `search_epochs` shortens the
    trainings of the search (of every contender alike).
    """
    device = splits.train.x.device
    trial = schooling if search_epochs is None else replace(schooling, epochs=search_epochs)

    def trained(rates: Rates, seed: int, data: Labelled, how: Schooling) -> nn.Module:
        return train_classifier(seeded(seed, contender.build).to(device), data, how, rates, seed)

    judged = []
    for rates in contender.candidates:
        models = [trained(rates, seed, splits.fit, trial) for seed in seeds[:2]]
        right = sum(accuracy(model, splits.validation) for model in models) / len(models)
        judged.append((right, -sum(cross_entropy(model, splits.validation) for model in models)))
    best = contender.candidates[judged.index(max(judged))]  # ties in accuracy are decided by the loss
    scores = tuple(accuracy(trained(best, seed, splits.train, schooling), splits.test) for seed in seeds)
    found = tuple(right for right, _ in judged)
    return Outcome(contender.name, networks.count(contender.build), best, found, scores)


def derive(seed: int, count: int) -> list[int]:
    """`count` training seeds of a claim seed; different claim seeds share none."""
    return [1000 * seed + i for i in range(count)]
