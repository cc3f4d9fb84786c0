"""The link of §8 C7: constellations, noise, LS at the pilots, equalisers, and bit error rates against theory."""

import itertools
import math

import pytest
import torch

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES, dsrc_10mhz
from icenet.ofdm.link import (
    BitErrors,
    add_noise,
    complex_noise,
    equalize_mmse,
    equalize_zf,
    ls_at_pilots,
    mmse_gain,
    qam_demap,
    qam_map,
    rayleigh_ber,
    uncoded_ber,
)

CONFIG = NUMEROLOGIES["nr_v2x_15"]
ORDERS = pytest.mark.parametrize("order", [4, 16])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def constellation(order):
    """All bit patterns and their symbols."""
    n = int(math.log2(order))
    bits = torch.tensor(list(itertools.product([False, True], repeat=n)))
    return bits, qam_map(bits, order)[:, 0]


@ORDERS
def test_constellations_have_unit_energy_and_no_mean(order):
    bits, symbols = constellation(order)
    assert len(torch.unique(torch.view_as_real(symbols), dim=0)) == order
    assert float(symbols.abs().square().mean()) == pytest.approx(1, abs=1e-6)
    assert abs(complex(symbols.mean())) < 1e-6
    assert torch.equal(qam_demap(symbols[:, None], order), bits)


@ORDERS
def test_nearest_neighbours_differ_in_one_bit(order):
    """The Gray property."""
    bits, symbols = constellation(order)
    distance = (symbols[:, None] - symbols).abs()
    least = distance[distance > 1e-3].min()
    for i, j in itertools.combinations(range(order), 2):
        if distance[i, j] < 1.01 * least:
            assert int((bits[i] != bits[j]).sum()) == 1


def test_constellations_are_those_of_ts_38_211():
    assert qam_map(torch.tensor([False, True]), 4)[0] == pytest.approx(complex(1, -1) / math.sqrt(2))
    assert qam_map(torch.tensor([False, True, False, False]), 16)[0] == pytest.approx(
        complex(1, -1) / math.sqrt(10)
    )
    assert qam_map(torch.tensor([True, False, True, False]), 16)[0] == pytest.approx(
        complex(-3, 1) / math.sqrt(10)
    )


@ORDERS
def test_decisions_are_those_of_the_nearest_symbol(order):
    bits, symbols = constellation(order)
    y = complex_noise((500,), generator()) * 1.5
    nearest = (y[:, None] - symbols).abs().argmin(1)
    assert torch.equal(qam_demap(y[:, None], order), bits[nearest])


@ORDERS
def test_a_gain_scales_the_thresholds(order):
    y = complex_noise((20, 30), generator())
    gain = torch.rand(20, 30, generator=generator()) + 0.1
    assert torch.equal(qam_demap(y * gain, order, gain), qam_demap(y, order))


def test_noise_is_added_by_slot():
    y = add_noise(torch.zeros(3, 100, 200, dtype=torch.complex64), torch.tensor([0.0, 1.0, 4.0]), generator())
    power = y.abs().square().mean((1, 2))
    torch.testing.assert_close(power, torch.tensor([0.0, 1.0, 4.0]), atol=0.12, rtol=0)
    assert float(
        add_noise(torch.zeros(3, 100, 200, dtype=torch.complex64), 2.0, generator()).abs().square().mean()
    ) == (pytest.approx(2, abs=0.05))


@pytest.mark.parametrize("name", ["lte_small", "nr_v2x_15", "channelnet_48"])
def test_ls_is_the_channel_where_there_is_no_noise(name):
    config = NUMEROLOGIES[name]
    h = ChannelSimulator(config, "EPA", doppler=100.0).sample(4, generator()).h
    x = torch.polar(torch.ones(4, *config.shape), 6.28 * torch.rand(4, *config.shape))
    torch.testing.assert_close(
        ls_at_pilots(h * x, config.pilots, config.pilots.take(x)), config.pilots.take(h)
    )
    assert torch.equal(ls_at_pilots(h, config.pilots), config.pilots.take(h))


def test_ls_refuses_pilots_that_change_the_noise():
    """The predecessor's 1+1j has energy 2, and 3 dB more signal (§10.3)."""
    with pytest.raises(ValueError, match="values of the pilots must have modulus 1"):
        ls_at_pilots(torch.zeros(1, 72, 14, dtype=torch.complex64), CONFIG.pilots, 1 + 1j)


