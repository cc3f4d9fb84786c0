"""The forms of scaling laws, fitted in log space (§3.5).

    limit       E + a·β^K + b·λ^P + c·N^(−γ)            K n_steps, P n_blocks, N n_data
    power step  E + a·K^(−η) + b·λ^P + c·N^(−γ)
    chinchilla  E + A·n_params^(−α) + B·n_tokens^(−β)
    kaplan      [(Nc/n_params)^(αN/αD) + Dc/n_tokens]^αD

All but the last are sums of a floor and terms coefficient·exp(−κ·z) with z = x (exponential) or z = log x (power), so
one class holds them, `SumLaw`, and any mixture of terms is a law as well. The sums may be taken in quadrature,
√(Σ terms²), the right form for root-mean-square errors whose squares add (§3.4).

A fit works with unconstrained coordinates: logarithms of floor, coefficients and decay rates κ (κ = −log β for an
exponential, the exponent for a power).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64

Combine = Literal["sum", "quadrature"]
Array = np.ndarray

_DEEPEST = 10_000
"""More "blocks" than this are taken for a number of parameters."""


@dataclass(frozen=True)
class Term:
    """coefficient·rate^x, or coefficient·x^(−rate).

    Args:
        coefficient: name of the factor.
        rate: name of λ (exponential, in (0, 1)) or of the exponent (power, above 0).
        column: the column x is read from.
        kind: "exponential" or "power".
        fixed: value of the rate if it is not fitted.
    """

    coefficient: str
    rate: str
    column: str
    kind: Literal["exponential", "power"]
    fixed: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("exponential", "power"):
            raise ValueError(f"kind must be 'exponential' or 'power', got {self.kind!r}")
        if self.fixed is not None:
            self.decay(self.fixed)

    def decay(self, rate: float) -> float:
        """κ of a natural rate."""
        if self.kind == "exponential":
            if not 0 < rate < 1:
                raise ValueError(f"{self.rate} must lie in (0, 1), got {rate}")
            return -math.log(rate)
        if not 0 < rate < math.inf:
            raise ValueError(f"{self.rate} must be finite and above 0, got {rate}")
        return rate

    def natural(self, decay: float) -> float:
        """The rate of a κ."""
        return math.exp(-decay) if self.kind == "exponential" else decay

    def position(self, x: Float64[Array, "n"]) -> Float64[Array, "n"]:
        """z of the column: x itself or log x."""
        return x if self.kind == "exponential" else np.log(x)


@dataclass(frozen=True)
class ScalingLaw(ABC):
    """A form, with numbers for its parameters where they are known.

    Args:
        params: parameter name -> value; None for a form that is still to be fitted.
    """

    params: Mapping[str, float] | None = None

    name: str = "law"

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns the law reads, in the order of `design`."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Fitted parameters, in the order of the coordinates."""

    @abstractmethod
    def design(self, rows: pd.DataFrame) -> Float64[Array, "n j"]:
        """Positions z of the terms."""

    @abstractmethod
    def coordinates(self, params: Mapping[str, float]) -> Float64[Array, "k"]:
        """Unconstrained coordinates of parameters."""

    @abstractmethod
    def natural(self, theta: Float64[Array, "k"]) -> dict[str, float]:
        """Parameters of coordinates."""

    @abstractmethod
    def shifted(self, theta: Float64[Array, "k"], by: Float64[Array, "j"]) -> Float64[Array, "k"]:
        """Coordinates that predict at z what `theta` predicts at z − by."""

    @abstractmethod
    def log_prediction(
        self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]
    ) -> tuple[Float64[Array, "n"], Float64[Array, "n k"]]:
        """Logarithms of the predictions and their derivatives by the coordinates."""

    @abstractmethod
    def shares(self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]) -> dict[str, Array]:
        """Parameter -> share of the prediction, per row, that the term it stands in makes up."""

    @property
    def decays(self) -> dict[int, int]:
        """Index of a coordinate that is a logarithmic decay rate -> column of the design it acts on."""
        return {}

    def with_params(self, params: Mapping[str, float]) -> Self:
        """The same form with numbers."""
        law = copy(self)  # the constructors of named laws take other arguments than their fields
        object.__setattr__(law, "params", dict(params))
        return law

    def predict(self, rows: pd.DataFrame) -> Float64[Array, "n"]:
        """Predicted losses.

        Raises:
            ValueError: the law has no numbers yet, or a column is missing or not above 0.

        Example:
            >>> from emergence.scaling.forms import ChinchillaLaw
            >>> law = ChinchillaLaw(params={"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37})
            >>> law.predict(pd.DataFrame({"n_params": [1e9], "n_tokens": [2e10]})).round(3).tolist()
            [2.464]
        """
        if self.params is None:
            raise ValueError(f"the {self.name} law has no parameters yet; fit it, or give params=")
        missing = [name for name in self.names if name not in self.params]
        if missing:
            raise ValueError(
                f"params lacks {', '.join(missing)}; the {self.name} law has {', '.join(self.names)}"
            )
        return np.exp(self.log_prediction(self.coordinates(self.params), self.design(rows))[0])


