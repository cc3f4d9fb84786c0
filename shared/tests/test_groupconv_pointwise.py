"""Linear maps, norms, dropout, pooling, pixel shuffle and frames against their definitions; refusals."""

import pytest
import torch
from torch import nn

from tenfold.groupconv import (
    AntialiasedAvgPool2d,
    FieldBatchNorm2d,
    FieldDropout,
    FieldDropout2d,
    FieldInstanceNorm2d,
    FieldLayerNorm2d,
    GroupLayerNorm,
    GroupLinear,
    GroupPixelShuffle,
    GroupPool,
    LiftingLinear,
    ProjectionLinear,
    from_canonical_frames,
    to_canonical_frames,
)
from tenfold.groups import CyclicGroup, DihedralGroup

C4, C8, D4 = CyclicGroup(4), CyclicGroup(8), DihedralGroup(4)
GROUPS = [CyclicGroup(1), CyclicGroup(3), C4, C8, DihedralGroup(1), D4]


@pytest.fixture(params=GROUPS, ids=str)
def group(request):
    return request.param


def test_group_linear_by_the_formula(group):
    layer = GroupLinear(2, 3, group).double()
    x = torch.randn(5, 7, 2, group.order, dtype=torch.float64)
    expected = torch.zeros(5, 7, 3, group.order, dtype=torch.float64)
    for t in group.elements:
        for s in group.elements:
            relative = group.compose(group.inverse(t), s)
            expected[..., t] += torch.einsum("oi,...i->...o", layer.weight.detach()[..., relative], x[..., s])
    expected += layer.bias.detach()[:, None]
    torch.testing.assert_close(layer(x.flatten(-2)).detach(), expected.flatten(-2))


def test_group_linear_is_complete(group):
    """Its dense matrices span all matrices that commute with the group: C_in·C_out·|G| dimensions."""
    layer = GroupLinear(2, 1, group, bias=False).double()
    dense = []
    with torch.no_grad():
        for i in range(layer.weight.numel()):
            layer.weight.copy_(torch.eye(layer.weight.numel(), dtype=torch.float64)[i].view_as(layer.weight))
            dense.append(layer.dense_weight().flatten())
    conditions = []
    for g in group.elements:
        out, into = group.regular_representation(g), torch.block_diag(*2 * [group.regular_representation(g)])
        n = into.shape[0]
        conditions.append(
            torch.kron(out, torch.eye(n, dtype=torch.float64))
            - torch.kron(torch.eye(group.order, dtype=torch.float64), into.T.contiguous())
        )
    conditions = torch.cat(conditions)
    dimension = conditions.shape[1] - int(torch.linalg.matrix_rank(conditions))
    assert torch.linalg.matrix_rank(torch.stack(dense)) == dimension == 2 * group.order
    assert (conditions @ torch.stack(dense).T).abs().max() < 1e-12


@pytest.mark.parametrize("g", D4.elements)
def test_linear_maps_commute_with_every_element_of_d4(g):
    x, scalars = torch.randn(4, 16, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    regular, lift, project = (
        layer.double()
        for layer in (GroupLinear(2, 3, D4), LiftingLinear(5, 3, D4), ProjectionLinear(2, 3, D4))
    )
    torch.testing.assert_close(
        regular(D4.act_regular(g, x)), D4.act_regular(g, regular(x)), rtol=0, atol=1e-13
    )
    torch.testing.assert_close(project(D4.act_regular(g, x)), project(x), rtol=0, atol=1e-13)
    assert torch.equal(D4.act_regular(g, lift(scalars)), lift(scalars))


def test_linear_gradients():
    layer = GroupLinear(2, 3, D4).double()
    x = torch.randn(2, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, x), (x, layer.weight)
    )


def test_linear_initialisation():
    for layer, fan_in in (
        (GroupLinear(50, 60, C8), 400),
        (LiftingLinear(50, 60, C8), 50),
        (ProjectionLinear(50, 60, C8), 50),
    ):
        assert 0.99 * fan_in**-0.5 < layer.weight.abs().max() <= fan_in**-0.5
        assert layer.bias.abs().max() <= fan_in**-0.5


