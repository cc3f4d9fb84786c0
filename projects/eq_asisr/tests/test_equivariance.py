"""The measurements of equivariance: exact models pass, ordinary ones do not, and the numbers mean what they say."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from eq_asisr import equivariance
from eq_asisr.equivariance import local_function_error, perturb, rot90_error, rotation_spread
from eq_asisr.pairs import build
from tenfold.equivariance import GaussianBlobs

SIZES = {
    "encoder_options": {"n_feats": 16, "n_blocks": 1, "kernel_size": 3},
    "decoder_options": {"hidden": [16]},
}


def model(encoder, decoder="eq_liif", t=4, seed=0, **options):
    torch.manual_seed(seed)
    sizes = SIZES if not decoder.endswith("ope") else {"encoder_options": SIZES["encoder_options"]}
    return build(encoder, decoder, t, **sizes, **options).double().eval()


def image(h=6, w=8):
    return torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def bilinear(lr, scale=None, size=None):
    return interpolate(lr, size, scale, mode="bilinear")


@pytest.mark.parametrize("decoder", ["liif", "lte", "ope"])
@pytest.mark.parametrize("to", [{"scale": 1}, {"scale": 2.5}, {"size": (12, 24)}], ids=str)
def test_exact_models_give_rounding_and_ordinary_ones_do_not(decoder, to):
    exact = model("eq_edsr", f"eq_{decoder}")
    perturb(exact, 0)
    assert max(rot90_error(exact, image(), **to).relative_l2) < 1e-11
    ordinary = model("edsr", decoder)
    assert min(rot90_error(ordinary, image(), **to).relative_l2) > 1e-4


def test_a_published_cell_is_not_exact_where_height_and_width_are_scaled_differently():
    options = {"decoder_options": {"hidden": [16], "cell_mode": "scalar"}}
    torch.manual_seed(0)
    scalar = build("eq_edsr", "eq_liif", encoder_options=SIZES["encoder_options"], **options).double()
    assert max(rot90_error(scalar, image(), scale=2).relative_l2) < 1e-11
    assert max(rot90_error(scalar, image(), size=(12, 24)).relative_l2) > 1e-4


def test_the_number_is_the_relative_norm_of_the_difference():
    """Brightness that grows to the right: half a turn takes x to 1 − x."""
    ramp = torch.linspace(0, 1, 101, dtype=torch.float64).expand(1, 3, 101, 101)
    error = rot90_error(lambda lr, scale, size: ramp, torch.rand(1, 3, 101, 101), scale=1, turns=(2,))
    expected = math.sqrt((2 * ramp - 1).square().sum() / ramp.square().sum())
    assert error.elements == ("180°",)
    assert error.relative_l2[0] == pytest.approx(expected)
    assert error.relative_max[0] == pytest.approx(1)


def test_values_beyond_the_range_of_images_count():
    """Clamped to [0, 1], two different outputs could look alike."""
    bright = lambda lr, **to: 5 + bilinear(lr, **to).cumsum(-1)  # noqa: E731
    assert rot90_error(bright, image(), scale=2).worst > 1e-2


def test_what_rot90_error_refuses():
    with pytest.raises(ValueError, match=r"give either scale or size, got scale=2 and size=\(3, 4\)"):
        rot90_error(bilinear, image(), scale=2, size=(3, 4))
    with pytest.raises(ValueError, match="give either scale or size"):
        rot90_error(bilinear, image())
    with pytest.raises(ValueError, match="the output is zero or not finite"):
        rot90_error(lambda lr, **to: bilinear(lr, **to) * torch.nan, image(), scale=2)
    with pytest.raises(ValueError, match="the output for the turned image has shape"):
        rot90_error(lambda lr, **to: lr.new_ones(1, 3, 5, 7), image(), scale=2)


def test_a_model_keeps_its_mode():
    trained = model("eq_edsr").train()
    trained.decoder.eval()
    rot90_error(trained, image(), scale=2)
    local_function_error(build_local(4), GaussianBlobs.random(1, 3, seed=0), 17, [90])
    assert trained.training
    assert not trained.decoder.training


def build_local(t, encoder="eq_edsr", decoder="eq_liif"):
    return model(encoder, decoder, t, local_ensemble=False)


@pytest.mark.parametrize("t", [4, 8])
@pytest.mark.parametrize("decoder", ["eq_liif", "eq_lte", "eq_ope"])
def test_the_function_in_a_pixel_turns_exactly_with_quarter_turns(t, decoder):
    local = build_local(t, decoder=decoder)
    perturb(local, 1)
    blobs = GaussianBlobs.random(2, 3, seed=0)
    error = local_function_error(local, blobs, 17, [0, 90, 180, 270, 360, 45])
    assert error.shape == (6, 2)
    assert error[:5].max() < 1e-8
    assert error[5].min() > 1e-3


def test_points_must_turn_with_the_image(monkeypatch):
    """Turned the other way, an exact model would fail: the control for the sign."""
    local, blobs = build_local(4), GaussianBlobs.random(2, 3, seed=0)
    assert local_function_error(local, blobs, 17, [90]).max() < 1e-8
    turned = equivariance._turned
    monkeypatch.setattr(equivariance, "_turned", lambda points, degrees: turned(points, -degrees))
    assert local_function_error(local, blobs, 17, [90]).min() > 1e-2


def test_an_ordinary_model_does_not_turn():
    ordinary = build_local(4, "edsr", "liif")
    assert local_function_error(ordinary, GaussianBlobs.random(2, 3, seed=0), 17, [90]).min() > 1e-2


def test_a_window_larger_than_the_receptive_field_changes_nothing():
    """Head, one block and the closing convolution with 3×3 kernels see 4 pixels around the centre."""
    local, blobs = build_local(8), GaussianBlobs.random(2, 3, seed=0)
    whole = local_function_error(local, blobs, 33, [30, 45])
    torch.testing.assert_close(
        local_function_error(local, blobs, 33, [30, 45], window=9), whole, rtol=1e-6, atol=0
    )
    assert not torch.allclose(local_function_error(local, blobs, 33, [30, 45], window=5), whole, rtol=1e-3)


def test_what_local_function_error_refuses():
    blobs, local = GaussianBlobs.random(1, 3, seed=0), build_local(4)
    for sizes, message in (
        ({"size": 16}, "size must be odd.*got 16"),
        ({"size": 17, "window": 8}, "window must be odd.*got 8"),
        ({"size": 9, "window": 17}, "window must not exceed size=9, got 17"),
    ):
        with pytest.raises(ValueError, match=message):
            local_function_error(local, blobs, degrees=[90], **sizes)
    with pytest.raises(ValueError, match="has a local ensemble; build it with local_ensemble=False"):
        local_function_error(model("eq_edsr"), blobs, 17, [90])
    for parameter in local.decoder.parameters():
        parameter.data.zero_()
    with pytest.raises(ValueError, match="the function inside the pixel is constant"):
        local_function_error(local, blobs, 17, [90])


def test_perturbing_moves_every_parameter_and_repeats():
    layers = [nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    before = [p.clone() for p in layers[0].parameters()]
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for layer in layers:
        perturb(layer, 3)
    assert torch.equal(torch.rand(3), expected), "the global random state is left alone"
    for old, new, again in zip(before, layers[0].parameters(), layers[1].parameters()):
        assert (old != new).all()
        assert torch.equal(new, again)


def test_the_psnr_of_an_exact_model_does_not_depend_on_the_orientation():
    lr, hr = image(12, 10), torch.rand(1, 3, 24, 20, dtype=torch.float64)
    assert rotation_spread(model("eq_edsr").upscale, lr, hr, scale=2) < 1e-9
    assert rotation_spread(model("edsr", "liif").upscale, lr, hr, scale=2) > 1e-4
