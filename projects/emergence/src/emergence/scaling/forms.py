"""The named sums of terms: limit, power-step and Chinchilla laws, and how to find a law by name (§3.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from .laws import Combine, KaplanLaw, ScalingLaw, SumLaw, Term

Depth = TypeVar("Depth", float, np.ndarray, "pd.Series[float]")

STEPS_DEPTH_DATA = ("steps", "depth", "data")


@dataclass(frozen=True, init=False)
class LimitLaw(SumLaw):
    """E + a·β^n_steps + b·λ^n_blocks + c·n_data^(−γ), the law of the limit theory.

    Args:
        params: numbers, if known: E, a, beta, b, lam, c and, unless it is fixed, gamma.
        terms: which of "steps", "depth", "data" the data vary; the others are part of E.
        gamma: the exponent of the data, ½ by theory; None to fit it.
        combine: "sum" (the paper's form), or "quadrature" for root-mean-square errors.
        floor: whether there is an E.

    Example:
        >>> LimitLaw().names, LimitLaw(terms=("depth", "data"), gamma=None).names
        (('E', 'a', 'beta', 'b', 'lam', 'c'), ('E', 'b', 'lam', 'c', 'gamma'))
    """

    def __init__(
        self,
        params: Mapping[str, float] | None = None,
        *,
        terms: Sequence[str] = STEPS_DEPTH_DATA,
        gamma: float | None = 0.5,
        combine: Combine = "sum",
        floor: bool = True,
        name: str = "limit",
    ):
        steps = Term("a", "beta", "n_steps", "exponential")
        _fill(self, params, name, _chosen(terms, steps, gamma), floor, combine)


@dataclass(frozen=True, init=False)
class PowerStepLaw(SumLaw):
    """E + a·n_steps^(−η) + b·λ^n_blocks + c·n_data^(−γ): the limit law with a power law in the training steps.

    Arguments as `LimitLaw`; the parameter of the steps is `eta`.

    Example:
        >>> PowerStepLaw(terms=("steps", "data"), gamma=None).names
        ('E', 'a', 'eta', 'c', 'gamma')
    """

    def __init__(
        self,
        params: Mapping[str, float] | None = None,
        *,
        terms: Sequence[str] = STEPS_DEPTH_DATA,
        gamma: float | None = 0.5,
        combine: Combine = "sum",
        floor: bool = True,
        name: str = "power-step",
    ):
        steps = Term("a", "eta", "n_steps", "power")
        _fill(self, params, name, _chosen(terms, steps, gamma), floor, combine)


@dataclass(frozen=True, init=False)
class ChinchillaLaw(SumLaw):
    """E + A·n_params^(−α) + B·n_tokens^(−β) of Hoffmann et al.

    Args:
        params: numbers, if known: E, A, alpha, B, beta.

    Example:
        >>> ChinchillaLaw().names
        ('E', 'A', 'alpha', 'B', 'beta')
    """

    def __init__(self, params: Mapping[str, float] | None = None, *, name: str = "chinchilla"):
        terms = (Term("A", "alpha", "n_params", "power"), Term("B", "beta", "n_tokens", "power"))
        _fill(self, params, name, terms, True, "sum")


def _chosen(names: Sequence[str], steps: Term, gamma: float | None) -> tuple[Term, ...]:
    known = {
        "steps": steps,
        "depth": Term("b", "lam", "n_blocks", "exponential"),
        "data": Term("c", "gamma", "n_data", "power", fixed=gamma),
    }
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"terms must be some of {', '.join(known)}, got {', '.join(map(repr, names)) or 'none'}"
        )
    return tuple(term for name, term in known.items() if name in names)


def _fill(
    law: SumLaw,
    params: Mapping[str, float] | None,
    name: str,
    terms: tuple[Term, ...],
    floor: bool,
    combine: Combine,
) -> None:
    """Set the fields of a frozen law whose constructor has friendlier arguments."""
    fields = {"params": params, "name": name, "terms": terms, "floor": floor, "combine": combine}
    for field, value in fields.items():
        object.__setattr__(law, field, value)
    law.__post_init__()


LAWS: Mapping[str, type[ScalingLaw]] = {
    "limit": LimitLaw,
    "power-step": PowerStepLaw,
    "chinchilla": ChinchillaLaw,
    "kaplan": KaplanLaw,
}


def get_law(law: str | ScalingLaw | type[ScalingLaw]) -> ScalingLaw:
    """A law by name, by class, or itself.

    Raises:
        ValueError: unknown name; the known ones are listed.

    Example:
        >>> get_law("kaplan").names
        ('Nc', 'alpha_N', 'Dc', 'alpha_D')
    """
    if isinstance(law, ScalingLaw):
        return law
    if isinstance(law, type) and issubclass(law, ScalingLaw):
        return law()
    if law not in LAWS:
        raise ValueError(f"unknown law {law!r}; known: {', '.join(LAWS)}")
    return LAWS[str(law)]()


def effective_depth(n_params: Depth) -> Depth:
    """(n_params / 10⁶)^(1/3): a heuristic depth where only the number of parameters is known (§10.1).

    It is what shapes of one aspect ratio have, up to a factor: parameters grow like depth·width², width like depth.

    Example:
        >>> round(effective_depth(1e9), 6)
        10.0
    """
    if np.any(np.asarray(n_params) <= 0):
        raise ValueError(f"n_params must be above 0, got {np.min(n_params)}")
    return (n_params / 1e6) ** (1 / 3)
