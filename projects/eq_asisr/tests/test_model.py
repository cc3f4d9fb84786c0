"""The whole model: exact symmetry, sizes, memory, and checkpoints."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eq_asisr import ASISR, EqEDSR, EqINRAdapter, build, make_cell, make_coord
from eq_asisr.model import normalize
from tenfold.checkpoint import CheckpointError, save_pretrained
from tenfold.equivariance import equivariance_error
from tenfold.groups import CyclicGroup

F64 = torch.float64
SCALES = [1, 1.5, 2, 2.5, 3, 3.5, 4, 7.3]
EDSR_SIZES = {"n_feats": 16, "n_blocks": 1}
DECODER_SIZES = {
    "liif": {"hidden": (8, 8)},
    "eq_liif": {"group_hidden": (16,), "hidden": (8, 8)},
    "lte": {"hidden_dim": 16, "hidden": (8,)},
    "eq_lte": {"hidden_dim": 32, "hidden": (8,), "kernel_size": 3},
    "ope": {"max_freq": 2},
    "eq_ope": {"max_freq": 2, "kernel_size": 3},
}
ENCODER_SIZES = {
    "edsr": EDSR_SIZES,
    "rdn": {"n_feats": 16, "n_blocks": 1, "n_layers": 1, "growth": 8},
    "swinir": {"embed_dim": 16, "depths": (2,), "n_heads": 2, "window_size": 4, "n_feats": 16},
}


def small(encoder="eq_edsr", decoder="eq_liif", group=4, **options):
    torch.manual_seed(0)
    encoder_options = ENCODER_SIZES[encoder.removeprefix("eq_")]
    return build(
        encoder,
        decoder,
        group,
        encoder_options=encoder_options,
        decoder_options=DECODER_SIZES[decoder],
        **options,
    )


def perturbed(model):
    """Every parameter times and plus noise, in float64."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + torch.rand_like(parameter)).add_(0.02 * torch.randn_like(parameter))
    return model


def worst_error(model, image, **size):
    """‖render(turned) − turned render‖ over ‖render‖ for the three quarter turns."""
    errors = []
    for k in (1, 2, 3):
        turned_size = {n: v[::-1] if n == "size" and k % 2 else v for n, v in size.items()}
        reference = model.render(image, **size)
        turned = model.render(image.rot90(k, (2, 3)), **turned_size)
        errors.append(((turned - reference.rot90(k, (2, 3))).norm() / reference.norm()).item())
    return max(errors)


@pytest.mark.parametrize("local_ensemble", [True, False])
@pytest.mark.parametrize("t", [4, 8, 16])
@pytest.mark.parametrize("decoder", ["eq_liif", "eq_lte", "eq_ope"])
def test_the_whole_model_turns_with_the_image(decoder, t, local_ensemble):
    """C1: any parameters, any scale, also unequal ones, also rounded sizes."""
    model = perturbed(small("eq_edsr", decoder, t, local_ensemble=local_ensemble))
    image = torch.rand(1, 3, 4, 6, dtype=F64)
    assert model.group == CyclicGroup(t)
    for size in [*({"scale": s} for s in SCALES), {"size": (8, 18)}, {"size": (5, 6)}]:
        assert worst_error(model, image, **size) < 1e-12, size


@pytest.mark.parametrize("decoder", ["liif", "lte", "ope"])
def test_ordinary_models_do_not(decoder):
    """The control of the test above, in the same harness."""
    model = perturbed(small("edsr", decoder))
    assert model.group is None
    assert worst_error(model, torch.rand(1, 3, 4, 6, dtype=F64), scale=2) > 1e-3


@pytest.mark.parametrize(("encoder", "decoder"), [("edsr", "eq_liif"), ("eq_edsr", "liif")])
def test_one_ordinary_part_is_enough_to_lose_the_symmetry(encoder, decoder):
    model = perturbed(small(encoder, decoder))
    assert model.group is None
    assert worst_error(model, torch.rand(1, 3, 4, 6, dtype=F64), scale=2) > 1e-3


def test_training_keeps_the_symmetry():
    model = small("eq_edsr", "eq_lte", 8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    image, coord = torch.rand(1, 3, 4, 4), 2 * torch.rand(1, 9, 2) - 1
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(image, coord, make_cell((12, 12))) - image.mean()).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert worst_error(model.double(), torch.rand(1, 3, 4, 6, dtype=F64), scale=2.5) < 1e-12


class WithSine(nn.Module):
    def __init__(self, fields):
        super().__init__()
        self.feature, self.coord = nn.Linear(fields, 8), nn.Linear(2, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, feature, coord):
        return self.out(torch.sin(self.feature(feature) * self.coord(coord)))


@pytest.mark.parametrize("t", [4, 8])
def test_any_representation_becomes_equivariant(t):
    """C5."""
    torch.manual_seed(0)
    model = perturbed(ASISR(EqEDSR(t, n_feats=2 * t, n_blocks=1), EqINRAdapter(WithSine(2), t)))
    for scale in (1, 2.5, 3):
        assert worst_error(model, torch.rand(1, 3, 4, 6, dtype=F64), scale=scale) < 1e-12


