"""C2: conditions can fail, exact variants are exact, the trained and the deep variants run on small sizes."""

import math

import pytest
import torch

from emergence.claims import retention as c2
from emergence.claims.corpora import Corpus
from emergence.claims.deep_residual import Setting, build, compare, pair_ratio, unigram_bits
from emergence.claims.trained_tanh import ClampedTanhNet, trained_accuracies
from emergence.claims.training import Effort
from emergence.retention import RetentionTable
from tenfold.claims import Scale

GAINS = (0.8, 0.9, 0.97, 1.0, 1.05, 1.1, 1.3, 2.0, 3.0)
DEEP = (0.1, 0.1, 0.1, 0.3, 0.83, 0.79, 0.22, 0.1, 0.1)


def table(deep: tuple[float, ...] = DEEP, middle: float = 0.9) -> RetentionTable:
    accuracy = torch.tensor([[middle, d] for d in deep], dtype=torch.float64)
    return RetentionTable(GAINS, (32, 128), accuracy, 0 * accuracy, accuracy)


def test_conditions_of_the_digits_hold_and_fail() -> None:
    assert all(c2.digits_conditions(table()).values())
    flat = c2.digits_conditions(table(deep=(0.9,) * 9))
    assert list(flat.values()) == [True, False, False, True]
    forgotten = c2.digits_conditions(table(deep=(0.1,) * 9, middle=0.5))
    assert list(forgotten.values()) == [False, True, True, False]


def test_mean_field_conditions_hold_and_fail() -> None:
    held = table()
    held.accuracy[:, 0] = torch.tensor([0.1, 0.5, 0.9, 0.9, 0.9, 0.9, 0.8, 0.2, 0.1])  # P = 32
    assert all(c2.mean_field_conditions(held, 1.12).values())
    assert not c2.mean_field_conditions(held, 1.3)["edge_within_0.1_of_the_best_gain_at_P_128"]
    remembered = table(deep=(0.9, *DEEP[1:]))
    assert not c2.mean_field_conditions(remembered, 1.12)["accuracy_below_0.25_from_12_depth_scales_on"]


def test_exact_variants() -> None:
    assert all(c2.exact_conditions(0, depths=(1, 8, 64)).values())


def test_smoke_runs_on_few_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(c2.EFFORTS, Scale.SMOKE, c2.Effort(GAINS, (32, 128), draws=1))
    found = c2.retention(Scale.SMOKE, 0)
    assert found.values["best_gain_at_128"] in (1.05, 1.1)
    assert found.figures[0].name == "retention"
    assert len(found.tables[0].rows) == len(GAINS)


def test_the_clamp_outlasts_training() -> None:
    net = ClampedTanhNet(0.9, n_blocks=3, generator=torch.Generator().manual_seed(0))
    assert {name for name, _ in net.named_parameters()} == {
        "read_in.weight", "read_in.bias", "read_out.weight", "read_out.bias", "biases",
    }  # fmt: skip
    norms = torch.linalg.matrix_norm(net.matrices, 2)
    torch.testing.assert_close(norms, torch.full((3,), 0.9))


def test_shallow_trained_nets_learn_the_digits() -> None:
    found = trained_accuracies((1.0,), steps=60, seed=0, n_blocks=2, rates=(1e-2,))
    assert found[1.0] > 0.7


def corpus() -> Corpus:
    text = torch.tensor(list(b"the quick brown fox jumps over the lazy dog. " * 100))
    return Corpus("fox", text, text[:900], 256)


def test_deep_byte_models_are_compared_on_the_same_terms() -> None:
    setting = Setting(4, 16, Effort(30, ctx=8, batch_size=32, val_windows=64, rates=(1e-2,), warmup=5))
    found = compare(setting, corpus(), 0, torch.device("cpu"))
    assert found.values["convex_potential_pair_ratio_at_most_1.0001"] is True
    assert found.baseline is not None
    assert found.ours < found.values["bits per byte of single-byte frequencies"]  # type: ignore[operator]
    assert [row[0] for row in found.tables[0].rows] == ["convex potential", "plain residual"]


def test_plain_residual_blocks_are_not_bounded() -> None:
    setting = Setting(4, 16, Effort(1, ctx=8))
    model = build("plain residual", setting)
    with torch.no_grad():
        for block in model.blocks:
            block.down.weight.mul_(40)  # type: ignore[union-attr, operator]
    largest, _ = pair_ratio(model, torch.randint(256, (64, 8)))
    assert largest > 1.0001


def test_unigram_bits_are_the_entropy_of_uniform_bytes() -> None:
    uniform = torch.arange(256).repeat(50)
    assert unigram_bits(Corpus("u", uniform, uniform, 256)) == pytest.approx(8.0, abs=1e-6)
    assert math.isfinite(unigram_bits(corpus()))
