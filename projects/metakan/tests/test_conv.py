"""Convolutions: against linear layers on patches, materialisation, layouts, groups, memory."""

import pytest
import torch
from torch import nn

from metakan import (
    BSplineBasis,
    ChebyshevBasis,
    GramBasis,
    KANConv1d,
    KANConv2d,
    KANConv3d,
    KANConvNd,
    LegendreBasis,
    MetaKANConv1d,
    MetaKANConv2d,
    MetaKANConv3d,
    MetaLearner,
    RBFBasis,
    WaveletBasis,
    saved_bytes,
)

D = torch.float64
BASES = {
    "spline": (BSplineBasis(5, 3), "gelu"),
    "rbf": (RBFBasis(), "silu"),
    "wavelet": (WaveletBasis(), None),
    "legendre": (LegendreBasis(3), "silu"),
    "gram": (GramBasis(3), "silu"),
    "chebyshev": (ChebyshevBasis(3), None),
}
CONV = {1: MetaKANConv1d, 2: MetaKANConv2d, 3: MetaKANConv3d}
KAN = {1: KANConv1d, 2: KANConv2d, 3: KANConv3d}


def pair(ndim, basis, memory="recompute", **options):
    torch.manual_seed(0)
    family, base = BASES[basis]
    options = {"padding": 1, "stride": 2, **options}
    layer = CONV[ndim](2, 4, 3, basis=family, base_activation=base, memory=memory, **options).to(D)
    meta = MetaLearner(1, 5, layer.n_weights).to(D)
    nn.init.normal_(meta.first.bias, std=0.1)
    nn.init.normal_(meta.second.bias, std=0.1)
    return layer, meta


