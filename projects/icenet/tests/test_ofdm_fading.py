"""§4.3: the sums of sinusoids are exact, and have the moments, correlations and spectra they should."""

import math

import pytest
import torch
from scipy.special import j0, struve

from icenet.ofdm.fading import DopplerRange, half_bathtub, jakes, specular, tap_gains
from icenet.ofdm.profiles import PROFILES

STEP = 70e-6
N = 14


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_definition(M, taps, batch, doppler, n, seed):
    """The formula of §4.3 as it stands, in float64, from the numbers that `jakes` draws."""
    draw = generator(seed)
    theta = torch.rand(taps * batch, generator=draw) * 2 * math.pi - math.pi
    phi = torch.rand(M, taps * batch, generator=draw) * 2 * math.pi - math.pi
    m = torch.arange(M, dtype=torch.float64)[:, None]
    alpha = (2 * math.pi * m + theta.double()) / M
    omega = 2 * math.pi * doppler.double().repeat(taps) * alpha.cos()
    t = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * STEP
    phase = omega[..., None] * t + phi.double()[..., None]
    return (
        (torch.polar(torch.ones_like(phase), phase).sum(0) / math.sqrt(M))
        .reshape(taps, batch, n)
        .transpose(0, 1)
    )


@pytest.mark.parametrize("M", [2, 15, 16, 20])
@pytest.mark.parametrize("n", [1, 2, 13, 14])
def test_shared_cosines_give_the_sum_of_the_definition(M, n):
    doppler = torch.tensor([0.0, 5.0, 300.0, 1000.0, 7000.0])
    ours = jakes(doppler, 3, n, STEP, M, generator())
    assert ours.dtype == torch.complex64
    torch.testing.assert_close(
        ours.to(torch.complex128), by_definition(M, 3, 5, doppler, n, 0), atol=2e-5, rtol=0
    )


