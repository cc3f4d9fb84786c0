"""Interpolations without statistics: exact where they must be, linear maps, and what geometry is worth in decibels."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from icenet.estimators.lattice import HalfPixel
from icenet.estimators.ls import LSRBF, LSLinear, LSSpline
from icenet.metrics import nmse_db
from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES

KINDS = pytest.mark.parametrize("kind", [LSLinear, LSSpline, LSRBF])
V2X = NUMEROLOGIES["nr_v2x_15"]


@KINDS
@pytest.mark.parametrize("name", ["nr_v2x_15", "lte_small", "channelnet_48"])
def test_pilots_keep_their_values_and_constants_stay(kind: type, name: str) -> None:
    config = NUMEROLOGIES[name]
    x = torch.randn(2, *config.pilots.shape, dtype=torch.complex128)
    estimator = kind(config)
    torch.testing.assert_close(config.pilots.take(estimator.estimate(x)), x, atol=1e-8, rtol=1e-8)
    constant = torch.full_like(x, 2 - 1j)
    torch.testing.assert_close(
        estimator.estimate(constant), torch.full((2, *config.shape), 2 - 1j, dtype=x.dtype)
    )


@KINDS
def test_they_are_linear_and_ignore_the_noise_variance(kind: type) -> None:
    estimator = kind(V2X)
    x, y = torch.randn(2, 1, 36, 4, dtype=torch.complex128)
    torch.testing.assert_close(
        estimator.estimate(2 * x + 1j * y), 2 * estimator.estimate(x) + 1j * estimator.estimate(y)
    )
    assert torch.equal(estimator.estimate(x, 0.1), estimator.estimate(x))


@KINDS
def test_single_precision_gives_the_same(kind: type) -> None:
    x = torch.randn(2, 36, 4, dtype=torch.complex128)
    estimator = kind(V2X)
    single = estimator.estimate(x.to(torch.complex64))
    assert single.dtype == torch.complex64
    torch.testing.assert_close(single.to(x), estimator.estimate(x), atol=1e-4, rtol=1e-4)


def test_the_spline_is_scipys_along_frequency_at_a_pilot_symbol() -> None:
    x = torch.randn(1, 36, 4, dtype=torch.float64).to(torch.complex128)
    filled = LSSpline(V2X).estimate(x)[0, :, 4].real.numpy()
    spline = CubicSpline(V2X.pilots.subcarriers[1], x[0, :, 1].real.numpy(), bc_type="natural")
    np.testing.assert_allclose(filled, spline(np.arange(72)), atol=1e-10)


def test_a_plane_is_exact_for_linear_edges_only() -> None:
    k, s = V2X.pilots.coordinates()
    plane = (k + 3.0 * s).to(torch.complex128)[None]
    grid = torch.arange(72)[:, None] + 3.0 * torch.arange(14)
    error = {edge: LSLinear(V2X, edge).estimate(plane)[0].real - grid for edge in ("linear", "nearest")}  # type: ignore[arg-type]
    assert error["linear"].abs().max() < 1e-9
    assert error["nearest"][:, 1:11].abs().max() <= 1.0 + 1e-9  # subcarrier 71 is held at 70
    assert error["nearest"][:, 13].abs().max() > 8


def test_geometry_is_worth_several_decibels_at_high_snr() -> None:
    """10.4: half-pixel resizing against true coordinates, EVA at moderate speed without noise."""
    simulator = ChannelSimulator(V2X, "EVA", doppler=(0.0, 300.0))
    slots = simulator.slots(200, 60.0, torch.Generator().manual_seed(0))
    half = HalfPixel(V2X)
    resized = torch.complex(half(slots.ls.real[:, None])[:, 0], half(slots.ls.imag[:, None])[:, 0])
    true = nmse_db(LSLinear(V2X, "linear").estimate(slots.ls), slots.h)
    assert true < nmse_db(resized, slots.h) - 6


def test_unknown_kernels_are_named() -> None:
    with pytest.raises(
        ValueError, match="kernel must be one of thin_plate_spline, cubic, linear, got 'gaussian'"
    ):
        LSRBF(V2X, "gaussian")
