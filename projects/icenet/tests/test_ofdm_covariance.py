"""Closed forms of §4.4 item 2 against simulation, against each other, and against what they must never be (§10.2)."""

import math

import pytest
import torch
from scipy.special import j0

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig
from icenet.ofdm.covariance import (
    covariance,
    empirical_covariance,
    envelope_kurtosis,
    frequency_covariance,
    time_covariance,
)
from icenet.ofdm.pilots import PilotPattern
from icenet.ofdm.profiles import PROFILES

# Wide and short, so that few resource elements show both correlations.
SMALL = OFDMConfig(8, 6, 60e3, 4.7e-6, 5.9e9, PilotPattern.comb(8, 2, (0, 3)))
CASES = [
    ("EVA", (0.0, 1400.0), None),
    ("EVA", 800.0, None),
    ("TDL-A", 500.0, 300.0),
    ("TDL-D", 1400.0, 300.0),
    ("TDLC300", 600.0, None),
    ("V2X-highway-los", 900.0, None),
    ("C2C-highway-nlos", None, None),
]


def matrix(R):
    return R.flatten(2).flatten(0, 1)


@pytest.mark.parametrize(("profile", "doppler", "spread"), CASES)
def test_simulated_channels_have_the_closed_form(profile, doppler, spread):
    """Every entry within 5 standard errors, and all together as often within 2 as chance allows."""
    simulator = ChannelSimulator(SMALL, profile, doppler=doppler, delay_spread=spread)
    h = simulator.sample(20000, torch.Generator().manual_seed(0)).h.flatten(1)
    R = matrix(covariance(SMALL, profile, doppler, spread))
    difference = (empirical_covariance(h) - R).abs()
    # Var(h h*) ≤ 1 for unit powers; a line of sight only lowers it.
    assert difference.max() < 5 / math.sqrt(len(h))
    assert difference.square().mean() < 1.5 / len(h)


def test_this_would_notice_a_wrong_profile_or_doppler():
    h = (
        ChannelSimulator(SMALL, "EVA", doppler=800.0)
        .sample(20000, torch.Generator().manual_seed(0))
        .h.flatten(1)
    )
    for wrong in (covariance(SMALL, "ETU", 800.0), covariance(SMALL, "EVA", 900.0)):
        assert (empirical_covariance(h) - matrix(wrong)).abs().max() > 5 / math.sqrt(len(h))


@pytest.mark.parametrize(("profile", "doppler", "spread"), CASES)
def test_covariances_are_covariances(profile, doppler, spread):
    R = matrix(covariance(SMALL, profile, doppler, spread))
    assert R.dtype == torch.complex128
    torch.testing.assert_close(R, R.mH, atol=1e-14, rtol=0)
    torch.testing.assert_close(R.diagonal().real, torch.ones(48, dtype=torch.float64), atol=1e-12, rtol=0)
    values = torch.linalg.eigvalsh(R)
    assert values.min() > -1e-10
    # An ensemble of fading channels is no rank-one genie.
    assert values[-1] < 0.99 * values.sum()


