"""The convolutions against their definition, their parameter counts, initialisation, and refusals."""

import math

import pytest
import torch
import torch.nn.functional as F

from tenfold.groupconv import (
    FilterBank,
    GroupConv1x1,
    GroupConv2d,
    GroupConvTranspose2d,
    LiftingConv2d,
    ProjectionConv2d,
    bank_from_basis,
    bicubic_basis,
    group_arrangement,
    group_filter,
    lifting_filter,
    projection_filter,
)
from tenfold.groups import CyclicGroup, DihedralGroup

C8 = CyclicGroup(8)


@pytest.mark.parametrize("group", [CyclicGroup(8), DihedralGroup(4)], ids=str)
@pytest.mark.parametrize("batched", [False, True])
def test_filters_by_the_definition(group, batched):
    maps = torch.eye(2, dtype=torch.float64) * torch.tensor([1.0, 0.8], dtype=torch.float64)[:, None, None]
    bank = bank_from_basis(bicubic_basis(group, 3, maps if batched else None))
    lifting = torch.randn(3, 2, 1, 9, dtype=torch.float64)
    regular = torch.randn(3, 2, group.order, 9, dtype=torch.float64)
    letters = "bktij" if batched else "ktij"
    b = "b" if batched else ""
    shape = (2,) if batched else ()

    expected = torch.einsum(f"{letters},mnk->{b}mtnij", bank, lifting[:, :, 0])
    torch.testing.assert_close(
        lifting_filter(bank, lifting), expected.reshape(*shape, 3 * group.order, 2, 3, 3)
    )
    expected = torch.einsum(f"{letters},mnk->{b}mntij", bank, lifting[:, :, 0])
    torch.testing.assert_close(
        projection_filter(bank, lifting), expected.reshape(*shape, 3, 2 * group.order, 3, 3)
    )
    expected = torch.einsum(f"{letters},mntsk->{b}mtnsij", bank, regular[:, :, group.left_division])
    actual = group_filter(bank, regular, group_arrangement(group, 2))
    torch.testing.assert_close(actual, expected.reshape(*shape, 3 * group.order, 2 * group.order, 3, 3))


def test_group_filter_gradients():
    bank = FilterBank(CyclicGroup(3), 3)().double().requires_grad_()
    weight = torch.randn(2, 2, 3, 9, dtype=torch.float64, requires_grad=True)
    arrangement = group_arrangement(CyclicGroup(3), 2)
    function = lambda b, w: group_filter(b, w, arrangement)[:2, :2]  # noqa: E731
    assert torch.autograd.gradcheck(function, (bank, weight))
    assert torch.autograd.gradgradcheck(function, (bank, weight))


def test_batched_bank_gradients():
    """Every sample has its own filters, and all share the weight."""
    group = CyclicGroup(4)
    geometry = torch.eye(2, dtype=torch.float64) + 0.1 * torch.randn(3, 2, 2, dtype=torch.float64)
    bank = bank_from_basis(bicubic_basis(group, 3, geometry))[..., :1].requires_grad_()
    weight = torch.randn(2, 1, 4, 9, dtype=torch.float64, requires_grad=True)
    arrangement = group_arrangement(group, 1)
    together = torch.autograd.grad(group_filter(bank, weight, arrangement).sin().sum(), (bank, weight))
    singly = sum(group_filter(b, weight, arrangement).sin().sum() for b in bank)
    for actual, expected in zip(together, torch.autograd.grad(singly, (bank, weight))):
        torch.testing.assert_close(actual, expected)


def test_group_filter_under_vmap():
    arrangement = group_arrangement(CyclicGroup(4), 2)
    bank = FilterBank(CyclicGroup(4), 3)()
    weights = torch.randn(5, 2, 2, 4, 9)
    together = torch.func.vmap(lambda w: group_filter(bank, w, arrangement))(weights)
    torch.testing.assert_close(together[3], group_filter(bank, weights[3], arrangement))


def test_cyclic_orientations_are_rolled():
    """K[(m,o),(n,a)] uses W[m,n,(a−o) mod N]; at o = N/4 the filter is rot90 of that at 0."""
    layer = LiftingConv2d(1, 1, 5, C8).double()
    kernels = layer.dense_weight()[:, 0]
    torch.testing.assert_close(kernels[2], torch.rot90(kernels[0]), rtol=0, atol=2e-15)
    group = GroupConv2d(1, 1, 5, C8).double()
    dense = group.dense_weight()
    torch.testing.assert_close(dense[2, 5], torch.rot90(dense[0, 3]), rtol=0, atol=2e-15)


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        (GroupConv2d(32, 32, 5, C8), 32 * 32 * 8 * 25 + 32),
        (GroupConv2d(16, 16, 5, CyclicGroup(4)), 25_616),
        (LiftingConv2d(3, 16, 5, CyclicGroup(4)), 1_216),
        (LiftingConv2d(3, 32, 5, C8, basis="fourier"), 32 * 3 * 25 + 32),
        (ProjectionConv2d(8, 64, 5, C8), 64 * 8 * 25 + 64),
        (GroupConv1x1(72, 8, C8), 72 * 8 * 8 + 8),
        (GroupConv2d(2, 3, 3, DihedralGroup(4), bias=False), 2 * 3 * 8 * 9),
    ],
)
def test_parameter_counts(layer, count):
    assert sum(p.numel() for p in layer.parameters()) == count


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (LiftingConv2d(50, 40, 5, C8), 50 * 25),
        (GroupConv2d(20, 20, 5, C8), 20 * 8 * 25),
        (ProjectionConv2d(40, 50, 5, C8), 40 * 25),
        (GroupConvTranspose2d(20, 10, 3, C8), 20 * 8 * 9),
    ],
)
def test_initialisation(layer, fan_in):
    bound = fan_in**-0.5
    assert 0.98 * bound < layer.weight.abs().max() <= bound
    assert layer.bias.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    layer.reset_parameters("fconv2022")
    bound = 2.4495 / math.sqrt(fan_in / layer.weight.shape[2])
    assert 0.98 * bound < layer.weight.abs().max() <= bound
    assert not layer.bias.any()


