"""Group axioms, the actions on images and fields, and agreement with e2cnn's elements."""

import copy
import itertools
import pickle

import pytest
import torch

from tenfold.groups import CyclicGroup, DihedralGroup, Group, group_from_name

GROUPS = [CyclicGroup(n) for n in (1, 2, 3, 4, 8, 12)] + [DihedralGroup(n) for n in (1, 2, 3, 4, 8)]
LATTICE_GROUPS = [CyclicGroup(n) for n in (1, 2, 4)] + [DihedralGroup(n) for n in (1, 2, 4)]


@pytest.fixture(params=GROUPS, ids=str)
def group(request) -> Group:
    return request.param


def matrix(group: Group, element: int) -> torch.Tensor:
    return torch.linalg.inv(group.inverse_matrix(element))


def test_composition_is_the_product_of_matrices(group):
    for a, b in itertools.product(group.elements, repeat=2):
        product = matrix(group, group.compose(a, b))
        torch.testing.assert_close(product, matrix(group, a) @ matrix(group, b), rtol=0, atol=1e-14)


def test_inverse_and_left_division(group):
    for a, b in itertools.product(group.elements, repeat=2):
        assert group.compose(a, group.inverse(a)) == 0 == group.compose(group.inverse(a), a)
        assert group.left_division[a, b] == group.compose(group.inverse(a), b)


def test_regular_representation_is_a_homomorphism(group):
    for a, b in itertools.product(group.elements, repeat=2):
        product = group.regular_representation(group.compose(a, b))
        assert torch.equal(product, group.regular_representation(a) @ group.regular_representation(b))


def test_regular_representation_permutes_as_act_regular(group):
    features = torch.randn(3, 2 * group.order, dtype=torch.float64)
    for g in group.elements:
        expected = torch.einsum(
            "ts,bcs->bct", group.regular_representation(g), features.unflatten(1, (2, -1))
        )
        assert torch.equal(group.act_regular(g, features), expected.flatten(1))


def test_quarter_turns_have_bitwise_exchanged_cosines():
    group = CyclicGroup(24)
    for k in group.elements:
        cos, sin = group.cos_sin(k)
        assert group.cos_sin((k + 6) % 24) == (-sin, cos)


@pytest.mark.parametrize("group", LATTICE_GROUPS, ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (5, 5), (4, 6)])
def test_action_on_images_is_a_left_action(group, shape):
    image = torch.randint(0, 255, (2, *shape), dtype=torch.uint8)
    for a, b in itertools.product(group.elements, repeat=2):
        assert torch.equal(group.act(a, group.act(b, image)), group.act(group.compose(a, b), image))


@pytest.mark.parametrize("group", LATTICE_GROUPS, ids=str)
def test_action_on_fields_is_a_left_action(group):
    x = torch.randn(1, 2 * group.order, 4, 4)
    for a, b in itertools.product(group.elements, repeat=2):
        assert torch.equal(group.act_field(a, group.act_field(b, x)), group.act_field(group.compose(a, b), x))


def test_generators_are_rot90_and_horizontal_flip():
    group, image = DihedralGroup(4), torch.randn(3, 5)
    assert torch.equal(group.act(1, image), torch.rot90(image, 1, (-2, -1)))
    assert torch.equal(group.act(4, image), image.flip(-1))
    assert torch.equal(group.act(5, image), torch.rot90(image.flip(-1), 1, (-2, -1)))


@pytest.mark.parametrize("group", [CyclicGroup(8), DihedralGroup(8)], ids=str)
def test_action_by_interpolation_agrees_with_the_exact_one_in_products(group):
    """Two turns by 45° are one by 90°, up to interpolation; in the other direction they are not."""
    axis = torch.linspace(-3, 3, 41, dtype=torch.float64)
    image = torch.exp(-((axis - 0.6) ** 2)[:, None] * 2 - (axis + 0.3) ** 2 * 3)
    twice = group.act(1, group.act(1, image, "fourier"), "fourier")
    torch.testing.assert_close(twice, group.act(2, image), rtol=0, atol=1e-4)
    assert (twice - group.act(group.inverse(2), image)).abs().max() > 0.1
    mirrored = group.act(group.order - 1, image, "fourier") if group.has_reflections else None
    if mirrored is not None:
        expected = group.act(7, image.flip(-1), "fourier")
        torch.testing.assert_close(mirrored, expected, rtol=0, atol=1e-12)


def test_interpolation_is_never_silent():
    with pytest.raises(ValueError, match=r"turns by 45°.*name an interpolation"):
        CyclicGroup(8).act(1, torch.rand(4, 4))
    with pytest.raises(ValueError, match="name an interpolation"):
        DihedralGroup(8).act_field(9, torch.rand(1, 16, 4, 4))


def test_groups_compare_by_value():
    assert CyclicGroup(4) == CyclicGroup(4) != CyclicGroup(8)
    assert CyclicGroup(4) != DihedralGroup(4)
    assert len({CyclicGroup(4), CyclicGroup(4), DihedralGroup(4)}) == 2
    group = DihedralGroup(4)
    assert copy.deepcopy(group) == pickle.loads(pickle.dumps(group)) == group  # noqa: S301
    assert repr(group) == "DihedralGroup(4)"
    assert str(group) == group.name == "D4"


def test_group_from_name():
    assert group_from_name("C8") == CyclicGroup(8)
    for name in ("C", "E4", "D-1", "c4", ""):
        with pytest.raises(ValueError, match="like 'C8' or 'D4'"):
            group_from_name(name)


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
@pytest.mark.parametrize("kind", [CyclicGroup, DihedralGroup])
def test_order_must_be_a_positive_integer(kind, n, error):
    with pytest.raises(error, match="number of rotations"):
        kind(n)


def test_elements_and_channels_are_checked():
    group = CyclicGroup(4)
    with pytest.raises(ValueError, match="between 0 and 3 for C4, got 4"):
        group.act(4, torch.rand(2, 2))
    with pytest.raises(ValueError, match="6 channels, not a multiple of the 4 elements of C4"):
        group.act_regular(1, torch.rand(2, 6))
