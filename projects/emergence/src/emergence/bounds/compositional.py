"""`lipschitz_bound`: an upper bound for a whole module, from the bounds of its parts (§3.7)."""

from torch import nn

from . import attention, convolution, layers, transformer  # noqa: F401  (they register their rules)
from .calculus import Domain, LipBound, register_rule
from .calculus import bound_of as bound_of


def lipschitz_bound(
    module: nn.Module,
    *,
    radius: float | None = None,
    min_var: float | None = None,
    seq_len: int | None = None,
) -> LipBound:
    """An upper bound of Lip(module), in the Frobenius norm over tokens and width.

    Args:
        module: in eval mode, made of layers with rules (`register_rule` adds some).
        radius: largest norm of an input token; needed where dot-product attention meets tokens of unknown size.
        min_var: least variance of the tokens that enter a normalisation; without it the bound of a LayerNorm is
            ‖γ‖/√ε, which is attained near constant tokens.
        seq_len: most tokens of a sequence; needed for attention.

    Raises:
        UnboundedLipschitzError: if no finite bound exists; names the submodule.
        TypeError: if a submodule has no rule.
        ValueError: for dropout or batch normalisation in training mode, and arguments out of range.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
        >>> for layer in (net[0], net[2]):
        ...     _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> round(lipschitz_bound(net).value, 6)
        9.0
    """
    return bound_of(module, Domain(radius, min_var, seq_len))[0]


@register_rule(nn.Sequential)
def sequential(module: nn.Sequential, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The product, each factor on the domain the former one leaves."""
    total = LipBound.identity()
    for key, child in module.named_children():
        bound, domain = bound_of(child, domain, f"{name}.{key}" if name else key)
        total = bound @ total
    return total, domain
