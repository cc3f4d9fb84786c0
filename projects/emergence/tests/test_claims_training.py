"""The training loop of the claims, and the texts they train on."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from emergence.claims.corpora import Corpus, corpus_for, documentation, split
from emergence.claims.training import Arm, Effort, at_rate, evaluate, start, sweep, train
from emergence.models import GPTConfig
from emergence.optim import Optim
from tenfold.claims import Scale

CPU = torch.device("cpu")
TINY = GPTConfig(vocab=5, ctx=8, d=8, heads=2, n_blocks=1)
EFFORT = Effort(steps=12, ctx=8, batch_size=4, val_windows=4, rates=(1e-3, 1e-2), warmup=2)


@pytest.fixture
def corpus() -> Corpus:
    return split("counting", torch.arange(600) % 5, 5)


def draw_from(corpus: Corpus, seed: int = 0) -> Callable[[], tuple[Tensor, Tensor]]:
    return corpus.batches(8, 4, seed)


def test_two_identical_runs_agree_to_the_bit_and_leave_the_global_state_alone(corpus: Corpus) -> None:
    runs = []
    before = torch.get_rng_state()
    for noise in (0, 1):
        torch.rand(noise)
        config = GPTConfig(vocab=5, ctx=8, d=8, heads=2, n_blocks=1, loops=3)  # draws its loops at random
        runs.append(train(start(config, 3, CPU), draw_from(corpus), EFFORT.optim(1e-2), 12, seed=3))
        torch.set_rng_state(before)
    assert runs[0].losses == runs[1].losses
    for ours, theirs in zip(runs[0].model.parameters(), runs[1].model.parameters()):
        assert torch.equal(ours, theirs)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_learns_and_looks_where_it_is_told(corpus: Corpus) -> None:
    model = start(TINY, 0, CPU)
    untrained = evaluate(model, corpus.windows(8, 4))
    run = train(
        model, draw_from(corpus), Optim(lr=1e-2, warmup=2, steps=60), 60, look_at=(1, 60),
        look=lambda m: (m.training, evaluate(m, corpus.windows(8, 4))),
    )  # fmt: skip
    assert run.failure is None
    assert len(run.losses) == 60
    assert list(run.observed) == [1, 60]
    assert not any(training for training, _ in run.observed.values())
    assert run.observed[60][1] == evaluate(model, corpus.windows(8, 4)) < 0.7 * untrained


def test_a_batch_in_parts_has_the_gradient_of_the_whole(corpus: Corpus) -> None:
    whole, parts = (
        train(start(TINY, 0, CPU).double(), draw_from(corpus), EFFORT.optim(1e-2), 6, parts=n) for n in (1, 4)
    )
    torch.testing.assert_close(torch.tensor(whole.losses), torch.tensor(parts.losses), rtol=1e-6, atol=1e-8)


class Broken(nn.Module):
    """Gives NaN from the third call on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 5))
        self.calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return self.weight[tokens] * (1 if self.calls < 3 else math.nan)


def test_a_loss_that_is_not_finite_ends_the_training(corpus: Corpus) -> None:
    run = train(Broken(), draw_from(corpus), Optim(warmup=0, steps=9), 9)
    assert run.failure == "loss or gradient is not finite at step 3"
    assert len(run.losses) == 2
    assert next(run.model.parameters()).isfinite().all()


def test_evaluation_is_the_mean_cross_entropy(corpus: Corpus) -> None:
    model, windows = start(TINY, 0, CPU), corpus.windows(8, 5)
    expected = nn.functional.cross_entropy(model(windows[0]).flatten(0, 1), windows[1].flatten())
    assert evaluate(model, windows, batch_size=3) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_every_rate_starts_from_the_same_weights_and_sees_the_same_batches(corpus: Corpus) -> None:
    seen: list[Tensor] = []

    def recorded() -> Callable[[], tuple[Tensor, Tensor]]:
        batches = draw_from(corpus)

        def draw() -> tuple[Tensor, Tensor]:
            seen.append(batches()[0])
            return seen[-1], seen[-1]

        return draw

    arm = sweep(TINY, recorded, corpus.windows(8, 4), EFFORT, 0, CPU)
    assert len(seen) == 24
    assert all(torch.equal(a, b) for a, b in zip(seen[:12], seen[12:]))
    assert list(arm.losses) == [1e-3, 1e-2]
    assert arm.loss == min(arm.losses.values())


def test_the_best_rate_is_that_of_the_lowest_loss() -> None:
    arm = Arm({1e-3: 2.0, 1e-2: 1.0, 1e-1: math.inf}, {})
    assert (arm.rate, arm.loss) == (1e-2, 1.0)
    assert at_rate(EFFORT, 0.5).rates == (0.5,)


def test_the_text_of_the_smoke_scale_needs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENFOLD_DATA", raising=False)
    corpus = corpus_for(Scale.SMOKE)
    assert corpus.vocab == 65
    assert len(corpus.train) > 200_000
    assert 0 <= int(corpus.train.min()) <= int(corpus.train.max()) < 65
    assert torch.equal(corpus.train, documentation().train)
    x, y = corpus.batches(16, 3, 0)()
    assert torch.equal(x[:, 1:], y[:, :-1])


@pytest.mark.realdata
def test_the_text_of_the_cpu_scale_is_shakespeare() -> None:
    corpus = corpus_for(Scale.CPU)
    assert (len(corpus.train) + len(corpus.val), corpus.vocab) == (1_115_394, 65)
