"""The simulator's slots: shapes, seeds, noise, mixtures, and the errors of §12 that concern it."""

import dataclasses
import math
import warnings

import pytest
import torch

from icenet.ofdm.channel import ChannelSimulator, CyclicPrefixWarning
from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig
from icenet.ofdm.fading import DopplerRange
from icenet.ofdm.pilots import PilotPattern
from icenet.ofdm.profiles import MIXTURES, PROFILES, IgnoredArgumentWarning


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def simulator(config="nr_v2x_15", profile="EVA", **options):
    options.setdefault("doppler", (0, 1000))
    return ChannelSimulator(config, profile, **options)


def draw(profile, batch=4, config="nr_v2x_15", **options):
    """Channels of a profile, whichever arguments it needs."""
    chosen = PROFILES[profile]
    options.setdefault("doppler", None if chosen.tap_doppler else (0, 1000))
    options.setdefault("delay_spread", 100.0 if chosen.scalable else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CyclicPrefixWarning)
        made = ChannelSimulator(config, profile, **options)
    return made.sample(batch, generator())


@pytest.mark.parametrize("name", NUMEROLOGIES)
@pytest.mark.parametrize("domain", ["frequency", "time"])
def test_slots_have_the_shapes_of_their_grid(name, domain):
    slots = simulator(name, "EPA", domain=domain).slots(3, (0, 25), generator())
    config = NUMEROLOGIES[name]
    assert slots.h.shape == (3, *config.shape)
    assert slots.ls.shape == (3, *config.pilots.shape)
    assert slots.h.dtype == slots.ls.dtype == torch.complex64
    assert (
        slots.noise_var.shape == slots.snr_db.shape == slots.doppler_hz.shape == slots.profile.shape == (3,)
    )
    assert len(slots) == 3
    assert torch.isfinite(torch.view_as_real(slots.ls)).all()
    if config.tracking_subcarriers:
        assert slots.tracking.shape == (3, 4, config.n_symbols - 2)
    else:
        assert slots.tracking is None


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_unit_power(name):
    h = draw(name, 3000).h
    assert h.shape == (3000, 72, 14)
    power = h.abs().square().mean((1, 2))
    assert float(power.mean()) == pytest.approx(1, abs=5 * float(power.std()) / math.sqrt(3000))


def test_a_channel_is_the_sum_of_its_taps():
    """One static path: H = exp(-j 2π f_k τ) times a phase."""
    two = dataclasses.replace(PROFILES["EVA"], delays=(0.0, 700.0), powers_db=(-300.0, 0.0))
    h = ChannelSimulator("nr_v2x_15", two, doppler=0.0).sample(5, generator()).h.to(torch.complex128)
    config = NUMEROLOGIES["nr_v2x_15"]
    ramp = torch.polar(torch.ones(72, dtype=torch.float64), -2 * math.pi * config.frequencies * 700e-9)
    torch.testing.assert_close(h, (h[:, 36:37, :1] * ramp[:, None]).expand_as(h), atol=2e-6, rtol=0)


@pytest.mark.parametrize("profile", ["EVA", "robust"])
def test_the_same_seed_gives_the_same_slots_and_another_others(profile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CyclicPrefixWarning)
        made = simulator(profile=profile, delay_spread=(30, 300) if profile == "robust" else None)
    first, again, other = (made.slots(600, (0, 25), generator(seed)) for seed in (1, 1, 2))
    for field in dataclasses.fields(first):
        if field.name != "tracking":
            assert torch.equal(getattr(first, field.name), getattr(again, field.name)), field.name
    assert not torch.allclose(first.h, other.h)


def test_slots_of_one_batch_differ_across_chunks():
    """Batches are drawn in chunks; none may repeat another."""
    h = simulator().sample(1100, generator()).h[:, 0, 0]
    assert len(torch.unique(torch.view_as_real(h), dim=0)) == 1100


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    simulator().slots(4, 10.0, generator())
    assert torch.equal(torch.rand(1), expected)


# Noise ------------------------------------------------------------------------------------------------------------


def test_noise_has_the_variance_it_says():
    made = simulator()
    slots = made.slots(4000, torch.linspace(0, 25, 4000), generator())
    torch.testing.assert_close(slots.noise_var, 10 ** (-slots.snr_db / 10))
    noise = (slots.ls - made.config.pilots.take(slots.h)) / slots.noise_var.sqrt()[:, None, None]
    n = noise.numel()
    assert float(noise.abs().square().mean()) == pytest.approx(1, abs=4 / math.sqrt(n))
    assert abs(complex(noise.mean())) < 4 / math.sqrt(n)
    assert abs(complex((noise * noise).mean())) < 4 * math.sqrt(2 / n)  # circular
    # neighbours are independent
    assert abs(complex((noise[:, 1:] * noise[:, :-1].conj()).mean())) < 4 / math.sqrt(n)


