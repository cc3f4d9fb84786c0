"""The tables of §4.2: their delay spreads, shapes, powers, and errors."""

import numpy as np
import pytest

from icenet.ofdm.profiles import (
    DELAY_SPREADS,
    DOPPLER_PAIRINGS,
    MIXTURES,
    PROFILES,
    DelayProfile,
    IgnoredArgumentWarning,
    get_mixture,
    get_profile,
)

# RMS delay spreads: of the scalable tables in units of their own, otherwise in nanoseconds. TS 36.101 prints 43, 357 and 991 ns, TDL-A/B/C
# are normalised to 1, the conformance profiles are named after theirs; that of TDL-D was worked out from its table.
SPREADS = {
    "EPA": (43.13, 0.01), "EVA": (356.65, 0.01), "ETU": (990.94, 0.01),
    "TDL-A": (1.0, 1e-3), "TDL-B": (1.0, 1e-3), "TDL-C": (1.0, 1e-3), "TDL-D": (0.9937, 1e-3), "TDL-E": (1.0, 1e-3),
    "TDLA30": (30, 0.5), "TDLB100": (100, 0.5), "TDLC300": (300, 0.5), "V2X-urban-nlos": (60.0, 0.05),
}  # fmt: skip
TAPS = {
    "EPA": 7, "EVA": 9, "ETU": 9, "TDL-A": 23, "TDL-B": 23, "TDL-C": 24, "TDL-D": 14, "TDL-E": 15, "TDLA30": 12, "TDLB100": 12,
    "TDLC300": 12, "C2C-rural-los": 3, "C2C-urban-approaching-los": 4, "C2C-urban-nlos": 4, "C2C-highway-los": 4,
    "C2C-highway-nlos": 4, "V2X-urban-los": 17, "V2X-urban-nlos": 23, "V2X-highway-los": 17, "V2X-highway-nlosv": 24,
}  # fmt: skip


@pytest.mark.parametrize("name", SPREADS)
def test_rms_delay_spreads(name):
    expected, tolerance = SPREADS[name]
    profile = PROFILES[name]
    assert profile.rms_delay_spread(1.0 if profile.scalable else None) == pytest.approx(
        expected, abs=tolerance
    )


def test_all_tables_have_all_their_taps():
    assert {name: profile.n_taps for name, profile in PROFILES.items()} == TAPS


@pytest.mark.parametrize("name", PROFILES)
def test_powers_are_normalised_by_their_sum(name):
    """Not amplitudes by the sum of powers, an error of a public simulator (§10.11)."""
    profile = PROFILES[name]
    linear = 10 ** (np.array(profile.powers_db) / 10)
    assert profile.powers.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(profile.powers / profile.powers[0], linear / linear[0])


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.line_of_sight])
def test_a_line_of_sight_comes_first_with_its_rayleigh_part(name):
    profile = PROFILES[name]
    assert profile.delays[:2] == (0, 0)
    assert profile.powers[0] > profile.powers[1]


def test_two_zero_delays_mean_a_line_of_sight_and_nothing_else_does():
    assert {n for n, p in PROFILES.items() if p.delays[1] == 0} == {
        n for n, p in PROFILES.items() if p.line_of_sight
    }


def test_the_last_tap_of_tdl_e_is_that_of_tdl_and_not_of_cdl():
    assert PROFILES["TDL-E"].delays[-1] == 20.6519


def test_field_trials_have_one_static_tap_and_half_bathtubs():
    for name in MIXTURES["C2C"]:
        dopplers = PROFILES[name].tap_doppler
        assert dopplers is not None
        assert dopplers[0] == 0
        assert all(dopplers[1:])
    assert PROFILES["C2C-highway-nlos"].tap_doppler == (0, 689, -492, 886)


@pytest.mark.parametrize("spread", DELAY_SPREADS.values())
@pytest.mark.parametrize("name", ["TDL-A", "TDL-C"])
def test_delays_scale_with_the_delay_spread(name, spread):
    profile = PROFILES[name]
    np.testing.assert_allclose(profile.delays_ns(spread), spread * np.array(profile.delays))
    assert profile.rms_delay_spread(spread) == pytest.approx(spread, rel=1e-3)
    assert profile.mean_delay(spread) == pytest.approx(spread * profile.mean_delay(1.0))


def test_coherence_bandwidth_of_two_equal_taps_has_a_closed_form():
    """|R_f| = |cos π f τ| falls to ½ at f = 1/(3τ)."""
    profile = DelayProfile("two", (0, 1000), (0, 0))
    assert profile.coherence_bandwidth() == pytest.approx(1e6 / 3, rel=1e-9)
    assert abs(profile.frequency_correlation(1e6 / 3)) == pytest.approx(0.5)
    assert DelayProfile("one", (5,), (0,)).coherence_bandwidth() == np.inf
    assert DelayProfile("flat", (0,), (0,)).coherence_bandwidth() == np.inf
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 1"):
        profile.coherence_bandwidth(level=1)


def test_coherence_bandwidth_falls_with_the_delay_spread():
    near = [PROFILES["TDL-B"].coherence_bandwidth(spread) for spread in DELAY_SPREADS.values()]
    np.testing.assert_allclose(np.array(near) * list(DELAY_SPREADS.values()), near[0] * 10)


def test_pairings_name_known_profiles():
    assert set(DOPPLER_PAIRINGS) >= {"TDLA30-5", "TDLA30-2700", "TDLB100-400", "TDLC300-1200"}
    assert all(name in PROFILES for name, _ in DOPPLER_PAIRINGS.values())


def test_mixtures_share_one():
    for name in MIXTURES:
        profiles, shares = get_mixture(name)
        assert sum(shares) == pytest.approx(1)
        assert len(profiles) == len(shares)
    profiles, shares = get_mixture(["EVA", "C2C"])
    assert [p.name for p in profiles] == ["EVA", *MIXTURES["C2C"]]
    assert shares == pytest.approx([0.5] + [0.1] * 5)
    assert get_mixture("ETU") == ((PROFILES["ETU"],), (1.0,))


def test_unknown_profiles_list_the_known():
    for get in (get_profile, get_mixture):
        with pytest.raises(ValueError, match=r"unknown profile 'TDL-F'; known are EPA, EVA, ETU, TDL-A"):
            get("TDL-F")
    with pytest.raises(ValueError, match="profile is an empty list"):
        get_mixture([])


def test_delay_spreads_are_asked_for_and_refused():
    with pytest.raises(
        ValueError, match=r"delay_spread is missing: the delays of TDL-A .* 10, 30, 100, 300, 1000 ns"
    ):
        PROFILES["TDL-A"].delays_ns()
    for wrong in (0, -5, float("inf"), float("nan"), 1e-7):
        with pytest.raises(ValueError, match="delay_spread must be finite and above 0, in nanoseconds"):
            PROFILES["TDL-A"].delays_ns(wrong)
    with pytest.warns(IgnoredArgumentWarning, match="delay_spread=100 ns is ignored: EVA has fixed delays"):
        delays = PROFILES["EVA"].delays_ns(100)
    np.testing.assert_array_equal(delays, PROFILES["EVA"].delays)


def test_tables_that_cannot_be():
    with pytest.raises(ValueError, match="two: 2 delays and 1 powers"):
        DelayProfile("two", (0, 1), (0,))
    with pytest.raises(ValueError, match="back: delays must not be negative, got -1"):
        DelayProfile("back", (0, -1), (0, 0))
    with pytest.raises(ValueError, match="tap_doppler has 1 entries, delays 2"):
        DelayProfile("half", (0, 1), (0, 0), tap_doppler=(0,))