@dataclass(frozen=True)
class SumLaw(ScalingLaw):
    """A floor and any number of terms, added plainly or in quadrature.

    Args:
        params: numbers, if known.
        name: shown in tables.
        terms: what is added.
        floor: whether there is a limit E of everything.
        combine: "sum", or "quadrature" for √(Σ terms²).

    Example:
        >>> mixed = SumLaw(terms=(Term("b", "lam", "n_blocks", "exponential"), Term("c", "gamma", "n_data", "power")))
        >>> mixed.names
        ('E', 'b', 'lam', 'c', 'gamma')
    """

    name: str = "sum"
    terms: tuple[Term, ...] = ()
    floor: bool = True
    combine: Combine = "sum"

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("terms is empty: give at least one Term")
        if self.combine not in ("sum", "quadrature"):
            raise ValueError(f"combine must be 'sum' or 'quadrature', got {self.combine!r}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"parameter names must differ, got {', '.join(self.names)}")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(term.column for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        found = ["E"] if self.floor else []
        for term in self.terms:
            found += [term.coefficient] if term.fixed is not None else [term.coefficient, term.rate]
        return tuple(found)

    @property
    def decays(self) -> dict[int, int]:
        names = self.names
        return {names.index(t.rate): j for j, t in enumerate(self.terms) if t.fixed is None}

    @property
    def power(self) -> int:
        """The p of (Σ termsᵖ)^(1/p)."""
        return 2 if self.combine == "quadrature" else 1

    def design(self, rows: pd.DataFrame) -> Float64[Array, "n j"]:
        return np.stack([term.position(column(rows, term.column)) for term in self.terms], axis=1)

    def coordinates(self, params: Mapping[str, float]) -> Float64[Array, "k"]:
        theta = [_log(params["E"])] if self.floor else []
        for term in self.terms:
            theta.append(_log(params[term.coefficient]))
            if term.fixed is None:
                theta.append(math.log(term.decay(params[term.rate])))
        return np.array(theta)

    def natural(self, theta: Float64[Array, "k"]) -> dict[str, float]:
        rates = {term.rate: term for term in self.terms}
        values = (
            rates[name].natural(math.exp(t)) if name in rates else math.exp(min(t, 709.0))
            for name, t in zip(self.names, theta, strict=True)
        )
        return dict(zip(self.names, map(float, values), strict=True))

    def _layout(self) -> list[tuple[int, int | None, float]]:
        """Per term: index of its coefficient, index of its decay rate (None if that is fixed), and the fixed κ (else 0)."""
        names = self.names
        return [
            (names.index(t.coefficient), names.index(t.rate), 0.0)
            if t.fixed is None
            else (names.index(t.coefficient), None, t.decay(t.fixed))
            for t in self.terms
        ]

    def shifted(self, theta: Float64[Array, "k"], by: Float64[Array, "j"]) -> Float64[Array, "k"]:
        moved = np.array(theta, dtype=float)
        for (c, r, fixed), shift in zip(self._layout(), by, strict=True):
            kappa = math.exp(theta[r]) if r is not None else fixed
            moved[c] += kappa * shift
        return moved

    def _log_terms(
        self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]
    ) -> tuple[Float64[Array, "t n"], Float64[Array, "j n"]]:
        """Logarithms of floor and terms, and the slopes κ z of the terms."""
        slopes = np.empty((len(self.terms), len(design)))
        logs = np.empty((len(self.terms) + self.floor, len(design)))
        if self.floor:
            logs[0] = theta[0]
        for j, (c, r, fixed) in enumerate(self._layout()):
            slopes[j] = (math.exp(theta[r]) if r is not None else fixed) * design[:, j]
            logs[j + self.floor] = theta[c] - slopes[j]
        return logs, slopes

    def log_prediction(
        self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]
    ) -> tuple[Float64[Array, "n"], Float64[Array, "n k"]]:
        logs, slopes = self._log_terms(theta, design)
        logs *= self.power
        top = logs.max(0)
        weights = np.exp(logs - top)
        total = weights.sum(0)
        weights /= total
        jacobian = np.empty((len(design), len(self.names)))
        if self.floor:
            jacobian[:, 0] = weights[0]
        for j, (c, r, _) in enumerate(self._layout()):
            share = weights[j + self.floor]
            jacobian[:, c] = share
            if r is not None:
                jacobian[:, r] = -share * slopes[j]
        return (top + np.log(total)) / self.power, jacobian

    def shares(self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]) -> dict[str, Array]:
        logs, _ = self._log_terms(theta, design)
        weights = np.exp(self.power * (logs - logs.max(0)))
        weights /= weights.sum(0)
        found = {"E": weights[0]} if self.floor else {}
        for j, term in enumerate(self.terms):
            found[term.coefficient] = weights[j + self.floor]
            if term.fixed is None:
                found[term.rate] = weights[j + self.floor]
        return found


