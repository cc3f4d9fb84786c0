"""Self-attention in three forms: dot product, L2 distance, cosine (§3.7, §4.3).

With p_i = softmax over the tokens j that token i may see, every head computes o_i = Σ_j p_ij v_j from

    dot      logits q_i·k_j / √d_h                    not globally Lipschitz: on tokens of norm ≤ R it grows with R²
    l2       logits −‖q_i − q_j‖² / √d_h, v = W_vᵀ W_q q_j / √d_h      globally Lipschitz (queries and keys are tied)
    cosine   logits τ q̂_i·k̂_j with q̂ = q/√(‖q‖²+ε), values normalised likewise    globally Lipschitz, factor 1/√ε

All go through `scaled_dot_product_attention`; `lipschitz_bound` knows the bounds (see `bounds.attention`).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_above_zero, check_positive


class SelfAttention(nn.Module):
    """What the three have in common: heads, causal mask, read-out.

    Args:
        dim: width d of a token.
        n_heads: heads; divides `dim`.
        causal: token i sees the tokens j ≤ i only.
        bias: biases in all linear maps.
    """

    def __init__(self, dim: int, n_heads: int, *, causal: bool = True, bias: bool = True):
        super().__init__()
        check_positive(dim=dim, n_heads=n_heads)
        if dim % n_heads:
            raise ValueError(f"n_heads must divide dim, got n_heads={n_heads} and dim={dim}")
        self.dim, self.n_heads, self.head_dim, self.causal = dim, n_heads, dim // n_heads, causal
        self.out = nn.Linear(dim, dim, bias=bias)

    def check(self, x: Tensor) -> None:
        """Raise unless `x` is (batch, tokens, dim)."""
        if x.dim() != 3 or x.shape[-1] != self.dim:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, this attention takes (batch, tokens, {self.dim})"
            )

    def split(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b h s e"]:
        """Tokens cut into heads."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def read(self, heads: Float[Tensor, "b h s e"]) -> Float[Tensor, "b s d"]:
        """Heads side by side, through the output map."""
        return self.out(heads.transpose(1, 2).flatten(2))


class DotAttention(SelfAttention):
    """Scaled dot-product attention, the usual one.

    Example:
        >>> DotAttention(8, 2)(torch.randn(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, dim: int, n_heads: int, *, causal: bool = True, bias: bool = True):
        super().__init__(dim, n_heads, causal=causal, bias=bias)
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        self.check(x)
        q, k, v = (self.split(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.read(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal))


class L2Attention(SelfAttention):
    """Attention by distance with tied queries and keys, globally Lipschitz (after Kim, Papamakarios, Mnih).

    Example:
        >>> attention = L2Attention(8, 2)
        >>> x = torch.randn(3, 5, 8)
        >>> attention(x + 100).isfinite().all().item()
        True
    """

    def __init__(self, dim: int, n_heads: int, *, causal: bool = True, bias: bool = True):
        super().__init__(dim, n_heads, causal=causal, bias=bias)
        self.query = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the differences
        self.value = nn.Linear(dim, dim, bias=False)

    def value_map(self) -> Float[Tensor, "h e e"]:
        """M_h = W_vᵀ W_q / √d_h, the map from a head's query to its value."""
        w_v = self.value.weight.unflatten(0, (self.n_heads, -1))  # h e d
        w_q = self.query.weight.unflatten(0, (self.n_heads, -1))
        return w_v @ w_q.mT / self.head_dim**0.5

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        self.check(x)
        q = self.split(self.query(x))
        # −‖q_i−q_j‖² = 2 q_i·q_j − ‖q_j‖² up to a constant of the row, which the softmax does not see
        keys = torch.cat([2 * q, -(q**2).sum(-1, keepdim=True)], dim=-1)
        queries = torch.cat([q, torch.ones_like(q[..., :1])], dim=-1)
        values = q @ self.value_map().mT
        heads = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=self.causal, scale=self.head_dim**-0.5
        )
        return self.read(heads)


class CosineAttention(SelfAttention):
    """Attention with queries, keys and values normalised by √(‖·‖² + ε), globally Lipschitz.

    Args:
        dim: width d of a token.
        n_heads: heads; divides `dim`.
        causal: token i sees the tokens j ≤ i only.
        bias: biases in all linear maps.
        temperature: τ, the factor of the cosines.
        eps: ε; the bound grows like 1/√ε.

    Example:
        >>> CosineAttention(8, 2, eps=0.1)(torch.zeros(1, 4, 8)).shape
        torch.Size([1, 4, 8])
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        *,
        causal: bool = True,
        bias: bool = True,
        temperature: float = 10.0,
        eps: float = 1e-3,
    ):
        super().__init__(dim, n_heads, causal=causal, bias=bias)
        check_above_zero(temperature=temperature, eps=eps)
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.temperature, self.eps = temperature, eps

    def normalise(self, x: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h s e"]:
        """x / √(‖x‖² + ε): of norm below 1 and with a derivative of norm at most 1/√ε."""
        return x * ((x**2).sum(-1, keepdim=True) + self.eps).rsqrt()

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        self.check(x)
        q, k, v = (self.normalise(self.split(part)) for part in self.qkv(x).chunk(3, dim=-1))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=self.temperature)
        return self.read(heads)


ATTENTIONS = {"dot": DotAttention, "l2": L2Attention, "cosine": CosineAttention}
