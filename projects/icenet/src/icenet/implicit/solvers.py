"""Fixed points z = f(z) of a batch, each sample on its own (§3.3, §3.4).

    anderson      x ← β Σ α_j f(x_j) + (1-β) Σ α_j x_j,    α minimises ‖Σ α_j (f(x_j) - x_j)‖² + λ ‖α‖², Σ α_j = 1
    fixed_point   x ← β f(x) + (1-β) x
    broyden       x ← x - β B⁻¹ (f(x) - x),    B⁻¹ by rank-one updates

The k-th evaluation of f gives the residual r_k = ‖f(x_k) - x_k‖ / (1e-5 + ‖f(x_k)‖) of each sample. A sample is done at its
first hit r_k < ε_i and keeps f(x_k) from then on, whatever its neighbours in the batch need; one that never hits keeps its
best evaluation. Every evaluation counts, from the first one on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FLOOR = 1e-5  # added to ‖f(x)‖ in the relative residual (§3.3)

Method = Literal["anderson", "fixed_point", "broyden"]


class SolverDivergedError(RuntimeError):
    """A residual is not finite.

    Args:
        iteration: evaluation of f at which it happened, counted from 1.
        samples: their indices in the batch.
    """

    def __init__(self, iteration: int, samples: list[int]):
        self.iteration, self.samples = iteration, samples
        super().__init__(
            f"the residual is not finite at evaluation {iteration} in samples {samples[:8]}"
            + (f" and {len(samples) - 8} more" if len(samples) > 8 else "")
            + "; on_diverge='best' returns the best evaluation before it with converged=False"
        )


@dataclass(frozen=True)
class SolverConfig:
    """How to look for a fixed point.

    Args:
        eps: ε, the residual below which a sample is done; 0 never stops before `tau`.
        tau: τ, the most evaluations of f; at least 3 for "anderson", whose first mixing follows two of them.
        m: evaluations that Anderson mixes.
        beta: β, damping, in (0, 1].
        lam: λ, the ridge of Anderson's least squares.
        method: "anderson", "fixed_point" or "broyden".
        ridge: what λ is measured in: "absolute", as the formula says, or "relative": λ ‖g_j‖² α_j² for each mixed residual
            g_j, the same at every scale.
        adaptive_batching: whether samples that are done leave the batch, so that the time follows Σ n_i. None: whenever the
            map can be restricted to some samples (it has `select`).
        on_diverge: "raise" a `SolverDivergedError`, or return the "best" evaluation with converged=False.
        backend: "native", or "torchdeq" for the solver of that library.

    Example:
        >>> SolverConfig(eps=1e-2, tau=15, method="fixed_point").m
        5
    """

    eps: float = 1e-3
    tau: int = 30
    m: int = 5
    beta: float = 1.0
    lam: float = 1e-4
    method: Method = "anderson"
    ridge: Literal["absolute", "relative"] = "absolute"
    adaptive_batching: bool | None = None
    on_diverge: Literal["raise", "best"] = "raise"
    backend: Literal["native", "torchdeq"] = "native"


@runtime_checkable
class SelectableMap(Protocol):
    """A map of a batch, (b, …) to (b, …), that can be restricted to some of its samples."""

    def __call__(self, z: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]: ...

    def select(self, rows: Int[Tensor, "n"]) -> "SelectableMap":
        """The same map for the samples `rows` only."""
        ...


@dataclass(frozen=True)
class SolveResult:
    """What a solver found, sample by sample.

    Args:
        z: f at the first hit, or at the smallest residual where there was none.
        residual: its relative residual; infinite where no evaluation was finite.
        nfe: evaluations up to and including the first hit; `tau` where there was none.
        converged: whether there was a hit.
        trace: residual at each evaluation, NaN after a sample is done.
        iterations: calls of f.
        evaluations: samples that f was computed for, summed over its calls.
        ridge_raises: how often Anderson's system of the sample was singular and λ was raised tenfold.
        plain_steps: how often even that did not help and a plain step was taken (Broyden: updates left out).
    """

    z: Float[Tensor, "b ..."]
    residual: Float[Tensor, "b"]
    nfe: Int[Tensor, "b"]
    converged: Bool[Tensor, "b"]
    trace: Float[Tensor, "b iterations"]
    iterations: int
    evaluations: int
    ridge_raises: Int[Tensor, "b"]
    plain_steps: Int[Tensor, "b"]


def solve(
    f: Callable[[Tensor], Tensor],
    z0: Float[Tensor, "b ..."],
    config: SolverConfig = SolverConfig(),  # noqa: B008 (frozen)
    *,
    eps: float | Float[Tensor, "b"] | None = None,
    tau: int | None = None,
) -> SolveResult:
    """The fixed point of f for each sample, without gradients.

    Args:
        f: a map of the batch; a `SelectableMap` where samples shall leave the batch when they are done.
        z0: where to begin.
        config: method and its parameters.
        eps: takes the place of `config.eps`, one for all samples or one a sample.
        tau: takes the place of `config.tau`, at least 1; below 3, Anderson stops before its first mixing.

    Raises:
        SolverDivergedError: a residual is not finite and `config.on_diverge` is "raise".
    """
    raise NotImplementedError


def first_hits(trace: Float[Tensor, "b iterations"], eps: float, tau: int | None = None) -> Int[Tensor, "b"]:
    """n_i(ε) = min{k: r_k < ε}, `tau` (the length of the trace) where there is none: counts for many ε from one trace."""
    raise NotImplementedError
