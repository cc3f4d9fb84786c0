"""Closed-form check (iii): when does a symmetric estimator win? The bias–variance trade-off of section 4, exactly.

The task is to denoise the centre of a p×p patch of an anisotropic Gaussian field (noise σ) by a linear filter, fitted by
least squares on n patches: once freely (p² coefficients), once constrained to be C4-symmetric. Field and noise are
Gaussian, so the test error of any filter is known in closed form and the only randomness is the training set.

The field has unit variance and power spectrum ∝ (1 + 4(8ρu)² + 4(8v/ρ)²)^(−3/2) on a periodic grid of 64×64 pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class BiasVariance:
    """Test errors by the number of training patches.

    Args:
        n_patches: sizes of the training sets.
        free: mean test MSE of the unconstrained filter, one per size.
        symmetric: mean test MSE of the C4-symmetric filter, one per size.
        floor_free: test MSE of the best filter (infinite data).
        floor_symmetric: test MSE of the best symmetric filter.
    """

    n_patches: tuple[int, ...]
    free: tuple[float, ...]
    symmetric: tuple[float, ...]
    floor_free: float
    floor_symmetric: float

    @property
    def bias_floor(self) -> float:
        """What symmetry costs with infinite data: the difference of the floors."""
        return self.floor_symmetric - self.floor_free

    @property
    def crossover(self) -> tuple[int | None, int | None]:
        """The last size at which symmetry wins and the first at which it loses; None where there is no such size."""
        wins = [n for n, a, b in zip(self.n_patches, self.free, self.symmetric) if b <= a]
        losses = [n for n, a, b in zip(self.n_patches, self.free, self.symmetric) if b > a]
        return (max(wins) if wins else None, min(losses) if losses else None)


def patch_covariance(ratio: float, kernel_size: int = 5, grid: int = 64) -> Float[Tensor, "d d"]:
    """Covariance of the p×p patches of the unit-variance field with anisotropy ρ = `ratio`, in float64.

    Example:
        >>> covariance = patch_covariance(ratio=1.7)
        >>> covariance.shape, round(float(covariance[0, 0]), 6)
        (torch.Size([25, 25]), 1.0)
    """
    if not ratio > 0:
        raise ValueError(f"ratio must be positive, got {ratio}")
    if kernel_size < 1 or kernel_size % 2 == 0 or kernel_size > grid // 2:
        raise ValueError(f"kernel_size must be odd and at most half the grid ({grid}), got {kernel_size}")
    frequency = torch.fft.fftfreq(grid, dtype=torch.float64)
    v, u = frequency[:, None], frequency[None, :]
    power = (1 + 4 * (8 * ratio * u).square() + 4 * (8 * v / ratio).square()).pow(-1.5)
    autocovariance = torch.fft.ifft2(power).real
    autocovariance = autocovariance / autocovariance[0, 0]
    index = torch.arange(kernel_size)
    rows, columns = (k.flatten() for k in torch.meshgrid(index, index, indexing="ij"))
    return autocovariance[rows[:, None] - rows[None, :], columns[:, None] - columns[None, :]]


def bias_variance_experiment(
    ratio: float,
    *,
    n_patches: Sequence[int] = (64, 288, 1152, 51_200),
    noise: float = 1.0,
    kernel_size: int = 5,
    trials: int = 20,
    seed: int = 0,
) -> BiasVariance:
    """Fit both filters on `trials` independent training sets of each size and average their exact test errors.

    Args:
        ratio: anisotropy ρ of the field; 1 is isotropic.
        n_patches: training-set sizes, each more than p².
        noise: standard deviation σ of the noise, positive.
        trials: training sets per size.

    Example:
        >>> isotropic = bias_variance_experiment(1.0, n_patches=(64,), trials=5)
        >>> isotropic.symmetric[0] < isotropic.free[0], isotropic.bias_floor < 1e-12
        (True, True)
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    if not noise > 0:
        raise ValueError(f"noise must be positive, got {noise}")
    too_few = [n for n in n_patches if n <= kernel_size**2]
    if too_few:
        raise ValueError(
            f"n_patches must exceed the {kernel_size**2} coefficients of the filter, got {too_few[0]}"
        )
    clean = patch_covariance(ratio, kernel_size)
    d = len(clean)
    noisy = clean + noise**2 * torch.eye(d, dtype=torch.float64)
    cross = clean[:, d // 2]  # with the clean centre, whose variance is 1
    orbits = _orbit_basis(kernel_size)
    generator = torch.Generator().manual_seed(seed)

    def risk(w: Float[Tensor, " d"]) -> float:
        return float(1 - 2 * w @ cross + w @ noisy @ w)

    def best(features: Float[Tensor, "d k"]) -> float:
        return risk(features @ torch.linalg.solve(features.T @ noisy @ features, features.T @ cross))

    factor = torch.linalg.cholesky(_joint(noisy, cross))
    errors = {"free": [0.0] * len(n_patches), "symmetric": [0.0] * len(n_patches)}
    for i, n in enumerate(n_patches):
        for _ in range(trials):
            sample = torch.randn(n, d + 1, dtype=torch.float64, generator=generator) @ factor.T
            x, y = sample[:, :d], sample[:, d:]
            errors["free"][i] += risk(torch.linalg.lstsq(x, y).solution[:, 0]) / trials
            symmetric = orbits @ torch.linalg.lstsq(x @ orbits, y).solution[:, 0]
            errors["symmetric"][i] += risk(symmetric) / trials
    return BiasVariance(
        tuple(n_patches),
        tuple(errors["free"]),
        tuple(errors["symmetric"]),
        floor_free=best(torch.eye(d, dtype=torch.float64)),
        floor_symmetric=best(orbits),
    )


def _joint(noisy: Float[Tensor, "d d"], cross: Float[Tensor, " d"]) -> Float[Tensor, "k k"]:
    """Covariance of (noisy patch, clean centre)."""
    top = torch.cat([noisy, cross[:, None]], 1)
    bottom = torch.cat([cross, torch.ones(1, dtype=torch.float64)])
    return torch.cat([top, bottom[None]])


def _orbit_basis(kernel_size: int) -> Float[Tensor, "d orbits"]:
    """Indicator functions of the orbits of the pixels under quarter turns: a basis of the C4-symmetric filters."""
    pixels = torch.arange(kernel_size**2).view(kernel_size, kernel_size)
    orbit = torch.stack([pixels.rot90(k) for k in range(4)]).amin(0).flatten()  # its smallest pixel names it
    names = orbit.unique()
    return (orbit[:, None] == names[None, :]).double()
