"""Bounds of transformer blocks lie above the exact constants, and say what they lack."""

import pytest
import torch
from torch import nn

from emergence.bounds.calculus import Domain, UnboundedLipschitzError
from emergence.bounds.compositional import bound_of, lipschitz_bound
from emergence.lipschitz.local import local_lipschitz
from emergence.models.block import TransformerBlock
from emergence.models.config import GPTConfig


def tokens(radius):
    x = torch.randn(4, 5, 8, dtype=torch.float64)
    return radius * nn.functional.normalize(x, dim=-1)


@pytest.mark.parametrize("attn", ["dot", "l2", "cosine"])
@pytest.mark.parametrize("norm", ["pre", "post", "peri", "none"])
def test_our_block(norm, attn):
    block = TransformerBlock(GPTConfig(d=8, heads=2, norm=norm, attn=attn, init_std=None)).double()
    found = local_lipschitz(block, tokens(2.0), method="exact").best
    bound, domain = bound_of(block, Domain(radius=2.0, seq_len=5))
    assert found <= bound.value
    assert block(tokens(2.0)).norm(dim=-1).max() <= domain.radius
    assert all(name for name, _ in bound.parts)


@pytest.mark.parametrize("options", [{"residual_scale": "rezero"}, {"ln_scaling": True}])
def test_branch_factors(options):
    block = TransformerBlock(GPTConfig(d=8, heads=2, init_std=None, **options), layer=4).double()
    if block.gates is not None:
        assert lipschitz_bound(block, seq_len=5).value == 1.0  # both gates are shut
        block.gates.data.copy_(torch.tensor([0.1, -0.2]))
    found = local_lipschitz(block, tokens(2.0), method="exact").best
    assert found <= lipschitz_bound(block, seq_len=5).value
    plain = TransformerBlock(GPTConfig(d=8, heads=2, init_std=None)).double()
    plain.load_state_dict(block.state_dict(), strict=False)
    assert lipschitz_bound(block, seq_len=5).value < lipschitz_bound(plain, seq_len=5).value


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu", nn.SiLU()])
def test_encoder_layer_of_torch(norm_first, activation):
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, batch_first=True, norm_first=norm_first, activation=activation
    )
    layer = layer.double().eval()
    x = tokens(2.0)
    found = local_lipschitz(layer, x, method="exact").best
    assert found <= lipschitz_bound(layer, radius=2.0, seq_len=5).value


def test_what_is_missing_is_named():
    block = TransformerBlock(GPTConfig(d=8, heads=2, norm="post"))
    with pytest.raises(UnboundedLipschitzError, match="attention 'attn' is not Lipschitz"):
        lipschitz_bound(block, seq_len=5)
    assert lipschitz_bound(TransformerBlock(GPTConfig(d=8, heads=2, norm="pre")), seq_len=5).value > 1
    with pytest.raises(ValueError, match="drops at random"):
        lipschitz_bound(nn.TransformerEncoderLayer(8, 2, batch_first=True), radius=1.0, seq_len=2)
    with pytest.raises(ValueError, match="no rule for 'attn'"):
        bound_of(nn.MultiheadAttention(8, 2, kdim=4, vdim=4), Domain(radius=1.0, seq_len=2), "attn")
    odd = nn.TransformerEncoderLayer(8, 2, batch_first=True, activation=torch.sin).eval()
    with pytest.raises(ValueError, match="no rule for the activation"):
        lipschitz_bound(odd, radius=1.0, seq_len=2)
