"""What estimators share: their input is checked, configurations travel as plain values, estimate leaves the mode alone."""

import json

import pytest
import torch

from icenet.estimators.base import (
    Estimator,
    check_ls,
    noise_variances,
    plain_config,
    resolve_config,
    to_complex,
    to_planes,
)
from icenet.estimators.channelnet import ChannelNet
from icenet.estimators.ls import LSLinear
from icenet.estimators.simplenet import SimpleNet
from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig
from icenet.ofdm.pilots import PilotPattern

CONFIG = NUMEROLOGIES["nr_v2x_15"]
OWN = OFDMConfig(12, 7, 15e3, 4e-6, None, PilotPattern.comb(12, 3, (1, 5), (0, 1)))


def test_planes_and_complex_numbers_are_the_same_input() -> None:
    x = torch.randn(3, 36, 4, dtype=torch.complex64)
    assert torch.equal(to_complex(to_planes(x)), x)
    assert torch.equal(check_ls(to_planes(x), CONFIG), x)
    net = SimpleNet(CONFIG)
    assert torch.equal(net(x), net(to_planes(x)))


@pytest.mark.parametrize("config", [CONFIG, OWN])
def test_configurations_travel_as_plain_values(config: OFDMConfig) -> None:
    plain = json.loads(json.dumps(plain_config(config)))
    assert resolve_config(plain) == config


def test_a_network_on_a_grid_of_ones_own_can_be_saved(tmp_path: object) -> None:
    net = SimpleNet(OWN, channels=3)
    net.save_pretrained(str(tmp_path))
    again = SimpleNet.from_pretrained(str(tmp_path))
    assert again.ofdm == OWN
    x = torch.randn(2, 4, 2, dtype=torch.complex64)
    assert torch.equal(again(x), net(x))


def test_formulas_and_networks_are_estimators() -> None:
    assert isinstance(SimpleNet(CONFIG), Estimator)
    assert isinstance(LSLinear(CONFIG), Estimator)


def test_estimate_evaluates_and_puts_the_mode_back() -> None:
    net = ChannelNet(OWN, depth=1).train()
    x = torch.randn(3, 4, 2, dtype=torch.complex64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = net.estimate(x), net.estimate(x[:1])
    assert net.training
    assert not first.requires_grad
    torch.testing.assert_close(first[:1], second)  # batch statistics would couple the slots
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("ls", "error", "message"),
    [
        (torch.zeros(2, 36, 4), ValueError, r"ls must be complex \(b, 36, 4\), .* got real \(2, 36, 4\)"),
        (torch.zeros(2, 4, 36, dtype=torch.complex64), ValueError, r"got complex \(2, 4, 36\)"),
        (torch.zeros(36, 4, dtype=torch.complex64), ValueError, r"got complex \(36, 4\)"),
        (torch.zeros(2, 36, 4, dtype=torch.int64), TypeError, r"got a tensor of torch.int64"),
        ([[1.0]], TypeError, "got list"),
    ],
)
def test_other_input_is_refused(ls: object, error: type[Exception], message: str) -> None:
    for estimator in (SimpleNet(CONFIG), LSLinear(CONFIG)):
        with pytest.raises(error, match=message):
            estimator(ls)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    ls = torch.zeros(3, 36, 4, dtype=torch.complex64)
    ls[1, 5, 2] = bad
    with pytest.raises(ValueError, match=r"ls holds NaN or infinite values in the slots \[1\]"):
        SimpleNet(CONFIG)(ls)


def test_noise_variances_are_one_or_one_a_slot() -> None:
    ls = torch.zeros(3, 36, 4, dtype=torch.complex64)
    assert noise_variances(0.5, ls).tolist() == [0.5] * 3
    assert noise_variances(torch.tensor([1.0, 2.0, 3.0]), ls).tolist() == [1, 2, 3]
    for bad, message in (
        (None, "noise_var is needed here"),
        (torch.ones(2), r"one entry for each of the 3 slots, got shape \(2,\)"),
        (-0.1, "must be finite and not negative, got -0.1"),
        (float("nan"), "must be finite and not negative, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            noise_variances(bad, ls)


def test_an_unknown_numerology_is_named() -> None:
    with pytest.raises(ValueError, match="unknown numerology 'lte'"):
        SimpleNet("lte")
