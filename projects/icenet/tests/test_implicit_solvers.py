import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from icenet.implicit.anderson import mend_weights, solve_bordered, trusted
from icenet.implicit.solvers import SolverConfig, SolverDivergedError, first_hits, solve

METHODS = ("anderson", "fixed_point", "broyden")
EVERY = pytest.mark.parametrize("method", METHODS)


class Tanh:
    """F -> tanh(F W) + u with ‖W‖ = `norm`, a norm for each sample; counts the samples it was computed for."""

    def __init__(self, u: Tensor, weight: Tensor, gains: Tensor, calls: list[int] | None = None):
        self.u, self.weight, self.gains = u, weight, gains
        self.calls = [] if calls is None else calls

    @classmethod
    def draw(cls, batch: int, size: int, dtype: torch.dtype = torch.float64) -> "Tanh":
        weight = torch.randn(size, size, dtype=dtype)
        weight = weight / torch.linalg.matrix_norm(weight, 2)
        return cls(
            torch.randn(batch, size, dtype=dtype), weight, torch.linspace(0.1, 0.9, batch, dtype=dtype)
        )

    def __call__(self, z: Tensor) -> Tensor:
        self.calls.append(len(z))
        return (self.gains[:, None] * z @ self.weight).tanh() + self.u

    def select(self, rows: Tensor) -> "Tanh":
        return Tanh(self.u[rows], self.weight, self.gains[rows], self.calls)


def start(f: Tanh) -> Tensor:
    return torch.zeros_like(f.u)


@EVERY
def test_every_method_finds_the_fixed_point(method):
    f = Tanh.draw(6, 10)
    result = solve(f, start(f), SolverConfig(eps=1e-11, tau=400, method=method, ridge="relative", lam=1e-10))
    assert result.converged.all()
    torch.testing.assert_close(f(result.z), result.z, rtol=0, atol=1e-9)
    assert (result.residual < 1e-11).all()


@pytest.mark.parametrize("dim", [2, 5, 9])
def test_anderson_solves_a_linear_map_in_dim_plus_two_evaluations(dim):
    """§3.6, 3; the map does not contract, so plain iteration is no help."""
    A = torch.randn(dim, dim, dtype=torch.float64)
    A = 1.5 * A / torch.linalg.matrix_norm(A, 2)
    b = torch.randn(4, dim, dtype=torch.float64)
    config = SolverConfig(eps=1e-9, tau=dim + 2, m=dim + 2, lam=0)
    result = solve(lambda z: z @ A.T + b, torch.zeros_like(b), config)
    exact = torch.linalg.solve(torch.eye(dim, dtype=torch.float64) - A, b.T).T
    assert result.converged.all()
    torch.testing.assert_close(result.z, exact, rtol=1e-7, atol=1e-7)
    plain = solve(
        lambda z: z @ A.T + b, torch.zeros_like(b), SolverConfig(1e-9, 2 * dim, method="fixed_point")
    )
    assert not plain.converged.any()


def test_the_first_mixing_is_the_bordered_system():
    """§3.3 at step 2 with two evaluations, λ absolute and damping: computed once more, by hand."""
    f, lam, beta = Tanh.draw(3, 4), 1e-2, 0.7
    x0 = torch.randn_like(f.u)
    x1 = f(x0) - (1 - beta) * (f(x0) - x0)
    F = torch.stack((f(x0), f(x1)), 1)
    X = torch.stack((x0, x1), 1)
    G = F - X
    system = torch.zeros(3, 3, 3, dtype=torch.float64)
    system[:, 0, 1:] = system[:, 1:, 0] = 1
    system[:, 1:, 1:] = G @ G.mT + lam * torch.eye(2, dtype=torch.float64)
    right = torch.tensor([1.0, 0, 0], dtype=torch.float64).expand(3, 3)
    alpha = torch.linalg.solve(system, right)[:, 1:, None]
    x2 = beta * (alpha * F).sum(1) + (1 - beta) * (alpha * X).sum(1)
    seen: list[Tensor] = []
    solve(lambda z: seen.append(z) or f(z), x0, SolverConfig(0, 3, lam=lam, beta=beta, ridge="absolute"))
    torch.testing.assert_close(seen[1], x1)
    torch.testing.assert_close(seen[2], x2)


