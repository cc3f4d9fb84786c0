"""Every bound of a layer is at least its exact constant, and the constants are those of §15."""

import math

import pytest
import torch
from torch import nn

from emergence.blocks import AveragedBlock, ConvexPotentialBlock, ExactRateBlock, GroupSort2, TanhBlock
from emergence.bounds.calculus import Domain, LipBound, UnboundedLipschitzError, register_rule, residual_bound
from emergence.bounds.compositional import bound_of, lipschitz_bound
from emergence.bounds.layers import GELU_SLOPE, GELU_TANH_SLOPE, MISH_SLOPE, SILU_SLOPE
from emergence.lipschitz.local import local_lipschitz
from emergence.operators import NegIdentity, ProjectionBlock

GRID = torch.linspace(-12, 12, 2_400_001, dtype=torch.float64)


def largest_slope(fn):
    x = GRID.clone().requires_grad_()
    return float(torch.autograd.grad(fn(x).sum(), x)[0].abs().max())


@pytest.mark.parametrize(
    ("module", "constant", "known"),
    [
        (nn.GELU(), GELU_SLOPE, 1.128904),
        (nn.GELU(approximate="tanh"), GELU_TANH_SLOPE, 1.128993),
        (nn.SiLU(), SILU_SLOPE, 1.099839),
        (nn.Mish(), MISH_SLOPE, 1.0885),
        (nn.Sigmoid(), 0.25, 0.25),
        (nn.ELU(alpha=1.5), 1.5, 1.5),
        (nn.LeakyReLU(2.0), 2.0, 2.0),
        (nn.SELU(), 1.758099, 1.758099),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_slopes_against_a_dense_grid(module, constant, known):
    found = largest_slope(module)
    bound = lipschitz_bound(module).value
    assert found <= bound * (1 + 1e-9)
    assert bound == pytest.approx(constant, abs=1e-6)
    assert bound - found < (2e-4 if isinstance(module, nn.Mish) else 2e-6)
    assert bound == pytest.approx(known, abs=1e-4 if isinstance(module, nn.Mish) else 2e-6)


def test_where_the_slope_of_gelu_is_largest():
    x = torch.tensor(math.sqrt(2), dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(nn.functional.gelu(x), x)[0]
    assert float(slope) == pytest.approx(GELU_SLOPE, abs=1e-12)


def test_softmax_reaches_one_half():
    softmax = nn.Softmax(-1)
    x = torch.randn(200, 5, dtype=torch.float64)
    assert local_lipschitz(softmax, x, method="exact").best <= 0.5
    two = torch.tensor([[0.0, 0.0, -60.0]], dtype=torch.float64)
    assert local_lipschitz(softmax, two, method="exact").best == pytest.approx(0.5, abs=1e-9)
    assert lipschitz_bound(softmax).value == 0.5


def test_layer_norm_is_attained_at_constant_tokens():
    norm = nn.LayerNorm(16).double()
    norm.weight.data.uniform_(0.5, 1.5)
    bound = lipschitz_bound(norm).value
    assert 300 < bound < 475  # hundreds, for ε = 1e-5
    constant = torch.full((1, 16), 3.0, dtype=torch.float64)
    assert local_lipschitz(norm, constant, method="exact").best == pytest.approx(bound, rel=1e-9)
    x = torch.randn(50, 16, dtype=torch.float64) * torch.logspace(-4, 1, 50).unsqueeze(1)
    assert local_lipschitz(norm, x, method="exact").best <= bound


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("least", [1e-4, 0.05, 1.0])
def test_normalisations_on_tokens_of_a_least_variance(kind, least):
    norm = kind(8).double()
    norm.weight.data.uniform_(0.5, 1.5)
    x = torch.randn(300, 8, dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    x = x / x.var(1, correction=0, keepdim=True).sqrt() * (least * (1 + torch.rand(300, 1))) ** 0.5
    found = local_lipschitz(norm, x, method="exact").best
    bound, domain = bound_of(norm, Domain(min_var=least))
    assert 0.3 * bound.value < found <= bound.value * (1 + 1e-9)
    assert norm(x).norm(dim=1).max() <= domain.radius * (1 + 1e-9)
    assert bound.value < lipschitz_bound(norm).value


def test_rms_norm_default_epsilon():
    assert lipschitz_bound(nn.RMSNorm(4)).value == pytest.approx(torch.finfo(torch.float32).eps ** -0.5)


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_without_epsilon_there_is_no_bound(kind):
    with pytest.raises(UnboundedLipschitzError, match=r"'1' has ε = 0.*min_var"):
        lipschitz_bound(nn.Sequential(nn.Linear(4, 4), kind(4, eps=0.0)))
    assert lipschitz_bound(kind(4, eps=0.0), min_var=0.25).value == pytest.approx(2)


def test_batch_norm_of_eval_mode():
    norm = nn.BatchNorm1d(4)
    norm(torch.randn(50, 4) * torch.tensor([0.1, 1, 2, 3]))
    with pytest.raises(ValueError, match="mixes the samples"):
        lipschitz_bound(norm)
    norm.eval()
    found = local_lipschitz(norm, torch.randn(2, 4), method="exact").best
    assert lipschitz_bound(norm).value == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_sandwich_on_networks(seed):
    """lower ≤ exact ≤ upper, on networks of every kind of layer."""
    torch.manual_seed(seed)
    activation = [nn.Tanh(), nn.GELU(), nn.SiLU(), GroupSort2()][seed % 4]
    net = nn.Sequential(
        nn.Linear(6, 10),
        activation,
        nn.LayerNorm(10),
        AveragedBlock(nn.Linear(10, 10), 0.3),
        nn.Linear(10, 4),
    )
    net = net.double().eval()
    x = torch.randn(20, 6, dtype=torch.float64)
    lower = local_lipschitz(net, x)
    exact = local_lipschitz(net, x, method="exact").best
    upper = lipschitz_bound(net).value
    assert lower.best <= exact * (1 + 1e-9) <= upper
    assert len(lipschitz_bound(net).parts) == 5


@pytest.mark.parametrize("seed", range(4))
def test_radii_hold_on_the_way(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(5, 7), nn.GELU(), AveragedBlock(nn.Linear(7, 7)), nn.LeakyReLU(), TanhBlock(7, 2.0)
    )
    net = net.double()
    x = 3 * nn.functional.normalize(torch.randn(500, 5, dtype=torch.float64), dim=1)
    for depth in range(1, 6):
        part = net[:depth]
        radius = bound_of(part, Domain(radius=3.0))[1].radius
        assert part(x).norm(dim=1).max() <= radius
        assert radius < 100


@pytest.mark.parametrize(
    ("block", "bound"),
    [
        (ExactRateBlock(4, 0.8), 0.8),
        (TanhBlock(4, 0.9), 0.9),
        (ConvexPotentialBlock(4), 1.0),
        (NegIdentity(), 1.0),
        (ProjectionBlock(4, 2), 1.0),
        (AveragedBlock(ExactRateBlock(4, 0.5), 0.25), 0.875),
        (nn.Sequential(), 1.0),
        (nn.Dropout(0.3).eval(), 1.0),
        (nn.Flatten(), 1.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_known_bounds(block, bound):
    assert lipschitz_bound(block).value == pytest.approx(bound, rel=1e-9)


def test_calculus():
    a, b = LipBound.of("a", 2.0), LipBound.of("b", 3.0)
    assert (a @ b).value == 6
    assert (a @ b).parts == (("b", 3.0), ("a", 2.0))  # in the order of application
    assert (a + b).value == 5
    assert a.scaled(-2).value == 4
    assert a.residual(0.5).value == 2
    bound, domain = residual_bound(nn.Linear(4, 4), Domain(radius=1.0), "fc")
    assert bound.value > 1
    assert domain.radius > 1
    assert bound.parts[0][0] == "fc"


class Doubled(nn.Linear):
    """A subclass whose forward is another map: the rule of its parent must not be used."""

    def forward(self, x):
        return 2 * super().forward(x)


class OwnRule(nn.Module):
    def lipschitz_rule(self, domain, name):
        return LipBound.of(name, 7.0), domain


def test_own_rules():
    with pytest.raises(TypeError, match="no Lipschitz rule for Doubled at '0'"):
        lipschitz_bound(nn.Sequential(Doubled(3, 3)))
    assert lipschitz_bound(nn.Sequential(OwnRule(), OwnRule())).value == 49

    class Triple(nn.Module):
        def forward(self, x):
            return 3 * x

    register_rule(Triple)(lambda module, domain, name: (LipBound.of(name, 3.0), domain))
    assert lipschitz_bound(Triple()).value == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lipschitz_bound(nn.Embedding(4, 4)), TypeError, "register_rule"),
        (lambda: lipschitz_bound(torch.tanh), TypeError, "must be a torch module"),
        (lambda: lipschitz_bound(nn.Sequential(nn.Dropout(0.5))), ValueError, "'0' drops at random"),
        (lambda: lipschitz_bound(nn.ReLU(), radius=-1.0), ValueError, "radius must be finite"),
        (lambda: lipschitz_bound(nn.ReLU(), min_var=math.inf), ValueError, "min_var must be finite"),
        (lambda: lipschitz_bound(nn.ReLU(), seq_len=0), ValueError, "seq_len must be at least 1"),
        (lambda: LipBound(-1.0), ValueError, "at least 0"),
        (lambda: LipBound(math.nan), ValueError, "at least 0"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
