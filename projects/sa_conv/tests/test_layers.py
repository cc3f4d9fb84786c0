"""The layers: one family, equivariant to the conjugated group and to nothing else, each image with its own filters."""

import copy
import itertools
import math
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sa_conv import SAGroupConv2d, SALiftingConv2d, SAProjectionConv2d
from tenfold.groupconv import (
    GroupConv2d,
    LiftingConv2d,
    ProjectionConv2d,
)
from tenfold.groups import CyclicGroup

KINDS = {
    "lifting": (SALiftingConv2d, LiftingConv2d, 3, 2),
    "group": (SAGroupConv2d, GroupConv2d, 2, 3),
    "projection": (SAProjectionConv2d, ProjectionConv2d, 2, 3),
}


def layer_of(kind: str, kernel_size: int = 5, N: int = 8, **options) -> nn.Module:
    torch.manual_seed(0)
    family, _, a, b = KINDS[kind]
    return family(a, b, kernel_size, N, **options).double()


def input_of(kind: str, N: int = 8, batch: int = 2, size: tuple[int, int] = (9, 9)) -> torch.Tensor:
    channels = KINDS[kind][2] * (1 if kind == "lifting" else N)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)


def some_w(batch: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return 0.3 * torch.randn(batch, 3, dtype=dtype, generator=generator)


kinds = pytest.mark.parametrize("kind", KINDS)
bases = pytest.mark.parametrize("basis", ["bicubic", "fourier"])


# --- one family -------------------------------------------------------------------------------------------------------


@kinds
@bases
def test_without_geometry_it_is_the_layer_of_tenfold(kind, basis):
    layer = layer_of(kind, basis=basis)
    _, static, a, b = KINDS[kind]
    peer = static(a, b, 5, CyclicGroup(8), basis=basis).double()
    peer.load_state_dict(layer.state_dict())
    assert torch.equal(layer(input_of(kind)), peer(input_of(kind)))


@kinds
@bases
@pytest.mark.parametrize("mask", ["transformed", "detached", "static"])
@pytest.mark.parametrize("parametrization", ["raw", "exp"])
def test_identity_geometry_is_no_geometry(kind, basis, mask, parametrization):
    """K6: TL at (0, 1, 1) and SA at w = 0 are the B-/F-Conv layer."""
    x, static = input_of(kind), layer_of(kind, basis=basis)
    for geometry, w in (("learned", ()), ("adaptive", (torch.zeros(2, 3).double(),))):
        bent = layer_of(kind, basis=basis, geometry=geometry, mask=mask, parametrization=parametrization)
        missing = bent.load_state_dict(static.state_dict(), strict=False)
        assert missing.missing_keys == ["frame.base"]
        torch.testing.assert_close(bent(x, *w), static(x), rtol=1e-10, atol=1e-10)


@kinds
def test_learned_frame_and_w_add_up(kind):
    """SA at w with base g is TL at g + s·w."""
    x, w = input_of(kind), some_w()
    adaptive = layer_of(kind, geometry="adaptive", hyper_scale=0.5)
    with torch.no_grad():
        adaptive.frame.base.copy_(torch.tensor([0.2, 1.2, 0.9]))
    y = adaptive(x, w)
    for i in range(2):
        learned = layer_of(kind, geometry="learned")
        learned.load_state_dict(adaptive.state_dict())
        with torch.no_grad():
            learned.frame.base.add_(0.5 * w[i])
        torch.testing.assert_close(y[i : i + 1], learned(x[i : i + 1]))


def test_w_acts_through_the_filters_only():
    """The output is a plain convolution with `sample_filters`; nothing scales or shifts features."""
    layer, x, w = layer_of("group", geometry="adaptive"), input_of("group"), some_w()
    filters = layer.sample_filters(w)
    expected = torch.stack(
        [F.conv2d(a[None], f, layer.dense_bias(), padding=2)[0] for a, f in zip(x, filters)]
    )
    torch.testing.assert_close(layer(x, w), expected)
    assert (filters[0] - filters[1]).abs().max() > 1e-3


def test_projection_reads_fields_then_orientations():
    """P2: input channel n·N + o meets the filter of field n at orientation o."""
    layer = layer_of("projection", geometry="adaptive")
    bank = layer.bent(layer.frame(some_w(1)[0]), None)  # K o p p
    filters = layer.sample_filters(some_w(1)[0])
    for m, n, o in itertools.product(range(3), range(2), range(8)):
        expected = torch.einsum("k,kij->ij", layer.weight[m, n, 0], bank[:, o])
        torch.testing.assert_close(filters[m, n * 8 + o], expected)


# --- each image its own filters ---------------------------------------------------------------------------------------


@kinds
def test_batch_is_image_by_image(kind):
    layer, x, w = layer_of(kind, geometry="adaptive"), input_of(kind, batch=3), some_w(3)
    y = layer(x, w)
    for i in range(3):
        torch.testing.assert_close(layer(x[i : i + 1], w[i : i + 1])[0], y[i])
        torch.testing.assert_close(layer(x, w[i])[i], y[i])
    assert (layer(x, w.flip(0)) - y).abs().max() > 1e-3


@kinds
@pytest.mark.parametrize("strategy", ["grouped", "unfolded", "looped"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"dilation": 2}, {"padding_mode": "circular"}], ids=str
)
def test_strategies_and_recomputation_agree(kind, strategy, options):
    """Values and all gradients, against autograd through one convolution per image."""
    w = some_w().requires_grad_()
    results = []
    for settings in ({"strategy": "looped", "recompute": False}, {"strategy": strategy, "recompute": True}):
        layer, x = layer_of(kind, geometry="adaptive", **options, **settings), input_of(kind).requires_grad_()
        y = layer(x, w)
        probe = torch.sin(torch.arange(y.numel()).double()).view_as(y)
        results.append((y, *torch.autograd.grad((y * probe).sum(), [x, w, *layer.parameters()])))
    for reference, value in zip(*results):
        torch.testing.assert_close(value, reference)
    assert results[0][2].abs().max() > 0


