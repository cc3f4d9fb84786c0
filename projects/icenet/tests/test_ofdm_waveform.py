"""The time domain of §4.3: CP-OFDM through moving taps; interference between subcarriers and between symbols."""

import math
import warnings

import pytest
import torch

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES
from icenet.ofdm.fading import jakes
from icenet.ofdm.profiles import DelayProfile
from icenet.ofdm.waveform import demodulate, modulate, received_grid, symbol_gains, through_taps


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grid(config, batch=2, dtype=torch.complex128):
    quarter = torch.randint(0, 4, (batch, *config.shape), generator=generator())
    return torch.polar(
        torch.ones(quarter.shape, dtype=torch.float64), (quarter.double() + 0.5) * math.pi / 2
    ).to(dtype)


def decibel(error, reference):
    return 10 * math.log10(float(error.abs().square().mean() / reference.abs().square().mean()))


@pytest.mark.parametrize("name", NUMEROLOGIES)
def test_what_is_modulated_is_demodulated(name):
    config = NUMEROLOGIES[name]
    x = grid(config)
    samples = modulate(config, x)
    assert samples.shape == (2, config.n_symbols * (config.samples + config.cp_samples))
    torch.testing.assert_close(demodulate(config, samples), x, atol=1e-12, rtol=0)
    useful = samples.unflatten(1, (config.n_symbols, -1))
    torch.testing.assert_close(
        useful[..., : config.cp_samples], useful[..., config.samples :], atol=0, rtol=0
    )


@pytest.mark.parametrize("name", ["nr_v2x_15", "lte_small", "dsrc_10MHz"])
def test_static_paths_of_whole_samples_within_the_prefix_are_a_diagonal(name):
    config = NUMEROLOGIES[name]
    rate = config.samples * config.subcarrier_spacing
    delays = torch.tensor([[0, 2, config.cp_samples]], dtype=torch.float64) / rate
    x = grid(config)
    gains = torch.tensor([0.8, 0.5 - 0.2j, -0.3j], dtype=torch.complex128)
    n = config.n_symbols * (config.samples + config.cp_samples)
    y = received_grid(config, x, gains[:, None].expand(2, 3, n), delays)
    h = torch.exp(-2j * math.pi * config.frequencies[:, None] * delays) @ gains
    torch.testing.assert_close(y, h[:, None] * x, atol=1e-11, rtol=0)


def test_a_delay_beyond_the_prefix_leaks_between_symbols():
    config = NUMEROLOGIES["nr_v2x_15"]
    x, n = grid(config, 8), 14 * 137
    gains = torch.full((8, 1, n), 1 + 0j, dtype=torch.complex128)
    error = []
    for late in (0, 10, 40):
        delay = (config.cp_samples + late) / (config.samples * config.subcarrier_spacing)
        y = received_grid(config, x, gains, torch.tensor([[delay]], dtype=torch.float64))
        h = torch.exp(-2j * math.pi * config.frequencies * delay)
        error.append(decibel(y - h[:, None] * x, x))
    assert error[0] < -200
    assert (
        -15 < error[1] < -5
    )  # 10 samples of 128 lost and as many of the symbol before won: about 2 · 10/128
    assert error[1] < error[2] - 4


def test_fractional_delays_are_a_phase_ramp_up_to_the_ringing_between_symbols():
    """Symbols join with a jump, and a band-limited jump rings into the useful part; the prefix takes most of it."""
    config = NUMEROLOGIES["nr_v2x_15"]
    x, rate = grid(config, 8), config.samples * config.subcarrier_spacing
    delay = 4.4 / rate
    gains = torch.ones(8, 1, 14 * 137, dtype=torch.complex128)
    y = received_grid(config, x, gains, torch.tensor([[delay]], dtype=torch.float64))
    h = torch.exp(-2j * math.pi * config.frequencies * delay)
    assert decibel(y - h[:, None] * x, x) < -30
    wrong = torch.exp(-2j * math.pi * config.frequencies * 4 / rate)
    assert decibel(y - wrong[:, None] * x, x) > -10


def test_each_slot_has_its_own_delays():
    x = torch.zeros(2, 64, dtype=torch.complex128)
    x[:, 5] = 1
    y = through_taps(x, torch.ones(2, 1, 64, dtype=torch.complex128), torch.tensor([[3.0], [20.0]]), 1.0)
    assert y.abs().argmax(1).tolist() == [8, 25]
    assert float(y.abs().sum()) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize(("name", "level"), [("nr_v2x_15", -20.6), ("nr_v2x_30", -26.6)])
def test_interference_between_subcarriers_has_its_known_level(name, level):
    """f_d = 1093 Hz: (2πf_d T_u)²/24 is -20.6 dB at 15 kHz and -26.6 dB at 30 kHz.

    The formula counts what leaks to all subcarriers of an endless comb; used subcarriers at the edges have fewer neighbours, and the
    mean within the band is up to 0.5 dB lower.
    """
    flat = DelayProfile("flat", (0,), (0,))
    simulator = ChannelSimulator(name, flat, doppler=1093.0, domain="time")
    config = simulator.config
    slots = simulator.slots(96, 100.0, generator())
    leaked = decibel(slots.ls - config.pilots.take(slots.h), slots.h)
    formula = 10 * math.log10((2 * math.pi * 1093 / config.subcarrier_spacing) ** 2 / 24)
    assert formula == pytest.approx(level, abs=0.05)
    assert formula - 0.7 < leaked < formula + 0.3


def test_interference_is_absent_where_nothing_moves_and_grows_with_the_square():
    flat = DelayProfile("flat", (0,), (0,))
    levels = []
    for doppler in (0.0, 200.0, 400.0):
        slots = ChannelSimulator("nr_v2x_15", flat, doppler=doppler, domain="time").slots(
            64, 150.0, generator()
        )
        levels.append(decibel(slots.ls - NUMEROLOGIES["nr_v2x_15"].pilots.take(slots.h), slots.h))
    assert levels[0] < -100
    assert levels[2] - levels[1] == pytest.approx(20 * math.log10(2), abs=1)


def test_the_reference_is_the_mean_over_the_useful_symbol():
    config = NUMEROLOGIES["nr_v2x_15"]
    gains = jakes(torch.tensor([900.0]), 2, 14 * 137, 1 / 1.92e6, 16, generator())
    means = symbol_gains(config, gains)
    assert means.shape == (1, 2, 14)
    torch.testing.assert_close(means[0, 1, 3], gains[0, 1, 3 * 137 + 9 : 4 * 137].mean())


def test_both_domains_agree_where_little_moves():
    """The same statistics: E|H|² = 1 and the error of LS only noise."""
    slots = ChannelSimulator("nr_v2x_15", "EPA", doppler=20.0, domain="time").slots(300, 10.0, generator())
    power = slots.h.abs().square().mean((1, 2))
    assert float(power.mean()) == pytest.approx(1, abs=4 * float(power.std()) / math.sqrt(300))
    noise = slots.ls - NUMEROLOGIES["nr_v2x_15"].pilots.take(slots.h)
    assert float(noise.abs().square().mean()) == pytest.approx(0.1, rel=0.03)


def test_long_profiles_show_their_interference():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slots = ChannelSimulator("nr_v2x_30", "ETU", doppler=1.0, domain="time").slots(32, 100.0, generator())
    assert decibel(slots.ls - slots.h[:, ::2][..., [1, 4, 7, 10]], slots.h) > -25


def test_grids_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"grid must be \[B, 72, 14\], got \(1, 72, 12\)"):
        modulate(NUMEROLOGIES["nr_v2x_15"], torch.zeros(1, 72, 12, dtype=torch.complex64))
