"""Linear layers: formulas, materialisation, memory modes, caches, pruning. Inputs: `test_layers_inputs`."""

import copy
import math

import pytest
import torch
from torch import nn

from metakan import (
    BSplineBasis,
    ChebyshevBasis,
    GramBasis,
    KANLinear,
    LegendreBasis,
    MetaKANLinear,
    MetaLearner,
    RBFBasis,
    WaveletBasis,
    saved_bytes,
)

D = torch.float64
BASES = {
    "spline": (BSplineBasis(4, 3), "silu"),
    "order 1": (BSplineBasis(6, 1, (-2.0, 2.0)), "silu"),
    "gelu": (BSplineBasis(4, 3), "gelu"),
    "no base": (BSplineBasis(4, 3), None),
    "rbf": (RBFBasis(), "silu"),
    "wavelet": (WaveletBasis(), None),
    "legendre": (LegendreBasis(3), "silu"),
    "gram": (GramBasis(3), "silu"),
    "chebyshev": (ChebyshevBasis(3), None),
}


def pair(basis="spline", memory="recompute", h=7, d=1, activation="relu", n_in=5, n_out=4, **options):
    """A layer and its meta-learner in float64, with kinks in general position."""
    torch.manual_seed(0)
    family, base = BASES[basis]
    layer = MetaKANLinear(
        n_in, n_out, basis=family, base_activation=base, memory=memory, prompt_dim=d, **options
    )
    meta = MetaLearner(d, h, layer.n_weights, activation)
    for bias in (meta.first.bias, meta.second.bias):
        nn.init.normal_(bias, std=0.1)
    return layer.to(D), meta.to(D)


def gradients(layer, meta, x):
    x = x.clone().requires_grad_()
    y = layer(x, meta)
    wanted = [x, *(p for m in (layer, meta) for p in m.parameters() if p.requires_grad)]
    return y, torch.autograd.grad(y.square().sum() + y.sum(), wanted)


def largest(a, b):
    return max((p - q).abs().max().item() for p, q in zip(a, b))


X = torch.rand(6, 5, dtype=D, generator=torch.Generator().manual_seed(3)) * 3 - 1.5


def test_kan_formula():
    layer = KANLinear(5, 4, bias=True, scaler=True).to(D)
    nn.init.normal_(layer.bias)
    w = layer.weight
    base, coef = w[..., -1], w[..., :-1] * layer.scaler[..., None]
    expected = (
        torch.nn.functional.silu(X) @ base.T
        + torch.einsum("nim,oim->no", BSplineBasis()(X), coef)
        + layer.bias
    )
    assert (layer(X) - expected).abs().max() < 1e-12


def test_kan_initialisation_follows_the_authors():
    torch.manual_seed(0)
    layer = KANLinear(100, 80, scaler=True)
    assert layer.weight[..., -1].abs().max() <= 0.1
    assert layer.weight[..., :-1].std().item() == pytest.approx(0.01 / 10 / math.sqrt(8), rel=0.03)
    assert layer.scaler.mean().item() == pytest.approx(1, abs=0.01)
    assert layer.scaler.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("basis", BASES)
def test_s1_materialised_weights_give_the_same_outputs(basis):
    layer, meta = pair(basis)
    family, base = BASES[basis]
    kan = KANLinear(5, 4, basis=family, base_activation=base).to(D)
    kan.basis.load_state_dict(layer.basis.state_dict())
    with torch.no_grad():
        kan.weight.copy_(layer.edge_weights(meta))
    assert (kan(X) - layer(X, meta)).abs().max() < 1e-12
    with torch.no_grad():
        kan.weight[0, :, 2] += 0.1
    assert (kan(X) - layer(X, meta)).abs().max() > 1e-4  # control


def test_order_of_edges_and_outputs():
    layer, meta = pair()
    base, coef = layer.weights(meta)
    row = meta(layer.prompts[2 * 5 + 3 : 2 * 5 + 4])[0]  # edge from input 3 to output 2
    assert torch.equal(coef[2, 3], layer.edge_weights(meta)[2, 3, :-1])
    assert (coef[2, 3] - row[:-1]).abs().max() < 1e-14
    assert (base[2, 3] - row[-1]).abs() < 1e-14
    assert pair("no base")[0].weights(pair("no base")[1])[0] is None


