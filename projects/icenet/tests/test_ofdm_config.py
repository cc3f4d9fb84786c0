"""Every numerology of §4.1, the pilot lattices, and the errors of §12 that concern the grid."""

import dataclasses
import json

import pytest
import torch

from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig, dsrc_10mhz, get_numerology
from icenet.ofdm.pilots import PilotPattern

# name: K, S, Δf in kHz, CP in µs, pilot symbols, first subcarriers of the combs, comb spacing
TABLE = {
    "lte_small": (72, 14, 15, 14.815, (0, 12), (0, 1), 2),
    "reesnet_48": (72, 14, 15, 14.612, (0, 7), (0, 1), 3),
    "channelnet_48": (72, 14, 15, 4.6875, (0, 4, 7, 11), (1, 4, 1, 4), 6),
    "nr_v2x_15": (72, 14, 15, 4.6875, (1, 4, 7, 10), (0, 0, 0, 0), 2),
    "nr_v2x_30": (120, 14, 30, 2.34375, (1, 4, 7, 10), (0, 0, 0, 0), 2),
    "nr_v2x_30_2": (120, 14, 30, 2.34375, (3, 10), (0, 0), 2),
    "nr_v2x_30_3": (120, 14, 30, 2.34375, (1, 6, 11), (0, 0, 0), 2),
    "fortitran": (120, 14, 15, 4.6875, (2, 11), (0, 0), 10),
}
PILOTS = {"lte_small": 72, "reesnet_48": 48, "channelnet_48": 48, "nr_v2x_15": 144, "fortitran": 24}


@pytest.mark.parametrize("name", TABLE)
def test_numerologies_are_those_of_the_table(name):
    config = NUMEROLOGIES[name]
    K, S, spacing, cp, symbols, first, comb = TABLE[name]
    assert config.shape == (K, S)
    assert config.subcarrier_spacing == 1e3 * spacing
    assert config.cp == pytest.approx(1e-6 * cp, rel=1e-4)
    assert config.symbol_time == pytest.approx(1 / (1e3 * spacing) + 1e-6 * cp, rel=1e-4)
    assert config.pilots.symbols == symbols
    for offset, row in zip(first, config.pilots.subcarriers, strict=True):
        assert row == tuple(range(offset, K, comb))
    if name in PILOTS:
        assert config.pilots.n_pilots == PILOTS[name]


def test_every_row_of_the_table_is_tested():
    assert set(TABLE) | {"dsrc_10MHz"} == set(NUMEROLOGIES)


def test_dsrc_skips_the_carrier_and_holds_tracking_pilots():
    config = dsrc_10mhz(20)
    assert config.subcarriers.tolist() == [*range(-26, 0), *range(1, 27)]
    assert config.subcarriers[list(config.tracking_subcarriers)].tolist() == [-21, -7, 7, 21]
    assert config.pilots.shape == (52, 2)
    assert config.symbol_time == pytest.approx(8e-6)
    assert (config.samples, config.cp_samples) == (64, 16)
    # 48 data subcarriers in each of the 18 data symbols
    assert int(config.data_mask.sum()) == 48 * 18


@pytest.mark.parametrize("name", NUMEROLOGIES)
def test_the_prefix_is_a_whole_number_of_samples(name):
    config = NUMEROLOGIES[name]
    exact = config.cp * config.samples * config.subcarrier_spacing
    assert config.cp_samples == pytest.approx(exact, abs=1e-9)
    assert config.samples >= config.n_subcarriers


def test_frequencies_are_centred():
    config = NUMEROLOGIES["nr_v2x_15"]
    assert config.frequencies.dtype == torch.float64
    assert config.frequencies[36] == 0
    assert config.frequencies[0] == -36 * 15e3


def test_doppler_of_speed():
    assert NUMEROLOGIES["nr_v2x_15"].doppler_of_speed(100) == pytest.approx(546.67, abs=0.01)
    with pytest.raises(ValueError, match="no carrier_frequency"):
        NUMEROLOGIES["fortitran"].doppler_of_speed(100)
    with pytest.raises(ValueError, match="speed must not be negative, got -1"):
        NUMEROLOGIES["nr_v2x_15"].doppler_of_speed(-1)


@pytest.mark.parametrize("name", NUMEROLOGIES)
def test_take_reads_the_pilots_at_their_coordinates(name):
    config = NUMEROLOGIES[name]
    K, S = config.shape
    grid = torch.arange(K)[:, None] * 1000 + torch.arange(S)
    taken = config.pilots.take(grid.expand(2, K, S))
    assert taken.shape == (2, *config.pilots.shape)
    for j, symbol in enumerate(config.pilots.symbols):
        assert taken[1, :, j].tolist() == [1000 * k + symbol for k in config.pilots.subcarriers[j]]
    assert not config.data_mask[config.pilots.coordinates()].any()


