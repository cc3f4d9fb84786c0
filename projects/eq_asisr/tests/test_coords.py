import pytest
import torch
import torch.nn.functional as F

from eq_asisr.coords import (
    bilinear_neighbours,
    cell_matrices,
    coord_of_pixels,
    make_cell,
    make_coord,
    nearest_neighbours,
    rotate_coords,
)
from tenfold.groups import CyclicGroup

F64 = torch.float64
SCALES = [1, 1.5, 2, 2.5, 3, 3.5, 4, 7.3]
RULES = pytest.mark.parametrize("rule", [bilinear_neighbours, nearest_neighbours])


def weights_of(rule, coord, size):
    """[query, pixel]: how much each pixel counts."""
    near = rule(coord, size)
    dense = torch.zeros(len(coord), size[0] * size[1], dtype=coord.dtype)
    return dense.scatter_add(1, near.index, near.weight)


def test_coordinates_are_pixel_centres_row_by_row():
    coord = make_coord((2, 4), dtype=F64)
    assert coord[:, 0].tolist() == [-0.5] * 4 + [0.5] * 4
    assert coord[4:, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_some_pixels_are_a_part_of_all():
    index = torch.tensor([3, 17, 34])
    assert torch.equal(coord_of_pixels(index, (5, 7), dtype=F64), make_coord((5, 7), dtype=F64)[index])


def test_a_quarter_turn_moves_a_pixel_from_row_col_to_minus_col_row():
    image = torch.zeros(5, 7)
    image[1, 5] = 1
    (row, col), coord = make_coord((5, 7))[image.flatten().argmax()], make_coord((7, 5))
    turned = torch.rot90(image, 1)
    torch.testing.assert_close(coord[turned.flatten().argmax()], torch.stack([-col, row]))


@pytest.mark.parametrize("t", [3, 4, 5, 8, 16])
def test_turning_a_point_by_a_group_angle_passes_its_coordinates_on_to_the_next_orientation(t):
    group = CyclicGroup(t)
    x = torch.randn(6, 2, dtype=F64)
    cos, sin = group.cos_sin(1)
    turned = torch.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], -1)
    expected = rotate_coords(x, group).roll(1, 1)
    torch.testing.assert_close(rotate_coords(turned, group), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 3)])
def test_bilinear_neighbours_interpolate_as_grid_sample_does(size):
    torch.manual_seed(0)
    image = torch.randn(1, 2, *size, dtype=F64)
    coord = 2 * torch.rand(50, 2, dtype=F64) - 1
    expected = F.grid_sample(
        image, coord.flip(-1).view(1, 1, -1, 2), "bilinear", padding_mode="border", align_corners=False
    )
    ours = weights_of(bilinear_neighbours, coord, size) @ image.flatten(2)[0].T
    torch.testing.assert_close(ours.T, expected[0, :, 0], rtol=0, atol=1e-12)


def test_nearest_neighbours_are_those_of_grid_sample_away_from_ties():
    torch.manual_seed(0)
    number = torch.arange(20, dtype=F64).view(1, 1, 4, 5)
    coord = 2 * torch.rand(50, 2, dtype=F64) - 1
    expected = F.grid_sample(number, coord.flip(-1).view(1, 1, -1, 2), "nearest", align_corners=False)
    near = nearest_neighbours(coord, (4, 5))
    assert near.index.shape == (50, 1)
    assert torch.equal(near.index[:, 0].to(F64), expected.flatten())


@RULES
def test_offsets_lead_from_the_pixel_to_the_query_two_units_a_pitch(rule):
    size = (4, 6)
    coord = 2 * torch.rand(30, 2, dtype=F64) - 1
    near = rule(coord, size)
    centres = make_coord(size, dtype=F64)[near.index]
    expected = (coord.unsqueeze(1) - centres) * torch.tensor(size, dtype=F64)
    torch.testing.assert_close(near.offset, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(near.weight.sum(-1), torch.ones(30, dtype=F64))
    assert near.weight.min() >= 0


@RULES
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("scale", SCALES)
def test_neighbours_turn_with_the_image_at_every_scale(rule, dtype, scale):
    size = (4, 6)
    new = (round(4 * scale), round(6 * scale))
    weights = weights_of(rule, make_coord(new, dtype=dtype), size).unflatten(0, new).unflatten(2, size)
    turned = weights_of(rule, make_coord(new[::-1], dtype=dtype), size[::-1])
    turned = turned.unflatten(0, new[::-1]).unflatten(2, size[::-1])
    expected = weights.rot90(1, (0, 1)).rot90(1, (2, 3))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-12 if dtype == F64 else 1e-5)


@pytest.mark.parametrize("scale", [1.5, 2.5, 3.5])
def test_half_integer_scales_do_have_ties_that_rounding_alone_breaks(scale):
    """The control of the test above: without sharing, up to a fifth of the queries change sides under a half turn."""
    n = 6
    coord = make_coord((1, round(n * scale)), dtype=F64)[:, 1]
    rounded = ((coord + 1) * n / 2 - 0.5 + 0.5).floor()
    assert not torch.equal(rounded.flip(0), n - 1 - rounded)
    shared = nearest_neighbours(make_coord((1, round(n * scale)), dtype=F64), (1, n))
    assert shared.weight.unique().tolist() == [0, 0.5, 1]


def test_what_lies_outside_is_moved_to_the_border():
    outside, border = torch.tensor([[-3.0, 0.2], [0.1, 9.0]]), torch.tensor([[-1.0, 0.2], [0.1, 1.0]])
    for rule in (bilinear_neighbours, nearest_neighbours):
        a, b = rule(outside, (4, 6)), rule(border, (4, 6))
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.offset, b.offset)


def test_a_cell_is_seen_along_the_axes_of_the_orientation():
    cell = torch.tensor([1.0, 3.0], dtype=F64)
    seen = torch.einsum("kij,j->ki", cell_matrices(CyclicGroup(8), "swap", cell), cell)
    assert seen[::2].tolist() == [[1, 3], [3, 1], [1, 3], [3, 1]]
    torch.testing.assert_close(seen[1], torch.tensor([2.0, 2.0], dtype=F64))
    assert torch.equal(cell_matrices(CyclicGroup(4), "scalar", cell) @ cell, cell.expand(4, 2))


@pytest.mark.parametrize("t", [3, 4, 8, 16])
def test_both_cell_modes_agree_for_equal_scales(t):
    cell = torch.tensor([0.7, 0.7], dtype=F64)
    for mode in ("scalar", "swap"):
        seen = cell_matrices(CyclicGroup(t), mode, cell) @ cell
        torch.testing.assert_close(seen, cell.expand(t, 2), rtol=0, atol=1e-15)


def test_bad_arguments_are_named():
    coord = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=r"size must be at least \(1, 1\), got \(0, 3\)"):
        make_coord((0, 3))
    with pytest.raises(ValueError, match=r"size must be at least \(1, 1\), got \(2, 0\)"):
        make_cell((2, 0))
    with pytest.raises(ValueError, match=r"size must be at least \(1, 1\)"):
        bilinear_neighbours(coord, (0, 4))
    with pytest.raises(TypeError, match=r"coord must be float32 or float64, got torch.bfloat16"):
        bilinear_neighbours(coord.bfloat16(), (4, 4))
    with pytest.raises(ValueError, match=r"coord must end in \(row, col\), got shape \(1, 3\)"):
        nearest_neighbours(torch.zeros(1, 3), (4, 4))
    with pytest.raises(ValueError, match="cell_mode must be 'scalar' or 'swap', got 'both'"):
        cell_matrices(CyclicGroup(4), "both", coord)
