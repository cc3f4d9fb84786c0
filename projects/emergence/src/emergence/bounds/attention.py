"""Bounds of self-attention (§3.7).

Dot product, on n tokens of norm at most R. With row-stochastic P, A = W_qᵀ W_k / √d_h and v̄_i = Σ_j p_ij v_j,

    do_i = Σ_j p_ij W_v dx_j + W_v Cov_{p_i}(x) Aᵀ dx_i + Σ_j p_ij W_v (x_j − x̄_i) (q_iᵀ W_k dx_j) / √d_h

The biases of keys and values cancel in the differences, that of the queries does not. ‖P‖₂ ≤ √n, the covariance is at
most R², and by Cauchy–Schwarz over p_i the last sum is at most √n ‖W_v‖ R max_i ‖W_kᵀ q_i‖/√d_h:

    Lip ≤ ‖W_v‖ (√n (1 + ‖A‖R² + ‖W_kᵀ b_q‖ R/√d_h) + ‖A‖R²)      a head;      heads: ‖W_o‖ √(Σ_h L_h²)

Without a radius there is no bound. It is typically some hundred times too large; growth with √n is the worst case on
compact sets, real sequences are nearer to n^(1/4).

Distance (L2) attention is globally Lipschitz, as Kim, Papamakarios and Mnih found. With q = W_qᵀx and g_i = Σ_j p_ij q_j,

    dg_i = Σ_j p_ij dq_j + (2/√d_h) [Cov_{p_i}(q) dq_i + Σ_j p_ij (q_j − q̄_i)(q_i − q_j)ᵀ dq_j]

Both brackets are governed by E_i = Σ_j p_ij ‖q_i − q_j‖² ≤ c √d_h, where c = φ⁻¹(n−1) for φ(c) = c e^(c+1), that is
c = W₀((n−1)/e): the maximum of Σ t_j e^(−t_j) / (1 + Σ e^(−t_j)) has all t_j = 1 + c. As before, but in q,

    Lip ≤ ‖W_o‖ √(Σ_h (‖W_vᵀW_q‖ ‖W_q‖/√d_h)²) (√n (1 + 2c) + 2c)        quadratic in W_q, as the layer is

Cosine attention, with normalised queries, keys and values (each normalisation is 1/√ε-Lipschitz with values of norm < 1),

    Lip ≤ (√n ‖W_v‖ + τ ‖W_q‖ + τ √n ‖W_k‖)/√ε                    a head, as above
"""

import math

from jaxtyping import Float
from scipy.special import lambertw
from torch import Tensor, nn

from ..attention import CosineAttention, DotAttention, L2Attention
from .calculus import Domain, LipBound, UnboundedLipschitzError, register_rule
from .matrices import spectral_norm


def dot_head_bound(
    w_q: Float[Tensor, "e d"],
    w_k: Float[Tensor, "e d"],
    w_v: Float[Tensor, "e d"],
    *,
    b_q: Float[Tensor, "e"] | None = None,
    radius: float,
    n_tokens: int,
) -> float:
    """The bound of one head of dot-product attention on `n_tokens` tokens of norm at most `radius`, masked or not."""
    width = math.sqrt(len(w_q))
    a = spectral_norm(w_q.mT.double() @ w_k.double()) / width
    shift = 0.0 if b_q is None else float((w_k.mT.double() @ b_q.double()).detach().norm()) / width
    root = math.sqrt(n_tokens)
    return spectral_norm(w_v) * (root * (1 + a * radius**2 + shift * radius) + a * radius**2)


def inverse_phi(y: float) -> float:
    """The x with x e^(x+1) = y, for y ≥ 0.

    Example:
        >>> round(inverse_phi(1 * math.e**2), 9)
        1.0
    """
    return float(lambertw(y / math.e).real)


