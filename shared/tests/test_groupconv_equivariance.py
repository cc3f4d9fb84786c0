"""Every layer commutes with its group, and e2cnn is the referee that transforms the features.

e2cnn works in single precision, so it transforms the *numbers of the entries*, from which its exact permutation is
read; that permutation is then applied in double precision.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.equivariance import GaussianBlobs, analytic_equivariance_error
from tenfold.groupconv import (
    AntialiasedAvgPool2d,
    FieldBatchNorm2d,
    FieldInstanceNorm2d,
    FieldLayerNorm2d,
    GroupConv1x1,
    GroupConv2d,
    GroupConvTranspose2d,
    GroupLayerNorm,
    GroupLinear,
    GroupPixelShuffle,
    GroupPool,
    LiftingConv2d,
    LiftingLinear,
    ProjectionConv2d,
    ProjectionLinear,
    bank_from_basis,
    bicubic_basis,
    from_canonical_frames,
    group_arrangement,
    group_filter,
    lifting_filter,
    projection_filter,
    to_canonical_frames,
    to_e2cnn_type,
)
from tenfold.groups import CyclicGroup, DihedralGroup, Group

# e2cnn 0.2.3, when its files are compiled for the first time
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")

GROUPS = [CyclicGroup(1), CyclicGroup(2), CyclicGroup(4), CyclicGroup(8), DihedralGroup(1), DihedralGroup(4)]
LATTICE_GROUPS = [group for group in GROUPS if group.is_lattice_group]
FIELDS = 2


class OnPixels(nn.Module):
    """A layer for the last axis, applied to the channels of every pixel."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.movedim(1, -1)).movedim(-1, 1)


