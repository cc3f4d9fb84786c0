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

from sa_conv import SAConv2d, SAGroupConv2d, SALiftingConv2d, SAProjectionConv2d, SASequential
from sa_conv.geometry import BentBank, Frame
from sa_conv.hyper import ImageHyperNet
from tenfold.groupconv import (
    GroupConv2d,
    LiftingConv2d,
    ProjectionConv2d,
    bank_from_basis,
    bicubic_basis,
    disk_mask,
    fourier_functions,
    fourier_whitening,
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


def test_exponential_frame_is_the_raw_one_at_the_exponentials():
    raw, exp = Frame().double(), Frame("exp").double()
    w = some_w(4)
    stretched = torch.cat([w[:, :1], w[:, 1:].exp() - 1], 1)
    torch.testing.assert_close(exp(w), raw(stretched))
    exp.load_state_dict({"base": torch.ones(3)})
    exp.reset_parameters()
    torch.testing.assert_close(exp(), torch.eye(2).double())


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


# --- equivariance -----------------------------------------------------------------------------------------------------


def quarter_turn_error(layer: nn.Module, kind: str, N: int, *w: torch.Tensor) -> float:
    group, x = CyclicGroup(N), input_of(kind, N)
    turn_in = group.act if kind == "lifting" else group.act_field
    turn_out = group.act if kind == "projection" else group.act_field
    with torch.no_grad():
        y = layer(x, *w)
        moved = layer(turn_in(N // 4, x), *w)
    return float((moved - turn_out(N // 4, y)).abs().max() / y.abs().max())


@kinds
@bases
@pytest.mark.parametrize("N", [4, 8, 12])
def test_quarter_turns_are_exact_for_isotropic_frames_and_fail_visibly_otherwise(kind, basis, N):
    layer = layer_of(kind, N=N, basis=basis, geometry="adaptive")
    for isotropic in ([0.0, 0.0, 0.0], [0.7, 0.0, 0.0], [0.4, 0.25, 0.25]):
        w = torch.tensor(isotropic).double().expand(2, 3)
        assert quarter_turn_error(layer, kind, N, w) < 1e-10
    stretched = torch.tensor([0.3, 0.3, -0.2]).double().expand(2, 3)
    assert quarter_turn_error(layer, kind, N, stretched) > 1e-2
    single = layer.float()
    w = torch.tensor([0.4, 0.25, 0.25]).expand(2, 3)
    x = input_of(kind, N).float()
    group = CyclicGroup(N)
    turned = (group.act if kind == "lifting" else group.act_field)(N // 4, x)
    back = (group.act if kind == "projection" else group.act_field)(N // 4, single(x, w))
    torch.testing.assert_close(single(turned, w), back, rtol=1e-5, atol=1e-5)


class SmoothMaps:
    """Functions on the plane, one per image, channel and orientation: sums of Gaussian blobs."""

    def __init__(self, *shape: int):
        generator = torch.Generator().manual_seed(3)
        self.amplitude = torch.randn(*shape, 4, dtype=torch.float64, generator=generator)
        self.centre = torch.rand(*shape, 4, 2, dtype=torch.float64, generator=generator) * 2 - 1
        self.width = 0.5 + 0.5 * torch.rand(*shape, 4, dtype=torch.float64, generator=generator)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        distance = (points[..., None, :] - self.centre[..., None, None, :, :]).square().sum(-1)
        width = self.width[..., None, None, :]
        return (self.amplitude[..., None, None, :] * torch.exp(-distance / (2 * width**2))).sum(-1)


def refined_layer(kind: str, kernel_size: int) -> nn.Module:
    """The same continuous filters at every kernel size: Fourier basis, q = 5, small at the rim of the kernel."""
    layer = layer_of(kind, kernel_size, basis="fourier", frequencies=5, geometry="adaptive", bias=False)
    layer.padding = 0
    group = CyclicGroup(8)
    functions = fourier_functions(group, kernel_size, 5)[:, :, 0].flatten(0, 1)
    axis = torch.linspace(-1, 1, kernel_size, dtype=torch.float64) * 0.8 * math.pi
    a, b = axis[None, :], axis[:, None]
    bump_a, bump_b = (1 + a.cos()) / 2, (1 + b.cos()) / 2
    mask = layer.bent.disk(torch.eye(2).double())
    atoms = torch.stack([bump_a**2 * bump_b**2, bump_a * a.sin() * bump_b**2, bump_a**2 * bump_b * b.sin()])
    target = (atoms * mask).flatten(1)  # 3 pp
    coefficients = torch.linalg.lstsq(functions @ layer.bank.whitening, target.T).solution  # K 3
    generator = torch.Generator().manual_seed(4)
    mix = torch.randn(*layer.weight.shape[:3], 3, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(mix @ coefficients.T)
    return layer


def conjugated_error(kind: str, kernel_size: int, w: torch.Tensor, element: int, conjugate: bool) -> float:
    """Error at the centre pixel when the input is transformed by T = D A D⁻¹ (or, as a control, by A)."""
    layer, group, radius = refined_layer(kind, kernel_size), CyclicGroup(8), (kernel_size - 1) // 2
    frame = layer.frame(w).detach()
    turn = group.inverse_matrix(element)  # A⁻¹
    transform = torch.linalg.inv(frame) @ turn @ frame if conjugate else turn  # T⁻¹
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64) / radius
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (X, Y)
    fields = KINDS[kind][2]
    maps = SmoothMaps(8, fields, 1 if kind == "lifting" else 8)
    still, moved = maps(points), maps(points @ transform.T)
    if kind != "lifting":
        moved = moved[:, :, group.regular_permutation(element)]
    with torch.no_grad():
        y, y_moved = (layer(x.flatten(1, 2), w) / radius**2 for x in (still, moved))
    if kind != "projection":
        y = group.act_regular(element, y, dim=1)
    return float((y_moved - y).square().mean().sqrt() / y.square().mean().sqrt())


@kinds
@pytest.mark.parametrize("w", [(0.0, 0.4, 0.4), (0.3, 0.6, 0.3)], ids=["rotation", "ellipse"])
def test_error_under_the_conjugated_group_falls_with_the_square_of_the_mesh(kind, w):
    """Section 3.3: T = D A D⁻¹ is the symmetry; a rotation is one only where Cx = Cy."""
    geometry = torch.tensor(w, dtype=torch.float64)
    errors = [conjugated_error(kind, p, geometry, 1, conjugate=True) for p in (5, 9, 17)]
    assert all(coarse / fine >= 3.5 for coarse, fine in itertools.pairwise(errors)), errors
    if w[1] != w[2]:
        control = [conjugated_error(kind, p, geometry, 1, conjugate=False) for p in (9, 17)]
        assert control[1] > 20 * errors[2]
        assert control[1] > 0.8 * control[0]  # does not go away with the mesh


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


@bases
@pytest.mark.parametrize("N", [1, 3, 4, 8])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_bent_functions_are_those_of_the_shared_bases(basis, N, kernel_size):
    """Against `tenfold.groupconv.basis`, which evaluates the same formulas another way; images one by one and in batches."""
    group, inverse = CyclicGroup(N), Frame()(some_w(3, torch.float32)).detach().double()
    bank = BentBank(group, kernel_size, basis).double()
    if basis == "bicubic":
        whitening, expected = None, bicubic_basis(group, kernel_size, inverse)
    else:
        whitening = fourier_whitening(group, kernel_size)
        expected = fourier_functions(group, kernel_size, kernel_size, inverse) @ whitening
    torch.testing.assert_close(bank(inverse, whitening), bank_from_basis(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bank(inverse[1], whitening), bank(inverse, whitening)[1])
    torch.testing.assert_close(bank.disk(inverse), disk_mask(group, kernel_size, inverse))


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_differ_in_what_they_follow():
    group, w = CyclicGroup(8), some_w(1)[0].requires_grad_()
    frame = Frame().double()
    static, transformed, detached = (
        BentBank(group, 5, mask=m).double().disk(frame(w)) for m in ("static", "transformed", "detached")
    )
    assert torch.equal(transformed, detached)
    assert transformed.requires_grad
    assert not detached.requires_grad
    assert (static - transformed).abs().max() > 1e-3
    assert static[0, 0] == pytest.approx(0.006738, abs=1e-6)
    assert static[0, 1] == pytest.approx(0.286505, abs=1e-6)
    # the mask is read at the coordinates of the basis: ρ = |D⁻¹δ| (P3)
    x, y = torch.tensor([-1.0, 0.5]).double()
    u, v = frame(w).detach() @ torch.stack([x, y])
    assert transformed[3, 0].item() == pytest.approx(math.exp(-max(float(u**2 + v**2) - 1, 0) / 0.2))
    assert torch.equal(BentBank(group, 5, mask="none").double().disk(frame(w)), torch.ones(5, 5).double())


@pytest.mark.parametrize("N", [1, 2, 4])
def test_no_mask_where_rotations_are_exact(N):
    frame = Frame().double()(some_w(2))
    for mask in ("static", "transformed", "detached"):
        assert BentBank(CyclicGroup(N), 5, mask=mask).double().disk(frame).eq(1).all()


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


# --- drop-in ----------------------------------------------------------------------------------------------------------


def test_drop_in_layer_starts_as_a_b_conv_and_learns_to_bend():
    torch.manual_seed(0)
    layer, x = SAConv2d(16, 24), torch.randn(3, 16, 20, 20)
    plain = SAGroupConv2d(2, 3)
    plain.load_state_dict(
        {
            k.removeprefix("conv."): v
            for k, v in layer.state_dict().items()
            if "frame" not in k and "hyper" not in k
        }
    )
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)
    layer(x).square().sum().backward()
    assert layer.hyper.mlp[-1].bias.grad.abs().max() > 0


def test_sequence_gives_w_to_its_layers():
    torch.manual_seed(0)
    lift, project = (cls(3, 3, geometry="adaptive") for cls in (SALiftingConv2d, SAProjectionConv2d))
    hyper = ImageHyperNet()
    nn.init.normal_(hyper.mlp[-1].weight, std=1e-3)
    net, x = SASequential(lift, nn.ReLU(), project, hyper=hyper).eval(), 255 * torch.rand(2, 3, 26, 26)
    w = hyper(x)
    assert w.abs().max() > 0
    torch.testing.assert_close(net(x), project(F.relu(lift(x, w)), w))


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


def test_bad_drop_in():
    with pytest.raises(ValueError, match="in_channels must be a multiple of the 8"):
        SAConv2d(12, 16)
    with pytest.raises(ValueError, match="out_channels must be a multiple of the 8"):
        SAConv2d(3, 12, image=True)
    with pytest.raises(ValueError, match="geometry"):
        SAConv2d(16, 16, geometry="learned")


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
