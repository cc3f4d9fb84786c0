"""Metrics on forecasts whose errors are known, and on forecasts that blow up."""

import math

import pytest
import torch

from koopgen.metrics import (
    ValidTime,
    divergence_rate,
    marginal_wasserstein,
    nrmse_curve,
    power_spectrum,
    rmse_curve,
    valid_prediction_time,
)

NAN, INF = float("nan"), float("inf")


def errors(*rows):
    """Forecasts of one channel whose error at each index is given, with their targets."""
    prediction = torch.tensor(rows)[..., None]
    return prediction, torch.zeros_like(prediction)


def test_rmse_is_over_trajectories_and_channels():
    target = torch.randn(3, 4, 2)
    error = torch.randn(3, 4, 2)
    expected = (error**2).mean((0, 2)).sqrt()
    torch.testing.assert_close(rmse_curve(target + error, target), expected)


def test_nrmse_divides_each_channel():
    target = torch.randn(3, 4, 2)
    std = torch.tensor([0.5, 4.0])
    curve = nrmse_curve(target + std * 0.3, target, std)
    torch.testing.assert_close(curve, torch.full((4,), 0.3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_errors_are_infinite_where_a_forecast_is_not_finite(bad):
    prediction, target = errors([0.0, 1.0, bad, bad], [0.0, 1.0, 1.0, 1.0])
    assert rmse_curve(prediction, target).tolist() == [0.0, 1.0, INF, INF]
    assert nrmse_curve(prediction, target, torch.ones(1)).tolist() == [0.0, 1.0, INF, INF]


def test_huge_errors_do_not_overflow_in_float32():
    prediction, target = errors([1e30])
    assert rmse_curve(prediction, target).item() == pytest.approx(1e30)


@pytest.mark.parametrize(
    ("row", "time"),
    [
        ([0.0, 0.1, 0.29, 0.31], 1.5),
        ([0.0, 0.3, 0.0, 0.0], 0.5),  # reached counts, and what follows does not
        ([0.4, 0.0, 0.0, 0.0], 0.0),  # fails at the reconstruction
        ([0.0, NAN, 0.0, 0.0], 0.5),
        ([0.0, 0.0, -INF, 0.0], 1.0),
        ([0.0, 0.0, 0.0, 0.0], 2.0),  # never: the cap, samples × dt
        ([0.0, 0.0, -0.5, 0.0], 1.0),
    ],
)
def test_valid_prediction_time(row, time):
    valid = valid_prediction_time(*errors(row), dt=0.5, sigma=1.0, threshold=0.3)
    assert valid.times.tolist() == [time]
    assert valid.cap == 2.0
    assert valid.cap_share == float(time == 2.0)


def test_sigma_scales_the_threshold():
    """§10.8: 0.3 of the sibling's σ = 14.0 for Lorenz-63 is 0.5 of the rms standard deviation 8.48."""
    prediction, target = errors([0.0, 4.1, 4.3])
    theirs = valid_prediction_time(prediction, target, dt=1.0, sigma=14.0, threshold=0.3)
    ours = valid_prediction_time(prediction, target, dt=1.0, sigma=8.48, threshold=0.3 * 14.0 / 8.48)
    assert theirs.times.tolist() == ours.times.tolist() == [2.0]


def test_error_is_the_mean_over_channels():
    prediction = torch.tensor([[[0.0, 0.0], [0.4, 0.0], [0.4, 0.4]]])
    valid = valid_prediction_time(prediction, torch.zeros_like(prediction), dt=1.0, sigma=1.0, threshold=0.3)
    assert valid.times.tolist() == [2.0]  # √(0.16/2) = 0.28 < 0.3 ≤ 0.4
    by_channel = valid_prediction_time(
        prediction, torch.zeros_like(prediction), dt=1.0, sigma=torch.tensor([0.1, 1.0]), threshold=1.0
    )
    assert by_channel.times.tolist() == [1.0]


def test_summary_in_both_units():
    valid = valid_prediction_time(
        *errors([0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
        dt=2.0,
        sigma=1.0,
        lyapunov=0.5,
    )
    assert (valid.mean, valid.median, valid.cap) == (pytest.approx(14 / 3), 4.0, 8.0)
    assert valid.std == pytest.approx(
        math.sqrt(((2 - 14 / 3) ** 2 + (4 - 14 / 3) ** 2 + (8 - 14 / 3) ** 2) / 3)
    )
    assert valid.cap_share == pytest.approx(1 / 3)
    converted = valid.in_lyapunov_times
    assert converted.times.tolist() == [1.0, 2.0, 4.0]
    assert (converted.cap, converted.cap_share) == (4.0, pytest.approx(1 / 3))


@pytest.mark.parametrize("lyapunov", [None, 0.0])
def test_no_lyapunov_time_without_chaos(lyapunov):
    assert ValidTime(torch.ones(2), 1.0, lyapunov).in_lyapunov_times is None


def test_divergence_rate():
    prediction = torch.zeros(5, 3, 2)
    prediction[1, 1, 0] = NAN
    prediction[2, 2, 1] = -INF
    prediction[3, 0, 0] = 21.0
    prediction[4, 0, 0] = 19.0
    assert divergence_rate(prediction, sigma=2.0) == pytest.approx(3 / 5)
    assert divergence_rate(prediction, sigma=2.0, mean=torch.tensor([-2.0, 0.0])) == pytest.approx(4 / 5)


def test_wasserstein_of_shifted_and_scaled_samples():
    a = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = a * torch.tensor([1.0, 1.0, 2.0]) + torch.tensor([0.0, 1.5, 0.0])
    distance = marginal_wasserstein(a, moved)
    assert distance[0] == 0
    assert distance[1] == pytest.approx(1.5)
    assert distance[2] == pytest.approx(float(a[:, 2].abs().mean()))  # E|2X − X|
    assert torch.equal(marginal_wasserstein(a.view(40, 100, 3), moved), distance)  # leading axes are samples


def test_wasserstein_of_samples_that_blew_up():
    a = torch.randn(10, 2)
    b = a.clone()
    b[3, 1] = NAN
    assert marginal_wasserstein(a, b).tolist() == [0.0, INF]


@pytest.mark.parametrize("axis", ["time", "space"])
@pytest.mark.parametrize("n", [63, 64])
def test_spectrum_integrates_to_the_variance(axis, n):
    x = torch.randn(400, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectrum = power_spectrum(x, spacing=0.1, axis=axis)
    width = spectrum.frequency[1] - spectrum.frequency[0]
    assert float(spectrum.density.sum() * width) == pytest.approx(1.0, rel=0.03)
    flat = spectrum.density[2:-2]
    assert float(flat.max() / flat.min()) < 1.15  # white noise has no colour


@pytest.mark.parametrize("frequency", [0.5, 2.0])
def test_spectrum_finds_waves(frequency):
    t = torch.arange(400, dtype=torch.float64) * 0.05
    x = torch.sin(2 * math.pi * frequency * t)[None, :, None] + 7.0
    spectrum = power_spectrum(x, spacing=0.05)
    assert float(spectrum.frequency[spectrum.density.argmax()]) == pytest.approx(frequency)


def test_spectrum_error_in_decades():
    x = torch.randn(30, 64, 2, dtype=torch.float64)
    truth = power_spectrum(x)
    assert power_spectrum(x).log_error(truth) == 0.0
    assert power_spectrum(x * 10).log_error(truth) == pytest.approx(2.0)  # 10² in power
    assert power_spectrum(x * NAN).log_error(truth) == INF


def test_spectrum_error_needs_the_same_frequencies():
    with pytest.raises(ValueError, match="different frequencies"):
        power_spectrum(torch.randn(2, 64, 1)).log_error(power_spectrum(torch.randn(2, 32, 1)))


X = torch.zeros(2, 5, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rmse_curve(X, X[:, :4]), r"prediction has shape \(2, 5, 3\), target \(2, 4, 3\)"),
        (lambda: rmse_curve(X[0], X[0]), r"give \(trajectories, samples, channels\)"),
        (lambda: rmse_curve(X, X * NAN), "target is not finite"),
        (lambda: nrmse_curve(X, X, torch.ones(2)), "the forecast has 3 channels"),
        (lambda: nrmse_curve(X, X, torch.tensor([1.0, 0.0, 1.0])), "std must be positive"),
        (lambda: valid_prediction_time(X, X, dt=0.0, sigma=1.0), "dt and threshold must be positive"),
        (
            lambda: valid_prediction_time(X, X, dt=1.0, sigma=1.0, threshold=0.0),
            "dt and threshold must be positive",
        ),
        (lambda: valid_prediction_time(X, X, dt=1.0, sigma=0.0), "sigma must be positive"),
        (lambda: divergence_rate(X, sigma=0.0), "sigma and limit must be positive"),
        (lambda: marginal_wasserstein(X, X[..., :2]), "a has 3 channels, b has 2"),
        (lambda: power_spectrum(X, axis="channel"), "axis must be 'time' or 'space'"),
        (lambda: power_spectrum(X, spacing=0.0), "spacing must be positive"),
        (lambda: power_spectrum(X[:, :3]), "3 samples along time are too few"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
