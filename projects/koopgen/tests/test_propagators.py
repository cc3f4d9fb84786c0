"""P2–P6 of §3.9 for the three propagators, their gradients, and the errors of §12."""

import math

import pytest
import torch

from koopgen import cayley_step, expm_step, get_propagator, taylor_step
from koopgen.propagators import growth_bound

NAMES = ["expm", "taylor", "cayley"]


def random(d=6, batch=5, norm=0.5, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    G = torch.randn(batch, d, d, generator=draw, dtype=dtype)
    G = G * (norm / torch.linalg.matrix_norm(G, 2).max())
    return G, torch.randn(batch, d, generator=draw, dtype=dtype)


def skew(G):
    return (G - G.mT) / 2


@pytest.mark.parametrize("d", [1, 2, 6, 32])
@pytest.mark.parametrize("norm", [0.0, 1e-3, 0.5, 3.0, 10.0])
def test_taylor_is_the_exponential(d, norm):
    """P6: round-off in float64 with the order chosen by precision, 1e-5 in float32 with order 12."""
    G, z = random(d, norm=norm)
    exact = expm_step(G, z)
    scale = exact.abs().max()
    assert (taylor_step(G, z, order=None) - exact).abs().max() < 1e-13 * scale
    assert (taylor_step(G, z) - exact).abs().max() < 1e-8 * scale
    assert (taylor_step(G.float(), z.float()) - exact).abs().max() < 1e-5 * scale
    assert (taylor_step(G, z, 18, scaling=math.ceil(3 * norm) + 1) - exact).abs().max() < 1e-13 * scale


def test_taylor_with_too_few_powers_is_seen():
    G, z = random(norm=1.0)
    assert (taylor_step(G, z, order=3) - expm_step(G, z)).abs().max() > 1e-4


def test_cayley_is_of_third_order_in_a_step():
    G, z = random(norm=1.0)
    errors = [(cayley_step(G, z, tau=t) - expm_step(G, z, tau=t)).abs().max() for t in (0.2, 0.1, 0.05)]
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_skew_generators_keep_the_norm(name, dtype, limit):
    G, z = random(norm=2.0, dtype=dtype)
    after = get_propagator(name)(skew(G), z)
    assert (after.norm(dim=-1) / z.norm(dim=-1) - 1).abs().max() < limit
    assert (after - z).abs().max() > 0.1  # and it moves


@pytest.mark.parametrize("name", NAMES)
def test_the_log_norm_bounds_the_growth(name):
    """P3 over many generators, and that the bound is not vacuous: symmetric generators reach it."""
    G, z = random(batch=300, norm=1.5)
    step = get_propagator(name)
    rate = torch.linalg.eigvalsh((G + G.mT) / 2)[..., -1]
    growth = (step(G, z).norm(dim=-1) / z.norm(dim=-1)).log()
    assert (growth - growth_bound(name, rate)).max() <= 1e-12
    H = (G + G.mT) / 2
    values, vectors = torch.linalg.eigh(H)
    top, v = values[..., -1], vectors[..., -1]
    reached = step(H, v).norm(dim=-1).log()
    torch.testing.assert_close(reached, growth_bound(name, top), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_nonpositive_generators_never_grow(name):
    G, z = random(batch=200, norm=1.5)
    M, _ = random(batch=200, norm=3.0, seed=1)
    after = get_propagator(name)(skew(G) - M @ M.mT, z)
    assert (after.norm(dim=-1) <= z.norm(dim=-1) * (1 + 1e-14)).all()


def test_the_bound_of_cayley_ends_at_its_pole():
    bound = growth_bound("cayley", torch.tensor([-5.0, 0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(bound, torch.tensor([0.0, 0.0, math.log(3), math.inf, math.inf]))


def test_energy_balance_of_cayley_is_exact():
    """P4: ||z₊||² - ||z||² = 2 tau m̄ᵀ G_d m̄ with the midpoint m̄."""
    G, z = random(batch=100, norm=1.0)
    after = cayley_step(G, z, tau=0.7)
    middle = (z + after) / 2
    balance = 2 * 0.7 * (middle * ((G + G.mT) / 2 @ middle[..., None])[..., 0]).sum(-1)
    change = after.square().sum(-1) - z.square().sum(-1)
    assert change.abs().max() > 0.1
    assert (change - balance).abs().max() < 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    G, z = random(3, batch=2, norm=2.5)
    step = get_propagator(name)
    assert torch.autograd.gradcheck(
        lambda G, z: step(G, z, tau=0.9), (G.requires_grad_(), z.requires_grad_())
    )


@pytest.mark.parametrize("norm", [0.1, 4.0])
def test_taylor_gradients_equal_those_of_the_exponential(norm):
    G, z = random(8, batch=4, norm=norm)
    weights = torch.randn(4, 8, dtype=torch.float64)
    gradients = []
    for step in (expm_step, lambda G, z: taylor_step(G, z, order=18)):
        inputs = G.clone().requires_grad_(), z.clone().requires_grad_()
        gradients.append(torch.autograd.grad((step(*inputs) * weights).sum(), inputs))
    for exact, ours in zip(*gradients):
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_are_those_of_finite_differences(name):
    G, z = random(3, batch=2, norm=1.5)
    step = get_propagator(name)
    inputs = (G.requires_grad_(), z.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda G, z: step(G, z, tau=0.9), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_any_leading_axes_and_tau_scales_time(name):
    G, z = random(batch=12)
    step = get_propagator(name)
    together = step(G, z, tau=0.5)
    torch.testing.assert_close(step(G.view(3, 4, 6, 6), z.view(3, 4, 6), tau=0.5).view(12, 6), together)
    torch.testing.assert_close(step(G[0], z[0], tau=0.5), together[0])
    torch.testing.assert_close(step(0.5 * G, z), together)
    assert step(G[:0], z[:0]).shape == (0, 6)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_that_is_not_finite_does_not_disturb_the_others(name):
    G, z = random(batch=3)
    expected = get_propagator(name)(G, z)
    broken = G.clone()
    broken[1] = math.nan
    got = get_propagator(name)(broken, z)
    assert got[1].isnan().any()
    torch.testing.assert_close(got[[0, 2]], expected[[0, 2]])


def test_too_large_a_step_is_refused_by_taylor():
    G, z = random(norm=1.0)
    with pytest.raises(ValueError, match=r"tau = 200 times the 1-norm of G is .* above 64"):
        taylor_step(G, z, tau=200)


def test_the_pole_of_cayley_is_named():
    G = torch.diag(torch.tensor([4.0, -1.0])).expand(3, -1, -1)
    z = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"tau G has the eigenvalue 2\+0j at tau = 0.5"):
        cayley_step(G, z, tau=0.5)
    assert cayley_step(G, z, tau=0.45).isfinite().all()
    assert cayley_step(G, z, tau=0.55).isfinite().all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="propagator must be one of 'expm', 'taylor', 'cayley', got 'euler'"):
        get_propagator("euler")
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        get_propagator("taylor", 0)
    with pytest.raises(ValueError, match="scaling=1 belongs to 'taylor', got 'cayley'"):
        get_propagator("cayley", scaling=1)
    with pytest.raises(ValueError, match="scaling must be at least 1, got 0"):
        taylor_step(torch.eye(2), torch.ones(2), scaling=0)
    for step in (expm_step, taylor_step, cayley_step):
        with pytest.raises(ValueError, match=r"G must have shape \(..., d, d\) and z \(..., d\)"):
            step(torch.eye(3), torch.ones(2))
