"""The three attentions against their formulas, written out."""

import pytest
import torch

from emergence.attention import ATTENTIONS, CosineAttention, DotAttention, L2Attention


def written_out(module, x):
    """Σ_j p_ij v_j head by head, with explicit loops over heads and a dense softmax."""
    n, e = x.shape[1], module.head_dim
    heads = []
    for h in range(module.n_heads):
        rows = slice(h * e, (h + 1) * e)
        if isinstance(module, L2Attention):
            w_q, w_v = module.query.weight[rows].T, module.value.weight[rows].T  # d e
            q = x @ w_q
            logits = -(torch.cdist(q, q) ** 2) / e**0.5
            values = x @ (w_q @ w_q.T / e**0.5) @ w_v
        else:
            q, k, v = (
                x @ w[rows].T + b[rows]
                for w, b in zip(module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True)
            )
            if isinstance(module, CosineAttention):
                q, k, v = (z / (z.norm(dim=-1, keepdim=True) ** 2 + module.eps).sqrt() for z in (q, k, v))
                logits, values = module.temperature * q @ k.mT, v
            else:
                logits, values = q @ k.mT / e**0.5, v
        if module.causal:
            logits = logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        heads.append(logits.softmax(-1) @ values)
    return module.out(torch.cat(heads, -1))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_formula(kind, causal):
    module = ATTENTIONS[kind](12, 3, causal=causal).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(module(x), written_out(module, x))


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_causal_means_no_look_ahead(kind):
    module = ATTENTIONS[kind](8, 2).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(module(x)[:, :3], module(changed)[:, :3])
    free = ATTENTIONS[kind](8, 2, causal=False).double()
    assert not torch.allclose(free(x)[:, :3], free(changed)[:, :3])


def test_parameters():
    """d² for each of q, k, v, o and their biases, as in the usual block."""
    assert sum(p.numel() for p in DotAttention(48, 4).parameters()) == 4 * 48**2 + 4 * 48
    assert sum(p.numel() for p in DotAttention(48, 4, bias=False).parameters()) == 4 * 48**2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DotAttention(10, 4), "n_heads must divide dim, got n_heads=4 and dim=10"),
        (lambda: L2Attention(0, 1), "dim must be at least 1"),
        (lambda: CosineAttention(4, 2, eps=0.0), "eps must be finite and above 0"),
        (lambda: DotAttention(4, 2)(torch.randn(3, 4)), r"takes \(batch, tokens, 4\)"),
        (lambda: DotAttention(4, 2)(torch.randn(1, 3, 5)), r"takes \(batch, tokens, 4\)"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
