"""Metrics against hand computations, scikit-image, and the published evaluation numbers (eq_asisr §6.4)."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from tenfold.imaging import crop_to_multiple, imresize, luma
from tenfold.metrics import (
    accuracy,
    mae,
    mse,
    nmse,
    psnr,
    relative_l2,
    restoration_psnr,
    restoration_ssim,
    rmse,
    ssim,
)

# image, scale: PSNR of Y cropped by the scale, SSIM, PSNR of RGB cropped by scale + 6, sum of the LR bytes
PHOTOGRAPHS = {
    ("astronaut", 2): (31.7075, 0.9456, 30.0724, 22532831),
    ("astronaut", 3): (28.6793, 0.8934, 27.0596, 9968532),
    ("astronaut", 4): (26.8385, 0.8427, 25.2470, 5633950),
    ("coffee", 2): (30.5927, 0.8859, 29.1252, 17751598),
    ("coffee", 3): (28.4061, 0.8134, 26.9153, 7872834),
    ("coffee", 4): (27.2915, 0.7648, 25.7689, 4437823),
    ("chelsea", 2): (35.2523, 0.9158, 33.6045, 11672709),
    ("chelsea", 3): (32.8901, 0.8542, 31.2680, 5187554),
    ("chelsea", 4): (31.4738, 0.8063, 29.8689, 2903728),
}
# bicubic down (the distributed files) and up: `benchmark` and `div2k` on 8-bit RGB; `classic` PSNR and SSIM on Y alone
BICUBIC = {
    ("Set5", 2): (33.6741, 31.7873, 33.6621, 0.9299),
    ("Set5", 3): (30.4047, 28.6566, 30.3936, 0.8682),
    ("Set5", 4): (28.4302, 26.7158, 28.4220, 0.8104),
    ("Set14", 2): (30.3263, None, 30.2335, 0.8687),
    ("Set14", 3): (27.6336, None, 27.5430, 0.7736),
    ("Set14", 4): (26.0914, None, 26.0030, 0.7019),
}
BICUBIC_BSD100 = {
    2: (29.5605, 28.1530, 29.5585, 0.8431),
    3: (27.2097, 25.8030, 27.2079, 0.7384),
    4: (25.9620, 24.5474, 25.9613, 0.6674),
}
# Pillow's bicubic both ways, `benchmark` on the sets and `div2k` on one image of DIV2K
PILLOW = {
    "Set5": {2: 33.6733, 3: 30.4032, 4: 28.4292, 6: 25.9300, 8: 24.3987},
    "Set14": {2: 30.3247, 3: 27.6312, 4: 26.0906, 6: 24.3373, 8: 23.1867},
    "0803": {
        2: 40.0047,
        3: 35.9333,
        4: 33.5455,
        6: 30.7023,
        12: 26.6421,
        18: 24.7113,
        24: 23.4561,
        30: 22.4755,
    },
}
# RCAN's released Set5 images: mean PSNR-Y, mean SSIM, PSNR-Y of baby, bird, butterfly, head, woman
RCAN = {
    2: (38.2742, 0.9614, (38.9800, 43.6399, 36.0588, 36.0752, 36.6170)),
    3: (34.7422, 0.9299, None),
    4: (32.6336, 0.9002, (33.9482, 35.9048, 29.3593, 33.0103, 30.9451)),
}


def as_images(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.unsqueeze(0).double() / 255


def load(path: Path) -> torch.Tensor:
    pixels = np.array(Image.open(path))
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def test_errors_by_hand():
    p, t = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert mse(p, t).item() == pytest.approx(5 / 4)
    assert rmse(p, t).item() == pytest.approx((5 / 4) ** 0.5)
    assert mae(p, t).item() == pytest.approx(3 / 4)
    assert nmse(p, t).item() == pytest.approx(5 / 26)
    assert relative_l2(p, t).item() == pytest.approx((2 / 1 + 1 / 5) / 2)


def test_errors_are_differentiable():
    p = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    t = torch.rand(3, 4, dtype=torch.float64)
    for error in (mse, rmse, mae, nmse, relative_l2):
        assert torch.autograd.gradcheck(error, (p, t))


def test_accuracy():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    target = torch.tensor([0, 2, 1, 1])
    assert accuracy(logits, target).item() == 0.75
    assert accuracy(logits.argmax(1), target).item() == 0.75


@pytest.mark.parametrize("metric", [mse, rmse, mae, nmse, relative_l2])
def test_errors_reject_shapes(metric):
    with pytest.raises(ValueError, match=r"\(2, 3\), target \(2, 1\)"):
        metric(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="empty"):
        metric(torch.zeros(0, 3), torch.zeros(0, 3))


def test_relative_errors_reject_zero_targets():
    with pytest.raises(ValueError, match="zero everywhere"):
        nmse(torch.ones(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="target 1 of the batch"):
        relative_l2(torch.ones(2, 3), torch.tensor([[1.0, 0, 0], [0, 0, 0]]))


def test_accuracy_rejects():
    with pytest.raises(TypeError, match="float32"):
        accuracy(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"\(2,\), target \(3,\)"):
        accuracy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))


def test_psnr_per_image():
    t = torch.zeros(3, 1, 4, 4)
    p = torch.tensor([0.1, 0.01, 0.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    torch.testing.assert_close(psnr(p, t), torch.tensor([20.0, 40.0, torch.inf]))
    torch.testing.assert_close(psnr(255 * p, t, peak=255.0), psnr(p, t))


def test_psnr_of_half_precision_is_not_rounded_to_half():
    p = torch.full((1, 1, 4, 4), 0.0123, dtype=torch.float16)
    exact = -20 * torch.log10(p.double()[0, 0, 0, 0])
    assert abs(psnr(p, torch.zeros_like(p)).item() - exact) < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_scikit_image(channels):
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(2, channels, 24, 31, generator=generator, dtype=torch.float64)
    p = (t + 0.2 * torch.randn(t.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    for i in range(2):
        expected, full = structural_similarity(
            p[i].numpy(),
            t[i].numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        valid = full[:, 5:-5, 5:-5].mean()
        assert ssim(p, t)[i].item() == pytest.approx(valid, abs=1e-9)
        assert valid == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "scale"), PHOTOGRAPHS)
def test_bicubic_numbers_of_photographs(name, scale):
    y_psnr, y_ssim, rgb_psnr, byte_sum = PHOTOGRAPHS[name, scale]
    high = crop_to_multiple(torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1), scale)
    low = imresize(high, 1 / scale)
    assert low.long().sum().item() == byte_sum
    p, t = as_images(imresize(low, scale)), as_images(high)
    assert restoration_psnr(p, t, scale=scale).item() == pytest.approx(y_psnr, abs=1e-4)
    assert restoration_ssim(p, t, scale=scale).item() == pytest.approx(y_ssim, abs=1e-4)
    assert restoration_psnr(p, t, scale=scale, protocol="div2k").item() == pytest.approx(rgb_psnr, abs=1e-4)
    # a protocol is not a matter of taste: RGB without a border is more than a decibel away from luma
    assert abs(restoration_psnr(p, t, scale=scale, protocol="plain").item() - y_psnr) > 1


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "scale"), BICUBIC)
def test_bicubic_numbers_of_benchmarks(name, scale):
    folder = Path(os.environ["TENFOLD_DATA"]) / "sr" / name / f"x{scale}"
    rows = []
    for file in sorted((folder / "HR").glob("*.png")):
        high, low = load(file), load(folder / "LR" / file.name)
        p, t = as_images(imresize(low, size=tuple(high.shape[-2:]))), as_images(high)
        y = (255 * (t if len(high) == 1 else luma(t))).round() / 255
        up = (imresize(imresize(255 * y, 1 / scale), scale) / 255).clamp(0, 1)
        rows.append(
            [
                restoration_psnr(p, t, scale=scale).item(),
                restoration_psnr(p, t, scale=scale, protocol="div2k").item(),
                restoration_psnr(up, y, scale=scale, protocol="classic").item(),
                restoration_ssim(up, y, scale=scale, protocol="classic").item(),
            ]
        )
    assert len(rows) == {"Set5": 5, "Set14": 14}[name]
    benchmark, div2k, classic, similarity = np.mean(rows, 0)
    expected = BICUBIC[name, scale]
    assert benchmark == pytest.approx(expected[0], abs=2e-3)
    assert expected[1] is None or div2k == pytest.approx(expected[1], abs=2e-3)
    assert classic == pytest.approx(expected[2], abs=2e-3)
    assert similarity == pytest.approx(expected[3], abs=2e-4)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("scale", BICUBIC_BSD100)
def test_bicubic_numbers_of_bsd100(scale):
    folder = Path(os.environ["TENFOLD_DATA"]) / "bsds500" / "val"
    rows = []
    for file in sorted(folder.glob("*.jpg")):
        high = crop_to_multiple(load(file), scale)
        p, t = as_images(imresize(imresize(high, 1 / scale), scale)), as_images(high)
        y = (255 * luma(t)).round() / 255
        up = (imresize(imresize(255 * y, 1 / scale), scale) / 255).clamp(0, 1)
        rows.append(
            [
                restoration_psnr(p, t, scale=scale).item(),
                restoration_psnr(p, t, scale=scale, protocol="div2k").item(),
                restoration_psnr(up, y, scale=scale, protocol="classic").item(),
                restoration_ssim(up, y, scale=scale, protocol="classic").item(),
            ]
        )
    assert len(rows) == 100
    *decibels, similarity = np.mean(rows, 0)
    np.testing.assert_allclose(decibels, BICUBIC_BSD100[scale][:3], atol=2e-3)
    assert similarity == pytest.approx(BICUBIC_BSD100[scale][3], abs=2e-4)


def pillow_both_ways(file: Path, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Result and original; the original is cropped as LIIF does where no low-resolution file is given."""
    with Image.open(file) as image:
        low_size = (image.width // scale, image.height // scale)
        high = image.convert("RGB").crop((0, 0, low_size[0] * scale, low_size[1] * scale))
    up = high.resize(low_size, Image.Resampling.BICUBIC).resize(high.size, Image.Resampling.BICUBIC)
    return tuple(as_images(torch.from_numpy(np.array(i).transpose(2, 0, 1))) for i in (up, high))


@pytest.mark.realdata
@pytest.mark.parametrize("scale", PILLOW["Set5"])
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_bicubic_numbers_with_pillow(name, scale):
    folder = Path(os.environ["TENFOLD_DATA"]) / "sr" / name / "x2" / "HR"
    pairs = [pillow_both_ways(file, scale) for file in sorted(folder.glob("*.png"))]
    assert len(pairs) == {"Set5": 5, "Set14": 14}[name]
    decibels = [restoration_psnr(p, t, scale=scale).item() for p, t in pairs]
    assert np.mean(decibels) == pytest.approx(PILLOW[name][scale], abs=2e-3)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("scale", PILLOW["0803"])
def test_bicubic_numbers_of_one_image_of_div2k(scale):
    p, t = pillow_both_ways(Path(os.environ["TENFOLD_DATA"]) / "sr" / "div2k_valid_0803.png", scale)
    found = restoration_psnr(p, t, scale=scale, protocol="div2k").item()
    assert found == pytest.approx(PILLOW["0803"][scale], abs=2e-3)


@pytest.mark.realdata
@pytest.mark.parametrize("scale", RCAN)
def test_published_numbers_of_rcan_on_set5(scale):
    folder = Path(os.environ["TENFOLD_DATA"]) / "sr" / "Set5"
    names = ("baby", "bird", "butterfly", "head", "woman")
    decibels, similarity = [], []
    for i, name in enumerate(names):
        p = as_images(load(folder / "rcan_outputs" / f"x{scale}" / f"{name}_RCAN_x{scale}.png"))
        t = as_images(load(folder / f"x{scale}" / "HR" / f"img_{i + 1:03d}.png"))
        decibels.append(restoration_psnr(p, t, scale=scale).item())
        similarity.append(restoration_ssim(p, t, scale=scale).item())
    mean_psnr, mean_ssim, each = RCAN[scale]
    assert np.mean(decibels) == pytest.approx(mean_psnr, abs=2e-3)
    assert np.mean(similarity) == pytest.approx(mean_ssim, abs=2e-4)
    if each:
        np.testing.assert_allclose(decibels, each, atol=2e-3)


def test_grey_images_by_protocol():
    """`benchmark` reads grey as RGB, which compresses the range by 219/255: 1.32 dB more than `classic`."""
    t = (255 * torch.rand(1, 1, 64, 64, dtype=torch.float64)).round() / 255
    p = (255 * (0.9 * t + 0.03)).round() / 255
    gain = restoration_psnr(p, t, scale=2) - restoration_psnr(p, t, scale=2, protocol="classic")
    assert gain.item() == pytest.approx(1.32, abs=0.01)


def test_predictions_are_clamped():
    t = torch.ones(1, 3, 16, 16)
    assert restoration_psnr(t + 0.3, t, scale=2).item() == float("inf")


@pytest.mark.parametrize(
    ("shape", "arguments", "match"),
    [
        ((1, 3, 16, 16), {"scale": 2, "protocol": "set5"}, "got 'set5'"),
        ((1, 3, 16, 16), {"scale": 0}, "scale must be at least 1"),
        ((1, 4, 16, 16), {"scale": 2}, "1 or 3 channels, got 4"),
        ((1, 3, 16, 16), {"scale": 8}, "less than half the image"),
        ((3, 16, 16), {"scale": 2}, r"\(b, c, h, w\)"),
    ],
)
def test_restoration_psnr_rejects(shape, arguments, match):
    with pytest.raises(ValueError, match=match):
        restoration_psnr(torch.rand(shape), torch.rand(shape), **arguments)


def test_image_metrics_reject_bytes_and_tiny_images():
    with pytest.raises(TypeError, match="255"):
        psnr(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="11×11"):
        ssim(torch.rand(1, 3, 10, 16), torch.rand(1, 3, 10, 16))