@pytest.mark.parametrize(("profile", "doppler", "spread"), CASES)
def test_marginals_of_the_whole(profile, doppler, spread):
    R = covariance(SMALL, profile, doppler, spread)
    torch.testing.assert_close(
        R[:, 2, :, 2], frequency_covariance(SMALL, profile, spread), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(R[3, :, 3, :], time_covariance(SMALL, profile, doppler), atol=1e-12, rtol=0)


def test_one_spectrum_makes_a_kronecker_product_and_two_do_not():
    for profile, separable in (("EVA", True), ("TDL-D", False), ("C2C-urban-nlos", False)):
        spread = 300.0 if PROFILES[profile].scalable else None
        doppler = None if PROFILES[profile].tap_doppler else 1400.0
        product = torch.kron(
            frequency_covariance(SMALL, profile, spread), time_covariance(SMALL, profile, doppler)
        )
        assert (
            torch.allclose(matrix(covariance(SMALL, profile, doppler, spread)), product, atol=1e-9)
            == separable
        )


def test_time_covariance_of_one_frequency_is_bessel():
    config = NUMEROLOGIES["nr_v2x_15"]
    lags = (config.times[:, None] - config.times).numpy()
    R = time_covariance(config, "EVA", 1000.0)
    torch.testing.assert_close(R.real, torch.from_numpy(j0(2 * math.pi * 1000 * lags)), atol=1e-13, rtol=0)
    assert R.imag.abs().max() == 0


def test_time_covariance_of_a_range_is_the_mean_of_its_frequencies():
    config = NUMEROLOGIES["nr_v2x_15"]
    fine = torch.stack([time_covariance(config, "TDL-D", float(f)) for f in torch.arange(2.5, 1000, 5)]).mean(
        0
    )
    torch.testing.assert_close(time_covariance(config, "TDL-D", (0, 1000)), fine, atol=1e-4, rtol=0)


def test_a_delay_spread_changes_the_correlation():
    """A public simulator once had a knob that changed nothing (§9): here the statistics and the samples must follow it."""
    config = NUMEROLOGIES["nr_v2x_15"]
    edges = []
    for spread in (10.0, 100.0, 1000.0):
        R = frequency_covariance(config, "TDL-A", spread)[0, -1].abs()
        with pytest.warns() if spread == 1000 else _no_warning():
            simulator = ChannelSimulator(config, "TDL-A", doppler=10.0, delay_spread=spread)
        channels = simulator.sample(4000, torch.Generator().manual_seed(0))
        measured = (channels.h[:, 0, 0] * channels.h[:, -1, 0].conj()).mean().abs()
        assert float(measured) == pytest.approx(float(R), abs=4 / math.sqrt(4000))
        assert float(channels.delay_spread_ns.mean()) == pytest.approx(spread, rel=1e-3)
        edges.append(float(measured))
    assert edges[0] > edges[1] + 0.2 > edges[2] + 0.4


def _no_warning():
    import contextlib

    return contextlib.nullcontext()


def test_rayleigh_moments_of_the_grid():
    """E|H|⁴/E²|H|² = 2 - Σ P_p²/M for sums of M sinusoids; a specular path has less."""
    for profile, n in (("EVA", 16), ("EVA", 4)):
        simulator = ChannelSimulator(SMALL, profile, doppler=(0, 1000), n_sinusoids=n)
        h = simulator.sample(40000, torch.Generator().manual_seed(1)).h[:, ::7, ::5].flatten()
        powers = PROFILES[profile].powers
        # 4 resource elements of a slot are dependent: count one a slot.
        assert float(envelope_kurtosis(h)) == pytest.approx(
            2 - float(powers @ powers) / n, abs=4 * 4.5 / math.sqrt(40000)
        )
    specular = ChannelSimulator(SMALL, "TDL-D", doppler=100.0, delay_spread=30.0)
    assert envelope_kurtosis(specular.sample(5000, torch.Generator().manual_seed(1)).h) < 1.3


def test_resource_elements_are_not_independent():
    """A 'channel' drawn independently for each resource element would have an empty covariance."""
    h = (
        ChannelSimulator("nr_v2x_15", "EVA", doppler=(0, 1000))
        .sample(2000, torch.Generator().manual_seed(0))
        .h
    )
    assert abs(complex((h[:, 30, 5] * h[:, 31, 6].conj()).mean())) > 0.9


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="doppler is missing: EVA does not fix it"):
        time_covariance(SMALL, "EVA")
    with pytest.raises(ValueError, match="delay_spread is missing"):
        frequency_covariance(SMALL, "TDL-B")
    with pytest.raises(ValueError, match="unknown profile 'EVE'"):
        covariance(SMALL, "EVE", 3.0)
    with pytest.raises(
        ValueError, match=r"samples must be a matrix of at least 2 channels, got shape \(3, 2, 2\)"
    ):
        empirical_covariance(torch.zeros(3, 2, 2, dtype=torch.complex64))
