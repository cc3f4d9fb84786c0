"""The piecewise-linear form of a meta-learner against its definition: values, gradients, ties, odd numbers."""

import math

import pytest
import torch

from metakan import MetaLearner
from metakan import piecewise as module
from metakan.piecewise import Curve, meta_tensors, piecewise_generate, piecewise_works, plain_generate

D = torch.float64


def learner(h, seed=0, bias=0.1):
    torch.manual_seed(seed)
    meta = MetaLearner(1, h, 9).to(D)
    torch.nn.init.normal_(meta.first.bias, std=bias)
    torch.nn.init.normal_(meta.second.bias)
    return meta


def compare(meta, z, tolerance=1e-13):
    z = z.clone().requires_grad_()
    tensors = [z, *meta_tensors(meta)]
    grad = torch.randn(len(z), 9, dtype=z.dtype)
    ours, plain = piecewise_generate(meta, z), plain_generate(*tensors)
    assert (ours - plain).abs().max() <= tolerance * plain.abs().max()
    for a, b in zip(torch.autograd.grad(ours, tensors, grad), torch.autograd.grad(plain, tensors, grad)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 100 * tolerance * b.abs().max().clamp_min(1)


@pytest.mark.parametrize("h", [1, 7, 64, 200])
@pytest.mark.parametrize("edges", [1, 50, 20_000])
def test_equals_the_definition(h, edges):
    compare(learner(h), torch.randn(edges, 1, dtype=D) * 0.3)


def test_at_initialisation_with_prompts_on_the_only_kink():
    meta = learner(32, bias=0.0)
    z = torch.randn(20_000, 1, dtype=D)
    z[::7] = 0.0  # relu'(0) = 0 for rising and falling units alike
    compare(meta, z)


@pytest.mark.parametrize("edges", [40, 20_000])
def test_exact_ties(edges):
    meta = learner(16)
    with torch.no_grad():
        meta.first.weight[:4, 0] = torch.tensor([0.5, -0.5, 2.0, 0.25], dtype=D)
        meta.first.bias[:4] = torch.tensor([-0.125, 0.125, 1.0, -0.0625], dtype=D)  # kinks .25 .25 -.5 .25
    z = torch.randn(edges, 1, dtype=D)
    z[::3], z[1::3] = 0.25, -0.5
    compare(meta, z)


def test_constant_units_and_kinks_out_of_reach():
    meta = learner(8)
    with torch.no_grad():
        meta.first.weight[:4, 0] = torch.tensor([0.0, 0.0, 1e-310, -1e-310], dtype=D)
        meta.first.bias[:4] = torch.tensor([0.3, -0.3, 0.7, -0.4], dtype=D)
    compare(meta, torch.randn(20_000, 1, dtype=D))


def test_crowded_kinks_fall_back_to_binary_search():
    meta = learner(64)
    with torch.no_grad():
        meta.first.bias.copy_(-meta.first.weight[:, 0] * (0.1 + 1e-9 * torch.arange(64)))
    z = torch.randn(20_000, 1, dtype=D)
    z[:1000] = 0.1 + 1e-9 * torch.rand(1000, 1, dtype=D) * 64
    assert module._locate_on_grid(z[:, 0], Curve.of(*meta_tensors(meta)).kinks) is None
    flat = z[:, 0]
    curve = Curve.of(*(t.detach() for t in meta_tensors(meta)))
    generated, _ = curve.weights(flat, curve.locate(flat))
    assert (generated - meta(z)).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_grid_lookup_equals_binary_search(dtype):
    for seed in range(20):
        torch.manual_seed(seed)
        z, kinks = torch.randn(9000, dtype=dtype), torch.randn(30, dtype=dtype).unique()
        z[:30] = kinks[torch.randint(len(kinks), (30,))]
        found = module._locate_on_grid(z, kinks)
        expected = torch.bucketize(z, kinks) + torch.bucketize(z, kinks, right=True)
        assert found is None or torch.equal(found.long(), expected)
        if found is not None:
            break
    assert found is not None  # at least one case was decided by the grid


@pytest.mark.parametrize("where", ["z", "w1", "b1", "W2", "b2"])
def test_nan_is_not_hidden(where):
    meta = learner(6)
    z = torch.randn(30, 1, dtype=D)
    tensors = dict(zip(("z", "w1", "b1", "W2", "b2"), (z, *meta_tensors(meta))))
    with torch.no_grad():
        tensors[where].view(-1)[0] = math.nan
    ours, plain = piecewise_generate(meta, z), meta(z)
    assert (ours.isnan() | ~plain.isnan()).all()
    assert ours.isnan().any()


def test_float32_is_as_exact_as_the_definition():
    meta = learner(64)
    z = torch.randn(20_000, 1, dtype=D)
    exact = meta(z)
    single = meta.to(torch.float32)
    ours = (piecewise_generate(single, z.float()).double() - exact).abs().max()
    plain = (single(z.float()).double() - exact).abs().max()
    assert ours < 4 * plain


def test_second_derivatives_take_the_plain_way():
    meta = learner(6)
    z = torch.randn(9, 1, dtype=D, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: piecewise_generate(meta, v), z)
    seconds = []
    for generate in (piecewise_generate(meta, z), meta(z)):
        (first,) = torch.autograd.grad(generate.square().sum(), z, create_graph=True)
        seconds.append(torch.autograd.grad(first.sum(), meta.second.weight)[0])
    assert (seconds[0] - seconds[1]).abs().max() < 1e-12


@pytest.mark.parametrize(
    "meta",
    [MetaLearner(2), MetaLearner(activation="tanh"), MetaLearner(dropout=0.1)],
    ids=["d", "activation", "dropout"],
)
def test_only_where_it_is_exact(meta):
    z = torch.zeros(3, meta.prompt_dim)
    assert not piecewise_works(meta, z)
    assert piecewise_works(MetaLearner(), z)
    assert piecewise_works(MetaLearner(dropout=0.1).eval(), z)
