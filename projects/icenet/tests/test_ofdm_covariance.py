"""Closed forms of §4.4 item 2 against simulation, against each other, and against what they must never be (§10.2)."""

import math
from contextlib import nullcontext

import pytest
import torch
from scipy.special import j0

from icenet.ofdm.channel import ChannelSimulator, CyclicPrefixWarning
from icenet.ofdm.config import NUMEROLOGIES
from icenet.ofdm.covariance import (
    covariance,
    empirical_covariance,
    envelope_kurtosis,
    frequency_covariance,
    time_covariance,
)
from icenet.ofdm.profiles import PROFILES

CONFIG = NUMEROLOGIES["nr_v2x_15"]
# 8 subcarriers and 5 symbols that span the whole slot: enough to show both correlations, and small matrices.
GRID = (slice(None, None, 9), slice(None, None, 3))
CASES = [
    ("EVA", (0.0, 1400.0), None),
    ("EVA", 800.0, None),
    ("TDL-A", 500.0, 300.0),
    ("TDL-D", 1400.0, 300.0),
    ("TDLC300", 600.0, None),
    ("V2X-urban-los", 900.0, None),
    ("C2C-highway-nlos", None, None),
]
EACH_CASE = pytest.mark.parametrize(("profile", "doppler", "spread"), CASES)


def matrix(R):
    """The covariance of the chosen resource elements."""
    return R[GRID + GRID].flatten(2).flatten(0, 1)


def simulated(profile, doppler, spread=None, batch=10000, seed=0, **options):
    simulator = ChannelSimulator(CONFIG, profile, doppler=doppler, delay_spread=spread, **options)
    return simulator.sample(batch, torch.Generator().manual_seed(seed)).h[(slice(None), *GRID)]


@EACH_CASE
def test_simulated_channels_have_the_closed_form(profile, doppler, spread):
    h = simulated(profile, doppler, spread).flatten(1)
    difference = (empirical_covariance(h) - matrix(covariance(CONFIG, profile, doppler, spread))).abs()
    # A product of two Gaussian entries of unit power has variance 1 at most: 5 standard errors.
    assert difference.max() < 5 / math.sqrt(len(h))
    # Errors of entries go together, so their mean square may be a few times its expectation 1/n.
    assert difference.square().mean() < 3 / len(h)


@pytest.mark.parametrize("wrong", [("ETU", 800.0), ("EVA", 900.0), ("EVA", (0.0, 1600.0))])
def test_this_would_notice_a_wrong_profile_or_doppler(wrong):
    h = simulated("EVA", 800.0, batch=20000).flatten(1)
    assert (empirical_covariance(h) - matrix(covariance(CONFIG, *wrong))).abs().max() > 5 / math.sqrt(len(h))


@EACH_CASE
def test_covariances_are_covariances(profile, doppler, spread):
    R = matrix(covariance(CONFIG, profile, doppler, spread))
    assert R.dtype == torch.complex128
    torch.testing.assert_close(R, R.mH, atol=1e-14, rtol=0)
    torch.testing.assert_close(R.diagonal().real, torch.ones(40, dtype=torch.float64), atol=1e-12, rtol=0)
    values = torch.linalg.eigvalsh(R)
    assert values.min() > -1e-10
    # An ensemble of fading channels is no rank-one genie.
    assert values[-1] < 0.99 * values.sum()


