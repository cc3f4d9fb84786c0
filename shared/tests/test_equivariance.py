"""The measurement itself: zero for what commutes, large for what does not, right norms, modes put back."""

import math

import pytest
import torch
from torch import nn

from tenfold.equivariance import GaussianBlobs, analytic_equivariance_error, equivariance_error
from tenfold.groupconv import GroupConv2d, GroupPool, LiftingConv2d, ProjectionConv2d
from tenfold.groups import CyclicGroup, DihedralGroup

C4, C8, D4 = CyclicGroup(4), CyclicGroup(8), DihedralGroup(4)


def blur(x: torch.Tensor) -> torch.Tensor:
    """An isotropic smoothing, nearly equivariant under all rotations."""
    offset = torch.arange(-6, 7, dtype=x.dtype)
    bell = torch.exp(-offset.square() / 8)
    kernel = (bell[:, None] * bell / bell.sum() ** 2)[None, None]
    return nn.functional.conv2d(x.flatten(0, 1).unsqueeze(1), kernel, padding=6).view_as(x)


@pytest.mark.parametrize("group", [C4, D4], ids=str)
def test_every_kind_of_output_of_an_equivariant_network(group):
    features = nn.Sequential(LiftingConv2d(1, 2, 3, group), nn.ReLU(), GroupConv2d(2, 2, 3, group)).double()
    networks = {
        "field": features,
        "image": nn.Sequential(features, ProjectionConv2d(2, 1, 3, group).double()),
        "vector": nn.Sequential(features, GroupPool(group), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "fibre": nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    }
    x = torch.randn(2, 1, 7, 9, dtype=torch.float64)
    for output, network in networks.items():
        error = equivariance_error(network, x, group, output)
        assert error.worst < 1e-10
        assert len(error.elements) == group.order - 1
    # the same network, read as something it is not
    assert equivariance_error(features, x, group, "image").worst > 0.1
    assert equivariance_error(networks["fibre"], x, group, "vector").worst > 0.01


def test_input_of_fields():
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    layer = GroupConv2d(2, 1, 3, C4).double()
    assert equivariance_error(layer, x, C4, "field", input="field").worst < 1e-10
    assert equivariance_error(layer, x, C4, "field", input="image").worst > 0.1


def test_a_rotation_group_does_not_cover_reflections():
    layer = LiftingConv2d(1, 2, 3, D4).double()
    rotations = LiftingConv2d(1, 2, 3, C4).double()
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    assert equivariance_error(layer, x, D4, "field").worst < 1e-10
    pooled = nn.Sequential(rotations, GroupPool(C4))
    error = equivariance_error(pooled, x, D4)
    by_name = dict(zip(error.elements, error.relative_l2))
    assert max(by_name["r1"], by_name["r2"]) < 1e-10
    assert by_name["m"] > 0.05


def test_norms_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    error = equivariance_error(lambda x: x * torch.tensor([1.0, 2.0]), x, C4, elements=[2])
    # Φ(x) = [[1, 4], [3, 8]]; half a turn of it is [[8, 3], [4, 1]], Φ of the turned input is [[4, 6], [2, 2]]
    assert error.elements == ("r2",)
    assert error.relative_l2[0] == pytest.approx(math.sqrt((16 + 9 + 4 + 1) / (1 + 16 + 9 + 64)))
    assert error.relative_max[0] == pytest.approx(4 / 8)


def test_any_angle_of_an_image_map():
    """10° steps; the crop leaves out what the border spoils."""
    x = blur(torch.randn(1, 1, 49, 49, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    angles = CyclicGroup(36)
    smooth = equivariance_error(blur, x, angles, interpolation="bicubic", crop=8, elements=[1, 2, 9])
    assert max(smooth.relative_l2[:2]) < 0.02
    assert smooth.relative_l2[2] < 1e-12
    shifted = equivariance_error(
        lambda x: x.roll(3, -1), x, angles, interpolation="bicubic", crop=8, elements=[1]
    )
    assert shifted.relative_l2[0] > 10 * max(smooth.relative_l2)
    with pytest.raises(ValueError, match="name an interpolation"):
        equivariance_error(blur, x, angles)


def test_modes_are_put_back():
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), nn.Dropout(0.9))
    network[1].eval()
    first, second = (equivariance_error(network, torch.randn(2, 1, 6, 6), C4) for _ in range(2))
    assert first.worst > 0
    assert (network.training, network[1].training, network[2].training) == (True, False, True)
    assert network[1].num_batches_tracked == 0
    assert len(second.relative_l2) == 3


def test_modes_are_put_back_after_an_error():
    network = nn.Sequential(nn.Conv2d(1, 1, 3))
    with pytest.raises(RuntimeError):
        equivariance_error(network, torch.randn(2, 3, 6, 6), C4)
    assert network.training


@pytest.mark.parametrize("degrees", [0, 90, 37.5, -20])
def test_blobs_turn_counter_clockwise(degrees):
    image = GaussianBlobs(
        torch.tensor([[[0.5, 0.0]]], dtype=torch.float64),
        torch.full((1, 1), 0.1).double(),
        torch.ones(1, 1, 1).double(),
    )
    y = image.sample(101, degrees)[0, 0]
    row, column = divmod(int(y.argmax()), 101)
    angle = math.degrees(math.atan2(50 - row, column - 50))  # screen: y points up
    assert angle == pytest.approx(degrees, abs=2)


def test_blobs_reflect_before_they_turn():
    image = GaussianBlobs.random(batch=2, channels=3, seed=1)
    upright = image.sample(31)
    torch.testing.assert_close(image.sample(31, reflect=True), upright.flip(-1))
    torch.testing.assert_close(image.sample(31, 90, reflect=True), D4.act(5, upright))
    assert torch.equal(upright, GaussianBlobs.random(batch=2, channels=3, seed=1).sample(31))


def test_analytic_protocol_orders_the_groups():
    """Medians over five networks: C8 is better at 45° than C4, C4 better than none; both are exact at 90°."""
    image = GaussianBlobs.random(batch=32, seed=0)
    errors = {}
    for group in (CyclicGroup(1), C4, C8):
        rows = []
        for seed in range(5):
            torch.manual_seed(seed)
            network = nn.Sequential(
                LiftingConv2d(1, 4, 5, group), nn.ReLU(), GroupPool(group, "mean")
            ).double()
            rows.append(analytic_equivariance_error(network, image, 33, [45, 90]).relative_l2)
        errors[group.name] = torch.tensor(rows).median(0).values
    assert errors["C8"][0] < errors["C4"][0] < errors["C1"][0]
    assert max(errors["C4"][1], errors["C8"][1]) < 1e-10 < errors["C1"][1]


def test_analytic_protocol_for_vectors():
    """Blobs inside the square: their integral is invariant, a weighted one is not."""
    random = GaussianBlobs.random(batch=8, seed=0)
    image = GaussianBlobs(0.4 * random.centres, 0.5 * random.widths, random.heights)
    invariant = analytic_equivariance_error(lambda x: x.sum((-2, -1)), image, 65, [13.0, 77.0], "vector")
    assert invariant.worst < 1e-4
    oriented = analytic_equivariance_error(lambda x: x.cumsum(-1).sum((-2, -1)), image, 65, 77.0, "vector")
    assert oriented.worst > 0.1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"output": "picture"}, "output must be one of image, field, vector, fibre, got 'picture'"),
        ({"input": "picture"}, "input must be one of"),
        ({"crop": 4}, "crop must be at least 0 and less than half"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        equivariance_error(lambda x: x, torch.rand(1, 1, 8, 8), C4, **arguments)


def test_meaningless_outputs_are_refused():
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="zero"):
        equivariance_error(torch.zeros_like, x, C4)
    with pytest.raises(ValueError, match="not finite"):
        equivariance_error(lambda x: x / 0, x, C4)
    with pytest.raises(ValueError, match=r"shape .*expected"):
        equivariance_error(lambda x: x[..., :4], x, C4)


def test_analytic_protocol_refuses():
    image = GaussianBlobs.random(batch=2, seed=0)
    with pytest.raises(ValueError, match="size must be odd"):
        analytic_equivariance_error(lambda x: x, image, 8, 45)
    with pytest.raises(ValueError, match="at least two"):
        analytic_equivariance_error(lambda x: x, GaussianBlobs.random(batch=1, seed=0), 9, 45)
    with pytest.raises(ValueError, match="centre pixel"):
        analytic_equivariance_error(lambda x: x[..., 1:], image, 9, 45)
    with pytest.raises(ValueError, match="group must be given"):
        analytic_equivariance_error(lambda x: x, image, 9, 45, "field")
    layer = LiftingConv2d(1, 1, 3, C4).double()
    with pytest.raises(ValueError, match="45° is no element of C4"):
        analytic_equivariance_error(layer, image, 9, 45, "field", group=C4)
