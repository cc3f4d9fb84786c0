"""`lipschitz_bound`: an upper bound for a whole module, from the bounds of its parts (§3.7). Skeleton."""

from torch import nn

from .calculus import Domain, LipBound


def lipschitz_bound(
    module: nn.Module,
    *,
    radius: float | None = None,
    min_var: float | None = None,
    seq_len: int | None = None,
) -> LipBound:
    """Upper bound of Lip(module) in the Frobenius norm over (tokens, width); raises UnboundedLipschitzError."""
    raise NotImplementedError


def bound_of(module: nn.Module, domain: Domain, name: str = "") -> tuple[LipBound, Domain]:
    """The bound of a submodule on a domain, and the domain its outputs lie in."""
    raise NotImplementedError
