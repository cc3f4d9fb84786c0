"""Errors, accuracy, and the PSNR and SSIM of image restoration, on tensors.

The regression errors average over every entry of the batch. PSNR and SSIM give one number per image, because papers
average the decibels of the images, not their errors. `restoration_psnr` and `restoration_ssim` know the protocols in
which published numbers are stated; they differ by more than most papers' gains (eq_asisr §6.3):

=============  ===========================  =====================  ======================================
protocol       channels compared            border cropped         used for
=============  ===========================  =====================  ======================================
`benchmark`    luma, unrounded              scale                  Set5, Set14, B100, Urban100
`div2k`        RGB                          scale + 6              DIV2K
`plain`        RGB                          none                   validation while training
`classic`      luma rounded to 8 bit; grey  scale                  papers before 2017; grey stays grey
               images as they are
=============  ===========================  =====================  ======================================
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tenfold.imaging import crop_border, luma

Protocol = Literal["benchmark", "div2k", "plain", "classic"]


def mse(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean squared error over all entries.

    >>> mse(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    _require_same_shape(prediction, target)
    return (prediction - target).square().mean()


def rmse(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Root of the mean squared error over all entries."""
    return mse(prediction, target).sqrt()


def mae(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean absolute error over all entries."""
    _require_same_shape(prediction, target)
    return (prediction - target).abs().mean()


def nmse(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Squared error over all entries, divided by the squared norm of the target: Σ(p−t)² / Σt².

    Raises:
        ValueError: if the target is zero everywhere, where the quotient has no meaning.
    """
    _require_same_shape(prediction, target)
    energy = target.square().sum()
    if energy == 0:
        raise ValueError("target is zero everywhere, so the normalised error is not defined; use mse")
    return (prediction - target).square().sum() / energy


def relative_l2(
    prediction: Float[Tensor, "batch *shape"], target: Float[Tensor, "batch *shape"]
) -> Float[Tensor, ""]:
    """Mean over the batch of ‖prediction − target‖₂ / ‖target‖₂, the norms taken per sample.

    Raises:
        ValueError: if there is no batch axis, or a target is zero everywhere.

    >>> relative_l2(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [0.0, 2.0]])).item()
    0.916666...
    """
    _require_same_shape(prediction, target)
    if prediction.ndim < 1:
        raise ValueError("prediction must have a batch axis, got a scalar")
    norms = torch.linalg.vector_norm(target.reshape(len(target), -1), dim=1)
    if (norms == 0).any():
        raise ValueError(
            f"target {int((norms == 0).nonzero()[0])} of the batch is zero; its relative error is not defined"
        )
    errors = torch.linalg.vector_norm((prediction - target).reshape(len(target), -1), dim=1)
    return (errors / norms).mean()


def accuracy(
    prediction: Float[Tensor, "*batch classes"] | Int[Tensor, "*batch"], target: Int[Tensor, "*batch"]
) -> Float[Tensor, ""]:
    """Fraction of the samples whose class is right, in [0, 1].

    Args:
        prediction: logits (or probabilities) with the classes on the last axis, or predicted class indices.
        target: true class indices.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if `target` does not hold integers.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    tensor(0.5000)
    """
    if target.is_floating_point():
        raise TypeError(f"target must hold class indices, got {target.dtype}")
    classes = prediction.argmax(-1) if prediction.is_floating_point() else prediction
    _require_same_shape(classes, target)
    return (classes == target).to(torch.get_default_dtype()).mean()


def psnr(
    prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, peak: float = 1.0
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each image in decibels, 10·log₁₀(peak² / mse); inf where the images are equal.

    >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)).item()
    20.0...
    """
    _require_images(prediction, target)
    error = (prediction - target).double().square().mean((1, 2, 3))
    return (10 * torch.log10(peak**2 / error)).to(_result_dtype(prediction))


def ssim(
    prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, peak: float = 1.0
) -> Float[Tensor, " b"]:
    """Structural similarity of each image as MATLAB computes it (Wang et al. 2004).

    Gaussian window 11×11 with σ = 1.5, only windows inside the image, population variances, K₁ = 0.01, K₂ = 0.03;
    channels are averaged. Equals scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)`; torchmetrics pads the image by default and differs near the border.

    Raises:
        ValueError: if the images are smaller than the window.
    """
    _require_images(prediction, target)
    if min(prediction.shape[-2:]) < 11:
        raise ValueError(f"images must be at least 11×11 for SSIM, got {tuple(prediction.shape[-2:])}")
    offset = torch.arange(-5, 6, dtype=torch.float64, device=prediction.device)
    window = torch.exp(-offset.square() / (2 * 1.5**2))
    window /= window.sum()

    def local_mean(x: Tensor) -> Tensor:
        planes = F.conv2d(x.flatten(0, 1).unsqueeze(1), window.view(1, 1, -1, 1))
        return F.conv2d(planes, window.view(1, 1, 1, -1)).unflatten(0, x.shape[:2]).squeeze(2)

    p, t = prediction.double(), target.double()
    mean_p, mean_t = local_mean(p), local_mean(t)
    variance_p = local_mean(p * p) - mean_p**2
    variance_t = local_mean(t * t) - mean_t**2
    covariance = local_mean(p * t) - mean_p * mean_t
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    similarity /= (mean_p**2 + mean_t**2 + c1) * (variance_p + variance_t + c2)
    return similarity.mean((1, 2, 3)).to(_result_dtype(prediction))


def restoration_psnr(
    prediction: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    scale: int,
    protocol: Protocol = "benchmark",
) -> Float[Tensor, " b"]:
    """PSNR in decibels of each restored image under a published protocol (table at the top of this module).

    Args:
        prediction: restored images in [0, 1], with 1 or 3 channels; values outside are clamped, nothing is rounded
            (except the luma of `classic`).
        target: true images in [0, 1].
        scale: the factor of super-resolution, at least 1; it sets the border that is cropped.
        protocol: "benchmark", "div2k", "plain" or "classic".

    Raises:
        ValueError: for unknown protocols, other channel counts, or a border that leaves nothing of the image.

    >>> image = torch.rand(2, 3, 24, 24)
    >>> restoration_psnr(image, image, scale=2)
    tensor([inf, inf])
    """
    seen, truth, peak = _as_compared(prediction, target, scale, protocol)
    return psnr(seen, truth, peak=peak).to(_result_dtype(prediction))


def restoration_ssim(
    prediction: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    scale: int,
    protocol: Protocol = "benchmark",
) -> Float[Tensor, " b"]:
    """SSIM of each restored image on what `restoration_psnr` compares; `benchmark` is MATLAB's SSIM on Y (eq_asisr §6.3)."""
    seen, truth, peak = _as_compared(prediction, target, scale, protocol)
    return ssim(seen, truth, peak=peak).to(_result_dtype(prediction))


def _as_compared(
    prediction: Tensor, target: Tensor, scale: int, protocol: Protocol
) -> tuple[Tensor, Tensor, float]:
    """Both images with the channels, border and range in which the protocol compares them."""
    _require_images(prediction, target)
    if protocol not in get_args(Protocol):
        raise ValueError(f"protocol must be one of {', '.join(get_args(Protocol))}, got {protocol!r}")
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    channels = prediction.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {channels}")
    border = {
        "benchmark": math.ceil(scale),
        "classic": math.ceil(scale),
        "div2k": math.ceil(scale) + 6,
        "plain": 0,
    }
    images = [crop_border(x.double().clamp(0, 1), border[protocol]) for x in (prediction, target)]
    if protocol == "benchmark":
        images = [255 * luma(x.expand(-1, 3, -1, -1)) for x in images]
    elif protocol == "classic":
        images = [(255 * (luma(x) if channels == 3 else x)).round() for x in images]
    peak = 255.0 if protocol in ("benchmark", "classic") else 1.0
    return images[0], images[1], peak


def _result_dtype(images: Tensor) -> torch.dtype:
    """At least single precision: half precision resolves 38 dB only to 0.03 dB."""
    return torch.promote_types(images.dtype, torch.float32)


def _require_same_shape(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}; they must be equal"
        )
    if prediction.numel() == 0:
        raise ValueError(
            f"prediction is empty, shape {tuple(prediction.shape)}; a mean over nothing is not defined"
        )


def _require_images(prediction: Tensor, target: Tensor) -> None:
    _require_same_shape(prediction, target)
    if prediction.ndim != 4:
        raise ValueError(f"images must have shape (b, c, h, w), got {tuple(prediction.shape)}")
    if not (prediction.is_floating_point() and target.is_floating_point()):
        raise TypeError(
            f"images must be floating point, got {prediction.dtype} and {target.dtype}; divide 8-bit images by 255"
        )
