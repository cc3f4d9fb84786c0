"""What the claims share: the device of a scale, seeds, and one plain training loop for autoencoders and classifiers."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.claims import Scale

from ..models.autoencoder import Autoencoder, Loss, reconstruction_loss

Network = TypeVar("Network", bound=nn.Module)


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


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam with one cycle of the rate, random batches, no augmentation (§5).

    Args:
        epochs: passes over the images.
        batch_size: images a step.
        rate: peak learning rate.
    """

    epochs: int
    batch_size: int = 256
    rate: float = 2e-3


@dataclass(frozen=True)
class Training:
    """What a training gave: the loss of every step and the seconds of all."""

    losses: tuple[float, ...]
    seconds: float


def shuffled(n: int, recipe: Recipe, seed: int) -> Iterator[Int[Tensor, "b"]]:
    """Rows of every batch, epoch after epoch; the last, smaller batch of an epoch is dropped if there is another."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.epochs):
        rows = torch.randperm(n, generator=generator).split(recipe.batch_size)
        yield from rows[:-1] if len(rows) > 1 and len(rows[-1]) < recipe.batch_size else rows


def train(
    network: nn.Module,
    loss_of: Callable[[Int[Tensor, "b"]], Float[Tensor, ""]],
    n: int,
    recipe: Recipe,
    seed: int,
) -> Training:
    """Minimise `loss_of(rows)` over the parameters of a network.

    Raises:
        FloatingPointError: if a loss is not finite.
    """
    steps = list(shuffled(n, recipe, seed))
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=max(len(steps), 2))
    losses: list[float] = []
    network.train()
    started = time.perf_counter()
    for step, rows in enumerate(steps):
        loss = loss_of(rows)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of {type(network).__name__} is not finite at step {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    network.eval()
    return Training(tuple(losses), time.perf_counter() - started)


def train_autoencoder(
    network: Autoencoder, images: Float[Tensor, "n c h w"], recipe: Recipe, seed: int, loss: Loss = "mse"
) -> Training:
    """Mean squared error or cross entropy of the reconstruction, with the little sparsity of §5."""

    def loss_of(rows: Int[Tensor, "b"]) -> Float[Tensor, ""]:
        return reconstruction_loss(network, images[rows.to(images.device)], kind=loss)[0]

    return train(network, loss_of, len(images), recipe, seed)


def train_classifier(
    network: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, "n"], recipe: Recipe, seed: int
) -> Training:
    """Cross-entropy."""

    def loss_of(rows: Int[Tensor, "b"]) -> Float[Tensor, ""]:
        at = rows.to(images.device)
        return F.cross_entropy(network(images[at]), labels[at])

    return train(network, loss_of, len(images), recipe, seed)