def test_pointwise_initialisation():
    layer = GroupConv1x1(50, 40, C8)
    assert layer.weight.abs().max().item() == pytest.approx(2.4495 / math.sqrt(50), rel=0.01)
    assert not layer.bias.any()


def test_layer_is_the_dense_convolution():
    layer = GroupConv2d(2, 3, 5, C8, stride=2)
    x = torch.randn(2, 16, 9, 11)
    expected = F.conv2d(x, layer.dense_weight(), layer.dense_bias(), 2, 2)
    assert torch.equal(layer(x), expected)
    assert layer.dense_bias().shape == (24,)


def test_transposed_layer_is_the_adjoint():
    group = DihedralGroup(4)
    forward = GroupConv2d(2, 3, 3, group, stride=2, bias=False).double()
    backward = GroupConvTranspose2d(3, 2, 3, group, stride=2, bias=False).double()
    backward.load_state_dict(forward.state_dict())
    x, y = torch.randn(1, 16, 9, 9, dtype=torch.float64), torch.randn(1, 24, 5, 5, dtype=torch.float64)
    torch.testing.assert_close((forward(x) * y).sum(), (x * backward(y)).sum())


def test_channels_last_and_non_contiguous_inputs():
    layer = GroupConv2d(2, 3, 5, C8)
    x = torch.randn(2, 9, 11, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), layer(x.contiguous()), rtol=1e-4, atol=1e-5)
    wide = torch.randn(2, 16, 9, 22)
    torch.testing.assert_close(layer(wide[..., ::2]), layer(wide[..., ::2].contiguous()))


def test_autocast_assembles_in_full_precision():
    layer = GroupConv2d(2, 2, 5, C8)
    seen = []
    hook = layer.weight.register_hook(lambda g: seen.append(g.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.dense_weight().dtype == torch.float32
        y = layer(torch.randn(1, 16, 7, 7))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    hook.remove()
    assert seen == [torch.float32]


def test_empty_batch():
    assert LiftingConv2d(1, 2, 3, C8)(torch.randn(0, 1, 5, 5)).shape == (0, 16, 5, 5)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: LiftingConv2d(0, 2, 3, C8), ValueError, "in_channels must be at least 1, got 0"),
        (lambda: GroupConv2d(2, 2.5, 3, C8), TypeError, "out_fields must be an int, got 2.5"),
        (lambda: GroupConv2d(2, 2, 3, 8), TypeError, "CyclicGroup or DihedralGroup, got 8"),
        (lambda: GroupConv2d(2, 2, 4, C8), ValueError, "odd and at least 3"),
        (lambda: GroupConv2d(2, 2, 3, C8, stride=0), ValueError, "stride must be at least 1"),
        (lambda: GroupConv2d(2, 2, 3, C8, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: GroupConv2d(2, 2, 3, C8, padding_mode="wrap"), ValueError, "circular, got 'wrap'"),
        (lambda: GroupConv2d(2, 2, 3, C8, init="xavier"), ValueError, "fconv2022, got 'xavier'"),
        (lambda: GroupConv2d(2, 2, 3, C8, basis="lattice"), ValueError, "got C8; use basis="),
        (lambda: GroupConvTranspose2d(2, 2, 3, C8, output_padding=1), ValueError, "breaks the symmetry"),
        (lambda: GroupConvTranspose2d(2, 2, 3, C8, padding_mode="reflect"), ValueError, "must be 'zeros'"),
    ],
)
def test_constructors_refuse(build, error, match):
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (
            torch.randn(1, 15, 5, 5),
            ValueError,
            r"x has 15 channels, GroupConv2d takes 16 \(2 fields × 8 elements of C8\)",
        ),
        (torch.randn(16, 5, 5), ValueError, r"\(b, channels, h, w\), got \(16, 5, 5\)"),
        (torch.zeros(1, 16, 5, 5, dtype=torch.uint8), TypeError, "uint8"),
    ],
)
def test_calls_refuse(x, error, match):
    with pytest.raises(error, match=match):
        GroupConv2d(2, 2, 3, C8)(x)


def test_unsymmetric_sampling_is_refused_unless_asked_for():
    with pytest.raises(ValueError, match=r"height 8 with padding 1.*1 pixels on one side.*exact=False"):
        GroupConv2d(2, 2, 3, C8, stride=2)(torch.randn(1, 16, 8, 8))
    assert GroupConv2d(2, 2, 3, C8, stride=2, exact=False)(torch.randn(1, 16, 8, 8)).shape == (1, 16, 4, 4)
    approximate = GroupConvTranspose2d(2, 2, 3, C8, stride=2, output_padding=1, exact=False)
    assert approximate(torch.randn(1, 16, 4, 4)).shape == (1, 16, 8, 8)


def test_bank_and_weight_must_fit():
    with pytest.raises(ValueError, match="4 coefficients per filter, the bank 9 functions"):
        lifting_filter(FilterBank(C8, 3)(), torch.randn(2, 2, 1, 4))
