"""Meta-learners: formula, order of outputs, sharing, clustering, prompt initialisation, structure S2 to S4."""

import itertools
import math

import pytest
import torch

from metakan import MetaBank, MetaKAN, MetaLearner, cluster_layers, prompt_init_
from metakan.meta import assign_layers

D = torch.float64
EIGHT = [16, 32, 64, 128, 256, 256, 512, 512]


def test_formula_and_initialisation():
    meta = MetaLearner(2, 64, 9)
    z = torch.randn(50, 2)
    expected = torch.relu(z @ meta.first.weight.T + meta.first.bias) @ meta.second.weight.T + meta.second.bias
    assert torch.allclose(meta(z), expected, atol=1e-6)
    assert not meta.first.bias.any()
    assert not meta.second.bias.any()
    assert abs(meta.second.weight.std().item() - math.sqrt(2 / (64 + 9))) < 0.02


@pytest.mark.parametrize(
    ("c", "labels"),
    [(1, "00000000"), (2, "00000011"), (3, "00001122"), (4, "00012233"), (5, "00123344"), (6, "01234455")],
)
def test_clusters_of_the_eight_layer_network(c, labels):
    assert cluster_layers(EIGHT, c) == [int(digit) for digit in labels]


def within(values, labels):
    total = 0.0
    for label in set(labels):
        group = [v for v, other in zip(values, labels) if other == label]
        mean = sum(group) / len(group)
        total += sum((v - mean) ** 2 for v in group)
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("feature", ["width", "log_width"])
def test_clustering_is_optimal(seed, feature):
    generator = torch.Generator().manual_seed(seed)
    widths = torch.randint(1, 40, (7,), generator=generator).tolist()
    points = [float(w) if feature == "width" else math.log(w) for w in widths]
    c = min(3, len(set(widths)))
    labels = cluster_layers(widths, c, feature)
    best = min(
        within(points, split) for split in itertools.product(range(c), repeat=7) if len(set(split)) == c
    )
    assert within(points, labels) == pytest.approx(best, abs=1e-9)
    order = sorted(zip(widths, labels))
    assert [label for _, label in order] == sorted(labels)  # ascending with the width


def test_sklearn_trap_is_avoided():
    assert cluster_layers([32, 64, 128, 256], 3) == [0, 0, 1, 2]


def test_assignment():
    assert assign_layers([128, 128, 128, 1], "per_layer") == [0, 1, 2, 3]
    assert assign_layers([128, 128, 128, 1], 2) == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("method", "std"),
    [
        ("xavier_edge", math.sqrt(2 / (784 + 32))),
        ("xavier_table", math.sqrt(2 / (784 * 32 + 1))),
        ("xavier_table_uniform", math.sqrt(6 / (784 * 32 + 1)) / math.sqrt(3)),
    ],
)
def test_prompt_scale(method, std):
    z = prompt_init_(torch.empty(784 * 32, 1), 784, 32, method, torch.Generator().manual_seed(0))
    assert z.std().item() == pytest.approx(std, rel=0.02)
    if method == "xavier_table_uniform":
        assert z.abs().max() <= math.sqrt(6 / (784 * 32 + 1))


def test_prompt_init_in_several_dimensions():
    z = prompt_init_(torch.empty(50 * 60, 4), 50, 60, "xavier_edge")
    assert z.std().item() == pytest.approx(math.sqrt(2 / (110 * 4)), rel=0.05)


def test_bank_shares_by_assignment_and_saves_it():
    bank = MetaBank([0, 1, 0], hidden=4)
    assert bank[0] is bank[2]
    assert bank[0] is not bank[1]
    assert len(bank) == 3
    MetaBank([0, 1, 0], hidden=4).load_state_dict(bank.state_dict())
    with pytest.raises(RuntimeError, match=r"use meta-learners \[0, 1, 1\].*\[0, 1, 0\]"):
        MetaBank([0, 1, 1], hidden=4).load_state_dict(bank.state_dict())


