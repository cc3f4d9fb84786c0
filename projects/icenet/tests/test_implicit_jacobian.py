import pytest
import torch

from icenet.implicit.jacobian import jacobian_penalty, spectral_radius


def linear(norm: float, size: int = 30) -> torch.Tensor:
    matrix = torch.randn(size, size, dtype=torch.float64)
    return norm * matrix / torch.linalg.eigvals(matrix).abs().max()


def test_the_penalty_estimates_the_frobenius_norm():
    A = linear(0.8)
    z = torch.zeros(4000, 30, dtype=torch.float64)
    found = jacobian_penalty(lambda z: z @ A.T, z, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, A.square().sum() / 30, rtol=0.03, atol=0)


def test_the_penalty_has_a_gradient_that_shrinks_the_jacobian():
    A = linear(0.8).requires_grad_()
    z = torch.zeros(500, 30, dtype=torch.float64)
    jacobian_penalty(lambda z: z @ A.T, z).backward()
    # ∂(‖A‖²_F/dim) = 2 A / dim; one sample of v for each of 500 samples
    assert torch.nn.functional.cosine_similarity(A.grad.flatten(), A.detach().flatten(), 0) > 0.95


def test_the_penalty_is_drawn_outside_of_autograd_too():
    with torch.no_grad():
        assert jacobian_penalty(lambda z: 0.5 * z, torch.zeros(2, 3)) > 0


@pytest.mark.parametrize("radius", [0.3, 0.95, 1.4])
def test_the_radius_is_the_largest_eigenvalue(radius):
    """A random real matrix: its largest eigenvalues are complex pairs, for which the growth oscillates."""
    A = linear(radius)
    found = spectral_radius(lambda z: z @ A.T, torch.zeros(3, 30, dtype=torch.float64), 400)
    torch.testing.assert_close(found, torch.full((3,), radius, dtype=torch.float64), rtol=0.02, atol=0)


def test_each_sample_has_its_own_radius():
    gains = torch.tensor([0.0, 0.2, 0.9])[:, None]
    found = spectral_radius(lambda z: gains * z, torch.randn(3, 8))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.2, 0.9]))


def test_too_few_iterations_are_named():
    with pytest.raises(ValueError, match="iterations must be at least 2, got 1"):
        spectral_radius(torch.cos, torch.zeros(1, 1), 1)
