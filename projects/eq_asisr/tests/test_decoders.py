"""Decoders against the formulas of the paper, evaluated literally query by query, and their symmetry."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eq_asisr.coords import make_cell, make_coord, rotate_coords
from eq_asisr.decoders import (
    LIIF,
    LTE,
    OPE,
    EqINRAdapter,
    EqLIIF,
    EqLTE,
    EqOPE,
    GroupMLP,
    InvariantMLP,
)
from tenfold.groups import CyclicGroup

F64 = torch.float64


class Perceptron(nn.Module):
    """Somebody's implicit representation."""

    def __init__(self, features, takes_cell=False):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features + 2 + 2 * takes_cell, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, *inputs):
        return self.layers(torch.cat(inputs, -1))


def small(name, t=4, **options):
    fields = 2
    channels = fields * t
    made = {
        "liif": lambda: LIIF(8, hidden=(10, 6), **options),
        "eq_liif": lambda: EqLIIF(channels, t, group_hidden=(3 * t,), hidden=(6, 5), **options),
        "lte": lambda: LTE(8, hidden_dim=12, hidden=(6,), **options),
        "eq_lte": lambda: EqLTE(channels, t, hidden_dim=6 * t, hidden=(6, 5), kernel_size=3, **options),
        "ope": lambda: OPE(8, max_freq=2, **options),
        "eq_ope": lambda: EqOPE(channels, t, max_freq=2, kernel_size=3, **options),
        "adapter": lambda: EqINRAdapter(Perceptron(fields), t, **options),
        "adapter with cell": lambda: EqINRAdapter(Perceptron(fields, True), t, cell_decode=True, **options),
    }
    torch.manual_seed(0)
    decoder = made[name]().double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return decoder


# --- the formulas, literally; features of one pixel in, colour out ---------------------------------------------------


def liif(decoder, features, size):
    unfolded = F.unfold(features, 3, padding=1)[0]

    def colour(pixel, offset, cell):
        x = decoder.first(torch.cat([unfolded[:, pixel], offset, cell]))
        for layer in decoder.layers:
            x = layer(x.relu())
        return x

    return colour


def eq_liif(decoder, features, size):
    fields = features[0].flatten(1).unflatten(0, (-1, decoder.group.order))  # n t pixels

    def colour(pixel, offset, cell):
        rotated = 0.1 * rotate_coords(offset, decoder.group).T  # 2 t
        x = torch.cat([fields[:, :, pixel], cell.unsqueeze(1).expand(2, decoder.group.order), rotated])
        h = decoder.mlp.first(x.flatten()).relu()
        x = decoder.mlp.head.projection(h)
        for i, layer in enumerate(decoder.mlp.head.layers):
            x = layer(x) if i == 0 else layer(x.relu())
        return x

    return colour


def lte(decoder, features, size):
    coef, freq = decoder.coef(features)[0].flatten(1), decoder.freq(features)[0].flatten(1)

    def colour(pixel, offset, cell):
        along_row, along_column = freq[:, pixel].chunk(2)
        z = math.pi * (along_row * offset[0] + along_column * offset[1] + decoder.phase.weight @ cell)
        x = coef[:, pixel] * torch.cat([z.cos(), z.sin()])
        for i, layer in enumerate(decoder.layers):
            x = layer(x) if i == 0 else layer(x.relu())
        return x

    return colour


def eq_lte(decoder, features, size):
    t = decoder.group.order
    coef = decoder.coef(features)[0].flatten(1).unflatten(0, (-1, t))
    freq = decoder.freq(features)[0].flatten(1).unflatten(0, (-1, t))

    def colour(pixel, offset, cell):
        row, column = rotate_coords(offset, decoder.group).T
        along_row, along_column = freq[:, :, pixel].chunk(2)
        phase = decoder.phase(cell.unsqueeze(1).expand(2, t).flatten()).unflatten(0, (-1, t))
        z = math.pi * (along_row * row + along_column * column + phase)
        x = decoder.head.projection((coef[:, :, pixel] * torch.cat([z.cos(), z.sin()])).flatten())
        for i, layer in enumerate(decoder.head.layers):
            x = layer(x) if i == 0 else layer(x.relu())
        return x

    return colour


def encoding(s, highest):
    waves = [f(math.pi / 2 * n * s) for n in range(1, highest + 1) for f in (torch.cos, torch.sin)]
    return torch.stack([torch.ones_like(s)] + [math.sqrt(2) * wave for wave in waves])


def ope(decoder, features, size):
    z = decoder.coefficients(features)[0].flatten(1).unflatten(0, (3, 5, 5))

    def colour(pixel, offset, cell):
        return torch.einsum("cab,a,b->c", z[..., pixel], *(encoding(s, 2) for s in offset)) / 100

    return colour