@pytest.mark.parametrize("strategy", ["grouped", "unfolded", "looped"])
def test_gradients_are_those_of_finite_differences(strategy):
    layer = layer_of("projection", 3, N=4, geometry="adaptive", strategy=strategy)
    x, w = input_of("projection", 4, size=(4, 3)).requires_grad_(), some_w().requires_grad_()
    assert torch.autograd.gradcheck(layer, (x, w), eps=1e-6, atol=1e-6)


def test_only_what_needs_a_gradient_gets_one():
    layer, x, w = layer_of("lifting", geometry="adaptive"), input_of("lifting"), some_w()
    layer(x, w).sum().backward()
    assert layer.frame.base.grad is not None
    layer.requires_grad_(False)
    w.requires_grad_()
    layer(x, w).sum().backward()
    assert w.grad is not None
    fixed = layer_of("lifting", geometry="adaptive", learn_base=False)
    assert [name for name, _ in fixed.named_parameters()] == ["weight", "bias"]


def test_filters_of_the_images_are_not_kept():
    """What autograd keeps: at most 1.5 × TL-Conv with recomputation, many times as much without (P12)."""

    def kept(geometry: str, **options: bool) -> int:
        layer = SAGroupConv2d(4, 4, geometry=geometry, **options)
        net = nn.ModuleList([layer, SAGroupConv2d(4, 4, geometry=geometry, **options)])
        x, sizes = torch.randn(16, 32, 24, 24), {}

        def pack(t: torch.Tensor) -> torch.Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        w = (torch.zeros(16, 3),) if geometry == "adaptive" else ()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            for layer in net:
                x = F.relu(layer(x, *w))
        return sum(sizes.values())

    learned = kept("learned")
    assert kept("adaptive") <= 1.5 * learned
    assert kept("adaptive", recompute=False) > 1.5 * learned


# --- input of all kinds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (7, 10)])
def test_odd_even_channels_last_and_strided_input(size):
    layer, x, w = layer_of("group", geometry="adaptive"), input_of("group", size=size), some_w()
    y = layer(x, w)
    assert y.shape[-2:] == size
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last), w), y)
    torch.testing.assert_close(layer(x.mT.contiguous().mT, w), y)
    layer(x.to(memory_format=torch.channels_last), w).sum().backward()


@pytest.mark.parametrize("strategy", ["grouped", "unfolded", "looped"])
@pytest.mark.parametrize("recompute", [True, False])
def test_empty_batch(strategy, recompute):
    layer = layer_of("group", geometry="adaptive", strategy=strategy, recompute=recompute)
    y = layer(input_of("group", batch=0), torch.zeros(0, 3).double())
    assert y.shape == (0, 24, 9, 9)
    y.sum().backward()
    assert layer.weight.grad.eq(0).all()