def test_staggered_is_seen():
    assert NUMEROLOGIES["lte_small"].pilots.staggered
    assert not NUMEROLOGIES["nr_v2x_15"].pilots.staggered


@pytest.mark.parametrize("name", NUMEROLOGIES)
def test_configurations_survive_json(name):
    config = NUMEROLOGIES[name]
    again = OFDMConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)
    assert again.digest() == config.digest()
    assert config.diff(again) == []


def test_the_digest_tells_configurations_apart_and_is_stable():
    digests = {config.digest() for config in NUMEROLOGIES.values()}
    assert len(digests) == len(NUMEROLOGIES)
    # Fixed: shards written by an older version must still be recognised.
    assert NUMEROLOGIES["nr_v2x_15"].digest() == "0c846c3897edf5b3"


def test_diff_names_the_fields():
    config = NUMEROLOGIES["nr_v2x_15"]
    other = dataclasses.replace(config, cp=0.0, carrier_frequency=2.1e9)
    assert config.diff(other) == [
        "cp: 4.6875e-06 here, 0.0 there",
        "carrier_frequency: 5900000000.0 here, 2100000000.0 there",
    ]


GRID = {
    "n_subcarriers": 12,
    "n_symbols": 14,
    "subcarrier_spacing": 15e3,
    "cp": 4.7e-6,
    "carrier_frequency": None,
}
COMB = PilotPattern.comb(12, 2, (1, 7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_subcarriers": 0}, "n_subcarriers must be at least 1, got 0"),
        ({"subcarrier_spacing": 0.0}, "subcarrier_spacing must be above 0 Hz"),
        ({"cp": 4.7}, r"cp=4\.7 s must lie in .* it is given in seconds"),
        ({"cp": -1e-6}, "cp=-1e-06 s must lie in"),
        ({"carrier_frequency": -1.0}, "carrier_frequency must be above 0 Hz"),
        ({"fft_size": 8}, "fft_size=8 does not hold 12 subcarriers"),
        ({"n_symbols": 7}, r"pilot symbols \(1, 7\) must lie in 0 … 6"),
        ({"n_subcarriers": 10}, "pilot subcarriers of symbol 1 reach from 0 to 10, they must lie in 0 … 9"),
        ({"tracking_subcarriers": (12,)}, r"tracking_subcarriers \(12,\) must lie in 0 … 11"),
    ],
)
def test_grids_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        OFDMConfig(**{**GRID, "pilots": COMB, **change})


@pytest.mark.parametrize(
    ("symbols", "subcarriers", "message"),
    [
        ((), (), "symbols is empty"),
        ((1,), ((0, 2), (0, 2)), "2 combs for 1 pilot symbols"),
        ((1, 1), ((0, 2), (0, 2)), r"symbols holds \[1\] more than once"),
        ((4, 1), ((0, 2), (0, 2)), r"symbols must be increasing, got \(4, 1\)"),
        ((1,), ((0,),), "symbol 1 has 1 pilot subcarriers, at least 2"),
        ((1,), ((0, 2, 2),), r"subcarriers of symbol 1 holds \[2\] more than once"),
        ((1, 2), ((0, 2), (0, 2, 4)), r"the combs have \[2, 3\] subcarriers"),
    ],
)
def test_patterns_that_cannot_be(symbols, subcarriers, message):
    with pytest.raises(ValueError, match=message):
        PilotPattern(symbols, subcarriers)


def test_arguments_of_comb_are_checked():
    with pytest.raises(ValueError, match="spacing must be at least 1 subcarrier, got 0"):
        PilotPattern.comb(12, 0, (1,))
    with pytest.raises(ValueError, match="offsets must be subcarriers from 0"):
        PilotPattern.comb(12, 2, (1,), (-1,))


def test_combs_of_unequal_length_are_cut():
    assert PilotPattern.comb(7, 3, (0, 1), (0, 1)).subcarriers == ((0, 3), (1, 4))


def test_unknown_names_and_keys():
    with pytest.raises(ValueError, match="unknown numerology 'lte'; known are lte_small"):
        get_numerology("lte")
    assert get_numerology("fortitran") is NUMEROLOGIES["fortitran"]
    values = NUMEROLOGIES["fortitran"].to_dict()
    with pytest.raises(ValueError, match=r"unknown keys \['colour'\]"):
        OFDMConfig.from_dict({**values, "colour": 3})
    with pytest.raises(ValueError, match="n_symbols must be at least 3"):
        dsrc_10mhz(2)