def eq_ope(decoder, features, size):
    t = decoder.group.order
    z = decoder.coefficients(features)[0].flatten(1).unflatten(0, (3, 5, 5, t))

    def colour(pixel, offset, cell):
        seen = rotate_coords(offset, decoder.group)
        each = [
            torch.einsum("cab,a,b->c", z[..., k, pixel], *(encoding(s, 2) for s in seen[k])) / 100
            for k in range(t)
        ]
        return torch.stack(each).mean(0)

    return colour


def adapter(decoder, features, size):
    fields = features[0].flatten(1).unflatten(0, (-1, decoder.group.order))

    def colour(pixel, offset, cell):
        seen = rotate_coords(offset, decoder.group)
        return torch.stack([decoder.inr(fields[:, k, pixel], x) for k, x in enumerate(seen)]).mean(0)

    return colour


def four_lookups(colour, size, coord, cell):
    """The published recipe: shifted nearest look-ups and areas of the opposite corners (§3.4)."""
    lengths = coord.new_tensor(size)
    centres = make_coord(size, dtype=coord.dtype)
    out = []
    for query in coord:
        answers, areas = [], []
        for row in (-1, 1):
            for column in (-1, 1):
                shifted = (query + coord.new_tensor([row, column]) / lengths + 1e-6).clamp(
                    -1 + 1e-6, 1 - 1e-6
                )
                position = ((shifted + 1) * lengths / 2 - 0.5).round().long()
                pixel = int(position[0] * size[1] + position[1])
                offset = (query - centres[pixel]) * lengths
                areas.append(offset.prod().abs() + 1e-9)
                answers.append(colour(pixel, offset, cell * lengths))
        weights = torch.stack(areas[::-1]) / sum(areas)
        out.append((weights.unsqueeze(1) * torch.stack(answers)).sum(0))
    return torch.stack(out)


