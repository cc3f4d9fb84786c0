"""The equations on the ball: boundary, right-hand sides, and the Laplacian estimated from few coordinates."""

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from metakan.pde import (
    PROBLEMS,
    HardBallAnsatz,
    allen_cahn_problem,
    draw_dims,
    laplacian_along,
    poisson_problem,
    relative_errors,
    residual_product,
    sdgd_laplacian,
    squared_residual,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return poisson_problem(d).sample(n, seeded(seed)).double()


def network(d: int) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(d, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)).double()


@pytest.mark.parametrize("d", [2, 5, 10])
def test_ansatz_vanishes_on_the_sphere_and_only_there(d: int) -> None:
    u = HardBallAnsatz(network(d))
    x = nn.functional.normalize(points(20, d), dim=-1)
    assert u(x).abs().max() < 1e-14
    assert u(0.5 * x).abs().min() > 1e-6


def test_ansatz_refuses_vector_valued_networks() -> None:
    with pytest.raises(ValueError, match="one number a point"):
        HardBallAnsatz(nn.Linear(3, 2))(torch.zeros(5, 3))


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("d", [2, 3, 10])
def test_source_in_closed_form_equals_the_differentiated_solution(name: str, d: int) -> None:
    problem = PROBLEMS[name](d, 1)
    x = points(40, d)
    torch.testing.assert_close(problem.source(x), problem.source_autograd(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_exact_solution_has_no_residual_and_vanishes_on_the_sphere(name: str) -> None:
    problem = PROBLEMS[name](6, 2)
    x = points(30, 6)
    assert squared_residual(problem, problem.exact, x) < 1e-20
    assert squared_residual(problem, lambda x: 1.01 * problem.exact(x), x) > 1e-4  # the check can fail
    assert problem.exact(nn.functional.normalize(x, dim=-1)).abs().max() < 1e-14


def test_exact_solution_is_the_written_formula() -> None:
    problem = poisson_problem(3, seed=5)
    x = points(1, 3)
    a, b, c = x[0]
    c1, c2 = problem.coefficients
    s = c1 * torch.sin(a + torch.cos(b) + b * torch.cos(a)) + c2 * torch.sin(
        b + torch.cos(c) + c * torch.cos(b)
    )
    torch.testing.assert_close(problem.exact(x)[0], (1 - a**2 - b**2 - c**2) * s)


def test_the_two_equations_differ_by_the_reaction_term() -> None:
    x = points(10, 4)
    u = poisson_problem(4).exact(x)
    torch.testing.assert_close(allen_cahn_problem(4).source(x) - poisson_problem(4).source(x), u - u**3)


@pytest.mark.parametrize("n_dims", [1, 2, 4])
def test_mean_over_all_subsets_is_the_full_laplacian(n_dims: int) -> None:
    d, f = 5, HardBallAnsatz(network(5))
    x = points(7, d)
    full = sdgd_laplacian(f, x)
    subsets = [laplacian_along(f, x, torch.tensor(s)) for s in combinations(range(d), n_dims)]
    torch.testing.assert_close(torch.stack(subsets).mean(0), full, rtol=1e-10, atol=1e-10)
    assert (subsets[0] - full).abs().max() > 1e-3  # a single subset is not the full Laplacian


def test_full_laplacian_is_the_trace_of_the_hessian() -> None:
    f = HardBallAnsatz(network(4))
    x = points(3, 4)
    hessians = torch.stack([torch.autograd.functional.hessian(lambda p: f(p[None])[0], p) for p in x])
    torch.testing.assert_close(sdgd_laplacian(f, x), hessians.diagonal(dim1=-2, dim2=-1).sum(-1))


@pytest.mark.parametrize("n_dims", [3, 4, 100, None])
def test_as_many_coordinates_as_there_are_give_the_full_laplacian(n_dims: int | None) -> None:
    f, x = HardBallAnsatz(network(3)), points(5, 3)
    expected = laplacian_along(f, x, torch.arange(3))
    torch.testing.assert_close(sdgd_laplacian(f, x, n_dims, seeded()), expected)


def test_subsets_are_without_replacement_and_reach_every_coordinate() -> None:
    generator = seeded()
    draws = [draw_dims(10, 4, generator).tolist() for _ in range(200)]
    assert all(len(set(draw)) == 4 for draw in draws)
    assert {i for draw in draws for i in draw} == set(range(10))


def test_affine_functions_have_no_laplacian_and_quadratics_a_constant_one() -> None:
    x = points(6, 4)
    assert sdgd_laplacian(lambda x: x.sum(-1) + 1, x).abs().max() == 0
    torch.testing.assert_close(sdgd_laplacian(lambda x: 3 * x[:, :1] ** 2, x), torch.full((6,), 6.0).double())


def test_gradient_of_the_loss_reaches_the_parameters_with_grad_mode_off_outside() -> None:
    net = network(4)
    loss = squared_residual(poisson_problem(4), HardBallAnsatz(net), points(8, 4), 2, seeded())
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in list(net.parameters())[:-1])
    with torch.no_grad():
        assert torch.isfinite(sdgd_laplacian(HardBallAnsatz(net), points(8, 4))).all()


def test_product_of_independent_residuals_is_unbiased_and_the_square_is_not() -> None:
    problem, d = poisson_problem(3), 3
    net, x = HardBallAnsatz(network(d)), points(6, d)
    full = squared_residual(problem, net, x).item()
    residuals = torch.stack(
        [
            laplacian_along(net, x, torch.tensor([i])) + problem.reaction(net(x)) - problem.source(x)
            for i in range(d)
        ]
    ).detach()
    product = (residuals[:, None] * residuals).mean()
    variance = residuals.var(0, unbiased=False).mean()
    assert product.item() == pytest.approx(full, rel=1e-10)
    assert residuals.square().mean().item() == pytest.approx(full + variance.item(), rel=1e-10)
    assert variance > 1e-3 * full
    drawn = [residual_product(problem, net, x, 1, seeded(s)).item() for s in range(40)]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("n_dims", [0, -1])
def test_no_coordinates_is_an_error(n_dims: int) -> None:
    with pytest.raises(ValueError, match=f"n_dims must be at least 1.*{n_dims}"):
        sdgd_laplacian(lambda x: x.sum(-1), torch.zeros(2, 3), n_dims)


def test_bad_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        sdgd_laplacian(lambda x: x.sum(-1), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        poisson_problem(4).source(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="dim must be at least 2, got 1"):
        poisson_problem(1)
    with pytest.raises(ValueError, match="shape"):
        relative_errors(torch.zeros(4, 1), torch.zeros(4))


def test_points_lie_in_the_ball_with_uniform_radius() -> None:
    radius = poisson_problem(10).sample(20_000, seeded()).norm(dim=-1)
    assert radius.max() < 1
    torch.testing.assert_close(
        radius.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([0.25, 0.5, 0.75]), atol=0.02, rtol=0
    )


def test_coefficients_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = poisson_problem(8, seed=3).coefficients
    torch.manual_seed(2)
    assert torch.equal(first, poisson_problem(8, seed=3).coefficients)
    assert not torch.equal(first, poisson_problem(8, seed=4).coefficients)


def test_relative_errors_by_hand() -> None:
    l2, l1 = relative_errors(torch.tensor([3.0, 4.0, 1.0]), torch.tensor([3.0, 4.0, 0.0]))
    assert l2 == pytest.approx(1 / 5)
    assert l1 == pytest.approx(1 / 7)