def test_anderson_accelerates():
    """A regression of another package: acceleration was off for years because no test looked."""
    rotation = torch.linalg.qr(torch.randn(30, 30, dtype=torch.float64))[0]
    weight = rotation * torch.linspace(0, 0.98, 30, dtype=torch.float64) @ rotation.T
    f = Tanh(0.01 * torch.randn(4, 30, dtype=torch.float64), weight, torch.ones(4, dtype=torch.float64))
    counts = {
        method: solve(f, start(f), SolverConfig(1e-8, 2000, method=method, ridge="relative", lam=1e-8)).nfe
        for method in METHODS
    }
    assert (counts["anderson"] < 0.5 * counts["fixed_point"]).all()
    assert (counts["broyden"] < 0.5 * counts["fixed_point"]).all()


def test_the_relative_ridge_does_not_depend_on_the_scale():
    """Near the solution an absolute λ outweighs the residuals and mixes them evenly; measured in them it does not."""
    f = Tanh.draw(4, 20)
    scaled = lambda z: 1e-4 * f(z / 1e-4)  # noqa: E731
    nfe = {
        ridge: (
            solve(f, start(f), SolverConfig(1e-3, 300, ridge=ridge)).nfe,
            solve(scaled, start(f), SolverConfig(1e-3, 300, ridge=ridge)).nfe,
        )
        for ridge in ("absolute", "relative")
    }
    assert (nfe["relative"][0] - nfe["relative"][1]).abs().max() <= 1  # 1e-5 in the residual is absolute
    assert (nfe["absolute"][1] > nfe["absolute"][0]).any()


# Each sample on its own --------------------------------------------------------------------------------------------------


@EVERY
def test_a_sample_is_solved_alike_alone_and_among_others(method):
    f = Tanh.draw(7, 12)
    config = SolverConfig(1e-6, 200, method=method)
    together = solve(f, start(f), config)
    assert len(set(together.nfe.tolist())) > 2  # they need different counts
    for i in range(7):
        alone = solve(f.select(torch.tensor([i])), start(f)[i : i + 1], config)
        assert alone.nfe[0] == together.nfe[i]
        torch.testing.assert_close(alone.z[0], together.z[i], rtol=0, atol=1e-12)


@EVERY
def test_dropping_converged_samples_changes_the_cost_only(method):
    results = {}
    torch.manual_seed(3)
    drawn = Tanh.draw(9, 12)
    for drop in (False, True):
        f = Tanh(drawn.u, drawn.weight, drawn.gains)
        result = solve(f, start(f), SolverConfig(1e-6, 200, method=method, adaptive_batching=drop))
        results[drop] = result
        assert result.evaluations == sum(f.calls)
        assert result.iterations == len(f.calls) == int(result.nfe.max())
    assert results[True].evaluations == int(results[True].nfe.sum())  # not one evaluation more than needed
    assert results[False].evaluations == 9 * results[False].iterations
    torch.testing.assert_close(results[True].z, results[False].z, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        results[True].trace, results[False].trace, rtol=1e-6, atol=1e-12, equal_nan=True
    )
    assert torch.equal(results[True].nfe, results[False].nfe)


@pytest.mark.parametrize("drop", [False, True])
def test_each_sample_has_its_own_tolerance(drop):
    f = Tanh.draw(3, 12)
    f.u, f.gains = f.u[:1].repeat(3, 1), f.gains[-1:].repeat(3)
    eps = torch.tensor([1e-1, 1e-3, 1e-6], dtype=torch.float64)
    result = solve(f, start(f), SolverConfig(tau=100, adaptive_batching=drop), eps=eps)
    assert result.nfe[0] < result.nfe[1] < result.nfe[2]
    assert (result.residual < eps).all()
    assert result.residual[0] > 1e-3  # it did not profit from its neighbours' going on