def test_autocast_leaves_the_filter_functions_in_full_precision():
    layer = layer_of("group", geometry="adaptive").float()
    x, w = input_of("group").float(), some_w(dtype=torch.float32)
    exact = layer(x, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x, w)
        filters = layer.sample_filters(w)
    assert y.dtype == torch.bfloat16
    assert filters.dtype == torch.float32
    torch.testing.assert_close(filters, layer.sample_filters(w))
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.05)
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_autocast_leaves_learned_frames_in_full_precision(training):
    layer = layer_of("group", geometry="learned").float().train(training)
    with torch.no_grad():
        layer.frame.base.copy_(torch.tensor([0.3, 1.2, 0.9]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, filters = layer(input_of("group").float()), layer.dense_weight()
        sources = layer._sources()
    assert y.dtype == torch.bfloat16
    assert filters.dtype == sources[1].dtype == torch.float32
    torch.testing.assert_close(filters, layer.dense_weight(), rtol=0, atol=0)


def test_eval_never_uses_old_filters():
    layer, x = layer_of("group", geometry="learned").eval(), input_of("group")
    with torch.no_grad():
        before = layer(x)
        assert torch.equal(layer(x), before)
        layer.frame.base[1] = 1.5
        assert (layer(x) - before).abs().max() > 1e-3
    clone = pickle.loads(pickle.dumps(copy.deepcopy(layer)))  # noqa: S301
    torch.testing.assert_close(clone(x), layer(x))


def test_a_frame_is_trained_in_eval_mode_too():
    """Frozen coefficients do not make the filters constant."""
    layer, x = layer_of("group", geometry="learned").eval(), input_of("group")
    layer.weight.requires_grad_(False)
    with torch.no_grad():
        layer(x)
    layer(x).square().sum().backward()
    assert layer.frame.base.grad.abs().max() > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_traced_by_dynamo():
    layer, x, w = layer_of("group", geometry="adaptive"), input_of("group"), some_w()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, w), layer(x, w))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((2, 2, 4), {}, ValueError, "kernel_size must be odd"),
        ((2, 2, 1), {}, ValueError, "kernel_size must be odd"),
        ((2, 2, 5, 0), {}, ValueError, "N must be at least 1"),
        ((2, 2, 5, 2.5), {}, TypeError, "N must be an int"),
        ((0, 2), {}, ValueError, "in_fields"),
        ((2, 2), {"basis": "fourier", "frequencies": 7}, ValueError, "frequencies"),
        ((2, 2), {"basis": "wavelet"}, ValueError, "basis"),
        ((2, 2, 5, 4), {"basis": "lattice", "geometry": "learned"}, ValueError, "basis"),
        ((2, 2), {"geometry": "static"}, ValueError, "geometry"),
        ((2, 2), {"geometry": "adaptive", "mask": "soft"}, ValueError, "mask"),
        ((2, 2), {"geometry": "adaptive", "parametrization": "log"}, ValueError, "parametrization"),
        ((2, 2), {"geometry": "adaptive", "strategy": "fft"}, ValueError, "strategy"),
        ((2, 2), {"geometry": "learned", "learn_base": False}, ValueError, "learn_base"),
    ],
)
def test_bad_layers(arguments, options, error, match):
    with pytest.raises(error, match=match):
        SAGroupConv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("w", "error", "match"),
    [
        (None, ValueError, "w is missing"),
        (torch.zeros(3, 3).double(), ValueError, r"w must have shape \(2, 3\)"),
        (torch.zeros(2, 2).double(), ValueError, r"w must have shape \(2, 3\)"),
        (torch.zeros(2, 3), TypeError, "float32"),
        (torch.zeros(2, 3, device="meta").double(), ValueError, "w is on meta"),
        (torch.tensor([[0.0, 0, 0], [0, math.nan, 0]]).double(), ValueError, "image 1 .* not finite"),
        (torch.tensor([[0.0, 0, math.inf], [0, 0, 0]]).double(), ValueError, "image 0 .* not finite"),
    ],
)
def test_bad_w(w, error, match):
    with pytest.raises(error, match=match):
        layer_of("group", geometry="adaptive")(input_of("group"), w)


@pytest.mark.parametrize("geometry", ["none", "learned"])
def test_static_layers_refuse_w(geometry):
    with pytest.raises(ValueError, match="belongs to geometry='adaptive'"):
        layer_of("group", geometry=geometry)(input_of("group"), some_w())
    with pytest.raises(ValueError, match="sample_filters"):
        layer_of("group", geometry=geometry).sample_filters(some_w())


def test_bad_maps():
    layer = layer_of("group", geometry="adaptive")
    with pytest.raises(ValueError, match="15 channels, SAGroupConv2d takes 16"):
        layer(torch.zeros(2, 15, 9, 9).double(), some_w())
    with pytest.raises(ValueError, match="shape"):
        layer(torch.zeros(16, 9, 9).double(), some_w())
    with pytest.raises(TypeError, match="floating point"):
        layer(torch.zeros(2, 16, 9, 9, dtype=torch.uint8), some_w())
    with pytest.raises(ValueError, match="symmetry"):
        layer_of("group", geometry="adaptive", stride=2)(input_of("group", size=(8, 8)), some_w())


def test_half_precision_modules_are_refused():
    layer, x = layer_of("group", geometry="adaptive").half(), input_of("group").half()
    with pytest.raises(TypeError, match="autocast"):
        layer(x, torch.zeros(2, 3).half())


def test_degenerate_frames_are_reported():
    layer, x = layer_of("group", geometry="adaptive"), input_of("group")
    collapse = torch.tensor([[0.0, 0, 0], [0, -0.97, 0]]).double()
    with pytest.warns(UserWarning, match="Cx·Cy"):
        layer(x, collapse)
    safe = layer_of("group", geometry="adaptive", parametrization="exp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe(x, collapse)