class InCanonicalFrames(nn.Module):
    """An unsymmetric operator, the same for all channels."""

    def __init__(self, group: Group):
        super().__init__()
        self.group = group
        self.kernel = nn.Parameter(torch.randn(1, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        frames = to_canonical_frames(x, self.group)
        kernel = self.kernel.expand(frames.shape[1], -1, -1, -1)
        return from_canonical_frames(F.conv2d(frames, kernel, padding=1, groups=len(kernel)), self.group)


# name: builder, does it take fields (else an image), fields or channels of the output, does it return fields
Case = tuple[Callable[[Group], nn.Module], bool, int, bool]
CONVOLUTIONS: dict[str, Case] = {
    "lifting": (lambda g: LiftingConv2d(2, 3, 5, g), False, 3, True),
    "lifting-fourier": (lambda g: LiftingConv2d(2, 3, 5, g, basis="fourier", smooth=True), False, 3, True),
    "lifting-strided": (lambda g: LiftingConv2d(2, 3, 3, g, stride=2), False, 3, True),
    "group": (lambda g: GroupConv2d(FIELDS, 3, 5, g), True, 3, True),
    "group-fourier": (lambda g: GroupConv2d(FIELDS, 3, 5, g, basis="fourier", frequencies=4), True, 3, True),
    "group-strided": (lambda g: GroupConv2d(FIELDS, 3, 3, g, stride=2), True, 3, True),
    "group-dilated-circular": (
        lambda g: GroupConv2d(FIELDS, 3, 3, g, dilation=2, padding_mode="circular"),
        True,
        3,
        True,
    ),
    "group-reflect": (
        lambda g: GroupConv2d(FIELDS, 3, 3, g, padding_mode="reflect", bias=False),
        True,
        3,
        True,
    ),
    "pointwise": (lambda g: GroupConv1x1(FIELDS, 3, g), True, 3, True),
    "transposed": (lambda g: GroupConvTranspose2d(FIELDS, 3, 5, g, stride=2), True, 3, True),
    "projection": (lambda g: ProjectionConv2d(FIELDS, 3, 5, g), True, 3, False),
    "projection-fourier": (lambda g: ProjectionConv2d(FIELDS, 3, 3, g, basis="fourier"), True, 3, False),
}
COMPANIONS: dict[str, Case] = {
    "batch-norm": (lambda g: FieldBatchNorm2d(FIELDS, g), True, FIELDS, True),
    "instance-norm": (lambda g: FieldInstanceNorm2d(FIELDS, g, affine=True), True, FIELDS, True),
    "layer-norm-maps": (lambda g: FieldLayerNorm2d(FIELDS, g), True, FIELDS, True),
    "layer-norm-tokens": (lambda g: OnPixels(GroupLayerNorm(FIELDS, g)), True, FIELDS, True),
    "linear": (lambda g: OnPixels(GroupLinear(FIELDS, 3, g)), True, 3, True),
    "linear-lifting": (lambda g: OnPixels(LiftingLinear(2, 3, g)), False, 3, True),
    "linear-projection": (lambda g: OnPixels(ProjectionLinear(FIELDS, 3, g)), True, 3, False),
    "pool-max": (lambda g: GroupPool(g, "max"), True, FIELDS, False),
    "pool-mean-max": (lambda g: GroupPool(g, "mean_max"), True, 2 * FIELDS, False),
    "pool-norm": (lambda g: GroupPool(g, "norm"), True, FIELDS, False),
    "antialiased-pool": (lambda g: AntialiasedAvgPool2d(5, stride=2), True, FIELDS, True),
}
LATTICE_ONLY: dict[str, Case] = {
    "lifting-patches": (
        lambda g: LiftingConv2d(2, 3, 3, g, stride=3, padding=0, basis="lattice"),
        False,
        3,
        True,
    ),
    "group-even": (lambda g: GroupConv2d(FIELDS, 3, 4, g, padding=1, basis="lattice"), True, 3, True),
    "transposed-even": (
        lambda g: GroupConvTranspose2d(FIELDS, 3, 4, g, stride=2, padding=1, basis="lattice"),
        True,
        3,
        True,
    ),
    "projection-even": (lambda g: ProjectionConv2d(FIELDS, 3, 2, g, basis="lattice"), True, 3, False),
    "canonical-frames": (InCanonicalFrames, True, FIELDS, True),
}


def perturbed(module: nn.Module) -> nn.Module:
    """Double precision, evaluation mode, and every parameter and statistic away from its initial value."""
    module = module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    return module


def referee(x: Tensor, field_type, element) -> Tensor:
    """x transformed by e2cnn, in the precision of x."""
    from e2cnn.nn import GeometricTensor

    numbers = torch.arange(x[0].numel(), dtype=torch.float32).view(1, *x.shape[1:])
    moved = GeometricTensor(numbers, field_type).transform(element).tensor.round().long().flatten()
    assert torch.equal(moved.sort().values, torch.arange(len(moved)))
    return x.flatten(1)[:, moved].view(x.shape)


def assert_commutes(case: Case, group: Group, size: int) -> None:
    from e2cnn import nn as enn

    build, takes_fields, n_out, gives_fields = case
    torch.manual_seed(0)
    module = perturbed(build(group))
    fields_in, fields_out = to_e2cnn_type(FIELDS, group), to_e2cnn_type(n_out, group)
    space = fields_in.gspace
    type_in = fields_in if takes_fields else enn.FieldType(space, 2 * [space.trivial_repr])
    type_out = fields_out if gives_fields else enn.FieldType(space, n_out * [space.trivial_repr])
    x = torch.randn(2, type_in.size, size, size, dtype=torch.float64)
    with torch.no_grad():
        y = module(x)
        assert y.shape[1] == type_out.size
        for element in group.lattice_elements:
            e2cnn_element = list(space.fibergroup.elements)[element]
            expected = referee(y, type_out, e2cnn_element)
            actual = module(referee(x, type_in, e2cnn_element))
            error = ((actual - expected).abs().max() / y.abs().max()).item()
            assert error < 1e-10, (group.element_name(element), error)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("name", [*CONVOLUTIONS, *COMPANIONS])
def test_layer_commutes_by_e2cnn(name, group):
    assert_commutes((CONVOLUTIONS | COMPANIONS)[name], group, size=9)


@pytest.mark.parametrize("group", LATTICE_GROUPS, ids=str)
@pytest.mark.parametrize("name", LATTICE_ONLY)
def test_lattice_layer_commutes_by_e2cnn(name, group):
    assert_commutes(LATTICE_ONLY[name], group, size=6)


@pytest.mark.parametrize("upscale", [2, 3])
@pytest.mark.parametrize("group", LATTICE_GROUPS, ids=str)
def test_pixel_shuffle_commutes_by_e2cnn(group, upscale):
    layer, fields = GroupPixelShuffle(upscale, group), 2 * upscale**2
    type_in, type_out = to_e2cnn_type(fields, group), to_e2cnn_type(2, group)
    x = torch.randn(1, type_in.size, 5, 5, dtype=torch.float64)
    for e in type_in.fibergroup.elements:
        assert torch.equal(layer(referee(x, type_in, e)), referee(layer(x), type_out, e))


@pytest.mark.parametrize("group", [CyclicGroup(4), DihedralGroup(4)], ids=str)
def test_plain_pixel_shuffle_does_not_commute(group):
    x = torch.randn(1, 8 * group.order, 5, 5)
    blocks = x.view(1, 2, 4, group.order, 5, 5).transpose(2, 3).reshape(1, -1, 5, 5)
    turned = group.act_field(1, x).view(1, 2, 4, group.order, 5, 5).transpose(2, 3).reshape(1, -1, 5, 5)
    y = F.pixel_shuffle(blocks, 2)
    assert (F.pixel_shuffle(turned, 2) - group.act_field(1, y)).abs().max() > 0.5


@pytest.mark.parametrize("group", [*GROUPS, DihedralGroup(8)], ids=str)
def test_representation_is_e2cnns(group):
    field_type = to_e2cnn_type(2, group)
    for t, element in enumerate(field_type.fibergroup.elements):
        ours = torch.block_diag(*2 * [group.regular_representation(t)])
        torch.testing.assert_close(torch.from_numpy(field_type.representation(element)).double(), ours)


def test_the_other_index_passes_c4_and_fails_d4():
    """The weight between orientations s and t is that of t⁻¹s; with s·t⁻¹ C4 still commutes, D4 does not."""
    for group, commutes in ((CyclicGroup(4), True), (DihedralGroup(4), False)):
        weight = torch.randn(3, 2, group.order, dtype=torch.float64)
        wrong = torch.tensor(
            [[group.compose(s, group.inverse(t)) for s in group.elements] for t in group.elements]
        )
        dense = weight[:, :, wrong].permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
        x = torch.randn(5, 2 * group.order, dtype=torch.float64)
        errors = [
            (group.act_regular(g, x) @ dense.T - group.act_regular(g, x @ dense.T)).abs().max()
            for g in group.elements
        ]
        assert (max(errors) < 1e-10) == commutes


@pytest.mark.parametrize("group", [CyclicGroup(8), DihedralGroup(4)], ids=str)
def test_untied_layers_do_not_commute(group):
    """Controls: the same test sees an ordinary convolution and an ordinary norm."""
    untied = nn.LayerNorm(FIELDS * group.order)
    nn.init.normal_(untied.weight)
    for layer in (
        nn.Conv2d(FIELDS * group.order, FIELDS * group.order, 3, padding=1),
        OnPixels(untied),
        nn.BatchNorm2d(FIELDS * group.order),
    ):
        with pytest.raises(AssertionError):
            assert_commutes((lambda g, layer=layer: layer, True, FIELDS, True), group, size=7)


@pytest.mark.parametrize("group", [CyclicGroup(4), DihedralGroup(4)], ids=str)
def test_one_sided_sampling_does_not_commute(group):
    layer = GroupConv2d(FIELDS, 3, 3, group, stride=2, exact=False).double()
    x = torch.randn(1, FIELDS * group.order, 8, 8, dtype=torch.float64)
    y = layer(x)
    assert (layer(group.act_field(1, x)) - group.act_field(1, y)).abs().max() > 0.1 * y.abs().max()


FILTERS = {
    "lifting": (lambda bank, w, g: lifting_filter(bank, w), "image", "field"),
    "group": (lambda bank, w, g: group_filter(bank, w, group_arrangement(g, w.shape[1])), "field", "field"),
    "projection": (lambda bank, w, g: projection_filter(bank, w), "field", "image"),
    "plain": (lambda bank, w, g: lifting_filter(bank[:, :1], w), "image", "image"),
}


@pytest.mark.parametrize("group", [CyclicGroup(8), DihedralGroup(8)], ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_error_at_45_degrees_falls_with_the_square_of_the_pixel_size(name, group):
    """A filter that is fixed in the plane (5×5 nodes, disk mask), sampled ever finer (sa_conv §3.6 ii).

    Three halvings of h must lower the error at least 4³-fold; a plain convolution with the same filters stays put.
    """
    assemble, takes, gives = FILTERS[name]
    torch.manual_seed(0)
    weight = torch.randn(1, 1, group.order if name == "group" else 1, 25, dtype=torch.float64)
    wide = 2 * torch.eye(
        2, dtype=torch.float64
    )  # the kernel spans [−2, 2]², where filter times mask has died out
    errors = []
    for pixels in (17, 33, 65, 129):
        bank = bank_from_basis(bicubic_basis(group, pixels, wide, nodes=5)) * (4 / (pixels - 1)) ** 2
        kernel = assemble(bank, weight, group)
        image = GaussianBlobs.random(batch=16, channels=kernel.shape[1], seed=1)
        error = analytic_equivariance_error(
            partial(F.conv2d, weight=kernel), image, pixels, 45, gives, input=takes, group=group
        )
        errors.append(error.relative_l2[0])
    if name == "plain":
        assert errors[-1] > 0.9 * errors[0] > 0.1
    else:
        assert errors[0] / errors[-1] > 64
        assert all(fine < coarse / 3 for coarse, fine in pairwise(errors))


def test_c8_field_turns_as_in_e2cnn_between_the_pixels():
    """45°: both libraries interpolate, by different splines, and agree to per cents; the other direction does not."""
    from e2cnn.nn import GeometricTensor

    group, field_type = CyclicGroup(8), to_e2cnn_type(1, CyclicGroup(8))
    x = GaussianBlobs.random(batch=1, channels=8, seed=0).sample(33)
    theirs = GeometricTensor(x.float(), field_type).transform(1).tensor.double()
    scale = x.abs().max()
    assert (group.act_field(1, x, "bicubic") - theirs)[..., 6:-6, 6:-6].abs().max() < 0.03 * scale
    assert (group.act_field(7, x, "bicubic") - theirs)[..., 6:-6, 6:-6].abs().max() > 0.3 * scale