@EVERY
def test_counts_are_first_hits_of_the_trace(method):
    f = Tanh.draw(5, 12)
    whole = solve(f, start(f), SolverConfig(0.0, 25, method=method))
    assert whole.nfe.tolist() == [25] * 5  # ε = 0 uses exactly τ
    assert not whole.converged.any()
    assert whole.iterations == 25
    for eps in (1e-1, 1e-2, 1e-3):
        stopped = solve(f, start(f), SolverConfig(eps, 25, method=method))
        assert torch.equal(stopped.nfe, first_hits(whole.trace, eps))
        assert torch.equal(stopped.trace.isnan().sum(1), stopped.iterations - stopped.nfe)


def test_every_evaluation_counts_from_the_first():
    f = Tanh.draw(2, 6)
    fixed = solve(f, start(f), SolverConfig(1e-12, 300, ridge="relative")).z
    assert solve(f, fixed, eps=1e-6).nfe.tolist() == [1, 1]
    assert solve(f, start(f), eps=1e-6, tau=1).iterations == 1


def test_the_best_evaluation_is_kept_where_none_is_good_enough():
    """A map that spirals outwards: its first evaluation is its best."""
    turn = 1.3 * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    start = torch.tensor([[1e-3, 0.0], [3.0, 1.0]])
    result = solve(lambda z: z @ turn + 1, start, SolverConfig(1e-6, 8, method="fixed_point"))
    best = result.trace.argmin(1)
    torch.testing.assert_close(result.residual, result.trace.min(1).values)
    z = start
    for k in range(8):
        z = z @ turn + 1
        for i in range(2):
            if best[i] == k:
                torch.testing.assert_close(result.z[i], z[i])
    assert (best < 7).all()