def test_equalisers_without_noise_undo_the_channel():
    h, x = complex_noise((3, 50), generator()), complex_noise((3, 50), generator(1))
    torch.testing.assert_close(equalize_zf(h * x, h), x, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(equalize_mmse(h * x, h, 0.0), x, atol=1e-5, rtol=1e-4)


def test_mmse_has_the_least_error_and_the_gain_it_says():
    h, bits = complex_noise((2, 40000), generator()), torch.rand(2, 80000, generator=generator(2)) < 0.5
    x, noise_var = qam_map(bits, 4), torch.tensor([0.1, 0.5])
    y = add_noise(h * x, noise_var, generator(3))
    mmse, zf = equalize_mmse(y, h, noise_var), equalize_zf(y, h)
    error = (mmse - x).abs().square().mean(1)
    expected = (1 - mmse_gain(h, noise_var)).mean(1)  # σ²/(|h|² + σ²)
    torch.testing.assert_close(error, expected, rtol=0.03, atol=0)
    assert ((zf - x).abs().square().mean(1) > error).all()
    assert ((0.9 * mmse - x).abs().square().mean(1) > error).all()
    gain = (mmse * x.conj()).real
    torch.testing.assert_close(gain.mean(1), mmse_gain(h, noise_var).mean(1), rtol=0.02, atol=0)


# Bit error rates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_theory_of_qpsk_is_that_of_the_textbook(snr_db):
    gamma = 10 ** (snr_db / 10) / 2
    assert rayleigh_ber(snr_db, 4) == pytest.approx((1 - math.sqrt(gamma / (1 + gamma))) / 2, abs=1e-15)


@ORDERS
def test_theory_by_integration_over_the_fading(order):
    """E over an exponential |h|² of the error rate of Gray-mapped symbols, integrated numerically."""
    snr = 10 ** (12.0 / 10)
    power = (torch.arange(400_000, dtype=torch.float64) + 0.5) * 1e-4

    def q(x):
        return torch.erfc(x / math.sqrt(2)) / 2

    gamma = snr * power
    if order == 4:
        rate = q(gamma.sqrt())
    else:
        root = (gamma / 5).sqrt()
        # Inner and outer bits of one axis with the amplitudes 1 and 3.
        outer = (q(root) + q(3 * root)) / 2
        inner = q(root) + (q(3 * root) - q(5 * root)) / 2
        rate = (outer + inner) / 2
    expected = float((rate * torch.exp(-power)).sum() * 1e-4)
    assert rayleigh_ber(12.0, order) == pytest.approx(expected, rel=1e-4)


@ORDERS
@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
@pytest.mark.parametrize("snr_db", [5.0, 20.0])
def test_the_known_channel_reaches_theory(order, equalizer, snr_db):
    """Within 3 standard errors, taken over slots because the bits of a slot share its fading (§8 C7)."""
    slots = ChannelSimulator(CONFIG, "EVA", doppler=(0, 1000)).slots(2000, snr_db, generator())
    found = uncoded_ber(
        CONFIG, slots.h, slots.h, slots.noise_var, order=order, equalizer=equalizer, generator=generator(1)
    )
    assert found.bits == int(CONFIG.data_mask.sum()) * int(math.log2(order))
    # M sinusoids fade a little less deeply than Rayleigh: Σ P²/(2M) = 0.5 % fewer errors at high SNR.
    assert abs(found.rate - rayleigh_ber(snr_db, order)) < 3 * found.standard_error + 0.005 * rayleigh_ber(
        snr_db, order
    )
    assert found.standard_error < 0.1 * found.rate


def test_worse_estimates_make_more_errors_of_the_same_bits():
    slots = ChannelSimulator(CONFIG, "EVA", doppler=(0, 1000)).slots(200, 15.0, generator())
    error = complex_noise(tuple(slots.h.shape), generator(5))
    rates = [
        uncoded_ber(CONFIG, slots.h, slots.h + scale * error, slots.noise_var, generator=generator(1)).rate
        for scale in (0, 0.1, 0.3, 1)
    ]
    assert rates == sorted(rates)
    assert rates[0] < 0.8 * rates[2]


def test_hard_decisions_of_both_equalisers_agree():
    slots = ChannelSimulator(CONFIG, "EVA", doppler=100.0).slots(50, 10.0, generator())
    zf, mmse = (
        uncoded_ber(CONFIG, slots.h, slots.h, slots.noise_var, order=16, equalizer=e, generator=generator(1))
        for e in ("zf", "mmse")
    )
    assert abs(zf.rate - mmse.rate) < 1e-4


def test_pilots_and_tracking_pilots_carry_no_bits():
    config = dsrc_10mhz(10)
    h = torch.ones(2, *config.shape, dtype=torch.complex64)
    assert uncoded_ber(config, h, h, 0.1, generator=generator()).bits == 2 * 48 * 8


def test_standard_errors_come_from_slots():
    found = BitErrors(torch.tensor([0, 10, 0, 10]), 100)
    assert found.rate == 0.05
    assert found.standard_error == pytest.approx(math.sqrt(100 / 3) / 100 / 2)


def test_what_does_not_fit():
    h = torch.ones(2, 72, 14, dtype=torch.complex64)
    for order in (2, 8, 64):
        for call in (
            lambda o: qam_map(torch.ones(4, dtype=torch.bool), o),
            lambda o: qam_demap(h, o),
            lambda o: rayleigh_ber(3.0, o),
        ):
            with pytest.raises(
                ValueError, match=rf"order must be one of \(4, 16\) \(QPSK, 16-QAM\), got {order}"
            ):
                call(order)
    with pytest.raises(ValueError, match="5 bits are no whole number of symbols of 4 bits"):
        qam_map(torch.ones(5, dtype=torch.bool), 16)
    with pytest.raises(ValueError, match="equalizer must be one of"):
        uncoded_ber(CONFIG, h, h, 0.1, equalizer="dfe")
    with pytest.raises(
        ValueError, match=r"h and h_hat must be \[B, 72, 14\], got \(2, 72, 14\) and \(1, 72, 14\)"
    ):
        uncoded_ber(CONFIG, h, h[:1], 0.1)
    with pytest.raises(
        ValueError, match=r"noise_var has shape \(3,\), give one number or one a slot of the batch of 2"
    ):
        add_noise(h, torch.ones(3))
    for wrong in (-0.1, math.nan):
        with pytest.raises(ValueError, match="noise_var must not be negative or NaN"):
            add_noise(h, wrong)