def test_snr_per_slot_is_relative_to_the_power_of_the_slot():
    slots = simulator(snr_mode="per_slot").slots(50, 10.0, generator())
    power = slots.h.abs().square().mean((1, 2))
    torch.testing.assert_close(slots.noise_var, 0.1 * power)
    assert float(power.std()) > 0.1
    average = simulator().slots(50, 10.0, generator())
    torch.testing.assert_close(average.noise_var, torch.full((50,), 0.1))
    assert torch.equal(average.h, slots.h)


def test_snr_is_a_number_a_tensor_or_a_range():
    made = simulator()
    assert made.slots(3, 7, generator()).snr_db.tolist() == [7, 7, 7]
    assert made.slots(3, torch.tensor(7.0), generator()).snr_db.tolist() == [7, 7, 7]
    assert made.slots(3, torch.tensor([1, 2, 3]), generator()).snr_db.tolist() == [1, 2, 3]
    drawn = made.slots(5000, [5, 15], generator()).snr_db
    assert 5 <= drawn.min() < 5.1
    assert 14.9 < drawn.max() <= 15
    assert made.slots(2, (4, 4), generator()).snr_db.tolist() == [4, 4]


# Doppler, delay spread, mixtures ----------------------------------------------------------------------------------


def test_doppler_follows_the_speed():
    f = ChannelSimulator(speed=100).sample(3, generator()).doppler_hz
    torch.testing.assert_close(f, torch.full((3,), 546.67), atol=0.01, rtol=0)
    f = ChannelSimulator(speed=(0, 250)).sample(3000, generator()).doppler_hz
    assert f.min() < 5
    assert 1360 < f.max() <= 1366.7
    f = simulator(doppler=DopplerRange(0, 97, integer=True)).sample(50, generator()).doppler_hz
    assert torch.equal(f, f.round())


def test_slots_move_as_their_own_doppler_says():
    channels = simulator(doppler=(0, 1400)).sample(4000, generator())
    moved = (channels.h[:, :, -1] - channels.h[:, :, 0]).abs().square().mean(1)
    slow, fast = channels.doppler_hz < 100, channels.doppler_hz > 1300
    assert moved[slow].mean() < 0.15 < 1 < moved[fast].mean()


def test_delay_spreads_are_drawn_for_each_slot():
    channels = draw("TDL-A", 4000, delay_spread=(30.0, 300.0))
    assert 29.9 < channels.delay_spread_ns.min() < 32
    assert 298 < channels.delay_spread_ns.max() < 300.1
    turn = (channels.h[:, 0] * channels.h[:, -1].conj()).mean(1)
    short, long = channels.delay_spread_ns < 60, channels.delay_spread_ns > 270
    assert turn[short].mean().abs() > turn[long].mean().abs() + 0.1
    assert torch.allclose(draw("EVA").delay_spread_ns, torch.tensor(356.65), atol=0.01)


def test_a_mixture_draws_its_members_by_their_shares():
    with pytest.warns(CyclicPrefixWarning, match="ETU reaches 5000 ns, beyond the cyclic prefix of 4688 ns"):
        made = ChannelSimulator("nr_v2x_15", "robust", doppler=(0, 500), delay_spread=(30, 300))
    names = [profile.name for profile in made.profiles]
    assert names == list(MIXTURES["robust"])
    channels = made.sample(6000, generator())
    for index, (name, share) in enumerate(MIXTURES["robust"].items()):
        members = channels.profile == index
        assert float(members.float().mean()) == pytest.approx(share, abs=4 * math.sqrt(share / 6000))
        if name.startswith("C2C"):
            largest = max(map(abs, PROFILES[name].tap_doppler))
            assert torch.equal(
                channels.doppler_hz[members], torch.full((int(members.sum()),), float(largest))
            )
            # The first tap is static: the slot never loses it.
            assert channels.doppler_hz[members].min() > 200
        elif not PROFILES[name].scalable:
            spread = PROFILES[name].rms_delay_spread()
            assert torch.allclose(
                channels.delay_spread_ns[members], torch.tensor(spread, dtype=torch.float32)
            )
    power = channels.h.abs().square().mean((1, 2))
    assert float(power.mean()) == pytest.approx(1, abs=5 * float(power.std()) / math.sqrt(6000))


# Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "EVB"}, "unknown profile 'EVB'; known are EPA"),
        ({"config": "lte"}, "unknown numerology 'lte'"),
        ({"doppler": None}, "doppler is missing: EVA does not fix it; give doppler in Hz or speed in km/h"),
        ({"doppler": -5}, "doppler must be 0 ≤ low ≤ high in Hz, got low=-5"),
        ({"doppler": (10, 5)}, "doppler must be 0 ≤ low ≤ high"),
        ({"speed": 30}, r"doppler=\(0, 1000\) and speed=30 say the same thing"),
        ({"doppler": None, "speed": -3}, "speed must not be negative, got -3"),
        ({"doppler": None, "speed": 3, "config": "fortitran"}, "no carrier_frequency"),
        (
            {"doppler": 8000},
            "8000 Hz turns the channel by more than half a turn in a symbol of 71.4 µs.*at most 7007 Hz",
        ),
        ({"profile": "TDL-A"}, "delay_spread is missing: the delays of TDL-A"),
        ({"profile": "TDL-A", "delay_spread": 0}, "delay_spread must be finite and above 0"),
        (
            {"profile": "TDL-A", "delay_spread": (300, 30)},
            "delay_spread must be low ≤ high, got 300.0 and 30.0 ns",
        ),
        ({"profile": "TDL-A", "delay_spread": (1, 2, 3)}, "one number or a range"),
        ({"domain": "wavelet"}, r"domain must be one of \('frequency', 'time'\), got 'wavelet'"),
        ({"snr_mode": "peak"}, "snr_mode must be one of"),
        ({"n_sinusoids": 0}, "n_sinusoids must be at least 1, got 0"),
    ],
)
def test_simulators_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        simulator(**options)


def test_what_a_profile_fixes_is_ignored_with_a_warning():
    with pytest.warns(IgnoredArgumentWarning, match="delay_spread=100 ns is ignored: EVA has fixed delays"):
        made = simulator(delay_spread=100)
    assert torch.equal(made.sample(3, generator()).h, simulator().sample(3, generator()).h)
    with pytest.warns(IgnoredArgumentWarning, match="speed is ignored: C2C-rural-los fix the Doppler"):
        made = ChannelSimulator("nr_v2x_15", "C2C-rural-los", speed=30)
    fixed = ChannelSimulator("nr_v2x_15", "C2C-rural-los")
    assert torch.equal(made.sample(3, generator()).h, fixed.sample(3, generator()).h)


@pytest.mark.parametrize(
    ("config", "profile", "spread"),
    [("nr_v2x_15", "ETU", None), ("nr_v2x_30", "EVA", None), ("nr_v2x_30", "TDL-C", 300.0)],
)
def test_profiles_beyond_the_prefix_warn_in_the_frequency_domain_only(config, profile, spread):
    """The three cases of §10.6."""
    with pytest.warns(CyclicPrefixWarning, match=f"{profile} reaches .* beyond the cyclic prefix"):
        simulator(config, profile, delay_spread=spread)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator(config, profile, delay_spread=spread, domain="time")
        simulator("nr_v2x_15", "EVA")  # 2.51 µs within 4.69 µs


@pytest.mark.parametrize(
    ("snr_db", "message"),
    [
        (torch.zeros(3), r"snr_db has shape \(3,\), a tensor must hold one value for each of the 4 slots"),
        ((0, 5, 10), "snr_db must be one number or a range"),
        ((10, 5), "snr_db must be finite and low ≤ high, in dB, got 10.0 to 5.0"),
        (float("nan"), "snr_db must be finite"),
        (float("inf"), "snr_db must be finite"),
        (torch.tensor([0, 1, 2, math.nan]), "snr_db must be finite"),
    ],
)
def test_snr_that_cannot_be(snr_db, message):
    with pytest.raises(ValueError, match=message):
        simulator().slots(4, snr_db, generator())


def test_empty_batches_are_refused():
    for call in (simulator().sample, simulator().slots):
        with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
            call(0)


def test_a_specular_profile_of_one_custom_grid():
    """Nothing is tied to the named grids."""
    config = OFDMConfig(20, 7, 30e3, 2e-6, 3.5e9, PilotPattern.comb(20, 5, (1, 5), (0, 2)))
    slots = ChannelSimulator(config, "TDL-E", speed=(10, 60), delay_spread=50).slots(6, 10.0, generator())
    assert slots.ls.shape == (6, 4, 2)
    assert slots.doppler_hz.max() < 195


@pytest.mark.gpu
def test_a_cuda_generator_draws_on_the_device():
    device = torch.device("cuda")
    made = simulator()
    slots = made.slots(3000, (0, 25), torch.Generator(device).manual_seed(0))
    assert slots.h.device.type == slots.ls.device.type == "cuda"
    power = slots.h.abs().square().mean((1, 2))
    assert float(power.mean()) == pytest.approx(1, abs=5 * float(power.std()) / math.sqrt(3000))
