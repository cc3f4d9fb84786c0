"""The filters from ensemble statistics: their identity (§3.6), their optimality, and that they are no genie (10.2)."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from icenet.estimators.lmmse import LMMSE2D, LinearMMSE, LMMSEEmpirical, LMMSEMismatched
from icenet.estimators.ls import LSLinear
from icenet.metrics import nmse, nmse_db
from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NORMAL_CP, OFDMConfig
from icenet.ofdm.covariance import covariance
from icenet.ofdm.pilots import PilotPattern

SMALL = OFDMConfig(24, 8, 15e3, NORMAL_CP / 15e3, None, PilotPattern.comb(24, 3, (1, 4, 6), (0, 1)))
DOPPLER = (0.0, 1000.0)
SIGMA2 = 0.1


@pytest.fixture(scope="module")
def exact() -> LMMSE2D:
    return LMMSE2D(SMALL, "EVA", DOPPLER)


@pytest.fixture(scope="module")
def r() -> Tensor:
    return covariance(SMALL, "EVA", DOPPLER).flatten(2).flatten(0, 1)


def pilots() -> Tensor:
    k, s = SMALL.pilots.coordinates()
    return (k * SMALL.n_symbols + s).flatten()


def nmse_of(weight: Tensor, r: Tensor, sigma2: float) -> float:
    """Expected NMSE of any linear filter."""
    at = pilots()
    r_pp = r[at][:, at] + sigma2 * torch.eye(len(at))
    error = r - weight @ r[at] - (weight @ r[at]).mH + weight @ r_pp @ weight.mH
    return float(error.diagonal().real.sum() / r.diagonal().real.sum())


def test_the_reference_value_of_the_notes() -> None:
    """EVA, K = 72, T = (1 + 16/72)/Δf, comb-2 on symbols 2, 5, 8, 11, f_d uniform to 1 kHz: −17.90 dB at 10 dB."""
    grid = OFDMConfig(72, 14, 15e3, 16 / 72 / 15e3, None, PilotPattern.comb(72, 2, (2, 5, 8, 11)))
    expected = LMMSE2D(grid, "EVA", DOPPLER).expected_nmse(SIGMA2)
    assert 10 * math.log10(expected) == pytest.approx(-17.90, abs=0.01)


def test_the_filter_is_the_formula(exact: LMMSE2D, r: Tensor) -> None:
    at = pilots()
    formula = r[:, at] @ torch.linalg.inv(r[at][:, at] + SIGMA2 * torch.eye(len(at)))
    torch.testing.assert_close(exact.filter(SIGMA2), formula, atol=1e-10, rtol=1e-10)
    assert exact.expected_nmse(SIGMA2) == pytest.approx(nmse_of(formula, r, SIGMA2), abs=1e-10)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_simulated_error_agrees_with_the_identity(exact: LMMSE2D, snr_db: float) -> None:
    slots = ChannelSimulator(SMALL, "EVA", doppler=DOPPLER).slots(
        4000, snr_db, torch.Generator().manual_seed(1)
    )
    each = (exact.estimate(slots.ls, slots.noise_var) - slots.h).abs().square().mean((1, 2)).double()
    error = float(each.std()) / math.sqrt(len(each))
    assert abs(float(each.mean()) - exact.expected_nmse(10 ** (-snr_db / 10))) < 4 * error


def test_no_linear_filter_is_better(exact: LMMSE2D, r: Tensor) -> None:
    best = exact.filter(SIGMA2)
    least = exact.expected_nmse(SIGMA2)
    for _ in range(10):
        step = torch.randn_like(best)
        assert nmse_of(best + 1e-3 * step, r, SIGMA2) > least
    others = [LSLinear(SMALL, edge).lattice.matrix().to_dense().to(r.dtype) for edge in ("linear", "nearest")]  # type: ignore[arg-type]
    others.append(LMMSEMismatched(SMALL, DOPPLER).filter(SIGMA2))
    others.append(exact.filter(10 * SIGMA2))
    assert all(nmse_of(other, r, SIGMA2) > least * 1.01 for other in others)


def test_the_mismatched_filter_beats_interpolation(r: Tensor) -> None:
    mismatched = nmse_of(LMMSEMismatched(SMALL, DOPPLER).filter(SIGMA2), r, SIGMA2)
    assert mismatched < nmse_of(LSLinear(SMALL).lattice.matrix().to_dense().to(r.dtype), r, SIGMA2)


def test_a_genie_would_beat_it_and_this_is_none(exact: LMMSE2D) -> None:
    """h hᴴ of the channel that is estimated gives an error that no receiver can have; one channel is refused."""
    slots = ChannelSimulator(SMALL, "EVA", doppler=DOPPLER).slots(50, 10.0, torch.Generator().manual_seed(2))
    guesses = []
    for ls, h in zip(slots.ls, slots.h):
        flat = h.flatten().to(torch.complex128)
        own = (flat[:, None] * flat.conj()).reshape(*SMALL.shape, *SMALL.shape)
        guesses.append(LinearMMSE(SMALL, own).estimate(ls[None], 0.1)[0])
    genie = nmse_db(torch.stack(guesses), slots.h)
    ours = nmse_db(exact.estimate(slots.ls, slots.noise_var), slots.h)
    assert genie < ours - 4
    assert ours == pytest.approx(10 * math.log10(exact.expected_nmse(0.1)), abs=1.0)
    with pytest.raises(ValueError, match="one channel would make the rank-one filter of a genie"):
        LMMSEEmpirical(SMALL, slots.h[:1])


def test_the_filter_does_not_depend_on_the_other_slots(exact: LMMSE2D) -> None:
    ls = torch.randn(5, *SMALL.pilots.shape, dtype=torch.complex64)
    together = exact.estimate(ls, torch.linspace(0.01, 1, 5))
    for i, sigma2 in enumerate(torch.linspace(0.01, 1, 5)):
        torch.testing.assert_close(exact.estimate(ls[i : i + 1], float(sigma2))[0], together[i])
        by_filter = exact.filter(float(sigma2)) @ ls[i].flatten().to(torch.complex128)
        torch.testing.assert_close(together[i].flatten().to(by_filter), by_filter, atol=1e-5, rtol=1e-5)


def test_sample_statistics_approach_the_exact_ones(exact: LMMSE2D, r: Tensor) -> None:
    simulator = ChannelSimulator(SMALL, "EVA", doppler=DOPPLER)
    loss = []
    for n in (100, 4000):
        h = simulator.sample(n, torch.Generator().manual_seed(3)).h
        loss.append(nmse_of(LMMSEEmpirical(SMALL, h).filter(SIGMA2), r, SIGMA2) / exact.expected_nmse(SIGMA2))
    assert 1 < loss[1] < loss[0]
    assert loss[1] < 1.1


@pytest.mark.parametrize(
    ("profile", "options"),
    [("TDL-D", {"doppler": DOPPLER, "delay_spread": 100.0}), ("C2C-urban-nlos", {})],
)
def test_specular_and_field_trial_profiles_have_filters(profile: str, options: dict[str, Any]) -> None:
    """Their covariance is not a product of frequency and time; the identity holds all the same."""
    exact = LMMSE2D(SMALL, profile, **options)
    slots = ChannelSimulator(SMALL, profile, **options).slots(3000, 10.0, torch.Generator().manual_seed(4))
    each = (exact.estimate(slots.ls, slots.noise_var) - slots.h).abs().square().mean((1, 2)).double()
    assert abs(float(each.mean()) - exact.expected_nmse(0.1)) < 4 * float(each.std()) / math.sqrt(3000)
    assert float(each.mean()) < float(nmse(LSLinear(SMALL).estimate(slots.ls), slots.h))


def test_without_noise_the_pilots_are_kept_and_nothing_is_infinite(exact: LMMSE2D) -> None:
    h = ChannelSimulator(SMALL, "EVA", doppler=DOPPLER).sample(20, torch.Generator().manual_seed(5)).h
    ls = SMALL.pilots.take(h).to(torch.complex128)
    found = exact.estimate(ls, 0.0)
    torch.testing.assert_close(SMALL.pilots.take(found), ls, atol=1e-3, rtol=1e-3)


def test_bad_statistics_are_named() -> None:
    with pytest.raises(ValueError, match=r"covariance must be \(24, 8, 24, 8\), got \(3, 3\)"):
        LinearMMSE(SMALL, torch.eye(3))
    with pytest.raises(ValueError, match="covariance must be Hermitian"):
        LinearMMSE(SMALL, torch.randn(24, 8, 24, 8))
    with pytest.raises(
        ValueError, match=r"covariance must be positive semidefinite, .* eigenvalue at the pilots is -1"
    ):
        LinearMMSE(SMALL, -torch.eye(192).reshape(24, 8, 24, 8))
    with pytest.raises(
        ValueError, match=r"'robust' is not a single delay profile; a mixture needs its covariance"
    ):
        LMMSE2D(SMALL, "robust", DOPPLER)
    with pytest.raises(ValueError, match="noise_var is needed here"):
        LMMSEMismatched(SMALL, DOPPLER).estimate(torch.zeros(1, *SMALL.pilots.shape, dtype=torch.complex64))
