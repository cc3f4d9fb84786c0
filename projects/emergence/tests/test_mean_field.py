"""The mean-field edge against quadrature, against expansions, and against wide networks (§3.8)."""

import math

import numpy as np
import pytest
import torch

from emergence.mean_field import critical_gain, mean_field, variance_map
from emergence.retention import random_weights


@pytest.mark.parametrize("q", [0.01, 0.3, 1.0])
def test_expectations_agree_with_gauss_hermite(q: float) -> None:
    z, weights = np.polynomial.hermite_e.hermegauss(64)
    expected = float(weights @ np.tanh(math.sqrt(q) * z) ** 2 / weights.sum())
    assert variance_map(q, 1.0) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("gain", "bias_std"), [(0.5, 0.3), (1.1, 0.0), (1.1, 0.05), (3.0, 0.2)])
def test_the_fixed_point_is_one_and_attracts(gain: float, bias_std: float) -> None:
    found = mean_field(gain, bias_std)
    assert variance_map(found.q, gain, bias_std) == pytest.approx(found.q, rel=1e-9)
    q = gain**2
    for _ in range(3000):
        q = variance_map(q, gain, bias_std)
    assert q == pytest.approx(found.q, rel=1e-6)


def test_without_bias_the_edge_is_at_one() -> None:
    assert critical_gain(0.0) == pytest.approx(1.0, abs=1e-5)
    assert mean_field(0.9).chi == pytest.approx(0.81)
    assert mean_field(0.9).depth_scale == pytest.approx(1 / abs(math.log(0.81)))


def test_with_a_bias_the_edge_moves_up() -> None:
    edges = [critical_gain(b) for b in (0.0, 0.05, 0.3)]
    assert edges == sorted(edges)
    assert all(
        mean_field(edge, b).chi == pytest.approx(1, abs=1e-5) for edge, b in zip(edges, (0.0, 0.05, 0.3))
    )


def test_a_wide_network_has_the_variance_and_the_growth_predicted() -> None:
    gain, bias_std, d = 1.4, 0.2, 1000
    generator = torch.Generator().manual_seed(0)
    weights = gain * random_weights(12, d, "iid", generator)
    z = torch.randn(2, d, generator=generator, dtype=torch.float64)
    z[1] = z[0] + 1e-5 * z[1]
    growth = []
    for w in weights:
        before = (z[0] - z[1]).square().sum()
        pre = z @ w.mT + bias_std * torch.randn(d, generator=generator, dtype=torch.float64)
        z = torch.tanh(pre)
        growth.append(float((z[0] - z[1]).square().sum() / before))
    found = mean_field(gain, bias_std)
    assert float(pre[0].var()) == pytest.approx(found.q, rel=0.15)
    assert float(np.exp(np.mean(np.log(growth[4:])))) == pytest.approx(found.chi, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": 0.0}, "gain must be finite and above 0, got 0.0"),
        ({"gain": math.nan}, "gain must be finite"),
        ({"gain": 1.0, "bias_std": -0.1}, "bias_std must be finite and at least 0"),
    ],
)
def test_bad_numbers_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_field(**settings)


def test_a_bracket_without_the_edge_is_refused() -> None:
    with pytest.raises(ValueError, match="not between the gains"):
        critical_gain(0.0, low=1.5)
