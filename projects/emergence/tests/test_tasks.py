"""The synthetic tasks: answers are right, what does not count is masked, metrics are sharp or smooth."""

import math

import pytest
import torch

from emergence.tasks import (
    IGNORED,
    TASKS,
    Induction,
    KHop,
    ModularAddition,
    Parity,
    chance_cross_entropy,
    score,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TASKS)
def test_batches_fit_the_sizes_of_the_task(name: str) -> None:
    task = TASKS[name]()
    batch = task.draw(50, generator())
    assert batch.tokens.shape == batch.targets.shape == (50, task.length)
    assert set(batch.tokens.unique().tolist()) <= set(range(task.vocab))
    counted = batch.targets[batch.targets != IGNORED]
    assert set(counted.unique().tolist()) <= set(range(task.vocab))
    assert (batch.targets != IGNORED).any(1).all()
    again = task.draw(50, generator())
    assert torch.equal(batch.tokens, again.tokens)
    assert not torch.equal(batch.tokens, task.draw(50, generator(1)).tokens)


def test_induction_counts_exactly_what_can_be_copied() -> None:
    """Each counted token follows, in the sequence so far, the last occurrence of its predecessor."""
    batch = Induction(20, 24, 4).draw(40, generator())
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        for i, target in enumerate(targets):
            earlier = [j for j in range(i) if tokens[j] == tokens[i]]
            if target == IGNORED:
                continue
            assert earlier, "a counted token must have a precedent"
            assert tokens[earlier[-1] + 1] == target
        first = next(i for i, target in enumerate(targets) if target != IGNORED)
        assert len(set(tokens[:first])) == first  # a period of distinct tokens


def test_induction_has_many_periods() -> None:
    targets = Induction().draw(400, generator()).targets
    assert len((targets != IGNORED).sum(1).unique()) >= 20


@pytest.mark.parametrize("k", [1, 3, 8])
def test_k_hop_follows_the_pointers(k: int) -> None:
    task = KHop()
    batch = task.draw(30, generator(), k=k)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        pointer = dict(zip(tokens[0:32:2], tokens[1:32:2]))
        assert sorted(pointer) == list(range(16))
        node = tokens[32]
        assert tokens[33] == 16 + k - 1
        for _ in range(k):
            node = pointer[node]
        assert targets[-1] == node
        assert set(targets[:-1]) == {IGNORED}


def test_modular_addition_keeps_questions_apart() -> None:
    task = ModularAddition(p=13, train_share=0.4)
    train = {tuple(pair) for pair in task.pairs("train").tolist()}
    held_out = {tuple(pair) for pair in task.pairs("val").tolist()}
    assert len(train) == round(0.4 * 169)
    assert train.isdisjoint(held_out)
    assert len(train | held_out) == 169
    batch = task.draw(100, generator(), "val")
    assert {tuple(pair) for pair in batch.tokens[:, :2].tolist()} <= held_out
    assert torch.equal(batch.tokens[:, :2].sum(1) % 13, batch.targets[:, -1])


def test_parity_is_the_parity() -> None:
    batch = Parity(5).draw(64, generator())
    assert torch.equal(batch.tokens.sum(1) % 2, batch.targets[:, -1])


def test_the_sharp_metric_hides_what_the_smooth_one_shows() -> None:
    targets = torch.tensor([[0, 1, 1, 0]])
    almost = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1, 1]]), 2).float()
    wrong = torch.nn.functional.one_hot(torch.tensor([[1, 0, 0, 1]]), 2).float()
    close, far = score(almost, targets), score(wrong, targets)
    assert close.exact_match == far.exact_match == 0
    assert (close.token_edits, far.token_edits) == (1, 4)
    assert close.accuracy == pytest.approx(0.75)
    assert close.cross_entropy < far.cross_entropy


def test_chance() -> None:
    assert chance_cross_entropy(KHop()) == pytest.approx(math.log(16))
    uniform = score(torch.zeros(4, 3, 64), torch.randint(64, (4, 3)))
    assert uniform.cross_entropy == pytest.approx(chance_cross_entropy(Induction()), rel=1e-6)


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"period_min <= n_positions / 2 <= n_symbols"):
        Induction(n_symbols=8, n_positions=64)
    with pytest.raises(ValueError, match="split must be one of 'train', 'val', got 'test'"):
        Parity().draw(2, generator(), "test")
    with pytest.raises(ValueError, match="k must lie in 1 … 8, got 9"):
        KHop().draw(2, generator(), k=9)
    with pytest.raises(ValueError, match="train_share must lie strictly between 0 and 1, got 1"):
        ModularAddition(train_share=1.0)
    with pytest.raises(ValueError, match="n_bits must be at least 1, got 0"):
        Parity(0)
    with pytest.raises(ValueError, match="at least one token that counts"):
        score(torch.zeros(1, 2, 3), torch.full((1, 2), IGNORED))