@pytest.mark.parametrize("memory", ["recompute", "materialize"])
def test_s2_chain_rule(memory):
    layer, meta = pair(memory=memory)
    weight = layer.edge_weights(meta).detach().requires_grad_()
    y = layer.product(X, weight)
    (g,) = torch.autograd.grad(y.square().sum() + y.sum(), weight)
    z, first = layer.prompts.detach(), meta.first
    active = (z * first.weight.T + first.bias > 0).to(D)  # e h
    jacobian = (active * first.weight.T) @ meta.second.weight.T  # e q: dM/dz
    flat = g.flatten(0, 1)
    _, found = gradients(layer, meta, X)
    names = [name for name, _ in [("x", None), *layer.named_parameters(), *meta.named_parameters()]]
    by_name = dict(zip(names, found))
    assert (by_name["prompts"][:, 0] - (jacobian * flat).sum(1)).abs().max() < 1e-12
    assert (by_name["second.bias"] - flat.sum(0)).abs().max() < 1e-12
    hidden = active * (z * first.weight.T + first.bias)
    assert (by_name["second.weight"] - flat.T @ hidden).abs().max() < 1e-12
    back = active * (flat @ meta.second.weight)
    assert (by_name["first.bias"] - back.sum(0)).abs().max() < 1e-12
    assert (by_name["first.weight"][:, 0] - (back * z).sum(0)).abs().max() < 1e-12


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", [(1, "relu"), (2, "relu"), (1, "tanh")])
def test_s5_modes_and_blocks_agree(basis, kind):
    d, activation = kind
    reference = None
    for memory, block in (
        ("materialize", None),
        ("recompute", None),
        ("recompute", 1),
        ("recompute", 3),
        ("auto", None),
    ):
        layer, meta = pair(basis, memory, d=d, activation=activation, block_size=block)
        y, found = gradients(layer, meta, X)
        if reference is None:
            reference = (y, found)
        assert (y - reference[0]).abs().max() < 1e-12
        assert largest(found, reference[1]) < 1e-12


@pytest.mark.parametrize("memory", ["recompute", "materialize"])
@pytest.mark.parametrize("basis", ["spline", "rbf", "no base"])
def test_second_derivatives(memory, basis):
    layer, meta = pair(basis, memory)
    x = X[:3].clone().requires_grad_()
    params = [layer.prompts, *meta.parameters()]

    def laplacian_like(x):
        (slope,) = torch.autograd.grad(layer(x, meta).square().sum(), x, create_graph=True)
        return slope

    def plain(x):
        weight = meta(layer.prompts).view(4, 5, -1)
        (slope,) = torch.autograd.grad(layer.product(x, weight).square().sum(), x, create_graph=True)
        return slope

    ours = torch.autograd.grad(laplacian_like(x).square().sum(), [x, *params], allow_unused=True)
    theirs = torch.autograd.grad(plain(x).square().sum(), [x, *params], allow_unused=True)
    for a, b in zip(ours, theirs):
        assert (a is None and (b is None or not b.any())) or (a - (0 if b is None else b)).abs().max() < 1e-11


def test_s6_permuting_outputs_permutes_prompt_rows():
    layer, meta = pair()
    y = layer(X, meta)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        layer.prompts.copy_(layer.prompts.view(4, 5)[order].reshape(-1, 1))
    assert (layer(X, meta) - y[:, order]).abs().max() < 1e-13
    assert (layer(X, meta) - y).abs().max() > 1e-4  # control


def test_recompute_keeps_only_the_input_whatever_h():
    x = torch.rand(
        16, 40, requires_grad=True
    )  # weights are wanted in the backward pass only for a gradient of x
    kept = {}
    for memory in ("recompute", "materialize"):
        for h in (8, 128):
            layer, meta = MetaKANLinear(40, 30, memory=memory), MetaLearner(hidden=h)
            both = nn.ModuleList([layer, meta])
            kept[memory, h] = saved_bytes(both, lambda layer=layer, meta=meta: layer(x, meta))
    assert kept["recompute", 8] == kept["recompute", 128] == 16 * 40 * 4
    assert kept["materialize", 8] > kept["recompute", 8]  # control: the measure sees what is kept
    naive = MetaLearner(hidden=128)
    layer = MetaKANLinear(40, 30)
    both = nn.ModuleList([layer, naive])
    plain = saved_bytes(both, lambda: layer.product(x, naive(layer.prompts).view(30, 40, 9)))
    assert plain > 1200 * 128 * 4  # pitfall P1: the hidden units