def l2_attention_bound(
    w_q: Float[Tensor, "h e d"], w_v: Float[Tensor, "h e d"], w_out: Float[Tensor, "d d"], n_tokens: int
) -> float:
    """The global bound of L2 attention on sequences of at most `n_tokens` tokens, masked or not."""
    c, root = inverse_phi(n_tokens - 1), math.sqrt(n_tokens)
    heads = [
        spectral_norm(v.double() @ q.double().mT) * spectral_norm(q) for q, v in zip(w_q, w_v, strict=True)
    ]
    return spectral_norm(w_out) * math.hypot(*heads) / math.sqrt(w_q.shape[1]) * (root * (1 + 2 * c) + 2 * c)


def dot_product_rule(
    qkv: Float[Tensor, "3d d"],
    bias: Float[Tensor, "3d"] | None,
    out: nn.Linear,
    n_heads: int,
    domain: Domain,
    name: str,
) -> tuple[float, Domain]:
    """‖W_o‖ √(Σ_h L_h²) on tokens of norm at most the radius, and where the outputs lie."""
    if domain.radius is None:
        raise UnboundedLipschitzError(
            f"dot-product attention '{name}' is not Lipschitz on all sequences; pass radius, a bound of its tokens' "
            "norms, put a LayerNorm before it, or use attn='l2'"
        )
    n_tokens = _tokens(domain, name)
    q, k, v = (_heads(part, n_heads) for part in qkv.chunk(3))
    bias = qkv.new_zeros(len(qkv)) if bias is None else bias
    b_q, _, b_v = (_heads(part, n_heads) for part in bias.chunk(3))
    heads = [
        dot_head_bound(q[h], k[h], v[h], b_q=b_q[h], radius=domain.radius, n_tokens=n_tokens)
        for h in range(n_heads)
    ]
    reach = [spectral_norm(v[h]) * domain.radius + float(b_v[h].norm()) for h in range(n_heads)]
    return spectral_norm(out.weight) * math.hypot(*heads), _out(out, domain, math.hypot(*reach))


def _heads(weight: Tensor, n_heads: int) -> Float[Tensor, "h e ..."]:
    return weight.detach().unflatten(0, (n_heads, -1))


def _tokens(domain: Domain, name: str) -> int:
    if domain.seq_len is None:
        raise ValueError(f"the bound of attention '{name}' grows with the number of tokens; pass seq_len")
    return domain.seq_len


def _out(out: nn.Linear, domain: Domain, heads_radius: float | None) -> Domain:
    """Where the outputs lie if the heads, side by side, have norm at most `heads_radius`."""
    if heads_radius is None:
        return domain.with_radius(None)
    bias = 0.0 if out.bias is None else float(out.bias.detach().norm())
    return domain.with_radius(spectral_norm(out.weight) * heads_radius + bias)


@register_rule(DotAttention)
def dot_attention(module: DotAttention, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Needs a radius and the number of tokens."""
    value, reached = dot_product_rule(
        module.qkv.weight, module.qkv.bias, module.out, module.n_heads, domain, name
    )
    return LipBound.of(name, value), reached


@register_rule(L2Attention)
def l2_attention(module: L2Attention, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The global bound; needs the number of tokens only."""
    q, v = (_heads(part.weight, module.n_heads) for part in (module.query, module.value))
    value = l2_attention_bound(q, v, module.out.weight.detach(), _tokens(domain, name))
    reach = None
    if domain.radius is not None:
        maps = module.value_map().detach() @ q
        reach = domain.radius * math.hypot(*(spectral_norm(part) for part in maps))
    return LipBound.of(name, value), _out(module.out, domain, reach)


@register_rule(CosineAttention)
def cosine_attention(module: CosineAttention, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The global bound; the heads' outputs are averages of vectors of norm below 1."""
    root = math.sqrt(_tokens(domain, name))
    q, k, v = (_heads(part, module.n_heads) for part in module.qkv.weight.chunk(3))
    tau = module.temperature
    heads = [
        (root * spectral_norm(v[h]) + tau * spectral_norm(q[h]) + tau * root * spectral_norm(k[h]))
        / math.sqrt(module.eps)
        for h in range(module.n_heads)
    ]
    value = spectral_norm(module.out.weight) * math.hypot(*heads)
    return LipBound.of(name, value), _out(module.out, domain, math.sqrt(module.n_heads))