def test_batch_norm_shares_statistics_over_orientations():
    norm, x = FieldBatchNorm2d(2, C4).double(), torch.randn(3, 8, 5, 5, dtype=torch.float64) * 3 + 1
    y = norm(x).view(3, 2, 4, 5, 5)
    torch.testing.assert_close(y.mean((0, 2, 3, 4)), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    fields = x.view(3, 2, 4, 5, 5)
    torch.testing.assert_close(norm.running_mean, 0.1 * fields.mean((0, 2, 3, 4)))
    assert not torch.allclose(y[:, :, 0].mean((0, 2, 3)), torch.zeros(2, dtype=torch.float64), atol=1e-3)


def test_instance_norm_shares_statistics_over_orientations():
    y = FieldInstanceNorm2d(2, C4)(torch.randn(3, 8, 5, 5) * 3 + 1).view(3, 2, -1)
    torch.testing.assert_close(y.mean(-1), torch.zeros(3, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std(-1, correction=0), torch.ones(3, 2), rtol=0, atol=1e-3)


def test_layer_norm_by_the_formula():
    norm = GroupLayerNorm(3, C4, eps=1e-3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    normal = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
    expected = normal.view(2, 5, 3, 4) * norm.weight[:, None] + norm.bias[:, None]
    torch.testing.assert_close(norm(x), expected.flatten(-2))
    maps = FieldLayerNorm2d(3, C4, eps=1e-3).double()
    maps.load_state_dict(norm.state_dict())
    torch.testing.assert_close(maps(x.transpose(1, 2).unsqueeze(-1)), norm(x).transpose(1, 2).unsqueeze(-1))
    assert GroupLayerNorm(3, C4, affine=False)(x).shape == x.shape


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_dropout_of_fibres(p):
    layer, x = FieldDropout(p, C8), torch.ones(50, 40, 24)
    y = layer(x).view(50, 40, 3, 8)
    assert torch.equal(y, y[..., :1].expand_as(y))
    kept = (y[..., 0] != 0).float().mean().item()
    assert kept == pytest.approx(1 - p, abs=0.03)
    torch.testing.assert_close(y.max().item(), 1 / (1 - p))
    assert layer.eval()(x) is x


def test_dropout_of_whole_fields():
    layer, x = FieldDropout2d(0.3, C8), torch.ones(400, 24, 3, 3)
    y = layer(x).view(400, 3, -1)
    assert torch.equal(y, y[..., :1].expand_as(y))
    assert (y[..., 0] != 0).float().mean().item() == pytest.approx(0.7, abs=0.05)
    assert layer.eval()(x) is x


def test_group_pool_values():
    x = torch.tensor([[[3.0, 4.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]])  # tokens of two C4 fields
    pool = lambda mode: GroupPool(C4, mode, dim=-1)(x)[0, 0].tolist()  # noqa: E731
    assert pool("max") == [4, 1]
    assert pool("mean") == [1.75, 1]
    assert pool("norm") == [5, 2]
    assert pool("mean_max") == [1.75, 1, 4, 1]


def test_antialiased_pool_is_a_gaussian_average():
    layer = AntialiasedAvgPool2d(5, stride=1, padding=0).double()
    impulse = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    impulse[..., 4, 4] = 1
    response = layer(impulse)[0, 0]
    assert response.sum().item() == pytest.approx(1)
    assert (response[2, 3] / response[2, 2]).item() == pytest.approx(
        torch.exp(torch.tensor(-1 / (2 * (4 / 6) ** 2))).item()
    )


def test_pixel_shuffle_of_one_orientation_is_torchs():
    x = torch.randn(2, 12, 3, 4)
    assert torch.equal(GroupPixelShuffle(2, CyclicGroup(1))(x), nn.functional.pixel_shuffle(x, 2))


def test_pixel_shuffle_places_blocks_in_their_frames():
    x = torch.arange(16.0).view(1, 16, 1, 1)  # one field of C4, r = 2: channel = sub-pixel * 4 + orientation
    y = GroupPixelShuffle(2, C4)(x)[0]
    block = torch.tensor([[0.0, 4.0], [8.0, 12.0]])
    for t in range(4):
        assert torch.equal(y[t], torch.rot90(block + t, t))


@pytest.mark.parametrize("group", [CyclicGroup(1), CyclicGroup(2), C4, DihedralGroup(2), D4], ids=str)
def test_canonical_frames_turn_the_action_into_a_permutation(group):
    x = torch.randn(2, 2 * group.order, 4, 4)
    frames = to_canonical_frames(x, group)
    assert torch.equal(from_canonical_frames(frames, group), x)
    for g in group.elements:
        moved = to_canonical_frames(group.act_field(g, x), group)
        assert torch.equal(moved, group.act_regular(g, frames, dim=1))


def test_canonical_frames_of_flat_maps():
    x = torch.randn(1, 4, 4, 6)
    assert to_canonical_frames(x, DihedralGroup(2)).shape == x.shape
    with pytest.raises(ValueError, match="square for the quarter turns of C4, got 4×6"):
        to_canonical_frames(x, C4)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: GroupLinear(0, 1, C4), ValueError, "in_fields must be at least 1"),
        (lambda: LiftingLinear(2, 1, 4), TypeError, "CyclicGroup or DihedralGroup, got 4"),
        (lambda: FieldBatchNorm2d(0, C4), ValueError, "fields must be at least 1"),
        (lambda: FieldDropout(1.0, C4), ValueError, r"p must lie in \[0, 1\), got 1.0"),
        (lambda: GroupPool(C4, "sum"), ValueError, "norm, got 'sum'"),
        (lambda: AntialiasedAvgPool2d(4), ValueError, "odd and at least 3, got 4"),
        (lambda: GroupPixelShuffle(2, C8), ValueError, "pixels to pixels .*got C8"),
        (
            lambda: to_canonical_frames(torch.ones(1, 8, 4, 4), C8),
            ValueError,
            "canonical frames needs .*got C8",
        ),
    ],
)
def test_constructors_refuse(build, error, match):
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize(
    ("layer", "shape", "match"),
    [
        (
            GroupLinear(2, 1, C4),
            (3, 9),
            r"x has 9 channels, GroupLinear takes 8 \(2 fields × 4 elements of C4\)",
        ),
        (LiftingLinear(2, 1, C4), (3, 8), "x has 8 channels, LiftingLinear takes 2"),
        (ProjectionLinear(2, 1, C4), (3, 2), "ProjectionLinear takes 8"),
        (GroupLayerNorm(2, C4), (3, 9), "GroupLayerNorm takes 8"),
        (FieldLayerNorm2d(2, C4), (3, 9, 2, 2), "FieldLayerNorm2d takes 8"),
        (FieldBatchNorm2d(2, C4), (3, 9, 2, 2), "FieldBatchNorm2d takes 8"),
        (FieldInstanceNorm2d(2, C4), (3, 9, 2, 2), "FieldInstanceNorm2d takes 8"),
        (GroupPool(C4), (3, 9, 2, 2), "9 channels, not a multiple of the 4 elements"),
        (GroupPixelShuffle(2, C4), (3, 24, 2, 2), "multiple of 16"),
        (AntialiasedAvgPool2d(3), (3, 4, 6, 6), "exact=False"),
    ],
)
def test_calls_refuse(layer, shape, match):
    with pytest.raises(ValueError, match=match):
        layer(torch.randn(shape))