@pytest.mark.parametrize("change", [{"n_meta": 1}, {"hidden": 8}, {"prompt_dim": 2}, {"grid_size": 6}])
def test_another_configuration_does_not_load(change):
    base = {"widths": [4, 5, 3], "hidden": 6, "n_meta": 2}
    state = MetaKAN(**base).state_dict()
    MetaKAN(**base).load_state_dict(state)  # control
    with pytest.raises(RuntimeError, match=r"Error.* in loading state_dict"):
        MetaKAN(**{**base, **change}).load_state_dict(state)


def weights_of(meta, layers=3):
    z = torch.linspace(-2, 2, 401, dtype=D)[:, None]
    return z, meta.to(D)(z).detach()


def test_s3_one_kink_and_rank_two_at_initialisation():
    z, w = weights_of(MetaLearner(1, 32, 9))
    assert torch.linalg.matrix_rank(w, rtol=1e-10) == 2
    bends = (w[2:] - 2 * w[1:-1] + w[:-2]).abs().amax(1) > 1e-10
    assert z[1:-1][bends].flatten().tolist() == pytest.approx([0.0], abs=1e-12)


def test_s3_at_most_h_kinks():
    meta = MetaLearner(1, 5, 9)
    torch.nn.init.normal_(meta.first.bias)
    _, w = weights_of(meta)
    bends = (w[2:] - 2 * w[1:-1] + w[:-2]).abs().amax(1) > 1e-10
    assert 0 < bends.sum() <= 2 * 5  # a kink between two points of the grid bends at both


def test_s3_no_activation_is_a_line():
    for activation, rank in (("identity", 1), ("tanh", 9)):
        meta = MetaLearner(1, 32, 9, activation)
        torch.nn.init.normal_(meta.first.bias)
        _, w = weights_of(meta)
        assert torch.linalg.matrix_rank(w - w.mean(0), rtol=1e-9) >= rank
        if activation == "identity":
            assert torch.linalg.matrix_rank(w - w.mean(0), rtol=1e-9) == 1


def test_s4_gauge_freedom():
    meta = MetaLearner(1, 16, 9).to(D)
    torch.nn.init.normal_(meta.first.bias)
    z = torch.randn(40, 1, dtype=D)
    before, alpha, beta = meta(z), 3.0, -0.7
    with torch.no_grad():
        meta.first.weight.div_(alpha)
        meta.first.bias.sub_(meta.first.weight[:, 0] * beta)
    assert (meta(alpha * z + beta) - before).abs().max() < 1e-12
    assert (meta(z) - before).abs().max() > 1e-3  # control


def test_dropout_acts_in_training_only():
    meta = MetaLearner(1, 64, 9, dropout=0.5)
    z = torch.randn(20, 1)
    assert not torch.equal(meta(z), meta(z))
    meta.eval()
    assert torch.equal(meta(z), meta(z))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MetaLearner(prompt_dim=0), "prompt_dim must be at least 1, got 0"),
        (lambda: MetaLearner(hidden=0), "hidden must be at least 1, got 0"),
        (lambda: MetaLearner(out_dim=0), "out_dim must be at least 1"),
        (lambda: MetaLearner(activation="swish"), "activation must be one of"),
        (lambda: MetaLearner(dropout=1.0), "dropout must be at least 0 and below 1"),
        (lambda: MetaLearner(2)(torch.zeros(3, 1)), "1 numbers a prompt, this meta-learner takes 2"),
        (lambda: MetaBank([0, 2]), "assignment must use every index"),
        (lambda: MetaBank([]), "assignment must use every index"),
        (lambda: cluster_layers([1, 2, 2], 3), "n_clusters must be at most 2, the number of distinct widths"),
        (lambda: cluster_layers([], 1), "at least one layer"),
        (lambda: cluster_layers([1, 2], 1, "depth"), "feature must be one of"),
        (
            lambda: assign_layers([5, 5], 2),
            "n_meta must be at most 1, the number of distinct layer widths, got 2",
        ),
        (lambda: assign_layers([5, 5], "each"), "n_meta must be 'per_layer' or an integer"),
        (lambda: prompt_init_(torch.empty(4, 1), 2, 2, "he"), "prompt_init must be one of"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call()
