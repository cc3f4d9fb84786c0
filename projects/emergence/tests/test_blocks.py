"""Constants that hold by construction hold after training too."""

import pytest
import torch
from torch import nn

from emergence.blocks import (
    AveragedBlock,
    ConvexPotentialBlock,
    ExactRateBlock,
    GroupSort2,
    InjectedBlock,
    OrthogonalLinear,
    SpectralLinear,
    TanhBlock,
    random_orthogonal,
)
from emergence.bounds.matrices import spectral_norm, spectral_norm_upper
from emergence.lipschitz.local import local_lipschitz
from emergence.lipschitz.pairs import empirical_lipschitz


def train(module, steps=60):
    """Pushes the outputs apart as fast as it can: whatever bound survives this is by construction."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    inputs = [torch.randn(64, size) for size in (module.in_sizes if hasattr(module, "in_sizes") else [8])]
    for _ in range(steps):
        optimiser.zero_grad()
        (-module(*inputs).var()).backward()
        optimiser.step()


def test_exact_rate_to_rounding():
    """‖Tᴾz − z*‖ = λᴾ ‖z − z*‖ (T2 of §3.2)."""
    block = ExactRateBlock(6, 0.8, d_in=3)
    x, z = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    limit = block.fixed_point(x)
    torch.testing.assert_close(block(limit, x), limit)
    start = (z - limit).norm(dim=1)
    for power in range(1, 51):
        z = block(z, x)
        torch.testing.assert_close((z - limit).norm(dim=1), 0.8**power * start, rtol=1e-10, atol=1e-14)


def test_averages_of_reflections_stop_at_once():
    flip = ExactRateBlock(2, 1.0, offset=0.0)
    flip.q = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(AveragedBlock(flip, 0.5)(x), torch.tensor([[2.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("weights", ["orthogonal", "iid"])
def test_tanh_block(weights):
    block = TanhBlock(50, 0.7, weights=weights, bias_std=0.1)
    norm = float(torch.linalg.matrix_norm(block.weight, 2))
    assert norm == pytest.approx(
        0.7 if weights == "orthogonal" else 1.4, rel=1e-9 if weights == "orthogonal" else 0.15
    )
    assert local_lipschitz(block, torch.zeros(1, 50, dtype=torch.float64), method="exact").best <= norm


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
@pytest.mark.parametrize("hidden", [4, 8, 20])
def test_convex_potential_is_non_expansive_after_training(activation, hidden):
    block = ConvexPotentialBlock(8, hidden, activation=activation)
    train(block)
    block = block.double()
    x = 3 * torch.randn(200, 8, dtype=torch.float64)
    stats = empirical_lipschitz(block, x)
    assert stats.n_pairs > 10_000
    assert stats.max <= 1 + 1e-6
    assert stats.min < 0.999  # control: not the identity
    assert local_lipschitz(block, x, method="exact").best <= 1 + 1e-9


def test_a_step_beyond_the_bound_expands():
    """Control: why the norm must be bounded from above."""
    block = ConvexPotentialBlock(8, activation=nn.Identity()).double()
    block.fraction = 1.2  # as if ‖W‖ had been estimated 9 % too small
    assert local_lipschitz(block, torch.zeros(1, 8, dtype=torch.float64), method="exact").best > 1.1


def test_smaller_steps_are_averaged():
    """x − hWᵀσ(Wx+b) with half the step is the average of x and the full step."""
    full, half = ConvexPotentialBlock(6), ConvexPotentialBlock(6, fraction=0.5)
    half.load_state_dict(full.state_dict())
    x = torch.randn(10, 6)
    torch.testing.assert_close(half(x), AveragedBlock(full, 0.5)(x))


@pytest.mark.parametrize("shape", [(8, 8), (8, 3), (3, 8)])
def test_linear_layers_keep_their_norms_in_training(shape):
    for layer in (SpectralLinear(*shape, bound=0.7), OrthogonalLinear(*shape)):
        layer.in_sizes = [shape[0]]
        train(layer)
        values = torch.linalg.svdvals(layer.weight.detach().double())
        if isinstance(layer, SpectralLinear):
            assert 0.69 < values[0] <= 0.7
        else:
            torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-5, atol=0)


def test_caps_leave_small_matrices_alone():
    layer = SpectralLinear(4, 4, bound=5.0)
    raw = layer.parametrizations.weight.original
    assert torch.equal(layer.weight, raw)


def test_injected_block_is_certified_after_training():
    block = InjectedBlock(8, 3, lam=0.9)
    block.in_sizes = [8, 3]
    train(block)
    block = block.double()
    x = torch.randn(1, 3, dtype=torch.float64)
    z = torch.randn(20, 8, dtype=torch.float64)
    assert local_lipschitz(lambda s: block(s, x), z, method="exact").best <= 0.9
    assert not torch.allclose(block(z, x), block(z, x + 1))


def test_group_sort_permutes():
    x = torch.randn(10, 6)
    y = GroupSort2()(x)
    torch.testing.assert_close(y.sort(dim=1)[0], x.sort(dim=1)[0])
    assert (y[:, ::2] <= y[:, 1::2]).all()
    exact = local_lipschitz(GroupSort2(), x, method="exact")
    torch.testing.assert_close(exact.lower, torch.ones(10))


def test_random_orthogonal_matrices_are_centred():
    """Signs made unique: without it the first column's mean would not vanish."""
    mean = torch.stack([random_orthogonal(4) for _ in range(400)]).mean(0)
    assert mean.abs().max() < 0.12


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_squarings", [0, 2, 10])
def test_spectral_norm_upper_is_never_below(seed, n_squarings):
    generator = torch.Generator().manual_seed(seed)
    m, n = torch.randint(1, 40, (2,), generator=generator).tolist()
    weight = torch.randn(m, n, generator=generator)
    exact = float(torch.linalg.svdvals(weight.double())[0])
    upper = float(spectral_norm_upper(weight, n_squarings))
    assert exact <= upper <= exact * min(m, n) ** (0.5 ** (n_squarings + 2)) * 1.001
    assert exact <= spectral_norm(weight) <= exact * (1 + 1e-11)


