"""PSNR and SSIM of a model on an evaluation set, beside bicubic interpolation of the same low-resolution images (§6.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tenfold.imaging import imresize
from tenfold.metrics import Protocol, restoration_psnr, restoration_ssim

from .data.evaluation import EvaluationSet
from .data.resize import pillow_bicubic
from .model import ASISR, Progress


@dataclass(frozen=True)
class Score:
    """Decibels and structural similarities of one image, or means over several."""

    name: str
    psnr: float
    ssim: float
    bicubic_psnr: float
    bicubic_ssim: float


def score(
    model: ASISR,
    images: EvaluationSet,
    protocol: Protocol | None = None,
    *,
    chunk: int = 30_000,
    progress: Progress | None = None,
) -> list[Score]:
    """Enlarge every image of a set and compare it with the true one.

    Args:
        model: on any device.
        images: of `EvaluationSet`.
        protocol: that of the set if None; non-integer scales crop ⌈scale⌉ pixels.
        chunk: queries worked on at a time.
        progress: called with the number of images that are done, and of all, after each of them.
    """
    compared = images.protocol if protocol is None else protocol
    border = math.ceil(images.scale)
    weight = next(model.parameters())
    found = []
    for i in range(len(images)):
        pair = images[i]
        hr = pair.hr.unsqueeze(0)
        size = (hr.shape[-2], hr.shape[-1])
        large = model.upscale(pair.lr.to(weight).unsqueeze(0), size=size, chunk=chunk).float().cpu()
        plain = bicubic(pair.lr, size, images.lowres == "matlab").unsqueeze(0)
        numbers = [
            metric(picture, hr, scale=border, protocol=compared).item()
            for picture in (large, plain)
            for metric in (restoration_psnr, restoration_ssim)
        ]
        found.append(Score(pair.name, *numbers))
        if progress is not None:
            progress(i + 1, len(images))
    return found


def bicubic(
    lr: Float[Tensor, "3 h w"], size: tuple[int, int], matlab: bool
) -> Float[Tensor, "3 new_h new_w"]:
    """Bicubic interpolation in 8 bit, by the rule that made the low-resolution image: MATLAB's or Pillow's."""
    levels: UInt8[Tensor, "3 h w"] = (lr * 255).round().to(torch.uint8)
    large = imresize(levels, size=size) if matlab else pillow_bicubic(levels, size)
    return large.float() / 255


def mean(scores: Sequence[Score]) -> Score:
    """Means over images; infinite where one is (equal images).

    Raises:
        ValueError: if there are none.

    >>> mean([Score("a", 30.0, 0.9, 28.0, 0.8), Score("b", 32.0, 0.7, 29.0, 0.6)])
    Score(name='mean', psnr=31.0, ssim=0.8, bicubic_psnr=28.5, bicubic_ssim=0.7)
    """
    if not scores:
        raise ValueError("scores is empty; a mean over nothing is not defined")
    columns = zip(*((s.psnr, s.ssim, s.bicubic_psnr, s.bicubic_ssim) for s in scores))
    return Score("mean", *(sum(column) / len(scores) for column in columns))
