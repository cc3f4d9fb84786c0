"""C10: abilities that appear with depth, under sharp and smooth metrics (§3.8, §8; 2304.15004)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels

from ..figures import sharp_and_smooth
from ..models.config import GPTConfig
from ..optim import Optim
from ..tasks import Induction, KHop, Task, TaskScore, score
from .scales import derive, device_for, in_words
from .training import Run, start, train


@dataclass(frozen=True)
class Training:
    """How the models of one task are trained, the same for every depth.

    Args:
        depths: numbers of blocks.
        steps: optimiser steps.
        batch_size: sequences a step.
        rate: peak learning rate.
        d: width.
        test: sequences that judge.
        looks: evenly spaced moments at which the metrics are measured.
    """

    depths: tuple[int, ...]
    steps: int
    batch_size: int
    rate: float = 3e-3
    d: int = 64
    test: int = 256
    looks: int = 10


SETTINGS: Mapping[Scale, tuple[Training, Training]] = {
    Scale.SMOKE: (Training((1, 2), 60, 16, test=64, looks=2), Training((1, 2), 40, 16, test=64, looks=2)),
    Scale.CPU: (Training((1, 2), 600, 32), Training((1, 2, 4), 500, 64)),
    Scale.GPU: (
        Training((1, 2, 4), 2000, 256, 1e-3, 256, 2048),
        Training((1, 2, 4, 8), 4000, 256, 1e-3, 256, 2048),
    ),
    Scale.PAPER: (
        Training((1, 2, 4, 8), 20_000, 512, 1e-3, 512, 8192),
        Training((1, 2, 4, 8, 16), 100_000, 512, 1e-3, 512, 8192),
    ),
}


@claim(
    "C10",
    "Abilities emerge with depth, and how sharply depends on the metric",
    source="extension of the paper's notion of emergence; induction heads, k-hop, 2304.15004",
)
def emergence_tasks(scale: Scale, seed: int) -> Measurement:
    """Induction with random periods, one block against more; k-hop pointer chasing by depth.

    cpu, gpu, paper: accuracy of induction with two blocks >= 0.9, with one block <= 0.5.
    smoke (too few steps for an ability): every run ends with a finite loss, and its cross entropy is below that of the
    untrained model.
    Without a condition at all scales: k-hop accuracy by k and depth, and the same runs of induction under exact match of the
    whole answer (sharp), wrong tokens and cross entropy (smooth).
    """
    induction, khop = SETTINGS[scale]
    device, run = device_for(scale), derive(seed, 1)[0]
    copies = {depth: learn(Induction(), induction, depth, run, device) for depth in induction.depths}
    chases = {depth: learn(KHop(), khop, depth, run, device) for depth in khop.depths}
    finals = {depth: found.observed[induction.steps] for depth, found in copies.items()}
    conditions = verdict(scale, copies, chases, finals)
    values: dict[str, Value] = dict(conditions)
    for depth, final in finals.items():
        values |= {f"induction, L = {depth}/{name}": value for name, value in vars(final).items()}
    return Measurement(
        quantity="accuracy of induction with two blocks; baseline: one block",
        ours=finals[2].accuracy,
        baseline=finals[1].accuracy,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[hop_table({depth: found.model for depth, found in chases.items()}, khop, seed)],
        figures=[picture(copies)],
    )


def learn(task: Task, training: Training, depth: int, seed: int, device: torch.device) -> Run:
    """Train one depth on a task; every depth sees the same batches."""
    generator = torch.Generator().manual_seed(seed)
    config = GPTConfig(task.vocab, task.length, training.d, 4, depth)
    test = task.draw(training.test, torch.Generator().manual_seed(seed + 500), "val")

    def draw() -> tuple[Tensor, Tensor]:
        batch = task.draw(training.batch_size, generator)
        return batch.tokens, batch.targets

    def look(model: nn.Module) -> TaskScore:
        return score(model(test.tokens.to(device)).float().cpu(), test.targets)

    every = max(1, training.steps // training.looks)
    moments = {1, *range(every, training.steps, every), training.steps}
    optim = Optim(lr=training.rate, warmup=min(30, training.steps // 4), steps=training.steps)
    return train(start(config, seed, device), draw, optim, training.steps, look_at=moments, look=look)


def verdict(
    scale: Scale, copies: Mapping[int, Run], chases: Mapping[int, Run], finals: Mapping[int, TaskScore]
) -> dict[str, bool]:
    if scale != Scale.SMOKE:
        return {
            "two_blocks_accuracy_at_least_0.9": finals[2].accuracy >= 0.9,
            "one_block_accuracy_at_most_0.5": finals[1].accuracy <= 0.5,
        }
    runs = [*copies.values(), *chases.values()]
    return {
        "every_loss_finite": all(found.failure is None for found in runs),
        "cross_entropy_falls": all(
            found.observed[max(found.observed)].cross_entropy < found.observed[1].cross_entropy
            for found in runs
        ),
    }


@torch.no_grad()
def hop_table(models: Mapping[int, nn.Module], training: Training, seed: int) -> Table:
    """Accuracy by number of jumps and depth."""
    task, rows = KHop(), []
    for k in range(1, task.k_max + 1):
        test = task.draw(training.test, torch.Generator().manual_seed(1000 * seed + 600 + k), "val", k)
        found = []
        for model in models.values():
            logits = model(test.tokens.to(next(model.parameters()).device))
            found.append(score(logits.float().cpu(), test.targets).accuracy)
        rows.append((k, *found, task.chance))
    return Table("k-hop accuracy", ("k", *(f"L = {depth}" for depth in models), "chance"), tuple(rows))


def picture(copies: Mapping[int, Run]) -> Figure:
    sharp, smooth = {}, {}
    for depth, found in copies.items():
        steps = list(map(float, found.observed))
        label = f"{depth} block{'s' if depth > 1 else ''}"
        sharp[label] = (steps, [look.exact_match for look in found.observed.values()])
        smooth[label] = (steps, [look.cross_entropy for look in found.observed.values()])
    last = {label: line[1][-1] for label, line in sharp.items()}
    said = "; ".join(f"{label} {value:.2f}" for label, value in last.items())
    return sharp_and_smooth(
        "emergence-and-metrics",
        sharp,
        smooth,
        Labels(
            "Induction: the same runs under a sharp and a smooth metric",
            "optimiser steps",
            "cross entropy (nats a token)",
            f"Left, the share of sequences that are right as a whole, right, the cross entropy, over training. At the end "
            f"exact match is: {said}.",
        ),
    )
