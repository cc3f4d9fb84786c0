"""What the whole model refuses, and how it says so."""

import math

import pytest
import torch
from torch import nn

from eq_asisr import ASISR, EqEDSR, EqLIIF, build

F64 = torch.float64
ENCODER = {"n_feats": 16, "n_blocks": 1}
DECODER = {"group_hidden": (16,), "hidden": (8, 8)}


@pytest.fixture
def small():
    return build(encoder_options=ENCODER, decoder_options=DECODER)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either scale or size"),
        ({"scale": 2, "size": (8, 8)}, "give either scale or size"),
        ({"scale": 0}, "scale must be a finite number of at least 1, got 0"),
        ({"scale": -2}, "at least 1, got -2"),
        ({"scale": 0.5}, "got 0.5; this model does not shrink images"),
        ({"scale": math.nan}, "finite number of at least 1, got nan"),
        ({"scale": math.inf}, "finite number of at least 1, got inf"),
        ({"size": (0, 8)}, r"size must be at least the image's 4×4, got 0×8"),
        ({"size": (8, 3)}, r"at least the image's 4×4, got 8×3; this model does not shrink images"),
        ({"scale": 2, "chunk": 0}, "chunk must be an int of at least 1, or None, got 0"),
        ({"scale": 2, "chunk": 2.5}, r"chunk must be an int of at least 1, or None, got 2\.5"),
    ],
)
def test_sizes_that_cannot_be_are_refused(small, arguments, message):
    with pytest.raises(ValueError, match=message):
        small.upscale(torch.rand(1, 3, 4, 4), **arguments)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (
            torch.rand(3, 4, 4),
            ValueError,
            r"lr must be images of shape \(b, channels, h, w\), got \(3, 4, 4\)",
        ),
        (torch.rand(1, 3, 0, 4), ValueError, r"got \(1, 3, 0, 4\)"),
        (
            torch.full((1, 3, 4, 4), 255.0),
            ValueError,
            r"lie in \[0, 1\], got values from 255 to 255; divide 8",
        ),
        (torch.full((1, 3, 4, 4), -0.1), ValueError, r"lr must lie in \[0, 1\], got values from -0\.1"),
        (torch.full((1, 3, 4, 4), math.nan), ValueError, r"lr must lie in \[0, 1\], got values from nan"),
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
            TypeError,
            r"must be floating point in \[0, 1\], got torch.uint8",
        ),
        (
            torch.rand(1, 3, 4, 4, dtype=F64),
            TypeError,
            "lr is torch.float64 and the model's weights are torch.float32",
        ),
        (torch.rand(1, 1, 4, 4), ValueError, "1 channels"),
    ],
)
def test_images_that_cannot_be_are_refused(small, image, error, message):
    with pytest.raises(error, match=message):
        small.upscale(image, scale=2)


def test_queries_of_other_shapes_are_refused(small):
    model = small
    features = model.encode(torch.rand(2, 3, 4, 4))
    coord, cell = torch.zeros(2, 5, 2), torch.ones(2)
    with pytest.raises(ValueError, match=r"coord must have shape \(2, queries, 2\) or .* got \(3, 5, 2\)"):
        model.query(features, torch.zeros(3, 5, 2), cell)
    with pytest.raises(ValueError, match=r"cell must have shape \(2, queries, 2\), .* got \(3,\)"):
        model.query(features, coord, torch.ones(3))
    with pytest.raises(ValueError, match="cell has 4 entries for 5 queries"):
        model.query(features, coord, torch.ones(2, 4, 2))


def test_parts_that_do_not_fit_are_refused():
    encoder = EqEDSR(4, n_feats=16, n_blocks=1)
    with pytest.raises(
        ValueError, match="the encoder has t=4 orientations and the decoder t=8; they must agree"
    ):
        ASISR(encoder, EqLIIF(16, 8, group_hidden=(16,)))
    with pytest.raises(ValueError, match="the encoder gives 16 channels, the decoder takes in_channels=64"):
        ASISR(encoder, EqLIIF(64, 4))
    with pytest.raises(TypeError, match="decoder must be a Decoder, got Linear; EqINRAdapter makes one"):
        ASISR(encoder, nn.Linear(2, 2))
    with pytest.raises(TypeError, match="encoder must have the attribute out_dim, Conv2d has not"):
        ASISR(nn.Conv2d(3, 16, 3), EqLIIF(16, 4))
    with pytest.raises(
        ValueError, match=r"cell_clip must be a finite scale of at least 1, or None, got 0\.5"
    ):
        ASISR(encoder, EqLIIF(16, 4), cell_clip=0.5)


def test_unknown_names_and_arguments_are_named():
    with pytest.raises(ValueError, match=r"encoder must be one of edsr, eq_edsr, .*, got 'unet'"):
        build("unet")
    with pytest.raises(ValueError, match=r"decoder must be one of liif, eq_liif, .*, got 'siren'"):
        build(decoder="siren")
    with pytest.raises(TypeError, match=r"encoder eq_edsr: .*'width'"):
        build(encoder_options={"width": 3})
    other = {"t": 8, **DECODER}
    with pytest.raises(ValueError, match="decoder t=8; they must agree"):
        build(encoder_options=ENCODER, decoder_options=other)
    with pytest.raises(ValueError, match="n_feats must be a multiple of t=3, got 64"):
        build(group=3)
    with pytest.raises(ValueError, match="encoder must be one of"):
        ASISR({"n_feats": 8}, EqLIIF(8, 4))