def test_channels_last_images_are_solved_where_they_lie():
    weight = 0.1 * torch.randn(4, 4, 3, 3)
    u = torch.randn(2, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    f = lambda z: torch.nn.functional.conv2d(z, weight, padding=1).tanh() + u  # noqa: E731
    last = solve(f, torch.zeros_like(u), eps=1e-5)
    first = solve(lambda z: f(z).contiguous(), torch.zeros(2, 4, 5, 6), eps=1e-5)
    torch.testing.assert_close(last.z, first.z, rtol=0, atol=1e-5)
    assert last.z.is_contiguous(memory_format=torch.channels_last)


def test_no_gradient_is_recorded():
    f = Tanh.draw(2, 4)
    f.u.requires_grad_()
    assert not solve(f, torch.zeros(2, 4, dtype=torch.float64)).z.requires_grad


# When it goes wrong ------------------------------------------------------------------------------------------------------


def test_a_singular_system_raises_lambda_then_takes_a_plain_step():
    """Equal residuals and λ = 0, which crashes other packages."""
    gram = torch.ones(3, 2, 2, dtype=torch.float64)
    gram[1] = torch.eye(2)
    gram[2] = torch.nan
    system = F.pad(gram, (1, 0, 1, 0), value=1.0)
    system[:, 0, 0] = 0
    alpha, singular = solve_bordered(system, 0.0, False)
    good = trusted(alpha, singular, precision=1e-7)
    assert good.tolist() == [False, True, False]
    alpha, raises, plain = mend_weights(alpha, good, system, 0.0, False, newest=1, precision=1e-7)
    torch.testing.assert_close(alpha[0], torch.tensor([0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(alpha[1], torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert alpha[2].tolist() == [0.0, 1.0]
    assert raises.tolist() == [1, 0, 5]
    assert plain.tolist() == [0, 0, 1]


def test_a_constant_map_with_lambda_zero_is_solved_and_the_raise_recorded():
    result = solve(torch.ones_like, torch.zeros(2, 3), SolverConfig(0.0, 6, lam=0.0))
    torch.testing.assert_close(result.z, torch.ones(2, 3))
    assert (result.ridge_raises > 0).all()


@EVERY
@pytest.mark.parametrize("drop", [False, True])
def test_a_diverging_sample_is_named_or_left_with_its_best(method, drop):
    class Explodes(Tanh):
        def __call__(self, z: Tensor) -> Tensor:
            value = super().__call__(z)
            return torch.where((self.gains > 0.85)[:, None] & (len(self.calls) > 2), torch.inf, value)

        def select(self, rows: Tensor) -> "Explodes":
            return Explodes(self.u[rows], self.weight, self.gains[rows], self.calls)

    drawn = Tanh.draw(4, 8)
    build = lambda: Explodes(drawn.u, drawn.weight, drawn.gains)  # noqa: E731
    f = build()
    with pytest.raises(SolverDivergedError, match=r"at evaluation 3 in samples \[3\]") as caught:
        solve(f, start(f), SolverConfig(1e-6, 100, method=method, adaptive_batching=drop))
    assert caught.value.iteration == 3
    assert caught.value.samples == [3]
    f = build()
    config = SolverConfig(1e-6, 100, method=method, adaptive_batching=drop, on_diverge="best")
    result = solve(f, start(f), config)
    assert result.converged.tolist() == [True, True, True, False]
    assert result.z.isfinite().all()
    assert math.isfinite(result.residual[3])
    assert result.nfe[3] == 100
    well = solve(drawn, start(drawn), SolverConfig(1e-6, 100, method=method))
    torch.testing.assert_close(result.z[:3], well.z[:3], rtol=0, atol=1e-10)  # its neighbours do not notice


def test_something_is_returned_even_if_no_evaluation_is_finite():
    """Another package returned nothing when no step improved."""
    result = solve(lambda z: z * torch.nan, torch.ones(2, 3), SolverConfig(on_diverge="best"))
    assert torch.equal(result.z, torch.ones(2, 3))
    assert not result.converged.any()
    assert result.residual.isinf().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tau": 2}, r"tau must be at least 3 for method='anderson', got 2; .*use method='fixed_point'"),
        ({"tau": 0, "method": "fixed_point"}, "tau must be at least 1 for method='fixed_point', got 0"),
        ({"eps": -1e-3}, "eps must be finite and not negative, got -0.001"),
        ({"eps": math.nan}, "eps must be finite and not negative, got nan"),
        ({"m": 0}, "m must be at least 1, got 0"),
        ({"beta": 0.0}, r"beta must be in \(0, 1\], got 0.0"),
        ({"lam": -1.0}, "lam must be finite and not negative, got -1.0"),
        ({"method": "newton"}, "method must be one of 'anderson', 'fixed_point', 'broyden', got 'newton'"),
        ({"ridge": "none"}, "ridge must be one of 'absolute', 'relative', got 'none'"),
        ({"on_diverge": "ignore"}, "on_diverge must be one of 'raise', 'best', got 'ignore'"),
        ({"backend": "jax"}, "backend must be one of 'native', 'torchdeq', got 'jax'"),
        ({"backend": "torchdeq", "method": "broyden"}, "got method='broyden'"),
    ],
)
def test_bad_configurations_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        SolverConfig(**fields)


def test_bad_arguments_of_solve_are_named():
    z0 = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"one entry for each of the 2 samples, got shape \(3,\)"):
        solve(torch.cos, z0, eps=torch.ones(3))
    with pytest.raises(ValueError, match="eps must not be negative, got -1"):
        solve(torch.cos, z0, eps=-1.0)
    with pytest.raises(ValueError, match="tau must be at least 1, got 0"):
        solve(torch.cos, z0, tau=0)
    with pytest.raises(ValueError, match=r"f must keep the shape, got \(2, 6\) from \(2, 3\)"):
        solve(lambda z: torch.cat((z, z), 1), z0)
    with pytest.raises(ValueError, match=r"z0 must be floating point of shape \(b, …\)"):
        solve(torch.cos, torch.zeros(3))
    with pytest.raises(TypeError, match="adaptive_batching=True needs a map with select"):
        solve(torch.cos, z0, SolverConfig(adaptive_batching=True))
