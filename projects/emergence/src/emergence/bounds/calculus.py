"""The calculus of upper bounds: products, sums, residuals, and the domain they hold on (§3.7).

    Lip(S ∘ T) ≤ Lip(S) Lip(T),   Lip(S + T) ≤ Lip(S) + Lip(T),   Lip(cT) = |c| Lip(T)

A rule says for one kind of module what its bound is on a domain, and where its outputs lie. A module of one's own gets
one either by a method of this name or from outside by `register_rule`:

    def lipschitz_rule(self, domain: Domain, name: str) -> tuple[LipBound, Domain]

which asks `bound_of(child, domain, f"{name}.child")` for its children.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import nn


class UnboundedLipschitzError(ValueError):
    """No finite bound exists on the domain given; the message names the submodule and what has to be said."""


@dataclass(frozen=True)
class Domain:
    """What is known about the inputs of a module: sequences of tokens, a token being the last axis.

    Args:
        radius: every token has at most this norm; None if unknown.
        min_var: every token that enters a normalisation has at least this variance (mean square, for RMSNorm).
        seq_len: most tokens in a sequence.

    Example:
        >>> Domain(radius=2.0).with_radius(None)
        Domain(radius=None, min_var=None, seq_len=None)
    """

    radius: float | None = None
    min_var: float | None = None
    seq_len: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("radius", self.radius), ("min_var", self.min_var)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        if self.seq_len is not None and self.seq_len < 1:
            raise ValueError(f"seq_len must be at least 1, got {self.seq_len}")

    def with_radius(self, radius: float | None) -> "Domain":
        """The same, with tokens of another norm."""
        return replace(self, radius=radius)


@dataclass(frozen=True)
class LipBound:
    """An upper bound of a Lipschitz constant, with the bounds of the parts it was put together from.

    Bounds of products are loose, often by orders of magnitude: show a lower bound (`local_lipschitz`) next to them, and
    never call one the Lipschitz constant.

    Args:
        value: the bound, at least 0.
        parts: (name, bound) of each part, in the order of application.

    Example:
        >>> (LipBound(2.0) @ LipBound(3.0) + LipBound.identity()).value
        7.0
    """

    value: float
    parts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.value >= 0:
            raise ValueError(f"a bound must be at least 0, got {self.value}")

    @classmethod
    def identity(cls) -> "LipBound":
        """The bound of x ↦ x."""
        return cls(1.0)

    @classmethod
    def of(cls, name: str, value: float) -> "LipBound":
        """The bound of a single part."""
        return cls(value, ((name, value),))

    def __matmul__(self, inner: "LipBound") -> "LipBound":
        """The bound of the composition: `inner` is applied first."""
        return LipBound(self.value * inner.value, inner.parts + self.parts)

    def __add__(self, other: "LipBound") -> "LipBound":
        """The bound of a sum of maps."""
        return LipBound(self.value + other.value, self.parts + other.parts)

    def scaled(self, factor: float) -> "LipBound":
        """The bound of the map times a number."""
        return LipBound(abs(factor) * self.value, self.parts)

    def residual(self, scale: float = 1.0) -> "LipBound":
        """The bound of x + scale · T(x)."""
        return self.scaled(scale) + LipBound.identity()


# the first argument is the kind of module the rule is registered for
Rule: TypeAlias = Callable[[Any, Domain, str], tuple[LipBound, Domain]]
RULES: dict[type[nn.Module], Rule] = {}


def register_rule(*kinds: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Makes a function the rule for modules of these classes, and of subclasses that keep their `forward`.

    Example:
        >>> class Double(nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> @register_rule(Double)
        ... def double(module, domain, name):
        ...     return LipBound.of(name, 2.0), domain.with_radius(None)
    """

    def register(rule: Rule) -> Rule:
        for kind in kinds:
            RULES[kind] = rule
        return rule

    return register


def rule_of(module: nn.Module) -> Rule | None:
    """The registered rule, if the module computes what the rule was written for."""
    for kind in type(module).__mro__:
        if kind in RULES and type(module).forward is kind.forward:
            return RULES[kind]
    return None


def bound_of(module: nn.Module, domain: Domain, name: str = "") -> tuple[LipBound, Domain]:
    """The bound of a submodule on a domain, and the domain its outputs lie in. For rules of composite modules."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be a torch module, got {type(module).__name__}; a function has no parts"
        )
    own = getattr(module, "lipschitz_rule", None)
    if own is not None:
        return own(domain, name)
    rule = rule_of(module)
    if rule is None:
        known = ", ".join(sorted(kind.__name__ for kind in RULES))
        raise TypeError(
            f"no Lipschitz rule for {type(module).__name__} at '{name}'; write one with register_rule, or give the "
            f"class a method lipschitz_rule. Known: {known}"
        )
    return rule(module, domain, name)


def residual_bound(
    branch: nn.Module, domain: Domain, name: str = "", *, scale: float = 1.0
) -> tuple[LipBound, Domain]:
    """The bound of x + scale · branch(x), and where that lies. For rules of residual blocks.

    Example:
        >>> residual_bound(nn.Identity(), Domain(radius=2.0), scale=0.5)
        (LipBound(value=1.5, parts=(('', 1.0),)), Domain(radius=3.0, min_var=None, seq_len=None))
    """
    inner, reached = bound_of(branch, domain, name)
    radius = None
    if domain.radius is not None and reached.radius is not None:
        radius = domain.radius + abs(scale) * reached.radius
    return inner.residual(scale), domain.with_radius(radius)
