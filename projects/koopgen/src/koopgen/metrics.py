"""How good a forecast is: error curves, valid prediction time, divergence, long-run statistics (§8).

Forecasts and targets are (B, T, n_x) in physical units, index 0 included. A forecast that is not finite counts as
infinitely wrong everywhere here, so that no mean is taken over the survivors only (§10.9).

Which σ: `sigma` is a scalar in the units of the state. `TrajectorySet.sigma` is the root mean square of the channels'
standard deviations (8.48 for Lorenz-63); the sibling code base divides Lorenz-63 by 14.0, so that its threshold
"0.3 σ" is 0.5 of ours (§10.8). Whoever prints a valid prediction time prints its σ too.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Batch = Float[Tensor, "B T n_x"]


def rmse_curve(prediction: Batch, target: Batch) -> Float[Tensor, "T"]:
    """Root mean squared error over trajectories and channels, for each time index; infinite where not finite.

    >>> rmse_curve(torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[0.0], [-1.0]]]))
    tensor([0., 3.])
    """
    return _squared_error(prediction, target).mean((0, 2)).sqrt().to(prediction.dtype)


def nrmse_curve(prediction: Batch, target: Batch, std: Float[Tensor, "n_x"]) -> Float[Tensor, "T"]:
    """As `rmse_curve`, with the error of each channel divided by its standard deviation `std`.

    Raises:
        ValueError: if a standard deviation is not positive, or their number is not that of the channels.
    """
    if std.shape != prediction.shape[2:]:
        raise ValueError(
            f"std has shape {tuple(std.shape)}, the forecast has {prediction.shape[-1]} channels"
        )
    if not (std > 0).all():
        raise ValueError(f"std must be positive in every channel, got {std.tolist()}")
    return (
        (_squared_error(prediction, target) / std.double().square()).mean((0, 2)).sqrt().to(prediction.dtype)
    )


@dataclass(frozen=True)
class ValidTime:
    """Valid prediction times of many trajectories, in units of time.

    Args:
        times: of each trajectory, (B,).
        cap: the longest time the data could show; trajectories that stay valid to the end have it.
        lyapunov: largest Lyapunov exponent, to convert with; None or 0 where there is no Lyapunov time.
    """

    times: Float[Tensor, "B"]
    cap: float
    lyapunov: float | None = None

    @property
    def mean(self) -> float:
        return float(self.times.mean())

    @property
    def median(self) -> float:
        return float(self.times.quantile(0.5))

    @property
    def std(self) -> float:
        """Standard deviation over the trajectories."""
        return float(self.times.std(unbiased=False))

    @property
    def cap_share(self) -> float:
        """Share of the trajectories that stay valid to the end; their true time is longer than `cap`."""
        return float((self.times >= self.cap * (1 - 1e-9)).double().mean())

    @property
    def in_lyapunov_times(self) -> "ValidTime | None":
        """The same in Lyapunov times; None where the system has none."""
        if not self.lyapunov:
            return None
        return ValidTime(self.times * self.lyapunov, self.cap * self.lyapunov)


def valid_prediction_time(
    prediction: Batch,
    target: Batch,
    *,
    dt: float,
    sigma: float | Float[Tensor, "n_x"],
    threshold: float = 0.3,
    lyapunov: float | None = None,
) -> ValidTime:
    """Time of the first index whose error reaches `threshold`, for each trajectory.

    The error is √(mean over channels of ((x̂ − x)/σ)²). Index 0 counts: a model that cannot reconstruct its first state
    has the time 0. T samples that never reach the threshold give the cap T·dt, as in the published numbers.

    Args:
        prediction: forecasts; entries that are not finite have reached any threshold.
        target: the true trajectories.
        dt: time between two samples.
        sigma: one scale for the state, or one for each channel.
        threshold: ε; 0.1, 0.2, 0.3 with a scalar σ, 0.4 with the channels' standard deviations are customary.
        lyapunov: to convert with, see `ValidTime`.

    Example:
        >>> target = torch.zeros(1, 4, 1)
        >>> prediction = torch.tensor([[[0.0], [0.1], [0.5], [0.0]]])
        >>> valid_prediction_time(prediction, target, dt=0.5, sigma=1.0).times
        tensor([1.], dtype=torch.float64)
    """
    if dt <= 0 or threshold <= 0:
        raise ValueError(f"dt and threshold must be positive, got {dt} and {threshold}")
    scale = torch.as_tensor(sigma, dtype=torch.float64, device=prediction.device)
    if not (scale > 0).all():
        raise ValueError(f"sigma must be positive, got {sigma}")
    error = (_squared_error(prediction, target) / scale.square()).mean(2).sqrt()
    exceeded = error >= threshold
    samples = error.shape[1]
    first = torch.where(exceeded.any(1), exceeded.int().argmax(1), samples)
    return ValidTime(first.double() * dt, samples * dt, lyapunov)


def divergence_rate(
    prediction: Batch, sigma: float, mean: Float[Tensor, "n_x"] | float = 0.0, limit: float = 10.0
) -> float:
    """Share of the forecasts that are not finite, or leave the mean by more than `limit`·σ in some channel.

    >>> divergence_rate(torch.tensor([[[1.0]], [[float("nan")]], [[11.0]], [[-9.0]]]), sigma=1.0)
    0.5
    """
    if sigma <= 0 or limit <= 0:
        raise ValueError(f"sigma and limit must be positive, got {sigma} and {limit}")
    return float(_diverged(prediction, sigma, mean, limit).double().mean())


def _diverged(prediction: Batch, sigma: float, mean: Tensor | float, limit: float) -> Bool[Tensor, "B"]:
    # NaN is not <= anything, so it has diverged.
    return ~((prediction - mean).abs() <= limit * sigma).flatten(1).all(1)


def marginal_wasserstein(a: Float[Tensor, "... n_x"], b: Float[Tensor, "... n_x"]) -> Float[Tensor, "n_x"]:
    """1-Wasserstein distance between the marginal distributions of each channel, in units of the state.

    Args:
        a: samples of the first set, any number; infinite distance if one of them is not finite.
        b: samples of the second set.

    Example:
        >>> a = torch.randn(100, 5, 2)
        >>> marginal_wasserstein(a, a + torch.tensor([0.0, 3.0])).round(decimals=4)
        tensor([0., 3.])
    """
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"a has {a.shape[-1]} channels, b has {b.shape[-1]}")
    from scipy.stats import wasserstein_distance

    first, second = (x.detach().double().cpu().reshape(-1, x.shape[-1]) for x in (a, b))
    distances = [
        float(wasserstein_distance(first[:, i].numpy(), second[:, i].numpy()))
        if first[:, i].isfinite().all() and second[:, i].isfinite().all()
        else float("inf")
        for i in range(first.shape[1])
    ]
    return torch.tensor(distances, dtype=a.dtype)


@dataclass(frozen=True)
class Spectrum:
    """Power spectral density, averaged over trajectories and the other axis: ∫ density d(frequency) is the variance.

    Args:
        frequency: in cycles per unit of the axis (time, or grid points), from 0 up.
        density: one-sided.
    """

    frequency: Float[Tensor, "F"]
    density: Float[Tensor, "F"]

    def log_error(self, truth: "Spectrum", floor: float = 1e-12) -> float:
        """Root mean square of log₁₀(density / density of the truth) over the frequencies above 0.

        Densities below `floor` times the largest of the truth count as this floor: round-off is no signal.
        """
        if self.frequency.shape != truth.frequency.shape or not torch.allclose(
            self.frequency, truth.frequency
        ):
            raise ValueError(
                "the spectra have different frequencies; compute them from windows of the same length"
            )
        least = floor * truth.density.max()
        ratio = (self.density.clamp_min(least) / truth.density.clamp_min(least)).log10()[1:]
        return float(ratio.square().mean().sqrt()) if ratio.isfinite().all() else float("inf")


def power_spectrum(x: Batch, spacing: float = 1.0, axis: Literal["time", "space"] = "time") -> Spectrum:
    """One-sided power spectral density along time, or along the channels of a field on a periodic grid.

    Along time the mean is taken out and a Hann window put on, because trajectories do not end where they begin.

    Args:
        x: trajectories.
        spacing: distance between two samples of the axis.
        axis: "time" or "space".

    Example:
        >>> t = torch.arange(200) * 0.05
        >>> wave = power_spectrum(torch.sin(2 * torch.pi * 3 * t)[None, :, None], spacing=0.05)
        >>> round(float(wave.frequency[wave.density.argmax()]), 2)
        3.0
    """
    if axis not in ("time", "space"):
        raise ValueError(f"axis must be 'time' or 'space', got {axis!r}")
    if spacing <= 0:
        raise ValueError(f"spacing must be positive, got {spacing}")
    dim = 1 if axis == "time" else 2
    n = x.shape[dim]
    if n < 4:
        raise ValueError(f"{n} samples along {axis} are too few for a spectrum; give at least 4")
    x = x.double()
    if axis == "time":
        window = torch.hann_window(n, periodic=True, dtype=x.dtype, device=x.device)
        x = (x - x.mean(1, keepdim=True)) * window[:, None]
        gain = window.square().mean()
    else:
        gain = torch.ones((), dtype=x.dtype, device=x.device)
    power = torch.fft.rfft(x, dim=dim).abs().square().mean((0, 3 - dim))
    density = power * spacing / (n * gain)
    density[1 : (n + 1) // 2] *= 2  # the negative frequencies; the one at n/2 is its own mirror image
    return Spectrum(torch.fft.rfftfreq(n, spacing, dtype=x.dtype, device=x.device), density)


def _squared_error(prediction: Batch, target: Batch) -> Float[Tensor, "B T n_x"]:
    """In float64; infinite where the forecast is not finite."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}")
    if prediction.ndim != 3:
        raise ValueError(f"give (trajectories, samples, channels), got shape {tuple(prediction.shape)}")
    if not target.isfinite().all():
        raise ValueError("target is not finite")
    error = (prediction.double() - target.double()).square()
    return torch.where(error.isfinite(), error, torch.inf)