def test_dropout_in_the_meta_learner_recomputes_the_same_units():
    layer = MetaKANLinear(5, 4).to(D)
    meta = MetaLearner(1, 8, 9, dropout=0.5).to(D)
    x = X.clone().requires_grad_()
    torch.manual_seed(1)
    (ours,) = torch.autograd.grad(layer(x, meta).sum(), x)
    torch.manual_seed(1)
    weight = meta(layer.prompts).view(4, 5, 9)
    (plain,) = torch.autograd.grad(layer.product(x, weight).sum(), x)
    assert (ours - plain).abs().max() < 1e-13


class Changes:
    """Everything that changes generated weights and must be seen by the cache."""

    @staticmethod
    def optimiser_step(layer, meta):
        optimiser = torch.optim.SGD([*layer.parameters(), *meta.parameters()], lr=0.1)
        layer(X, meta).sum().backward()
        optimiser.step()

    @staticmethod
    def in_place(layer, meta):
        with torch.no_grad():
            meta.second.bias.add_(1)

    @staticmethod
    def data_replaced(layer, meta):
        layer.prompts.data = layer.prompts.data * 2 + 1

    @staticmethod
    def parameter_replaced(layer, meta):
        meta.second.bias = nn.Parameter(meta.second.bias.detach() + 1)

    @staticmethod
    def load_state_dict(layer, meta):
        meta.load_state_dict({name: value + 1 for name, value in meta.state_dict().items()})

    @staticmethod
    def write_through_data_and_train(layer, meta):
        layer.prompts.data.add_(1)
        layer.train()
        layer.eval()

    @staticmethod
    def dtype(layer, meta):
        with torch.no_grad():
            layer.prompts.add_(1)
        layer.to(torch.float32).to(D)

    @staticmethod
    def prune(layer, meta):
        mask = torch.ones(4, 5, dtype=torch.bool)
        mask[1] = False
        layer.set_edge_mask(mask)


@pytest.mark.parametrize("change", [name for name in vars(Changes) if not name.startswith("_")])
def test_cache_is_never_stale(change):
    layer, meta = pair()
    layer.eval()
    with torch.no_grad():
        before = layer(X, meta)
        assert layer.generated._weight is not None  # control: there is a cache
    getattr(Changes, change)(layer, meta)
    with torch.no_grad():
        after = layer(X, meta)
        fresh = layer.product(X, layer.edge_weights(meta))
    assert (after - fresh).abs().max() < 1e-12
    assert (after - before).abs().max() > 1e-6


def test_cache_is_used_and_not_copied():
    layer, meta = pair()
    layer.eval()
    with torch.no_grad():
        layer(X, meta)
        kept = layer.generated._weight
        layer(X, meta)
        assert layer.generated._weight is kept
        other = MetaLearner(1, 7, layer.n_weights).to(D)
        assert (layer(X, other) - layer.product(X, layer.edge_weights(other))).abs().max() < 1e-12
    assert copy.deepcopy(layer).generated._weight is None
    assert "prompts" in layer.state_dict()
    assert len(layer.state_dict()) == 1  # no cached weight among them
    with torch.inference_mode():
        layer(X, meta)
    layer(X, meta).sum().backward()  # gradients flow in eval mode too
    assert layer.prompts.grad.abs().sum() > 0


def test_mask_is_saved_and_loaded():
    layer, meta = pair()
    mask = torch.rand(4, 5) > 0.5
    layer.set_edge_mask(mask)
    for memory in ("recompute", "materialize"):
        layer.generated.memory = memory
        weight = layer.edge_weights(meta)
        assert not weight[~mask].any()
        assert (layer(X, meta) - layer.product(X, weight)).abs().max() < 1e-12
        _, found = gradients(layer, meta, X)
        assert not found[1].view(4, 5)[~mask].any()  # no gradient for pruned prompts
    fresh, _ = pair()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.edge_mask, mask)
    fresh.load_state_dict(pair()[0].state_dict())
    assert fresh.edge_mask is None


@pytest.mark.slow
def test_compiles_with_recompute():
    layer, meta = pair(n_in=3, n_out=2)
    x = X[:, :3]
    compiled = torch.compile(lambda v: layer(v, meta), backend="aot_eager")
    y, expected = compiled(x), layer(x, meta)
    assert (y - expected).abs().max() < 1e-12
    ours = torch.autograd.grad(y.square().sum(), [layer.prompts, *meta.parameters()])
    theirs = torch.autograd.grad(expected.square().sum(), [layer.prompts, *meta.parameters()])
    assert largest(ours, theirs) < 1e-12
