"""M(F): exact on linear maps, and what it says about residual blocks."""

import pytest
import torch
from torch import nn

from emergence.lipschitz.dahlquist import log_lipschitz
from emergence.lipschitz.local import local_lipschitz


@pytest.mark.parametrize("method", ["lanczos", "exact"])
def test_linear_maps(method):
    a = torch.randn(7, 7, dtype=torch.float64) - 4 * torch.eye(7, dtype=torch.float64)
    top = torch.linalg.eigvalsh((a + a.T) / 2)[-1]
    estimate = log_lipschitz(lambda x: x @ a.T, torch.randn(3, 7, dtype=torch.float64), method=method)
    torch.testing.assert_close(estimate.lower, top.expand(3))
    assert (estimate.upper >= top - 1e-9).all()


def test_skew_maps_have_the_constant_zero():
    a = torch.randn(6, 6, dtype=torch.float64)
    estimate = log_lipschitz(lambda x: x @ (a - a.T), torch.randn(2, 6, dtype=torch.float64))
    torch.testing.assert_close(estimate.lower, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_is_the_one_sided_derivative_of_the_lipschitz_constant(seed):
    """(‖I + hJ‖ − 1)/h → M from above as h ↓ 0."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 5)).double()
    x = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    m = log_lipschitz(net, x, method="exact").lower
    lip = local_lipschitz(net, x, method="exact").lower
    for h in (1e-1, 1e-3, 1e-5):
        step = local_lipschitz(lambda z, h=h: z + h * net(z), x, method="exact").lower
        quotient = (step - 1) / h
        assert (quotient >= m - 1e-9).all()
        assert (step**2 <= 1 + 2 * h * m + h**2 * lip**2 + 1e-12).all()
    torch.testing.assert_close(quotient, m, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_iter", [4, 15, 40])
def test_both_sides(n_iter):
    a = torch.randn(60, 60, dtype=torch.float64)
    top = torch.linalg.eigvalsh((a + a.T) / 2)[-1]
    estimate = log_lipschitz(lambda x: x @ a.T, torch.randn(3, 60, dtype=torch.float64), n_iter=n_iter, tol=0)
    assert (estimate.lower <= top + 1e-9).all()
    assert (estimate.upper >= top - 1e-9).all()
    if n_iter == 40:
        assert estimate.upper.max() < 1.6 * top


def test_needs_the_same_space():
    with pytest.raises(ValueError, match="needs the same"):
        log_lipschitz(lambda x: x[:, :1], torch.randn(2, 3))
    with pytest.raises(ValueError, match="method must be one of 'lanczos', 'exact'"):
        log_lipschitz(torch.tanh, torch.randn(2, 3), method="power")
