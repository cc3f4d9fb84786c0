"""σ_max and the bounds around it: exact values, both sides, isolation of the samples."""

import pytest
import torch
from torch import nn

from emergence.attention import DotAttention
from emergence.lipschitz.estimates import LipEstimate
from emergence.lipschitz.krylov import lanczos, lanczos_gap, least_overlap, power_factor
from emergence.lipschitz.local import local_lipschitz, smallest_singular_value

ITERATIVE = ("power", "lanczos")


def linear(values):
    """A linear map with these singular values, from and to rotated axes."""
    d = len(values)
    u, v = (torch.linalg.qr(torch.randn(d, d, dtype=torch.float64))[0] for _ in range(2))
    matrix = u @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ v.T
    return lambda x: x @ matrix.T


@pytest.mark.parametrize("method", ["power", "lanczos", "exact"])
def test_singular_values_of_linear_maps(method):
    fn = linear([3.0, 1.0, 0.5, 0.1])
    estimate = local_lipschitz(
        fn, torch.randn(5, 4, dtype=torch.float64), method=method, tol=1e-9, n_iter=100
    )
    torch.testing.assert_close(estimate.lower, torch.full((5,), 3.0, dtype=torch.float64), rtol=1e-8, atol=0)
    assert estimate.converged.all()


@pytest.mark.parametrize("method", ITERATIVE)
@pytest.mark.parametrize("seed", range(5))
def test_exact_value_lies_between_the_bounds(method, seed):
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 7)).double()
    x = torch.randn(6, 12, dtype=torch.float64, generator=generator)
    exact = local_lipschitz(net, x, method="exact").lower
    for n_iter in (2, 5, 200):
        estimate = local_lipschitz(net, x, method=method, n_iter=n_iter, tol=0, generator=generator)
        assert (estimate.lower <= exact * (1 + 1e-12)).all()
        assert (estimate.upper >= exact * (1 - 1e-12)).all()
    torch.testing.assert_close(estimate.lower, exact, rtol=1e-3, atol=0)


def test_upper_bounds_tighten_with_the_steps():
    fn = linear(torch.linspace(0.1, 1, 40))
    x = torch.zeros(1, 40, dtype=torch.float64)
    uppers = {
        method: [float(local_lipschitz(fn, x, method=method, n_iter=n, tol=0).upper) for n in (5, 10, 20, 35)]
        for method in ITERATIVE
    }
    assert uppers["power"] == sorted(uppers["power"], reverse=True)
    assert uppers["lanczos"] == sorted(uppers["lanczos"], reverse=True)
    assert uppers["lanczos"][-1] < uppers["power"][-1] < 1.5
    # the whole space is spanned: nothing is left to chance
    assert float(local_lipschitz(fn, x, method="lanczos", n_iter=40, tol=0).upper) == pytest.approx(
        1, rel=1e-9
    )


def test_the_bound_of_the_start_is_a_probability():
    """|first coordinate| of uniform points of the sphere falls below t(η) with a frequency of at most η."""
    d, failure = 50, 0.2
    points = nn.functional.normalize(torch.randn(20_000, d), dim=1)
    share = float((points[:, 0].abs() < least_overlap(d, failure)).double().mean())
    assert 0.5 * failure < share <= failure + 0.01
    assert power_factor(10**6, d, 1e-6) == pytest.approx(1, abs=1e-4)
    assert lanczos_gap(d, d, 1e-6) == 0
    assert lanczos_gap(30, 1000, 1e-6) > lanczos_gap(60, 1000, 1e-6) > 0


def test_each_sample_has_its_own_answer():
    """x² has the Jacobian 2 diag(x); a vector shared by the batch would find the largest of all."""
    x = torch.tensor([[1.0, 0.5], [10.0, 2.0], [0.1, 0.0]], dtype=torch.float64)
    for method in ("power", "lanczos", "exact"):
        estimate = local_lipschitz(lambda z: z**2, x, method=method, n_iter=100, tol=1e-12)
        torch.testing.assert_close(estimate.lower, 2 * x.amax(1), rtol=1e-9, atol=0)
    alone = local_lipschitz(lambda z: z**2, x[:1], method="exact")
    assert float(alone.lower) == 2.0


def test_close_singular_values_need_several_vectors():
    fn = linear([1.0, 0.999, 0.998, *[0.5] * 17])
    x = torch.zeros(4, 20, dtype=torch.float64)
    one = local_lipschitz(fn, x, n_iter=12, tol=0)
    three = local_lipschitz(fn, x, n_iter=12, tol=0, n_vectors=3)
    assert (1 - three.lower).max() < 1e-6 < (1 - one.lower).max()
    assert three.n_evals == 3 * one.n_evals == 72
    assert three.residual.max() < 1e-4


