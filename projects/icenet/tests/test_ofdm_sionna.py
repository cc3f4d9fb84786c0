"""Against Sionna 2.2 (extra `icenet[sionna]`): the same covariances, and samples of the same statistics."""

import math
import warnings

import pytest
import torch

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES
from icenet.ofdm.covariance import envelope_kurtosis, frequency_covariance, time_covariance
from icenet.ofdm.referee import deviation_from_sionna

# Its import alone takes ten seconds, and warns about packages it does without.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CONFIG = NUMEROLOGIES["nr_v2x_15"]


@pytest.fixture(scope="module")
def sionna():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sionna.phy", reason="needs the extra icenet[sionna]")
        import sionna.phy.channel
        import sionna.phy.channel.tr38901
        import sionna.phy.ofdm
    return sionna.phy


@pytest.mark.parametrize("model", "ABCDE")
@pytest.mark.parametrize("spread", [30.0, 300.0])
@pytest.mark.parametrize("name", ["nr_v2x_15", "nr_v2x_30"])
@pytest.mark.usefixtures("sionna")
def test_covariances_agree(model, spread, name):
    """The line of sight of D and E turns at 0.7 f_d."""
    found = deviation_from_sionna(NUMEROLOGIES[name], f"TDL-{model}", spread, speed=200.0)
    assert found.frequency <= 1e-7
    assert found.time <= 1e-7


@pytest.mark.usefixtures("sionna")
def test_a_wrong_delay_spread_or_speed_would_be_noticed(monkeypatch):
    from icenet.ofdm import referee

    monkeypatch.setattr(
        referee, "frequency_covariance", lambda c, p, ds: frequency_covariance(c, p, 1.01 * ds)
    )
    monkeypatch.setattr(referee, "time_covariance", lambda c, p, f: time_covariance(c, p, 1.01 * f))
    found = deviation_from_sionna(CONFIG, "TDL-A", 300.0, speed=200.0)
    assert found.frequency > 1e-3
    assert found.time > 1e-3


def test_samples_have_the_same_statistics(sionna):
    """Power, envelope, and correlation at a lag of the grid, of 3000 slots each, within 4.5 standard errors of the difference."""
    n, speed, spread = 3000, 60.0, 300.0
    tdl = sionna.channel.tr38901.TDL(
        "A", spread * 1e-9, CONFIG.carrier_frequency, min_speed=speed, max_speed=speed
    )
    a, tau = tdl(batch_size=n, num_time_steps=14, sampling_frequency=1 / CONFIG.symbol_time)
    frequencies = sionna.channel.subcarrier_frequencies(72, CONFIG.subcarrier_spacing)
    peer = sionna.channel.cir_to_ofdm_channel(frequencies, a, tau)[:, 0, 0, 0, 0].transpose(1, 2)
    simulator = ChannelSimulator(CONFIG, "TDL-A", speed=3.6 * speed, delay_spread=spread, n_sinusoids=20)
    ours = simulator.sample(n, torch.Generator().manual_seed(0)).h
    assert peer.shape == ours.shape

    def measured(h):
        """Of each slot: power, a product over 30 subcarriers, one over 8 symbols."""
        h = h.to(torch.complex128)
        return torch.stack([
            h.abs().square().mean((1, 2)).to(h.dtype),
            (h[:, 5, 3] * h[:, 35, 3].conj()),
            (h[:, 5, 3] * h[:, 5, 11].conj()),
        ])  # fmt: skip

    x, y = measured(ours), measured(peer)
    error = (x.var(1) + y.var(1)).sqrt() / math.sqrt(n)
    assert ((x.mean(1) - y.mean(1)).abs() < 4.5 * error).all()
    tolerance = 4.5 * math.sqrt(2 * 20 / n)
    assert abs(float(envelope_kurtosis(ours[:, 5, 3]) - envelope_kurtosis(peer[:, 5, 3]))) < tolerance