def image(ndim, channels=2):
    return (
        torch.rand(2, channels, *(6, 5, 4)[:ndim], dtype=D, generator=torch.Generator().manual_seed(1)) * 2
        - 1
    )


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("basis", BASES)
def test_s1_materialised_and_trainable(ndim, basis):
    layer, meta = pair(ndim, basis)
    family, base = BASES[basis]
    kan = KAN[ndim](2, 4, 3, padding=1, stride=2, basis=family, base_activation=base).to(D)
    kan.load_state_dict(
        {
            **{k: v for k, v in layer.state_dict().items() if k != "prompts"},
            "weight": layer.edge_weights(meta),
        }
    )
    x = image(ndim)
    y = layer(x, meta)
    assert y.shape == (2, 4, *(3, 3, 2)[:ndim])
    assert (kan(x) - y).abs().max() < 1e-12
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() for m in (layer, meta) for p in m.parameters() if p.requires_grad)
    assert layer.prompts.grad.abs().sum() > 0


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_is_the_sum_over_edges(basis, groups, dilation):
    """Against the definition: a loop over outputs, offsets and inputs, every edge on its own."""
    family, base = BASES[basis]
    layer = KANConv2d(
        2, 4, (2, 3), padding=(1, 2), dilation=dilation, groups=groups, basis=family, base_activation=base,
        norm=None, act=None,
    ).to(D)  # fmt: skip
    nn.init.normal_(layer.weight)
    x = image(2)
    y = layer(x)
    basis_object = layer.basis
    features = None
    if basis != "wavelet":
        from metakan.edges import edge_features

        features = edge_features(basis_object, layer._base, x)  # n i h w q
    expected = torch.zeros_like(y)
    for o in range(4):
        for i in range(2 // groups):
            channel = i if groups == 1 else o // 2
            for r in range(2):
                for s in range(3):
                    w = layer.weight[o, i, r, s]
                    phi = (
                        basis_object.edges(x[:, channel], w) if features is None else features[:, channel] @ w
                    )
                    padded = nn.functional.pad(phi, (2, 2, 1, 1))
                    shifted = padded[:, r * dilation :, s * dilation :]
                    expected[:, o] += shifted[:, : y.shape[2], : y.shape[3]]
    assert (y - expected).abs().max() < 1e-11


@pytest.mark.parametrize("basis", BASES)
def test_modes_agree(basis):
    results = []
    for memory in ("materialize", "recompute", "auto"):
        layer, meta = pair(2, basis, memory)
        x = image(2).requires_grad_()
        y = layer(x, meta)
        wanted = [x, layer.prompts, *meta.parameters()]
        results.append((y, *torch.autograd.grad(y.square().sum(), wanted)))
    for other in results[1:]:
        assert max((a - b).abs().max().item() for a, b in zip(results[0], other)) < 1e-11


def test_recompute_keeps_the_input_only():
    x = torch.rand(2, 8, 12, 12)
    kept = []
    for h in (8, 128):
        layer, meta = MetaKANConv2d(8, 16, 3, norm=None, act=None), MetaLearner(hidden=h)
        both = nn.ModuleList([layer, meta])
        kept.append(saved_bytes(both, lambda layer=layer, meta=meta: layer(x, meta)))
    assert kept[0] == kept[1] == x.numel() * 4


def test_prompts_count_edges_with_groups():
    layer = MetaKANConv2d(4, 6, 3, groups=2)
    assert layer.prompts.shape == (4 * 6 * 9 // 2, 1)
    assert layer.edge_weights(MetaLearner()).shape == (6, 2, 3, 3, 9)


def test_layouts():
    edge, meta = MetaKANConv2d(2, 3, 3), MetaLearner()
    spatial = MetaKANConv2d(2, 3, 3, layout="spatial")
    spatial.load_state_dict(edge.state_dict())
    per_edge, per_map = edge.edge_weights(meta), spatial.edge_weights(meta)
    rows = meta(edge.prompts)
    assert torch.allclose(per_edge[1, 1, 0, 2], rows[(1 * 2 + 1) * 9 + 2])
    assert torch.allclose(per_map[1, 1, :, :, 4], rows[(1 * 2 + 1) * 9 + 4].view(3, 3))
    assert not torch.allclose(per_edge, per_map)


@pytest.mark.parametrize(("position", "channels"), [("input", 3), ("output", 5)])
def test_surroundings(position, channels):
    layer = KANConv2d(3, 5, 3, norm="instance", norm_position=position, act="silu", dropout=0.5)
    norm = layer.input_norm if position == "input" else layer.output_norm
    assert norm.weight.shape == (channels,)
    assert layer.train()(torch.rand(4, 3, 8, 8)).eq(0).flatten(2).all(-1).any()  # whole channels are dropped
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(layer.eval()(x), layer(x))


def test_cache_in_evaluation():
    layer, meta = pair(2, "spline")
    layer.eval()
    x = image(2)
    with torch.no_grad():
        before = layer(x, meta)
        kept = layer.generated._weight
        layer(x, meta)
        assert layer.generated._weight is kept
        layer.prompts.add_(1)
        assert (layer(x, meta) - before).abs().max() > 1e-6
        layer.train()
        assert layer.generated._weight is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: KANConvNd(4, 1, 1, 3), ValueError, "ndim must be one of"),
        (lambda: KANConv2d(0, 1, 3), ValueError, "in_channels must be at least 1"),
        (lambda: KANConv2d(3, 4, 3, groups=2), ValueError, "groups must divide in_channels=3, got 2"),
        (lambda: KANConv2d(4, 3, 3, groups=2), ValueError, "groups must divide out_channels=3, got 2"),
        (lambda: KANConv2d(1, 1, 0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: KANConv2d(1, 1, (3, 3, 3)), ValueError, "kernel_size must be an integer or 2 integers"),
        (lambda: KANConv2d(1, 1, 3, stride=0), ValueError, "stride must be at least 1"),
        (lambda: KANConv2d(1, 1, 3, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: KANConv2d(1, 1, 3, norm="layer"), ValueError, "norm must be one of"),
        (lambda: KANConv2d(1, 1, 3, act="relu"), ValueError, "act must be one of"),
        (lambda: KANConv2d(1, 1, 3, dropout=1.0), ValueError, "dropout must be at least 0 and below 1"),
        (lambda: MetaKANConv2d(1, 1, 5, layout="spatial"), ValueError, r"q=9, kernel \(5, 5\) has 25"),
        (lambda: MetaKANConv2d(1, 1, 3, layout="channel"), ValueError, "layout must be one of"),
        (lambda: MetaKANConv2d(1, 1, 3, prompt_dim=0), ValueError, "prompt_dim must be at least 1"),
        (
            lambda: KANConv2d(3, 1, 3)(torch.rand(2, 1, 8, 8)),
            ValueError,
            "takes 3 channels along dimension 1",
        ),
        (lambda: KANConv2d(3, 1, 3)(torch.rand(3, 8, 8)), ValueError, "x must have 4 dimensions"),
        (lambda: KANConv2d(1, 1, 3)(torch.ones(2, 1, 8, 8, dtype=int)), TypeError, "floating-point"),
        (
            lambda: MetaKANConv2d(1, 1, 3)(torch.rand(2, 1, 8, 8), MetaLearner(out_dim=5)),
            ValueError,
            "out_dim=9",
        ),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()
