"""The calculus of upper bounds: products, sums, residuals, and the domain they hold on (§3.7). Skeleton.

Protocol for modules of other files (transformer blocks): a method

    def lipschitz_rule(self, domain: Domain, name: str) -> tuple[LipBound, Domain]

that asks `bounds.compositional.bound_of(child, domain, f"{name}.child")` for its children.
"""

from dataclasses import dataclass


class UnboundedLipschitzError(ValueError):
    """No finite bound exists on the domain given; the message names the submodule and what to say."""


@dataclass(frozen=True)
class Domain:
    """What is known about the tokens that enter a module: ‖token‖ ≤ radius, var(token) ≥ min_var, at most seq_len."""

    radius: float | None = None
    min_var: float | None = None
    seq_len: int | None = None


@dataclass(frozen=True)
class LipBound:
    """An upper bound with the bounds of the parts it was put together from."""

    value: float
    parts: tuple[tuple[str, float], ...] = ()