# --- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "decoder", "expected"),
    [
        ("edsr", "liif", 1_567_299),
        ("eq_edsr", "eq_liif", 1_022_291),
        ("edsr", "lte", 1_714_243),
        ("eq_edsr", "eq_lte", 1_200_723),
        ("edsr", "ope", 1_305_235),
        ("eq_edsr", "eq_ope", 1_081_891),
        ("swinir", "lte", 12_096_871),
        ("eq_swinir", "eq_lte", 3_506_467),  # without the unused tables, with tied norms (§4)
    ],
)
def test_parameters_are_those_of_the_published_models(encoder, decoder, expected):
    model = build(encoder, decoder)
    assert sum(p.numel() for p in model.parameters()) == expected
    assert all(p.requires_grad for p in model.parameters())


def test_the_small_pair_of_the_short_runs_has_its_parameters():
    """§8, C4, less the 24 of two shifts of the mean that those runs counted and never trained."""
    sizes = {"n_feats": 32, "n_blocks": 4}
    ours = build(encoder_options=sizes, decoder_options={"group_hidden": (128,), "hidden": (64, 64)})
    plain = build("edsr", "liif", encoder_options=sizes, decoder_options={"hidden": (64, 64, 64)})
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, plain)]
    assert counts == [66_339 - 24, 111_419 - 24]


@pytest.mark.parametrize("decoder", DECODER_SIZES)
@pytest.mark.parametrize("encoder", ["edsr", "eq_edsr", "rdn", "eq_rdn", "swinir", "eq_swinir"])
def test_every_pair_can_be_built(encoder, decoder):
    model = small(encoder, decoder)
    both = encoder.startswith("eq_") and decoder.startswith("eq_")
    assert (model.group is not None) is both
    large = model.upscale(torch.rand(1, 3, 5, 4), scale=1.7)
    assert large.shape == (1, 3, round(5 * 1.7), round(4 * 1.7))
    assert large.isfinite().all()


def test_published_pairs_have_their_own_decoders():
    sizes = ENCODER_SIZES["swinir"]
    model = build("eq_swinir", "eq_lte", encoder_options=sizes)
    assert model.decoder.coord_scale == 0.1
    assert model.decoder.coef.kernel_size == 3
    assert build("eq_edsr", "eq_lte", encoder_options=EDSR_SIZES).decoder.coord_scale == 1


def test_grey_images_have_one_channel_all_the_way():
    sizes = {**EDSR_SIZES, "in_channels": 1}
    model = build("edsr", "lte", encoder_options=sizes, decoder_options=DECODER_SIZES["lte"])
    assert model.upscale(torch.rand(1, 1, 4, 4), scale=2).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="upinput adds an image of 1 channels to one of out_channels=3"):
        build(
            "edsr",
            "lte",
            encoder_options=sizes,
            decoder_options={**DECODER_SIZES["lte"], "out_channels": 3},
        )


# --- queries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local_ensemble", [True, False])
def test_render_asks_at_the_pixel_centres_whatever_the_chunk(local_ensemble):
    model = small("eq_edsr", "eq_lte", local_ensemble=local_ensemble).double()
    image = torch.rand(2, 3, 4, 5, dtype=F64)
    size = (9, 12)
    coord, cell = make_coord(size, dtype=F64), make_cell(size, dtype=F64)
    expected = model(image, coord.expand(2, -1, -1), cell.expand(2, 108, 2))
    expected = expected.transpose(1, 2).unflatten(2, size)
    for chunk in (1, 50, 30_000):
        torch.testing.assert_close(model.render(image, size=size, chunk=chunk), expected, rtol=0, atol=1e-12)
    one_by_one = torch.cat([model.render(i.unsqueeze(0), size=size) for i in image])
    torch.testing.assert_close(one_by_one, expected, rtol=0, atol=1e-12)


def test_coordinates_and_cells_may_be_shared():
    model = small()
    features = model.encode(torch.rand(2, 3, 4, 5))
    coord, cell = 2 * torch.rand(7, 2) - 1, torch.tensor([0.1, 0.2])
    reference = model.query(features, coord.expand(2, 7, 2), cell.expand(2, 7, 2))
    for c in (cell, cell.expand(2, 2), cell.expand(2, 1, 2), cell.expand(1, 7, 2)):
        for chunk in (None, 3):
            torch.testing.assert_close(model.query(features, coord, c, chunk=chunk), reference)
    with torch.no_grad():
        torch.testing.assert_close(model.query(features, coord, cell), reference)


def test_upscale_returns_images_and_leaves_the_model_as_it_was():
    model = small("eq_swinir", "eq_liif")
    model.decoder.eval()
    image = torch.rand(1, 3, 4, 4)
    first, again = (model.upscale(image, scale=2) for _ in range(2))
    assert torch.equal(first, again)  # stochastic depth is off
    assert not first.requires_grad
    assert model.encoder.training
    assert not model.decoder.training
    rendered = model.render(image, scale=2)
    torch.testing.assert_close(first, (rendered * 0.5 + 0.5).clamp(0, 1))