def test_residual_is_small_at_a_singular_vector():
    fn = linear([2.0, 1.0, 0.5])
    x = torch.zeros(3, 3, dtype=torch.float64)
    assert local_lipschitz(fn, x, n_iter=100, tol=0).residual.max() < 1e-10
    assert local_lipschitz(fn, x, n_iter=1).residual.max() > 1e-3


def test_constant_maps_have_the_constant_zero():
    for method in ("power", "lanczos", "exact"):
        estimate = local_lipschitz(lambda z: torch.ones_like(z) + 0 * z, torch.randn(2, 5), method=method)
        assert not estimate.lower.any()
        assert not estimate.upper.any()


def test_scaling_is_homogeneous_and_sums_are_subadditive():
    f, g = (nn.Sequential(nn.Linear(6, 6), nn.Tanh()).double() for _ in range(2))
    x = torch.randn(8, 6, dtype=torch.float64)

    def lip(fn):
        return local_lipschitz(fn, x, method="exact").lower

    torch.testing.assert_close(lip(lambda z: -3 * f(z)), 3 * lip(f))
    assert (lip(lambda z: f(z) + g(z)) <= lip(f) + lip(g) + 1e-12).all()
    inner = lip(g)
    outer = local_lipschitz(f, g(x).detach(), method="exact").lower
    assert (lip(lambda z: f(g(z))) <= outer * inner + 1e-12).all()


def test_other_norms():
    matrix = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    x = torch.zeros(1, 2)
    assert float(local_lipschitz(lambda z: z @ matrix.T, x, norm="l1", method="exact").lower) == 6  # column
    assert float(local_lipschitz(lambda z: z @ matrix.T, x, norm="linf", method="exact").lower) == 7  # row
    with pytest.raises(ValueError, match="method='exact'"):
        local_lipschitz(torch.tanh, x, norm="l1")


@pytest.mark.parametrize("products", ["forward", "double_backward"])
def test_attention(products):
    attention = DotAttention(8, 2).double().eval()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    exact = local_lipschitz(attention, x, method="exact").lower
    estimate = local_lipschitz(attention, x, n_iter=200, tol=1e-8, products=products)
    torch.testing.assert_close(estimate.lower, exact, rtol=1e-4, atol=0)


def test_generators_make_runs_alike():
    net = nn.Linear(9, 9)
    x = torch.randn(2, 9)
    a, b = (
        local_lipschitz(net, x, n_iter=3, generator=torch.Generator().manual_seed(4)).lower for _ in range(2)
    )
    assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["power", "lanczos", "exact"])
def test_devices_agree(method):
    attention = DotAttention(8, 2).double().eval()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    found = {}
    for device in ("cpu", "cuda"):
        generator = torch.Generator().manual_seed(0)  # on the CPU: the same starts for both
        found[device] = local_lipschitz(
            attention.to(device), x.to(device), method=method, generator=generator
        ).lower.cpu()
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-9, atol=0)


def test_smallest_singular_value():
    x = torch.randn(2, 4, dtype=torch.float64)
    low = smallest_singular_value(linear([3.0, 1.0, 0.5, 0.1]), x)
    torch.testing.assert_close(low, torch.full_like(low, 0.1))
    assert not smallest_singular_value(lambda z: z[:, :2], x).any()


def test_lanczos_of_a_negative_matrix_does_not_find_zero():
    """−I is exhausted after one vector; what comes after is not an eigenvalue."""
    ritz = lanczos(lambda v: -v, torch.randn(3, 6, dtype=torch.float64), 6, 1e-12)
    torch.testing.assert_close(ritz.largest, -torch.ones(3, dtype=torch.float64))
    assert ritz.exhausted.all()


def test_estimates_are_consistent():
    one = torch.ones(2)
    with pytest.raises(ValueError, match="above its upper bound"):
        LipEstimate(2 * one, one, "power", 1, one > 0)
    with pytest.raises(ValueError, match="one entry a sample"):
        LipEstimate(one, one[:1], "power", 1, one > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "qr"}, "method must be one of 'power', 'lanczos', 'exact', got 'qr'"),
        ({"norm": "l3"}, "norm must be one of"),
        ({"n_iter": 0}, "n_iter must be at least 1"),
        ({"n_vectors": 0}, "n_vectors must be at least 1"),
        ({"tol": -1.0}, "tol must be at least 0"),
        ({"failure": 0.0}, "failure must lie strictly between"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        local_lipschitz(torch.tanh, torch.ones(1, 2), **arguments)
