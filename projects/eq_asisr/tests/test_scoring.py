"""Scores of an evaluation set: what is compared with what, and the means."""

import pytest
import torch
from torch import nn

from eq_asisr.data import EvaluationSet
from eq_asisr.scoring import Score, bicubic, mean, score


class Upscaler(nn.Module):
    """Stands in for a model: bicubic interpolation itself."""

    def __init__(self, matlab):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.matlab = matlab

    def upscale(self, lr, *, size, chunk):
        return bicubic(lr[0], size, self.matlab).unsqueeze(0)


@pytest.mark.parametrize(("scale", "psnr", "ssim"), [(2, 31.7075, 0.9456), (4, 26.8385, 0.8427)])
def test_bicubic_has_the_known_scores(scale, psnr, ssim):
    """Astronaut of §6.4; there the luma is that of 8-bit images, as here."""
    images = EvaluationSet("builtin", scale, first=1)
    seen = []
    (found,) = score(Upscaler(True), images, progress=lambda *at: seen.append(at))
    assert found.name == "astronaut"
    assert found.bicubic_psnr == pytest.approx(psnr, abs=0.002)
    assert found.bicubic_ssim == pytest.approx(ssim, abs=0.0002)
    assert (found.psnr, found.ssim) == (found.bicubic_psnr, found.bicubic_ssim)
    assert seen == [(1, 1)]


def test_scales_need_not_be_whole():
    (found,) = score(Upscaler(False), EvaluationSet("builtin", 5.5, first=1), "plain")
    assert 20 < found.psnr < 30


@pytest.mark.realdata
@pytest.mark.parametrize(("scale", "psnr"), [(4, 28.4302), (6, 25.9300), (8, 24.3987)])
def test_set5_by_bicubic(scale, psnr):
    """§6.4: distributed files with MATLAB's interpolation at ×4, Pillow both ways beyond."""
    found = score(Upscaler(scale == 4), EvaluationSet("Set5", scale))
    assert mean(found).bicubic_psnr == pytest.approx(psnr, abs=0.002)


def test_means_need_images():
    with pytest.raises(ValueError, match="scores is empty"):
        mean([])
    assert mean([Score("a", float("inf"), 1.0, 1.0, 1.0), Score("b", 1.0, 1.0, 1.0, 1.0)]).psnr == float(
        "inf"
    )