@pytest.mark.parametrize(
    ("name", "formula", "options"),
    [
        ("liif", liif, {}),
        ("eq_liif", eq_liif, {"cell_mode": "scalar"}),
        ("lte", lte, {}),
        ("eq_lte", eq_lte, {"cell_mode": "scalar"}),
        ("ope", ope, {}),
        ("eq_ope", eq_ope, {}),
        ("adapter", adapter, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_decoders_compute_the_published_formulas(name, formula, options):
    """Even scales, where the published shift does no harm, in float64; the published areas have 1e-9 added."""
    decoder, size, new = small(name, **options), (3, 4), (6, 16)
    features = torch.randn(1, 8, *size, dtype=F64)
    coord, cell = make_coord(new, dtype=F64), make_cell(new, dtype=F64)
    with torch.no_grad():
        expected = four_lookups(formula(decoder, features, size), size, coord, cell)
    ours = decoder(features, coord.unsqueeze(0), cell.view(1, 1, 2))
    torch.testing.assert_close(ours[0], expected, rtol=0, atol=1e-7)
    with torch.no_grad():  # in blocks, written over
        blocks = decoder(features, coord.unsqueeze(0), cell.view(1, 1, 2))
    torch.testing.assert_close(blocks, ours, rtol=0, atol=1e-12)


# --- symmetry of the representation alone ----------------------------------------------------------------------------

EQUIVARIANT = ["eq_liif", "eq_lte", "eq_ope", "adapter", "adapter with cell"]


def orientations_of(decoder, rows):
    """The rows with the orientations on an axis of their own, and which axis that is."""
    t = decoder.group.order
    if isinstance(decoder, EqLTE):
        return rows.unflatten(-1, (4, t, -1)), -2
    if isinstance(decoder, EqOPE):
        return rows.unflatten(-1, (decoder.out_channels, t, -1)), -2
    return rows.unflatten(-1, (t, -1)), -2


@pytest.mark.parametrize("t", [3, 4, 5, 6, 8, 12, 16])
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_local_functions_are_invariant_at_all_group_angles(name, t):
    """Random features with the group's action applied by hand: no discretisation, so exact for every t (§3.3, C2)."""
    decoder = small(name, t)
    rows = decoder.prepare(torch.randn(1, 2 * t, 3, 3, dtype=F64)).view(1, 9, 1, -1)
    offset, cell = 2 * torch.rand(1, 9, 1, 2, dtype=F64) - 1, torch.full((1, 1, 2), 0.6, dtype=F64)
    function = decoder.local_function(cell)
    with torch.no_grad():
        reference = function(rows.clone(), offset)
        for k in range(1, t):
            cos, sin = decoder.group.cos_sin(k)
            turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=F64)  # of (row, col)
            split, axis = orientations_of(decoder, rows)
            turned = function(split.roll(k, axis).reshape(rows.shape), offset @ turn.T)
            torch.testing.assert_close(turned, reference, rtol=0, atol=1e-12)
            wrong = function(split.roll(-k, axis).reshape(rows.shape), offset @ turn.T)
            if 2 * k != t:
                assert (wrong - reference).abs().max() > 1e-3 * reference.abs().max()


@pytest.mark.parametrize("t", [4, 8])
@pytest.mark.parametrize("name", ["eq_liif", "eq_lte", "adapter with cell"])
def test_cells_of_different_height_and_width_need_the_swap(name, t):
    size, new = (3, 4), (6, 12)
    features = torch.randn(1, 2 * t, *size, dtype=F64)
    errors = {}
    for mode in ("scalar", "swap"):
        decoder = small(name, t, cell_mode=mode)
        images = []
        for maps, shape in ((features, new), (decoder.group.act_field(t // 4, features), new[::-1])):
            coord, cell = make_coord(shape, dtype=F64).unsqueeze(0), make_cell(shape, dtype=F64)
            with torch.no_grad():
                images.append(decoder(maps, coord, cell.view(1, 1, 2))[0].unflatten(0, shape))
        reference, turned = images
        errors[mode] = (turned - reference.rot90(1, (0, 1))).abs().max().item()
    assert errors["swap"] < 1e-12
    assert errors["scalar"] > 1e-4


# --- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["liif", "eq_liif", "lte", "eq_lte"])
def test_the_cell_is_read_if_and_only_if_asked_for(name):
    features, coord = torch.randn(1, 8, 3, 3, dtype=F64), torch.rand(1, 7, 2, dtype=F64)
    for cell_decode in (True, False):
        decoder = small(name, cell_decode=cell_decode)
        a, b = (decoder(features, coord, torch.full((1, 1, 2), c, dtype=F64)) for c in (0.1, 0.3))
        assert torch.equal(a, b) is not cell_decode


@pytest.mark.parametrize("name", ["liif", "eq_liif", "lte", "eq_lte", "ope", "eq_ope"])
def test_coord_scale_multiplies_the_offsets(name):
    a, b = small(name, coord_scale=0.5), small(name, coord_scale=0.25)
    rows = a.prepare(torch.randn(1, 8, 2, 2, dtype=F64)).view(1, 4, 1, -1)
    offset, cell = torch.rand(1, 4, 1, 2, dtype=F64), torch.ones(1, 1, 2, dtype=F64)
    x, y = a.local_function(cell)(rows, offset), b.local_function(cell)(rows, 2 * offset)
    torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


def test_unfolding_reads_the_neighbours_and_its_replacement_turns():
    cell, coord = torch.ones(1, 1, 2, dtype=F64), torch.zeros(1, 1, 2, dtype=F64)
    for name, unfolded in (("liif", True), ("liif", False), ("eq_liif", True), ("eq_liif", False)):
        decoder = small(name, feat_unfold=unfolded)
        features = torch.randn(1, 8, 5, 5, dtype=F64)
        moved = features.clone()
        moved[:, :, 1, 2] += 1  # beside the centre pixel, which alone answers a query at its centre
        a, b = (decoder(f, coord, cell, local_ensemble=False) for f in (features, moved))
        assert torch.equal(a, b) is not unfolded
        if name == "eq_liif":
            turned = decoder(decoder.group.act_field(1, features), coord, cell, local_ensemble=False)
            torch.testing.assert_close(turned, a, rtol=0, atol=1e-12)


@pytest.mark.parametrize("group_hidden", [(12,), (12, 8, 4)])
@pytest.mark.parametrize("hidden", [(), (5,), (6, 5), (2, 9, 5)])
def test_the_perceptron_from_its_first_layer_on_is_the_perceptron(group_hidden, hidden):
    group = CyclicGroup(4)
    mlp = GroupMLP(3, group, group_hidden, hidden).double()
    x = torch.randn(6, 12, dtype=F64)
    first = mlp.first(x).unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(mlp.after_first_(first, mlp.head.folded()), mlp(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(mlp(group.act_regular(1, x)), mlp(x), rtol=0, atol=1e-12)


def test_two_linear_maps_in_a_row_are_folded_where_that_is_cheaper():
    group = CyclicGroup(4)
    wide, narrow = InvariantMLP(32, group, (64, 64)), InvariantMLP(64, group, (2, 64))
    assert [len(mlp.layers) + 1 - len(mlp.folded()) for mlp in (wide, narrow)] == [1, 0]
    for mlp in (wide.double(), narrow.double()):
        x = torch.randn(5, mlp.projection.in_fields, dtype=F64)
        y = mlp.layers[1](mlp.layers[0](F.linear(x, mlp.projection.weight, mlp.projection.bias)).relu())
        torch.testing.assert_close(mlp.from_sum(x), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["liif", "eq_liif", "lte", "eq_lte", "ope", "eq_ope", "adapter with cell"])
def test_gradients_reach_features_and_parameters_and_are_right(name):
    decoder = small(name)
    coord, cell = torch.rand(1, 3, 2, dtype=F64), torch.full((1, 1, 2), 0.3, dtype=F64)
    features = torch.randn(1, 8, 2, 2, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: decoder(f, coord, cell), (features,))
    decoder(features, coord, cell).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


@pytest.mark.parametrize("name", ["liif", "eq_liif", "lte", "eq_lte", "ope", "eq_ope", "adapter"])
def test_in_bfloat16_positions_stay_in_full_precision(name):
    """Under autocast and with bfloat16 weights; an offset rounded to eight bits would be off by far more."""
    decoder = small(name).float()
    features = torch.randn(1, 8, 40, 40)
    coord, cell = make_coord((90, 70)).unsqueeze(0)[:, 4000:4200], torch.full((1, 1, 2), 0.02)
    with torch.no_grad():
        reference = decoder(features, coord, cell)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = decoder(features, coord, cell)
        halved = decoder.bfloat16()(features.bfloat16(), coord, cell)
    for other in (mixed, halved):
        assert other.dtype == torch.float32
        assert (other - reference).norm() < 0.03 * reference.norm()


# --- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EqLIIF(10, 4), "in_channels must be a multiple of t=4, got 10"),
        (lambda: EqLIIF(8, 4, group_hidden=(30,)), "group_hidden must be a multiple of t=4, got 30"),
        (lambda: EqLIIF(8, 4, group_hidden=()), "group_hidden must hold at least one width, got none"),
        (lambda: EqLIIF(8, 4, hidden=(0,)), "hidden must be at least 1, got 0"),
        (lambda: EqLIIF(8, 4, cell_mode="both"), "cell_mode must be 'scalar' or 'swap', got 'both'"),
        (lambda: EqLIIF(8, 0), "must be at least 1, got 0"),
        (lambda: LIIF(8, hidden=()), "hidden must hold at least one width, got none"),
        (lambda: LIIF(0), "in_channels must be at least 1, got 0"),
        (lambda: LTE(8, hidden_dim=7), "hidden_dim must be even, got 7"),
        (lambda: LTE(8, kernel_size=4), "kernel_size must be odd, got 4"),
        (lambda: LTE(8, hidden=()), "hidden must hold at least one width, got none"),
        (lambda: EqLTE(8, 4, hidden_dim=12), r"hidden_dim must be a multiple of 2·t=8, got 12"),
        (lambda: EqLTE(8, 4, kernel_size=4), "kernel_size must be odd, got 4"),
        (lambda: EqLTE(8, 4, cell_mode="both"), "cell_mode must be"),
        (lambda: OPE(8, max_freq=0), "max_freq must be at least 1, got 0"),
        (lambda: OPE(8, kernel_size=2), "kernel_size must be odd, got 2"),
        (lambda: EqOPE(9, 4), "in_channels must be a multiple of t=4, got 9"),
        (lambda: EqOPE(8, 4, kernel_size=2), "kernel_size must be odd, got 2"),
        (lambda: EqOPE(8, 4, out_channels=0), "out_channels must be at least 1, got 0"),
    ],
)
def test_bad_sizes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_inputs_are_named():
    coord, cell = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    with pytest.raises(TypeError, match=r"number of rotations must be an int, got 2\.5"):
        EqLIIF(8, 2.5)
    with pytest.raises(ValueError, match="features have 12 channels, this EqLIIF takes 8"):
        EqLIIF(8, 4)(torch.zeros(1, 12, 3, 3), coord, cell)
    with pytest.raises(ValueError, match="6 channels, not a multiple of the 4 elements of C4"):
        EqINRAdapter(Perceptron(2), 4)(torch.zeros(1, 6, 3, 3), coord, cell)
    with pytest.raises(TypeError, match="inr must be callable"):
        EqINRAdapter(None, 4)
    with pytest.raises(
        ValueError, match=r"inr returned shape \(1, 1, 4, 4, 2\) .* expected \(1, 1, 4, 4, 3\)"
    ):
        EqINRAdapter(lambda feature, x: x, 4)(torch.zeros(1, 8, 3, 3), coord, cell)
