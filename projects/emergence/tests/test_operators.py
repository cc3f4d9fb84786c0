"""What the zoo says of its operators is true of them."""

import math

import pytest
import torch

from emergence.bounds.matrices import spectral_norm
from emergence.lipschitz.local import local_lipschitz
from emergence.lipschitz.power_rate import lip_power_rate
from emergence.operators import NON_NORMAL, MatrixBlock, ProjectionBlock, RotationBlock, operator_zoo

ZOO = operator_zoo()


@pytest.mark.parametrize("entry", ZOO, ids=lambda entry: entry.name)
def test_constant_and_radius(entry):
    found = local_lipschitz(entry.block, entry.start, method="exact").best
    assert found == pytest.approx(entry.lip, abs=1e-9)
    powers = (64, 128, 256) if entry.name == "non-normal" else (4, 8, 16)
    assert lip_power_rate(entry.block, entry.start, powers).rho == pytest.approx(entry.rho, abs=2e-3)


@pytest.mark.parametrize("entry", ZOO, ids=lambda entry: entry.name)
def test_limit(entry):
    z = entry.start
    for _ in range(500):
        z = entry.block(z).detach()
    moves = float((entry.block(z).detach() - z).norm(dim=1).max())
    if entry.limit_exists is None:
        assert z.norm(dim=1).min() > 1e8
    else:
        assert (moves < 1e-3) == entry.limit_exists


def test_norm_of_the_non_normal_matrix():
    assert spectral_norm(torch.tensor(NON_NORMAL)) == pytest.approx(10.08, abs=0.01)


def test_geometry():
    x = torch.randn(3, 4, dtype=torch.float64)
    turned = RotationBlock(4, 0.7, torch.float64)(x)
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close((turned[:, :2] * x[:, :2]).sum(1), x[:, :2].square().sum(1) * math.cos(0.7))
    projection = ProjectionBlock(6, 2)
    assert int(torch.linalg.matrix_rank(projection.matrix)) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MatrixBlock(torch.ones(2, 3)), "must be square"),
        (lambda: RotationBlock(3, 1.0), "even"),
        (lambda: ProjectionBlock(3, 4), "rank must be at most dim=3"),
        (lambda: operator_zoo(dim=5), "even and at least 4"),
        (lambda: operator_zoo(n_starts=0), "n_starts must be at least 1"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
