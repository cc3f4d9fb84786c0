"""Synthetic tasks on which abilities appear with depth and training: induction, k-hop, modular addition, parity (§3.8).

Every task draws batches of tokens, with targets of −100 where a token does not count, and knows what chance is. Results
are judged under a sharp metric (a whole answer is right or not) and smooth ones (cross entropy, share of wrong tokens):
whether an ability "emerges" can be a matter of the metric alone (2304.15004).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .arguments import check_choice, check_open_unit, check_positive

IGNORED = -100


@dataclass(frozen=True)
class TaskBatch:
    """Sequences of a task.

    Args:
        tokens: what the model sees.
        targets: the next token where it counts, −100 elsewhere.
    """

    tokens: Int[Tensor, "b s"]
    targets: Int[Tensor, "b s"]


class Task(Protocol):
    """What all tasks offer: sizes for the model, what chance is, and batches."""

    @property
    def vocab(self) -> int:
        """Number of symbols."""

    @property
    def length(self) -> int:
        """Tokens of a sequence."""

    @property
    def chance(self) -> float:
        """Accuracy of a guess, token by token."""

    def draw(self, n: int, generator: torch.Generator, split: str = "train") -> TaskBatch:
        """n sequences; tasks with finitely many questions keep those of "train" and "val" apart."""


def _check_split(split: str) -> None:
    check_choice("split", split, ("train", "val"))


@dataclass(frozen=True)
class Induction:
    """A random sequence of distinct tokens, repeated: after the first period each token is known from its last occurrence.

    The period is drawn for every sequence from [period_min, length / 2]. With one fixed period the task would be solved
    by looking back a fixed number of positions, which one layer can do; with a random one it takes two: one to see what
    came before a token, one to look for it (an induction head). Only tokens after the first period count, without the
    first of them, which nobody can know.

    Args:
        n_symbols: vocabulary.
        n_positions: tokens of a sequence.
        period_min: shortest period.

    Example:
        >>> batch = Induction().draw(4, torch.Generator().manual_seed(0))
        >>> batch.tokens.shape, bool((batch.targets[:, :7] == IGNORED).all())
        (torch.Size([4, 64]), True)
    """

    n_symbols: int = 64
    n_positions: int = 64
    period_min: int = 8

    def __post_init__(self) -> None:
        check_positive(n_symbols=self.n_symbols, n_positions=self.n_positions, period_min=self.period_min)
        if not self.period_min <= self.n_positions // 2 <= self.n_symbols:
            raise ValueError(
                f"period_min <= n_positions / 2 <= n_symbols is needed, got {self.period_min}, {self.n_positions} / 2, "
                f"{self.n_symbols}"
            )

    @property
    def vocab(self) -> int:
        return self.n_symbols

    @property
    def length(self) -> int:
        return self.n_positions

    @property
    def chance(self) -> float:
        return 1 / self.n_symbols

    def draw(self, n: int, generator: torch.Generator, split: str = "train") -> TaskBatch:
        _check_split(split)
        longest = self.n_positions // 2
        symbols = torch.rand(n, self.n_symbols, generator=generator).argsort(1)[:, :longest]
        period = torch.randint(self.period_min, longest + 1, (n, 1), generator=generator)
        positions = torch.arange(self.n_positions + 1)
        tokens = symbols.gather(1, positions % period)
        targets = torch.where(positions[1:] > period, tokens[:, 1:], IGNORED)
        return TaskBatch(tokens[:, :-1], targets)


@dataclass(frozen=True)
class KHop:
    """Pointer chasing: a random function on the nodes, listed as pairs, then a start and a number of jumps k.

    Tokens: the pairs (i, f(i)) in random order, the start, the number k. The answer f(f(…(start))) is the next token.

    Args:
        n_nodes: nodes of the graph.
        k_max: k is drawn from 1 … k_max.

    Example:
        >>> task = KHop()
        >>> task.length, task.vocab
        (34, 24)
    """

    n_nodes: int = 16
    k_max: int = 8

    def __post_init__(self) -> None:
        check_positive(n_nodes=self.n_nodes, k_max=self.k_max)

    @property
    def vocab(self) -> int:
        return self.n_nodes + self.k_max

    @property
    def length(self) -> int:
        return 2 * self.n_nodes + 2

    @property
    def chance(self) -> float:
        return 1 / self.n_nodes

    def draw(
        self, n: int, generator: torch.Generator, split: str = "train", k: int | None = None
    ) -> TaskBatch:
        """n graphs; all with the same k if one is given."""
        _check_split(split)
        if k is not None and not 1 <= k <= self.k_max:
            raise ValueError(f"k must lie in 1 … {self.k_max}, got {k}")
        pointers = torch.randint(self.n_nodes, (n, self.n_nodes), generator=generator)
        order = torch.rand(n, self.n_nodes, generator=generator).argsort(1)
        pairs = torch.stack([order, pointers.gather(1, order)], -1).flatten(1)
        start = torch.randint(self.n_nodes, (n, 1), generator=generator)
        jumps = torch.randint(1, self.k_max + 1, (n, 1), generator=generator)
        if k is not None:
            jumps = torch.full_like(jumps, k)
        node = start
        for jump in range(self.k_max):
            node = torch.where(jump < jumps, pointers.gather(1, node), node)
        tokens = torch.cat([pairs, start, self.n_nodes + jumps - 1], 1)
        return TaskBatch(tokens, _only_last(node, self.length))


@dataclass(frozen=True)
class ModularAddition:
    """a + b mod p, from a share of all pairs (a, b): the rest are the questions of "val".

    Args:
        p: modulus.
        train_share: share of the p² pairs that are trained on.
        seed: of the division.

    Example:
        >>> task = ModularAddition()
        >>> len(task.pairs("train")) + len(task.pairs("val")) == 97**2
        True
    """

    p: int = 97
    train_share: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(p=self.p)
        check_open_unit(train_share=self.train_share)

    @property
    def vocab(self) -> int:
        return self.p + 1

    @property
    def length(self) -> int:
        return 3

    @property
    def chance(self) -> float:
        return 1 / self.p

    def pairs(self, split: str) -> Int[Tensor, "n 2"]:
        """All pairs of a part."""
        _check_split(split)
        order = torch.randperm(self.p**2, generator=torch.Generator().manual_seed(self.seed))
        cut = round(self.train_share * self.p**2)
        chosen = order[:cut] if split == "train" else order[cut:]
        return torch.stack([chosen // self.p, chosen % self.p], 1)

    def draw(self, n: int, generator: torch.Generator, split: str = "train") -> TaskBatch:
        pairs = self.pairs(split)
        drawn = pairs[torch.randint(len(pairs), (n,), generator=generator)]
        equals = torch.full((n, 1), self.p)
        answer = (drawn.sum(1, keepdim=True)) % self.p
        return TaskBatch(torch.cat([drawn, equals], 1), _only_last(answer, 3))


@dataclass(frozen=True)
class Parity:
    """Whether a string of bits has an odd number of ones.

    Args:
        n_bits: length of the string.

    Example:
        >>> Parity(8).chance
        0.5
    """

    n_bits: int = 16

    def __post_init__(self) -> None:
        check_positive(n_bits=self.n_bits)

    @property
    def vocab(self) -> int:
        return 2

    @property
    def length(self) -> int:
        return self.n_bits

    @property
    def chance(self) -> float:
        return 0.5

    def draw(self, n: int, generator: torch.Generator, split: str = "train") -> TaskBatch:
        _check_split(split)
        bits = torch.randint(2, (n, self.n_bits), generator=generator)
        return TaskBatch(bits, _only_last(bits.sum(1, keepdim=True) % 2, self.n_bits))


def _only_last(answer: Int[Tensor, "b 1"], length: int) -> Int[Tensor, "b s"]:
    return torch.cat([torch.full((len(answer), length - 1), IGNORED), answer], 1)


TASKS = {"induction": Induction, "khop": KHop, "modular_addition": ModularAddition, "parity": Parity}


@dataclass(frozen=True)
class TaskScore:
    """One model on one task, under sharp and smooth metrics.

    Args:
        exact_match: share of sequences with every counted token right (sharp).
        accuracy: share of counted tokens that are right.
        token_edits: counted tokens of a sequence that would have to be changed, on average (smooth).
        cross_entropy: nats a counted token (smooth).
    """

    exact_match: float
    accuracy: float
    token_edits: float
    cross_entropy: float


def score(logits: Float[Tensor, "b s vocab"], targets: Int[Tensor, "b s"]) -> TaskScore:
    """Judge predictions.

    Raises:
        ValueError: if a sequence has no token that counts.

    Example:
        >>> targets = torch.tensor([[IGNORED, 1], [IGNORED, 0]])
        >>> score(F.one_hot(torch.tensor([[0, 1], [0, 1]]), 2).float(), targets).exact_match
        0.5
    """
    counted = targets != IGNORED
    if not bool(counted.any(1).all()):
        raise ValueError("targets: every sequence needs at least one token that counts")
    wrong = (logits.argmax(-1) != targets) & counted
    return TaskScore(
        exact_match=float((~wrong.any(1)).double().mean()),
        accuracy=1 - float(wrong.sum() / counted.sum()),
        token_edits=float(wrong.sum(1).double().mean()),
        cross_entropy=float(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)),
    )


def chance_cross_entropy(task: Task) -> float:
    """Nats a token of a guess that knows nothing but the answers there are."""
    return -math.log(task.chance)
