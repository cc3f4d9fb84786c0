"""Bounds of whole transformer blocks: our own and torch's encoder layer (§4.1).

    x + B(N(x))     Lip ≤ 1 + Lip(B on the range of N) Lip(N)
    N(x + B(x))     Lip ≤ Lip(N) (1 + Lip(B on |token| ≤ R))

A LayerNorm before the attention supplies the radius its bound needs; without one the caller must.
"""

import torch.nn.functional as F
from torch import nn

from ..models.block import MLP, TransformerBlock
from .attention import dot_product_rule
from .calculus import Domain, LipBound, bound_of, register_rule
from .layers import GELU_SLOPE

Part = tuple[str, nn.Module | float]


def chain(parts: list[Part], domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The bound of modules and factors applied one after the other."""
    total = LipBound.identity()
    for key, part in parts:
        if isinstance(part, nn.Module):
            bound, domain = bound_of(part, domain, f"{name}.{key}" if name else key)
            total = bound @ total
        else:
            total = total.scaled(part)
            domain = domain.with_radius(None if domain.radius is None else abs(part) * domain.radius)
    return total, domain


def residual_chain(parts: list[Part], domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The bound of x plus such a chain."""
    inner, reached = chain(parts, domain, name)
    radius = None
    if domain.radius is not None and reached.radius is not None:
        radius = domain.radius + reached.radius
    return inner.residual(), domain.with_radius(radius)


@register_rule(MLP)
def mlp(module: MLP, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖W_out‖ · 1.1289 · ‖W_up‖."""
    return chain([("up", module.up), ("gelu", nn.GELU()), ("out", module.out)], domain, name)


@register_rule(TransformerBlock)
def transformer_block(module: TransformerBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Both branches, with the norms where the style has them."""
    gates = [1.0, 1.0] if module.gates is None else [float(g) for g in module.gates.detach()]
    attend: list[Part] = [("attn", module.attn), ("ln1_out", module.ln1_out), ("gate", gates[0])]
    feed: list[Part] = [("mlp", module.mlp), ("ln2_out", module.ln2_out), ("gate", gates[1])]
    total = LipBound.identity()
    for norm, branch in ((("ln1", module.ln1), attend), (("ln2", module.ln2), feed)):
        if module.style == "post":
            bound, domain = residual_chain(branch, domain, name)
            total = bound @ total
            bound, domain = chain([norm], domain, name)
        else:
            bound, domain = residual_chain([norm, ("factor", module.ln_factor), *branch], domain, name)
        total = bound @ total
    return total, domain


@register_rule(nn.MultiheadAttention)
def multihead_attention(module: nn.MultiheadAttention, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Self-attention by torch's module, q = k = v."""
    if module.training and module.dropout:
        raise ValueError(f"'{name}' drops at random in training mode; call eval() on the module first")
    if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
        raise ValueError(f"no rule for '{name}': attention with kdim, vdim, bias_kv or add_zero_attn")
    value, reached = dot_product_rule(
        module.in_proj_weight, module.in_proj_bias, module.out_proj, module.num_heads, domain, name
    )
    return LipBound.of(name, value), reached


@register_rule(nn.TransformerEncoderLayer)
def encoder_layer(module: nn.TransformerEncoderLayer, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """`nn.TransformerEncoderLayer`, `norm_first` or not, with ReLU or GELU."""
    slopes = {F.relu: 1.0, F.gelu: GELU_SLOPE}
    activation = module.activation
    if not isinstance(activation, nn.Module) and activation not in slopes:
        raise ValueError(
            f"no rule for the activation {activation} of '{name}'; pass a module, e.g. nn.SiLU()"
        )
    middle: nn.Module | float = activation if isinstance(activation, nn.Module) else slopes[activation]
    attend: list[Part] = [("self_attn", module.self_attn), ("dropout1", module.dropout1)]
    feed: list[Part] = [("linear1", module.linear1), ("activation", middle), ("dropout", module.dropout)]
    feed += [("linear2", module.linear2), ("dropout2", module.dropout2)]
    total = LipBound.identity()
    for norm, branch in ((("norm1", module.norm1), attend), (("norm2", module.norm2), feed)):
        if module.norm_first:
            bound, domain = residual_chain([norm, *branch], domain, name)
        else:
            bound, domain = residual_chain(branch, domain, name)
            total = bound @ total
            bound, domain = chain([norm], domain, name)
        total = bound @ total
    return total, domain