@EACH_CASE
def test_marginals_of_the_whole(profile, doppler, spread):
    R = covariance(CONFIG, profile, doppler, spread)
    torch.testing.assert_close(
        R[:, 2, :, 2], frequency_covariance(CONFIG, profile, spread), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(R[3, :, 3, :], time_covariance(CONFIG, profile, doppler), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("profile", "doppler", "spread", "separable"),
    [
        ("EVA", 1400.0, None, True),
        ("TDL-D", 1400.0, 300.0, False),
        ("C2C-urban-nlos", None, None, False),
    ],
)
def test_one_spectrum_makes_a_kronecker_product_and_two_do_not(profile, doppler, spread, separable):
    R_f, R_t = frequency_covariance(CONFIG, profile, spread), time_covariance(CONFIG, profile, doppler)
    product = torch.einsum("kl,st->kslt", R_f, R_t)
    assert torch.allclose(covariance(CONFIG, profile, doppler, spread), product, atol=1e-9) == separable


def test_time_covariance_of_one_frequency_is_bessel():
    lags = (CONFIG.times[:, None] - CONFIG.times).numpy()
    R = time_covariance(CONFIG, "EVA", 1000.0)
    torch.testing.assert_close(R.real, torch.from_numpy(j0(2 * math.pi * 1000 * lags)), atol=1e-13, rtol=0)
    assert R.imag.abs().max() == 0


def test_time_covariance_of_a_range_is_the_mean_of_its_frequencies():
    fine = torch.stack([time_covariance(CONFIG, "TDL-D", float(f)) for f in range(5, 1000, 10)]).mean(0)
    torch.testing.assert_close(time_covariance(CONFIG, "TDL-D", (0, 1000)), fine, atol=3e-4, rtol=0)


def test_a_delay_spread_changes_the_correlation():
    """A public simulator once had a knob that changed nothing (§9): here the statistics and the samples must follow it."""
    edges = []
    for spread in (10.0, 100.0, 1000.0):
        with pytest.warns(CyclicPrefixWarning) if spread == 1000 else nullcontext():
            simulator = ChannelSimulator(CONFIG, "TDL-A", doppler=10.0, delay_spread=spread)
        channels = simulator.sample(4000, torch.Generator().manual_seed(0))
        measured = float((channels.h[:, 0, 0] * channels.h[:, -1, 0].conj()).mean().abs())
        R = float(frequency_covariance(CONFIG, "TDL-A", spread)[0, -1].abs())
        assert measured == pytest.approx(R, abs=4 / math.sqrt(4000))
        assert float(channels.delay_spread_ns.mean()) == pytest.approx(spread, rel=1e-3)
        edges.append(measured)
    assert edges[0] > edges[1] + 0.1 > edges[2] + 0.3


@pytest.mark.parametrize("M", [4, 16])
def test_rayleigh_moments_of_the_grid(M):
    """E|H|⁴/E²|H|² is 2 for Rayleigh fading, and 2 - Σ P_p²/M for sums of M sinusoids."""
    h = simulated("EVA", (0, 1000), batch=40000, seed=1, n_sinusoids=M)[:, ::4, ::4].flatten()
    powers = PROFILES["EVA"].powers
    # The 4 resource elements of a slot are dependent: count one. |H|⁴/E²|H|² has the standard deviation √20.
    tolerance = 4 * math.sqrt(20 / 40000)
    assert float(envelope_kurtosis(h)) == pytest.approx(2 - float(powers @ powers) / M, abs=tolerance)
    assert envelope_kurtosis(simulated("TDL-D", 100.0, 30.0, batch=5000)) < 1.3


def test_resource_elements_are_not_independent():
    """A 'channel' drawn independently for each resource element would have an empty covariance."""
    h = simulated("EVA", (0, 1000), batch=2000)
    assert float(covariance(CONFIG, "EVA", (0, 1000))[27, 6, 36, 9].abs()) > 0.6
    assert abs(complex((h[:, 3, 2] * h[:, 4, 3].conj()).mean())) > 0.5


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="doppler is missing: EVA does not fix it"):
        time_covariance(CONFIG, "EVA")
    with pytest.raises(ValueError, match="delay_spread is missing"):
        frequency_covariance(CONFIG, "TDL-B")
    with pytest.raises(ValueError, match="unknown profile 'EVE'"):
        covariance(CONFIG, "EVE", 3.0)
    with pytest.raises(
        ValueError, match=r"samples must be a matrix of at least 2 channels, got shape \(3, 2, 2\)"
    ):
        empirical_covariance(torch.zeros(3, 2, 2, dtype=torch.complex64))
