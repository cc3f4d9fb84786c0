"""What linear layers do with inputs: shapes, dtypes, NaN and infinity, values off the grid, mistakes."""

import copy
import math

import pytest
import torch

from metakan import (
    BSplineBasis,
    FastKANLinear,
    GramBasis,
    KANLinear,
    MetaFastKANLinear,
    MetaKANLinear,
    MetaLearner,
    MetaWavKANLinear,
    WavKANLinear,
)


def call(layer, x, q=9):
    return layer(x) if isinstance(layer, KANLinear) else layer(x, MetaLearner(out_dim=q))


@pytest.mark.parametrize("make", [KANLinear, FastKANLinear, WavKANLinear])
def test_leading_dimensions_and_empty_batches(make):
    layer = make(5, 4).eval()
    x = torch.rand(2, 3, 5)
    assert layer(x).shape == (2, 3, 4)
    assert torch.allclose(layer(x)[1, 2], layer(x[1, 2]), atol=1e-6)
    empty = torch.empty(0, 5, requires_grad=True)
    y = layer(empty)
    assert y.shape == (0, 4)
    y.sum().backward()
    assert empty.grad.shape == (0, 5)


@pytest.mark.parametrize("memory", ["recompute", "materialize"])
@pytest.mark.parametrize(("make", "q"), [(MetaKANLinear, 9), (MetaFastKANLinear, 9), (MetaWavKANLinear, 3)])
def test_meta_layers_train_on_any_shape(make, q, memory):
    layer, meta = make(5, 4, memory=memory), MetaLearner(out_dim=q)
    layer(torch.rand(2, 3, 5), meta).square().sum().backward()
    assert all(p.grad.isfinite().all() for m in (layer, meta) for p in m.parameters() if p.requires_grad)
    assert layer.prompts.grad.abs().sum() > 0
    layer.eval()
    assert layer(torch.empty(0, 5), meta).shape == (0, 4)
    empty = torch.empty(0, 5, requires_grad=True)
    layer(empty, meta).sum().backward()
    assert empty.grad.shape == (0, 5)


def test_nan_reaches_the_output_and_infinity_does_not_poison_splines():
    for order in (0, 3):
        layer = KANLinear(2, 3, basis=BSplineBasis(5, order))
        y = layer(torch.tensor([[math.nan, 0.1], [0.2, 0.1]]))
        assert y[0].isnan().all()
        assert y[1].isfinite().all()
    layer = KANLinear(2, 3, base_activation=None)
    y = layer(torch.tensor([[math.inf, 0.1], [-math.inf, 0.1], [100.0, 0.1]]))
    assert (y[:2] - y[2]).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory", ["recompute", "materialize"])
def test_half_precision(dtype, memory):
    torch.manual_seed(0)
    layer, meta = MetaKANLinear(20, 6, memory=memory), MetaLearner()
    x = torch.rand(8, 20) * 2 - 1
    exact = layer(x, meta)
    half = copy.deepcopy(layer).to(dtype), copy.deepcopy(meta).to(dtype)
    y = half[0](x.to(dtype), half[1])
    assert y.dtype == dtype
    assert (y.float() - exact).abs().max() < 0.05 * exact.abs().max().clamp_min(1)
    y.sum().backward()
    assert half[0].prompts.grad.isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x, meta)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    reference = copy.deepcopy(layer)
    reference.zero_grad()
    reference(x, meta).sum().backward()
    assert (
        layer.prompts.grad - reference.prompts.grad
    ).abs().max() < 0.05 * reference.prompts.grad.abs().max()


def test_warns_once_about_inputs_outside_the_splines():
    layer = KANLinear(5, 2)
    with pytest.warns(UserWarning, match=r"100% of the inputs lie outside \[-2\.2, 2\.2\].*widen grid_range"):
        layer(torch.full((10, 5), 2.82))
    layer(torch.full((10, 5), 2.82))  # warnings are errors here: a second one would fail
    KANLinear(5, 2)(torch.full((10, 5), 2.0))


def test_the_layer_keeps_its_own_basis():
    basis = GramBasis(3)
    a, b = KANLinear(3, 2, basis=basis), KANLinear(3, 2, basis=basis)
    assert len({id(basis.beta), id(a.basis.beta), id(b.basis.beta)}) == 3


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: KANLinear(0, 3), ValueError, "in_features must be at least 1, got 0"),
        (lambda: KANLinear(3, -1), ValueError, "out_features must be at least 1"),
        (lambda: KANLinear(3, 2.0), TypeError, "out_features must be an integer"),
        (lambda: KANLinear(3, 2, base_activation="elu"), ValueError, "base_activation must be one of"),
        (lambda: KANLinear(3, 2, input_norm="batch"), ValueError, "input_norm must be one of"),
        (lambda: FastKANLinear(1, 2), ValueError, "in_features must be at least 2 with a LayerNorm"),
        (lambda: WavKANLinear(3, 2, base_activation="silu"), ValueError, "no base function"),
        (lambda: WavKANLinear(3, 2, scaler=True), ValueError, "scaler must be False"),
        (lambda: MetaKANLinear(3, 2, prompt_dim=0), ValueError, "prompt_dim must be at least 1, got 0"),
        (lambda: MetaKANLinear(3, 2, memory="keep"), ValueError, "memory must be one of"),
        (lambda: MetaKANLinear(3, 2, block_size=0), ValueError, "block_size must be at least 1"),
        (lambda: MetaKANLinear(3, 2, prompt_init="ones"), ValueError, "prompt_init must be one of"),
        (
            lambda: call(KANLinear(3, 2), torch.rand(4, 5)),
            ValueError,
            r"shape \(4, 5\); this layer takes 3 features",
        ),
        (lambda: call(KANLinear(3, 2), torch.tensor(1.0)), ValueError, "this layer takes 3 features"),
        (
            lambda: call(KANLinear(3, 2), torch.ones(4, 3, dtype=int)),
            TypeError,
            r"floating-point.*int64.*x\.float",
        ),
        (lambda: call(MetaKANLinear(3, 2), torch.rand(4, 3), q=8), ValueError, "out_dim=9"),
        (
            lambda: call(KANLinear(3, 2, check_finite=True), torch.full((1, 3), math.nan)),
            ValueError,
            "NaN or infinite",
        ),
        (
            lambda: KANLinear(3, 2).set_edge_mask(torch.zeros(2, 3, dtype=torch.bool)),
            ValueError,
            "removes all edges",
        ),
        (
            lambda: KANLinear(3, 2).set_edge_mask(torch.ones(3, 2, dtype=torch.bool)),
            ValueError,
            r"shape \(2, 3\)",
        ),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()
