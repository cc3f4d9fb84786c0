"""C2 can fail, and its parts measure what they say."""

import math

import pytest
import torch

from eq_asisr.claims import angles
from eq_asisr.equivariance import local_function_error
from tenfold.claims import Scale
from tenfold.equivariance import GaussianBlobs

TINY = angles.Protocol(
    networks=1, images=2, sizes=(33, 65), curve=tuple(11.25 * i for i in range(9)), n_feats=16, n_blocks=1
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(angles.PROTOCOLS, Scale.CPU, TINY)
    monkeypatch.setattr(angles, "INR_ORDERS", (3, 4))


def test_the_claim_draws_its_curves_and_fails_with_ordinary_networks(tiny, monkeypatch):
    measured = angles.arbitrary_angles(Scale.CPU, 0)
    assert measured.values["curves <= 1e-3 at 0° and 90°"] is True
    assert measured.values["INR alone <= 1e-6 at all group angles"] is True
    assert all(math.isfinite(v) for v in measured.values.values())
    assert [table.name for table in measured.tables] == ["errors", "error against angle"]
    assert measured.figures[0].png.startswith(b"\x89PNG")
    network = angles._network
    monkeypatch.setattr(
        angles, "_network", lambda name, protocol, seed, gain: network("plain", protocol, seed, gain)
    )
    measured = angles.arbitrary_angles(Scale.CPU, 0)
    assert not measured.passed
    assert measured.values["curves <= 1e-3 at 0° and 90°"] is False
    assert measured.values["EQ8 <= 0.35 plain at 33 pixels, 30°"] is False


@pytest.mark.parametrize("t", [3, 8])
def test_decoders_alone_are_exact_at_group_angles_and_only_in_one_direction(t, monkeypatch):
    assert angles._inr_error(t, 0) < 1e-12
    turned = angles._turned
    monkeypatch.setattr(angles, "_turned", lambda coord, group, k: turned(coord, group, -k % group.order))
    assert angles._inr_error(t, 0) > 1e-3


@pytest.mark.parametrize("name", ["plain", 8])
def test_the_receptive_field_is_no_smaller_than_claimed(name):
    model = angles._network(name, TINY, 0, equal_gain=False).double()
    blobs = GaussianBlobs.random(2, 3, seed=0)
    field = TINY.receptive_field
    assert field == 19
    whole = local_function_error(model, blobs, 33, [30])
    torch.testing.assert_close(
        local_function_error(model, blobs, 33, [30], window=field), whole, rtol=1e-6, atol=0
    )


def test_kinds_are_compared_with_the_same_images_and_plain_ones_have_the_same_encoder():
    plain = angles._network("plain", TINY, 0, equal_gain=False)
    exact = angles._network(8, TINY, 0, equal_gain=True)
    shared = ("n_feats", "n_blocks", "kernel_size", "res_scale")
    assert [plain.encoder.config[key] for key in shared] == [exact.encoder.config[key] for key in shared]
    assert exact.encoder.config["equal_gain"]
    assert not plain.local_ensemble
    assert not exact.local_ensemble


def test_the_slope_of_a_power_is_its_exponent():
    x = [math.log(n) for n in (17, 33, 65, 129)]
    assert angles._slope(x, [3 - 0.7 * v for v in x]) == pytest.approx(-0.7)


def test_dips_compare_own_angles_with_those_half_way():
    curve = dict.fromkeys(TINY.curve, 0.0)
    eight = curve | {22.5: 4.0, 45.0: 1.0, 67.5: 4.0}
    sixteen = curve | {22.5: 1.0, 45.0: 1.0, 67.5: 1.0} | dict.fromkeys((11.25, 33.75, 56.25, 78.75), 2.0)
    found = angles._dips(TINY.curve, {8: [*eight.values()], 16: [*sixteen.values()]})
    assert found["EQ8: error at its own angles over half-way between"] == pytest.approx(0.25)
    assert found["EQ16: error at its own angles over half-way between"] == pytest.approx(0.5)
