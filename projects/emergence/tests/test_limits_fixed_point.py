"""Fixed points: the error is within what is promised, both solvers agree, failure is never silent (T2, T4)."""

import warnings

import pytest
import torch
from torch import nn

from emergence.blocks import ConvexPotentialBlock, ExactRateBlock, TanhBlock
from emergence.claims.existence_checks import average
from emergence.limits.fixed_point import NotConvergedWarning, fixed_point
from emergence.limits.krasnoselskii_mann import krasnoselskii_mann, steps_needed
from emergence.operators import NegIdentity, RotationBlock


def start(d: int = 6, n: int = 5) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("solver", ["picard", "anderson"])
@pytest.mark.parametrize("tol", [1e-4, 1e-9])
def test_the_error_is_within_the_tolerance_and_the_bound(solver: str, tol: float) -> None:
    block = ExactRateBlock(6, 0.9, generator=torch.Generator().manual_seed(0))
    found = fixed_point(block, start(), solver, tol, lip=0.9)  # type: ignore[arg-type]
    error = (found.x - block.fixed_point()).norm(dim=1)
    assert bool(found.converged.all())
    assert bool((error <= found.error_bound * (1 + 1e-9) + 1e-14).all())
    assert float(error.max()) <= tol


def test_anderson_needs_fewer_evaluations() -> None:
    block = ExactRateBlock(6, 0.95, generator=torch.Generator().manual_seed(0))
    plain, mixed = (fixed_point(block, start(), s, 1e-8, lip=0.95) for s in ("picard", "anderson"))  # type: ignore[arg-type]
    assert mixed.n_evals < plain.n_evals / 3
    torch.testing.assert_close(plain.x, mixed.x, atol=1e-7, rtol=0)


def test_anderson_survives_a_constant_map_and_starts_at_the_solution() -> None:
    constant = fixed_point(torch.ones_like, torch.ones(2, 3), "anderson")
    assert constant.n_evals == 1
    nonlinear = fixed_point(TanhBlock(6, 0.9, bias_std=1.0), start(), "anderson", 1e-10, lip=0.9)
    assert bool(nonlinear.converged.all())


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_no_fixed_point_means_a_warning_and_a_status(solver: str) -> None:
    with pytest.warns(NotConvergedWarning, match="2 of 2 samples are not within tol"):
        found = fixed_point(lambda z: z + 1.0, torch.zeros(2, 3), solver, n_steps=20)  # type: ignore[arg-type]
    assert not bool(found.converged.any())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "newton"}, "solver must be one of 'picard', 'anderson'"),
        ({"tol": 0.0}, "tol must be finite and above 0"),
        ({"lip": 1.0}, "lip must be above 0 and below 1, got 1.0"),
        ({"memory": 0}, "memory must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_point(nn.Identity(), torch.zeros(1, 2), **settings)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", ["-I", "rotation", "convex potential"])
def test_averaged_iterations_keep_both_bounds(name: str, alpha: float) -> None:
    potential = ConvexPotentialBlock(6, activation=torch.tanh).double()
    block = {
        "-I": NegIdentity(),
        "rotation": RotationBlock(6, 2.5, torch.float64),
        "convex potential": potential,
    }[name]
    assert average(block, start(), torch.zeros_like(start()), alpha).holds


def test_the_bounds_notice_an_expansive_map() -> None:
    block = RotationBlock(6, 2.5, torch.float64)
    assert not average(lambda z: 1.2 * block(z), start(), torch.zeros_like(start())).holds  # type: ignore[arg-type]


def test_the_bound_of_the_rotation_is_that_of_the_table() -> None:
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    found = krasnoselskii_mann(RotationBlock(2, 1.0, torch.float64), x, n_steps=50, tol=0.0)
    bound = found.bound(x.norm(dim=1))
    assert bound[:, 0].tolist() == pytest.approx([5 / (0.25 * (k + 1)) ** 0.5 for k in range(51)])
    assert bool((found.residuals <= bound).all())
    assert found.n_steps == 50


def test_minus_identity_rests_only_when_it_is_averaged() -> None:
    x = start()
    assert float(krasnoselskii_mann(NegIdentity(), x).x.norm()) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        assert not bool(fixed_point(NegIdentity(), x, n_steps=50).converged.any())


def test_an_average_that_does_not_arrive_warns() -> None:
    with pytest.warns(NotConvergedWarning, match="raise n_steps"):
        krasnoselskii_mann(lambda z: z + 1.0, torch.zeros(1, 2), n_steps=5)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5])
def test_alpha_lies_strictly_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
        krasnoselskii_mann(nn.Identity(), torch.zeros(1, 2), alpha)


def test_steps_needed_is_where_the_bound_crosses() -> None:
    n = steps_needed(2.0, tol=0.5, alpha=0.3)
    bound = [2.0 / (0.21 * (k + 1)) ** 0.5 for k in range(n + 1)]
    assert bound[n] <= 0.5 < bound[n - 1]