@dataclass(frozen=True)
class KaplanLaw(ScalingLaw):
    """[(Nc/n_params)^(αN/αD) + Dc/n_tokens]^αD, without a floor; parameters Nc, alpha_N, Dc, alpha_D.

    Example:
        >>> law = KaplanLaw(params={"Nc": 6.4e13, "alpha_N": 0.076, "Dc": 1.8e13, "alpha_D": 0.103})
        >>> law.predict(pd.DataFrame({"n_params": [1e9], "n_tokens": [2e10]})).round(2).tolist()
        [2.37]
    """

    name: str = "kaplan"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("n_params", "n_tokens")

    @property
    def names(self) -> tuple[str, ...]:
        return ("Nc", "alpha_N", "Dc", "alpha_D")

    @property
    def decays(self) -> dict[int, int]:
        return {1: 0, 3: 1}

    def design(self, rows: pd.DataFrame) -> Float64[Array, "n j"]:
        return np.stack([np.log(column(rows, name)) for name in self.columns], axis=1)

    def coordinates(self, params: Mapping[str, float]) -> Float64[Array, "k"]:
        return np.array([_log(params[name]) for name in self.names])

    def natural(self, theta: Float64[Array, "k"]) -> dict[str, float]:
        return {name: math.exp(min(t, 709.0)) for name, t in zip(self.names, theta, strict=True)}

    def shifted(self, theta: Float64[Array, "k"], by: Float64[Array, "j"]) -> Float64[Array, "k"]:
        return np.array(theta, dtype=float) + np.array([by[0], 0.0, by[1], 0.0])

    def log_prediction(
        self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]
    ) -> tuple[Float64[Array, "n"], Float64[Array, "n k"]]:
        alpha_n, alpha_d = math.exp(theta[1]), math.exp(theta[3])
        model = (alpha_n / alpha_d) * (theta[0] - design[:, 0])
        data = theta[2] - design[:, 1]
        both = np.logaddexp(model, data)
        share = np.exp(model - both)
        jacobian = np.stack(
            [
                alpha_n * share,
                alpha_d * share * model,
                alpha_d * (1 - share),
                alpha_d * (both - share * model),
            ],
            axis=1,
        )
        return alpha_d * both, jacobian

    def shares(self, theta: Float64[Array, "k"], design: Float64[Array, "n j"]) -> dict[str, Array]:
        model = math.exp(theta[1] - theta[3]) * (theta[0] - design[:, 0])
        share = np.exp(model - np.logaddexp(model, theta[2] - design[:, 1]))
        return {"Nc": share, "alpha_N": share, "Dc": 1 - share, "alpha_D": 1 - share}


def column(rows: pd.DataFrame, name: str) -> Float64[Array, "n"]:
    """A column of numbers above 0; a depth may not be a number of parameters.

    Raises:
        ValueError: missing, not finite, not above 0, or parameters where blocks are expected.
    """
    if name not in rows:
        raise ValueError(_missing(name, list(map(str, rows.columns))))
    values = np.asarray(rows[name], dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(
            f"column {name!r} has {int((~np.isfinite(values)).sum())} missing or infinite values; drop these rows"
        )
    if (values <= 0).any():
        raise ValueError(
            f"column {name!r} must be above 0, its smallest value is {values.min():g}; drop or mend these rows"
        )
    if name == "n_blocks" and values.max() > _DEEPEST:
        raise ValueError(
            f"column 'n_blocks' reaches {values.max():g}: that is a number of parameters, not of blocks; use the depth, or "
            "effective_depth(n_params)"
        )
    return values


def _missing(name: str, there: Sequence[str]) -> str:
    text = f"the data have no column {name!r}; they have {', '.join(there)}"
    if name == "n_blocks" and "n_params" in there:
        text += "; λ^P needs a number of blocks: use the depth, or effective_depth(n_params)"
    elif name in ("n_steps", "n_blocks", "n_data"):
        text += "; a limit law without this term is LimitLaw(terms=…)"
    return text


def _log(value: float) -> float:
    """log of a coefficient that a fit may have driven to 0."""
    if value < 0 or not math.isfinite(value):
        raise ValueError(f"coefficients must be finite and at least 0, got {value}")
    return math.log(max(value, 1e-300))