def test_spectral_norm_upper_of_extreme_matrices():
    assert float(spectral_norm_upper(torch.zeros(3, 4))) < 1e-9
    for scale in (1e-15, 1e15):
        assert float(spectral_norm_upper(scale * torch.eye(5))) == pytest.approx(scale, rel=1e-3)
    weight = torch.randn(5, 5, requires_grad=True)
    spectral_norm_upper(weight).backward()
    u, _, vh = torch.linalg.svd(weight.detach())
    torch.testing.assert_close(weight.grad, torch.outer(u[:, 0], vh[0]), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExactRateBlock(4, 0.0), "lam must be finite and above 0, got 0.0"),
        (lambda: TanhBlock(4, -1.0), "lam must be finite and above 0"),
        (lambda: TanhBlock(4, 1.0, weights="gauss"), "'orthogonal', 'iid'"),
        (lambda: AveragedBlock(nn.Identity(), 1.0), "alpha must lie strictly between 0 and 1"),
        (lambda: AveragedBlock(nn.Identity(), 0.0), "alpha must lie strictly between 0 and 1"),
        (lambda: ConvexPotentialBlock(4, fraction=1.5), "may expand"),
        (lambda: SpectralLinear(4, 4, bound=0.0), "bound must be finite and above 0"),
        (lambda: GroupSort2()(torch.ones(1, 3)), "even number of features, got 3"),
        (lambda: InjectedBlock(4, 0), "d_in must be at least 1"),
        (lambda: ExactRateBlock(4, 0.5)(torch.ones(1, 3).double()), "z has 3 features, this block takes 4"),
        (lambda: spectral_norm_upper(torch.ones(3)), "must be a matrix"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
