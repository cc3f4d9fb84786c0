"""The ascent finds what the samples did not show, inside the set asked for."""

import torch
from torch import nn

from emergence.attention import DotAttention
from emergence.lipschitz.ascent import ascend_lipschitz
from emergence.lipschitz.local import local_lipschitz


def test_finds_the_steepest_point_of_tanh():
    """From points where tanh is flat to where its slope is 1."""
    start = torch.tensor([[1.5], [-0.8], [0.3]], dtype=torch.float64)
    estimate, reached = ascend_lipschitz(torch.tanh, start, n_steps=80)
    torch.testing.assert_close(estimate.lower, torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=0)
    assert (reached.abs() < 0.01).all()


def test_never_ends_below_its_start():
    net = nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 5)).double()
    x = 2 * torch.randn(6, 5, dtype=torch.float64)
    before = local_lipschitz(net, x, method="exact").lower
    estimate, reached = ascend_lipschitz(net, x, n_steps=30)
    assert (estimate.lower >= before * (1 - 1e-9)).all()
    assert estimate.lower.mean() > 1.2 * before.mean()
    torch.testing.assert_close(local_lipschitz(net, reached, method="exact").lower, estimate.lower)


def test_stays_in_the_set():
    attention = DotAttention(4, 1).double()
    x = torch.randn(3, 5, 4, dtype=torch.float64)

    def project(z):  # tokens of norm 1
        return nn.functional.normalize(z, dim=-1)

    before = local_lipschitz(attention, project(x), method="exact").lower
    estimate, reached = ascend_lipschitz(attention, x, n_steps=20, project=project)
    torch.testing.assert_close(reached.norm(dim=-1), torch.ones(3, 5, dtype=torch.float64))
    assert (estimate.lower >= before - 1e-9).all()


def test_linear_maps_have_nowhere_to_go():
    x = torch.ones(2, 3, dtype=torch.float64)
    estimate, reached = ascend_lipschitz(lambda z: 2 * z, x, n_steps=3)
    torch.testing.assert_close(reached, x)
    torch.testing.assert_close(estimate.lower, torch.full((2,), 2.0, dtype=torch.float64))
