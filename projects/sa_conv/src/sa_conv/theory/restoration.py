"""Closed-form check (i): denoising with anisotropic Tikhonov regularisation, where Theorem 3.3 can be computed.

    Φ[r̂] = argmin_r ‖r̂ − r‖² + λx‖∂x r‖² + λy‖∂y r‖²          (k = δ, quadratic growth μ = 1)

On a periodic grid the minimiser is the Fourier multiplier 1/(1 + λxωx² + λyωy²). With λx ≠ λy neither the prior nor the
optimal restoration is symmetric under quarter turns, and 2ε/μ bounds how much.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sa_conv.theory.bounds import continuous_bound
from tenfold.groups import CyclicGroup


@dataclass(frozen=True)
class TikhonovCheck:
    """Theorem 3.3 on one pair of weights.

    Args:
        error: (1/N) Σ ‖Φ[π r̂_n] − π Φ[r̂_n]‖², the worst quarter turn; ‖·‖² sums over pixels.
        eps: dataset symmetry error of the restored images under the prior.
        bound: 2ε/μ with μ = 1.
    """

    error: float
    eps: float
    bound: float


def tikhonov_restore(
    degraded: Float[Tensor, "*batch h w"], lambda_x: float, lambda_y: float
) -> Float[Tensor, "*batch h w"]:
    """The minimiser of ‖r̂ − r‖² + λx‖∂x r‖² + λy‖∂y r‖² on the periodic grid.

    Args:
        degraded: noisy images r̂.
        lambda_x: weight of the horizontal derivative, at least 0.
        lambda_y: weight of the vertical derivative, at least 0.

    Example:
        >>> stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(8, 8)  # varies along x only
        >>> torch.allclose(tikhonov_restore(stripes, 0.0, 5.0), stripes, atol=1e-6)
        True
    """
    spectrum = torch.fft.fft2(degraded) / (1 + _symbol(degraded, lambda_x, lambda_y))
    return torch.fft.ifft2(spectrum).real


def tikhonov_check(
    lambda_x: float, lambda_y: float, *, n_images: int = 50, size: int = 32, seed: int = 0
) -> TikhonovCheck:
    """Measure both sides of Theorem 3.3 on random white fields, in float64, for the quarter turns C4.

    ε is taken over the images the theorem compares: the restorations of the turned fields and the turned restorations.

    Example:
        >>> check = tikhonov_check(2.0, 1.0)
        >>> 0 < check.error <= check.bound
        True
    """
    if n_images < 1 or size < 2:
        raise ValueError(
            f"n_images must be at least 1 and size at least 2, got n_images={n_images}, size={size}"
        )
    group = CyclicGroup(4)
    generator = torch.Generator().manual_seed(seed)
    degraded = torch.randn(n_images, size, size, dtype=torch.float64, generator=generator)
    restored = tikhonov_restore(degraded, lambda_x, lambda_y)
    error, eps = 0.0, 0.0
    for t in group.elements:
        turned, back = group.act(t, restored), group.inverse(t)
        direct = tikhonov_restore(group.act(t, degraded), lambda_x, lambda_y)
        error = max(error, float((direct - turned).square().sum((-2, -1)).mean()))
        for before, after in ((restored, turned), (direct, group.act(back, direct))):
            shift = _prior(after, lambda_x, lambda_y) - _prior(before, lambda_x, lambda_y)
            eps = max(eps, abs(float(shift.mean())))
    return TikhonovCheck(error, eps, continuous_bound(eps, mu=1.0))


def _symbol(image: Tensor, lambda_x: float, lambda_y: float) -> Float[Tensor, "h w"]:
    if lambda_x < 0 or lambda_y < 0:
        raise ValueError(
            f"lambda_x and lambda_y must be at least 0, got lambda_x={lambda_x}, lambda_y={lambda_y}"
        )
    y, x = (
        2 * torch.pi * torch.fft.fftfreq(n, dtype=image.dtype, device=image.device) for n in image.shape[-2:]
    )
    return lambda_x * x.square() + lambda_y * y.square()[:, None]


def _prior(image: Tensor, lambda_x: float, lambda_y: float) -> Float[Tensor, "*batch"]:
    """λx‖∂x r‖² + λy‖∂y r‖², by Parseval."""
    power = torch.fft.fft2(image).abs().square() / image.shape[-1] / image.shape[-2]
    return (_symbol(image, lambda_x, lambda_y) * power).sum((-2, -1))
