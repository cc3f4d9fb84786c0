"""imresize against MATLAB's numbers (eq_asisr §6.4), resampling against analytic functions, luma and crops."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.imaging import (
    crop_border,
    crop_to_multiple,
    imresize,
    keys_cubic,
    luma,
    resample,
    resize_weights,
)


def load(path: Path) -> torch.Tensor:
    """An 8-bit image file as (c, h, w)."""
    pixels = np.array(Image.open(path))
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def test_weights_of_halving():
    weights, indices = resize_weights(8, 4, 0.5)
    expected = [0, -0.011719, -0.035156, 0.113281, 0.433594, 0.433594, 0.113281, -0.035156, -0.011719, 0]
    assert indices[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(weights[0], expected, atol=5e-7)


def test_weights_of_thirding():
    weights, indices = resize_weights(9, 3, 1 / 3)
    edge = [0, -0.012346, -0.024691, 0, 0.111111, 0.259259]
    np.testing.assert_allclose(weights[1], [*edge, 0.333333, *edge[::-1], 0], atol=5e-7)
    assert indices[1].tolist() == [max(0, min(8, i)) for i in range(-2, 12)]


def test_weights_of_doubling():
    weights, indices = resize_weights(4, 8, 2.0)
    np.testing.assert_allclose(weights[2], [0, -0.023438, 0.226562, 0.867188, -0.070312, 0], atol=5e-7)
    assert indices[2].tolist() == [0, 0, 0, 1, 2, 3]


def test_symmetric_border_mirrors():
    _, indices = resize_weights(4, 2, 0.5, border="symmetric")
    assert indices[0].tolist() == [3, 2, 1, 0, 0, 1, 2, 3, 3, 2]


def test_float_image_is_not_rounded():
    image = torch.arange(16.0, dtype=torch.float64).view(4, 4).square()
    expected = [[10.061646, 24.094604], [112.336792, 157.131958]]
    np.testing.assert_allclose(imresize(image, 0.5), expected, atol=1e-6)
    np.testing.assert_allclose(imresize(image, 0.5, round_passes=True), [[10, 24], [112, 157]])


def test_8_bit_image_is_rounded_after_each_pass():
    image = ((30 * torch.arange(8)[:, None] + 4 * torch.arange(8)) % 256).to(torch.uint8)
    expected = [[17, 25, 33, 41], [77, 85, 93, 101], [137, 145, 153, 161], [197, 205, 213, 221]]
    assert imresize(image, 0.5).tolist() == expected


def test_rounding_each_pass_differs_from_rounding_once():
    image = torch.randint(0, 256, (64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    once = (imresize(image.double(), 0.5) + 0.5).floor().clamp(0, 255)
    assert (imresize(image, 0.5) != once).any()


def test_borders_differ_only_near_the_border():
    image = torch.rand(3, 32, 32, dtype=torch.float64)
    replicate, symmetric = (imresize(image, 0.5, border=border) for border in ("replicate", "symmetric"))
    assert (replicate != symmetric).any()
    torch.testing.assert_close(crop_border(replicate, 2), crop_border(symmetric, 2), rtol=0, atol=1e-12)


def test_size_and_scale():
    image = torch.rand(2, 3, 10, 7)
    assert imresize(image, 1 / 3).shape == (2, 3, 4, 3)
    assert imresize(image, size=(5, 14)).shape == (2, 3, 5, 14)
    assert imresize(torch.rand(9, 9), 1 / 3).shape == (3, 3)
    torch.testing.assert_close(imresize(image, 1.0), image)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_distributed_low_resolution_files_are_reproduced_bit_for_bit(name):
    folder = Path(os.environ["TENFOLD_DATA"]) / "sr" / name
    files = [file for scale in (2, 3, 4) for file in sorted((folder / f"x{scale}/HR").glob("*.png"))[:4]]
    assert len(files) == 12
    for file in files:
        scale = int(file.parent.parent.name[1:])
        assert torch.equal(imresize(load(file), 1 / scale), load(file.parent.parent / "LR" / file.name)), file


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "scale, size"),
        ({"scale": 0.0}, ValueError, "positive and finite, got 0"),
        ({"scale": math.nan}, ValueError, "finite, got nan"),
        ({"size": (0, 4)}, ValueError, r"at least \(1, 1\)"),
        ({"scale": 0.5, "border": "wrap"}, ValueError, "'replicate' or 'symmetric', got 'wrap'"),
    ],
)
def test_imresize_rejects(arguments, error, match):
    with pytest.raises(error, match=match):
        imresize(torch.rand(4, 4), **arguments)


def test_imresize_rejects_images_of_the_wrong_kind():
    with pytest.raises(TypeError, match="int64"):
        imresize(torch.zeros(4, 4, dtype=torch.int64), 0.5)
    with pytest.raises(ValueError, match="non-empty"):
        imresize(torch.zeros(4, 0), 0.5)
    with pytest.raises(ValueError, match=r"\.double\(\)"):
        imresize(torch.zeros(4, 4, dtype=torch.uint8), 0.5, round_passes=False)


def test_keys_cubic_interpolates_and_sums_to_one():
    x = torch.linspace(0, 1, 11, dtype=torch.float64)
    weights = keys_cubic(x[:, None] - torch.arange(-1, 3))
    torch.testing.assert_close(weights.sum(1), torch.ones(11, dtype=torch.float64))
    torch.testing.assert_close(
        weights @ torch.arange(-1.0, 3).double().square(), x.square()
    )  # exact for parabolas


def rotation(degrees: float) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def blob(points: torch.Tensor) -> torch.Tensor:
    """A smooth bump off the centre, sampled at points (2, h, w) in pixels."""
    return torch.exp(-((points[0] - 3) ** 2 + (points[1] + 2) ** 2) / 12)


def grid(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(
        torch.arange(height).double() - (height - 1) / 2,
        torch.arange(width).double() - (width - 1) / 2,
        indexing="ij",
    )
    return torch.stack([x, y])


@pytest.mark.parametrize(("interpolation", "tolerance"), [("bicubic", 5e-3), ("fourier", 2e-6)])
@pytest.mark.parametrize("shape", [(40, 40), (41, 41), (40, 45)])
def test_resample_follows_the_analytic_rotation(interpolation, tolerance, shape):
    points = grid(*shape)
    exact = blob(torch.einsum("ij,jhw->ihw", rotation(30), points))
    torch.testing.assert_close(
        resample(blob(points), rotation(30), interpolation), exact, rtol=0, atol=tolerance
    )
    wrong = resample(blob(points), rotation(-30), interpolation)
    assert (wrong - exact).abs().max() > 0.1


def test_resample_rejects():
    with pytest.raises(ValueError, match="'bilinear'"):
        resample(torch.rand(4, 4), torch.eye(2), "bilinear")
    with pytest.raises(TypeError, match="uint8"):
        resample(torch.zeros(4, 4, dtype=torch.uint8), torch.eye(2), "bicubic")
    with pytest.raises(ValueError, match="2×2"):
        resample(torch.rand(4, 4), torch.eye(3), "bicubic")


def test_luma_of_the_primaries():
    colours = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]], dtype=torch.float64)
    y = 255 * luma(colours[:, :, None, None])
    np.testing.assert_allclose(y.flatten(), [235, 16, 81.481, 144.553, 40.966])


def test_luma_rejects():
    with pytest.raises(ValueError, match=r"\(4, 8, 8\)"):
        luma(torch.rand(4, 8, 8))
    with pytest.raises(TypeError, match="255"):
        luma(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_crops():
    image = torch.arange(35).view(5, 7)
    assert crop_border(image, 2).tolist() == [[16, 17, 18]]
    assert crop_border(image, 0).shape == (5, 7)
    assert torch.equal(crop_to_multiple(image, 3), image[:3, :6])


@pytest.mark.parametrize("border", [-1, 3])
def test_crop_border_rejects(border):
    with pytest.raises(ValueError, match=f"got {border}"):
        crop_border(torch.rand(5, 7), border)


@pytest.mark.parametrize("multiple", [0, 6])
def test_crop_to_multiple_rejects(multiple):
    with pytest.raises(ValueError, match=f"got {multiple}"):
        crop_to_multiple(torch.rand(5, 7), multiple)
