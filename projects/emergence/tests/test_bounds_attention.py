"""The bounds of attention hold for random weights, lengths, widths, radii, masks and biases."""

import math

import pytest
import torch
from torch import nn

from emergence.attention import ATTENTIONS, CosineAttention, DotAttention, L2Attention
from emergence.bounds.attention import inverse_phi
from emergence.bounds.calculus import Domain, UnboundedLipschitzError
from emergence.bounds.compositional import bound_of, lipschitz_bound
from emergence.lipschitz.ascent import ascend_lipschitz
from emergence.lipschitz.local import local_lipschitz
from emergence.lipschitz.pairs import empirical_lipschitz


def draw(kind, seed):
    """A random attention, tokens within a random radius, the radius and the length."""
    generator = torch.Generator().manual_seed(seed)

    def pick(*values):
        return values[int(torch.randint(len(values), (1,), generator=generator))]

    heads, width, n = pick(1, 2, 3), pick(1, 2, 4), pick(1, 2, 5, 9)
    radius, gain = pick(0.3, 1.0, 4.0), pick(0.5, 1.0, 3.0)
    module = ATTENTIONS[kind](heads * width, heads, causal=pick(True, False), bias=pick(True, False)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter.shape[-1] ** 0.5
            parameter.copy_(
                gain * torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / fan
            )
    x = torch.randn(6, n, heads * width, dtype=torch.float64, generator=generator)
    lengths = torch.rand(6, n, 1, dtype=torch.float64, generator=generator) ** 0.3
    return module, radius * lengths * nn.functional.normalize(x, dim=-1), radius, n


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_bound_holds(kind):
    """60 draws for each kind."""
    tightest = math.inf
    for seed in range(60):
        module, x, radius, n = draw(kind, seed)
        found = local_lipschitz(module, x, method="exact").best
        bound, domain = bound_of(module, Domain(radius=radius, seq_len=n))
        assert found <= bound.value, f"draw {seed}"
        assert module(x).norm(dim=-1).max() <= domain.radius * (1 + 1e-9), f"draw {seed}"
        tightest = min(tightest, bound.value / max(found, 1e-12))
    # control: not infinite or beside the point; a normalisation reaches 1/√ε = 32 at the origin only
    assert tightest < (40 if kind == "cosine" else 10)


@pytest.mark.parametrize("kind", ["l2", "cosine"])
@pytest.mark.parametrize("seed", range(4))
def test_global_bounds_hold_everywhere(kind, seed):
    """Far out, near together, over pairs, and where the ascent ends."""
    module, x, _, n = draw(kind, seed)
    bound = lipschitz_bound(module, seq_len=n).value
    for scale in (1e-3, 1.0, 30.0):
        assert local_lipschitz(module, scale * x, method="exact").best <= bound
        assert empirical_lipschitz(module, scale * x).max <= bound
    assert ascend_lipschitz(module, x, n_steps=10)[0].best <= bound


def test_l2_bound_is_quadratic_in_the_queries():
    """Control: a bound with √(Σ ‖W_q‖² ‖W_v‖²), as one finds it quoted, fails for a single token already."""
    module = L2Attention(4, 1, bias=False).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.eye(4))
        module.query.weight.mul_(10.0)
    x = torch.randn(1, 1, 4, dtype=torch.float64)
    found = local_lipschitz(module, x, method="exact").best
    assert found == pytest.approx(10**2 / 2)
    assert found > 10 / 2  # ‖W_q‖ ‖W_v‖ ‖W_o‖ / √d_h
    assert lipschitz_bound(module, seq_len=1).value == pytest.approx(found)


@pytest.mark.parametrize("n", [2, 5, 50])
def test_weighted_distances_are_bounded(n):
    """Σ t_j e^(−t_j) / (1 + Σ e^(−t_j)) ≤ φ⁻¹(n−1), with equality where all t_j = 1 + φ⁻¹(n−1)."""
    c = inverse_phi(n - 1)

    def mean(t):
        return (t * (-t).exp()).sum(-1) / (1 + (-t).exp().sum(-1))

    generator = torch.Generator().manual_seed(n)
    t = (
        4
        * torch.rand(5000, n - 1, dtype=torch.float64, generator=generator)
        * torch.rand(5000, 1, generator=generator)
    )
    assert mean(t).max() <= c
    assert float(mean(torch.full((n - 1,), 1 + c, dtype=torch.float64))) == pytest.approx(c, rel=1e-12)


def test_dot_product_attention_grows_with_the_radius():
    """Kim et al.: no global constant. One token at the origin, the others spread symmetrically."""
    module = DotAttention(1, 1, causal=False, bias=False).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    x = torch.tensor([[[0.0], [1.0], [-1.0]]], dtype=torch.float64)
    found = [local_lipschitz(module, r * x, method="exact").best for r in (1, 10, 100)]
    assert found[1] > 30 * found[0] > 0
    assert found[2] > 80 * found[1]
    for r, value in zip((1, 10, 100), found, strict=True):
        assert value <= lipschitz_bound(module, radius=r, seq_len=3).value


def test_the_bias_of_the_queries_matters():
    """Control: the formula without biases would be wrong for large ones."""
    module = DotAttention(2, 1, causal=False).double()
    with torch.no_grad():
        module.qkv.bias[:2] = 50.0
    x = 0.1 * torch.randn(8, 4, 2, dtype=torch.float64)
    radius = float(x.norm(dim=-1).max())
    found = local_lipschitz(module, x, method="exact").best
    with_bias = lipschitz_bound(module, radius=radius, seq_len=4).value
    with torch.no_grad():
        module.qkv.bias[:2] = 0.0
    assert lipschitz_bound(module, radius=radius, seq_len=4).value < with_bias
    assert found <= with_bias


def test_more_tokens_a_larger_bound():
    for module in (DotAttention(4, 2), L2Attention(4, 2), CosineAttention(4, 2)):
        bounds = [lipschitz_bound(module, radius=1.0, seq_len=n).value for n in (1, 4, 16, 64)]
        assert bounds == sorted(bounds)
        assert bounds[-1] > 1.5 * bounds[0]


@pytest.mark.parametrize("y", [0.0, 1e-3, 1.0, 63.0, 1e6])
def test_inverse_phi(y):
    x = inverse_phi(y)
    assert x * math.exp(x + 1) == pytest.approx(y, rel=1e-12, abs=1e-15)


def test_a_normalisation_supplies_the_radius():
    net = nn.Sequential(nn.LayerNorm(6), DotAttention(6, 2)).double()
    bound = lipschitz_bound(net, seq_len=5)
    x = torch.randn(4, 5, 6, dtype=torch.float64)
    assert local_lipschitz(net, x, method="exact").best <= bound.value
    assert [name for name, _ in bound.parts] == ["0", "1"]
    assert lipschitz_bound(net, seq_len=5, min_var=0.5).value < bound.value / 50


def test_without_a_radius_there_is_no_bound():
    with pytest.raises(UnboundedLipschitzError, match=r"'1' is not Lipschitz.*radius.*LayerNorm"):
        lipschitz_bound(nn.Sequential(nn.Linear(4, 4), DotAttention(4, 2)), seq_len=8)
    for kind in ATTENTIONS:
        with pytest.raises(ValueError, match="pass seq_len"):
            lipschitz_bound(ATTENTIONS[kind](4, 2), radius=1.0)