def test_the_same_seed_gives_the_same_taps():
    doppler = torch.full((4,), 500.0)
    first, again, other = (jakes(doppler, 2, N, STEP, 16, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def lags(gains):
    """E a(t+Δ) a*(t), averaged over slots and taps, and its standard error."""
    products = gains[..., :, None] * gains[..., None, :].conj()
    means = torch.stack([products.diagonal(-d, -2, -1).mean(-1).flatten() for d in range(gains.shape[-1])])
    return means.mean(1), means.std(1) / math.sqrt(means.shape[1])


@pytest.mark.parametrize("M", [16, 17])
def test_jakes_has_the_correlation_of_bessel(M):
    f = 1500.0
    got, error = lags(jakes(torch.full((4000,), f), 3, N, STEP, M, generator()))
    expected = torch.from_numpy(j0(2 * math.pi * f * STEP * torch.arange(N).numpy())).to(got.dtype)
    assert ((got - expected).abs() <= 4.5 * error + 1e-6).all()
    # and this would notice a Doppler frequency that is wrong by a tenth
    wrong = torch.from_numpy(j0(2 * math.pi * 1.1 * f * STEP * torch.arange(N).numpy())).to(got.dtype)
    assert ((got - wrong).abs() > 4.5 * error + 1e-6).any()


@pytest.mark.parametrize("f", [600.0, -600.0])
def test_half_bathtub_is_one_sided(f):
    got, error = lags(half_bathtub(torch.full((4000,), f), 3, N, STEP, 16, generator()))
    x = 2 * math.pi * f * STEP * torch.arange(N).numpy()
    expected = torch.from_numpy(j0(x) + 1j * struve(0, x)).to(got.dtype)
    assert ((got - expected).abs() <= 4.5 * error + 1e-6).all()
    # The mean shift of a spectrum on [0, f] with the arc-cosine density is 2f/π.
    assert math.copysign(1, float(got[1].imag)) == math.copysign(1, f)
    assert float(got[1].angle()) == pytest.approx(2 * math.pi * STEP * 2 * f / math.pi, rel=0.05)


def test_taps_have_unit_power_and_are_rayleigh():
    """Σ of M phasors: E|a|² = 1 and E|a|⁴ = 2 - 1/M, the Rayleigh value but for the finite number of sinusoids."""
    a = jakes(torch.full((20000,), 800.0), 4, 3, STEP, 16, generator())[..., 1]
    power = a.abs().double().square()
    assert float(power.mean()) == pytest.approx(1, abs=4 / math.sqrt(80000))
    assert float(power.square().mean()) == pytest.approx(2 - 1 / 16, abs=4 * 4.2 / math.sqrt(80000))
    assert abs(complex(a.mean())) < 4 / math.sqrt(80000)
    assert abs(complex((a * a).mean())) < 4 * math.sqrt(2 / 80000)  # circular


def test_taps_and_slots_are_independent():
    a = jakes(torch.full((20000,), 800.0), 3, 2, STEP, 16, generator())[..., 0]
    cross = (a.T @ a.conj()) / len(a)
    assert (cross - torch.eye(3)).abs().max() < 4.5 / math.sqrt(20000)
    neighbours = (a[1:] * a[:-1].conj()).mean(0)
    assert neighbours.abs().max() < 4.5 / math.sqrt(20000)


def test_specular_paths_turn_at_their_shift_and_do_not_fade():
    shift = torch.tensor([0.0, 100.0, -700.0])
    a = specular(shift, 2, N, STEP, generator())
    torch.testing.assert_close(a.abs(), torch.ones(3, 2, N))
    turn = (a[..., 1:] * a[..., :-1].conj()).angle()
    torch.testing.assert_close(
        turn, (2 * math.pi * STEP * shift)[:, None, None].expand(3, 2, N - 1), atol=1e-5, rtol=0
    )


def test_a_line_of_sight_moves_at_seven_tenths_of_the_doppler():
    a = tap_gains(PROFILES["TDL-D"], torch.full((50,), 1000.0), N, STEP, 16, generator())
    assert a.shape == (50, 14, N)
    torch.testing.assert_close(a[:, 0].abs(), torch.ones(50, N))
    turn = (a[:, 0, 1:] * a[:, 0, :-1].conj()).angle()
    torch.testing.assert_close(turn, torch.full_like(turn, 2 * math.pi * 700 * STEP), atol=1e-5, rtol=0)
    assert float(a[:, 1:].abs().std()) > 0.3  # the rest fades


def test_field_trials_have_a_static_first_tap():
    a = tap_gains(PROFILES["C2C-urban-nlos"], torch.zeros(2000), N, STEP, 16, generator())
    torch.testing.assert_close(a[:, 0], a[:, 0, :1].expand(-1, N))
    signs = [math.copysign(1, float((a[:, p, 1:] * a[:, p, :-1].conj()).mean().imag)) for p in (1, 2, 3)]
    assert signs == [1, -1, 1]


@pytest.mark.parametrize(
    ("doppler", "expected"),
    [
        (50, (50, 50)),
        (50.5, (50.5, 50.5)),
        ((0, 97), (0, 97)),
        ([3.0, 4.0], (3, 4)),
        (DopplerRange(1, 2), (1, 2)),
    ],
)
def test_doppler_is_a_number_or_a_pair(doppler, expected):
    prior = DopplerRange.of(doppler)
    assert (prior.low, prior.high) == expected


def test_doppler_is_drawn_from_its_prior():
    draws = DopplerRange(100, 1100).sample(20000, generator())
    assert 100 <= draws.min() < 101
    assert 1099 < draws.max() <= 1100
    assert float(draws.mean()) == pytest.approx(600, abs=4 * 1000 / math.sqrt(12 * 20000))
    whole = DopplerRange(0, 97, integer=True).sample(20000, generator())
    assert set(whole.tolist()) == set(map(float, range(98)))


@pytest.mark.parametrize(
    "prior", [DopplerRange(7, 7), DopplerRange(0, 1400), DopplerRange(0, 97, integer=True)]
)
def test_quadrature_takes_expectations(prior):
    nodes, weights = prior.quadrature()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-13)
    assert float(weights @ nodes) == pytest.approx((prior.low + prior.high) / 2, abs=1e-9)
    span = prior.high - prior.low
    variance = span * (span + 2) / 12 if prior.integer else span**2 / 12
    assert float(weights @ nodes**2 - (weights @ nodes) ** 2) == pytest.approx(variance, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DopplerRange(-1, 5), "doppler must be 0 ≤ low ≤ high in Hz, got low=-1"),
        (lambda: DopplerRange(5, 1), "doppler must be 0 ≤ low ≤ high"),
        (lambda: DopplerRange(0, math.inf), "doppler must be 0 ≤ low ≤ high"),
        (lambda: DopplerRange(0, math.nan), "doppler must be 0 ≤ low ≤ high"),
        (lambda: DopplerRange(0, 0.5, integer=True), "integer Doppler needs whole Hz"),
        (lambda: DopplerRange.of((1, 2, 3)), r"one frequency in Hz or a pair \(low, high\)"),
    ],
)
def test_priors_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