def test_progress_is_told_after_every_chunk():
    calls = []
    small().upscale(torch.rand(1, 3, 4, 4), scale=2, chunk=30, progress=lambda *n: calls.append(n))
    assert calls == [(30, 64), (60, 64), (64, 64)]


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.sizes.append(tensor.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("decoder", ["eq_liif", "eq_lte", "eq_ope", "liif"])
def test_memory_is_bounded_by_the_chunk_whatever_the_size_of_the_output(decoder):
    model, image = small("eq_edsr", decoder), torch.rand(1, 3, 4, 4)
    model.render(image, scale=1)  # the encoder's filters are remembered from here on
    largest = []
    for scale in (8, 16):
        with Largest() as watched:
            out = model.render(image, scale=scale, chunk=100)
        largest.append(max(n for n in watched.sizes if n != out.untyped_storage().nbytes()))
    assert largest[0] == largest[1]
    with Largest() as watched:
        out = model.render(image, scale=16, chunk=4096)
    # The control: without chunks more is held at a time.
    assert max(n for n in watched.sizes if n != out.untyped_storage().nbytes()) > 2 * largest[0]


def test_large_scales_can_be_announced_as_the_largest_trained_one():
    sizes = {"cell_clip": 4}
    clipped, free = small(**sizes), small()
    image, coord = torch.rand(1, 3, 4, 4), torch.rand(5, 2)
    for size, equal in (((8, 8), True), ((32, 32), False)):
        cell = make_cell(size)
        a, b = (m.query(m.encode(image), coord, cell) for m in (clipped, free))
        assert torch.equal(a, b) is equal
    a = clipped.query(clipped.encode(image), coord, make_cell((32, 32)))
    assert torch.equal(a, free.query(free.encode(image), coord, make_cell((16, 16))))


@pytest.mark.parametrize("local_ensemble", [True, False])
def test_the_upsampled_input_is_the_bilinear_one(local_ensemble):
    model = small("edsr", "lte", local_ensemble=local_ensemble)
    with torch.no_grad():
        for parameter in model.decoder.layers[-1].parameters():
            parameter.zero_()
    image = torch.rand(1, 3, 4, 6)
    expected = F.interpolate(normalize(image), (10, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model.render(image, size=(10, 9)), expected)


def test_the_model_fits_the_shared_measurement():
    model = perturbed(small())
    image = torch.rand(1, 3, 4, 4, dtype=F64)
    assert equivariance_error(lambda x: model.render(x, scale=3), image, CyclicGroup(4)).worst < 1e-12


# --- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoder", "decoder"), [("eq_edsr", "eq_lte"), ("swinir", "liif")])
def test_a_saved_model_computes_the_same(encoder, decoder, tmp_path):
    model = small(encoder, decoder, cell_clip=4.0, local_ensemble=False)
    image = torch.rand(1, 3, 4, 4)
    model.eval()(image, torch.zeros(1, 1, 2), torch.ones(1, 1, 2))  # nothing remembered gets in
    model.save_pretrained(tmp_path)
    again = ASISR.from_pretrained(tmp_path)
    assert again.config == json.loads(json.dumps(model.config))
    assert torch.equal(again.render(image, scale=1.5), model.render(image, scale=1.5))
    other = small(encoder, decoder, cell_clip=4.0, local_ensemble=False)
    other.load_pretrained(tmp_path)
    assert torch.equal(other.render(image, scale=1.5), model.render(image, scale=1.5))


def test_a_checkpoint_of_another_architecture_shows_both(tmp_path):
    small("eq_edsr", "eq_liif", 4).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another model") as caught:
        small("eq_edsr", "eq_liif", 8).load_pretrained(tmp_path)
    message = str(caught.value)
    assert '"t": 4' in message.split("this model:")[0]
    assert '"t": 8' in message.split("this model:")[1]


def test_a_checkpoint_of_another_class_is_refused(tmp_path):
    save_pretrained(nn.Linear(2, 2), tmp_path, {})
    with pytest.raises(CheckpointError, match="holds a Linear, not a ASISR"):
        ASISR.from_pretrained(tmp_path)


def test_parts_of_ones_own_cannot_be_named_in_a_checkpoint(tmp_path):
    model = ASISR(EqEDSR(4, **EDSR_SIZES), EqINRAdapter(WithSine(4), 4))
    with pytest.raises(TypeError, match="the decoder is a EqINRAdapter, which is not registered"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_copy_has_its_own_weights_and_eval_mode_adds_nothing_to_the_state():
    model = small()
    names = set(model.state_dict())
    image = torch.rand(1, 3, 4, 4)
    before = model.render(image, scale=2)
    twin = copy.deepcopy(model.eval())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(model.render(image, scale=2), before)
    assert not torch.allclose(twin.render(image, scale=2), before)
    assert set(model.state_dict()) == names == set(twin.state_dict())
