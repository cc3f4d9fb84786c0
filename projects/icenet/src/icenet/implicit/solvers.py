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

from .anderson import Anderson
from .broyden import Broyden
from .precision import full_precision

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
        ridge: what λ is measured in: "relative", λ Σ_j ‖g_j‖² α_j² with the mixed residuals g_j, the same at every scale; or
            "absolute", λ ‖α‖² as the formula says, which outweighs small residuals and then mixes them evenly.
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
    ridge: Literal["relative", "absolute"] = "relative"
    adaptive_batching: bool | None = None
    on_diverge: Literal["raise", "best"] = "raise"
    backend: Literal["native", "torchdeq"] = "native"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("method", self.method, ("anderson", "fixed_point", "broyden")),
            ("ridge", self.ridge, ("absolute", "relative")),
            ("on_diverge", self.on_diverge, ("raise", "best")),
            ("backend", self.backend, ("native", "torchdeq")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise ValueError(f"eps must be finite and not negative, got {self.eps}")
        least = 3 if self.method == "anderson" else 1
        if self.tau < least:
            raise ValueError(
                f"tau must be at least {least} for method={self.method!r}, got {self.tau}"
                + (
                    "; its first mixing follows two evaluations, use method='fixed_point'"
                    if least == 3
                    else ""
                )
            )
        if self.m < 1:
            raise ValueError(f"m must be at least 1, got {self.m}")
        if not 0 < self.beta <= 1:
            raise ValueError(f"beta must be in (0, 1], got {self.beta}")
        if not (math.isfinite(self.lam) and self.lam >= 0):
            raise ValueError(f"lam must be finite and not negative, got {self.lam}")
        if self.backend == "torchdeq" and self.method == "broyden":
            raise ValueError("backend='torchdeq' offers 'anderson' and 'fixed_point', got method='broyden'")


@runtime_checkable
class SelectableMap(Protocol):
    """A map of a batch, (b, …) to (b, …), that can be restricted to some of its samples."""

    def __call__(self, z: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]: ...

    def select(self, rows: Int[Tensor, "n"]) -> "SelectableMap":
        """The same map for the samples `rows` only."""
        ...


Measure = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(f(x), x, rows) -> residual of each sample, for the samples `rows` of the batch that are still there."""


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
    config: SolverConfig = SolverConfig(),
    *,
    eps: float | Float[Tensor, "b"] | None = None,
    tau: int | None = None,
    measure: Measure | None = None,
) -> SolveResult:
    """The fixed point of f for each sample, without gradients.

    Args:
        f: a map of the batch; a `SelectableMap` where samples shall leave the batch when they are done.
        z0: where to begin.
        config: method and its parameters.
        eps: takes the place of `config.eps`, one for all samples or one a sample.
        tau: takes the place of `config.tau`, at least 1; below 3, Anderson stops before its first mixing.
        measure: what is compared with ε in place of the relative residual.

    Raises:
        SolverDivergedError: a residual is not finite and `config.on_diverge` is "raise".

    Example:
        >>> result = solve(torch.cos, torch.zeros(2, 1), eps=torch.tensor([1e-1, 1e-6]))
        >>> result.z[:, 0], result.nfe
        (tensor([0.7383, 0.7391]), tensor([4, 7]))
    """
    if z0.dim() < 2 or not z0.is_floating_point():
        raise ValueError(f"z0 must be floating point of shape (b, …), got {z0.dtype} of {tuple(z0.shape)}")
    tau = config.tau if tau is None else tau
    if tau < 1:
        raise ValueError(f"tau must be at least 1, got {tau}")
    limits = sample_limits(config.eps if eps is None else eps, z0)
    with torch.no_grad(), full_precision(z0.device):
        if config.backend == "torchdeq":
            from .torchdeq_backend import solve_with_torchdeq

            return solve_with_torchdeq(f, z0, config, limits, tau)
        return _Solve(f, z0, config, limits, tau).run(measure)


def relative_residual(fx: Float[Tensor, "b d"], g: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
    """‖g‖ / (1e-5 + ‖f(x)‖), g = f(x) - x."""
    return torch.linalg.vector_norm(g, dim=1) / (torch.linalg.vector_norm(fx, dim=1) + FLOOR)


def first_hits(trace: Float[Tensor, "b iterations"], eps: float, tau: int | None = None) -> Int[Tensor, "b"]:
    """n_i(ε) = min{k: r_k < ε}, `tau` (the length of the trace) where there is none: counts for many ε from one trace.

    Example:
        >>> first_hits(torch.tensor([[1.0, 0.2, 0.04, 0.01]]), 0.1)
        tensor([3])
    """
    tau = trace.shape[1] if tau is None else tau
    hits = trace[:, :tau] < eps
    return torch.where(hits.any(1), hits.int().argmax(1) + 1, tau)


def sample_limits(eps: float | Tensor, z0: Tensor) -> Float[Tensor, "b"]:
    """ε_i of each sample from one number or one a sample."""
    limits = torch.as_tensor(eps, dtype=z0.dtype, device=z0.device)
    if limits.dim() == 0:
        limits = limits.expand(len(z0))
    if limits.shape != (len(z0),):
        raise ValueError(
            f"eps must be a number or have one entry for each of the {len(z0)} samples, got shape {tuple(limits.shape)}"
        )
    if not bool((limits >= 0).all()):  # NaN fails as well
        raise ValueError(f"eps must not be negative, got {float(limits.min())}")
    return limits


class _Plain:
    """x ← β f(x) + (1-β) x."""

    def __init__(self, like: Float[Tensor, "b d"], beta: float):
        self.beta = beta
        self.ridge_raises = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.plain_steps = torch.zeros_like(self.ridge_raises)

    def place(self) -> None:
        """Residuals are not kept: anywhere."""

    def step(self, x: Tensor, f: Tensor, g: Tensor) -> Tensor:
        return f if self.beta == 1 else f - (1 - self.beta) * g

    def keep(self, rows: Tensor) -> None:
        self.ridge_raises, self.plain_steps = self.ridge_raises[rows], self.plain_steps[rows]


def _stepper(config: SolverConfig, like: Float[Tensor, "b d"]) -> Anderson | Broyden | _Plain:
    if config.method == "anderson":
        return Anderson(like, config.m, config.beta, config.lam, config.ridge == "relative")
    return Broyden(like, config.beta) if config.method == "broyden" else _Plain(like, config.beta)


class _Layout:
    """Features as vectors (b, d) without moving them: channels-last images are flattened in the order they lie in."""

    def __init__(self, z: Tensor):
        self.shape = z.shape[1:]
        self.last = (
            z.dim() == 4 and not z.is_contiguous() and z.is_contiguous(memory_format=torch.channels_last)
        )

    def flat(self, z: Tensor) -> Float[Tensor, "b d"]:
        return (z.permute(0, 2, 3, 1) if self.last else z).reshape(len(z), -1)

    def shaped(self, x: Float[Tensor, "b d"]) -> Tensor:
        if not self.last:
            return x.view(len(x), *self.shape)
        c, h, w = self.shape
        return x.view(len(x), h, w, c).permute(0, 3, 1, 2)


class _Solve:
    """One solve: what is known of every sample, and the samples still in the batch."""

    def __init__(
        self, f: Callable[[Tensor], Tensor], z0: Tensor, config: SolverConfig, limits: Tensor, tau: int
    ):
        self.f, self.config, self.limits, self.tau = f, config, limits, tau
        self.drops = config.adaptive_batching
        if self.drops is None:
            self.drops = isinstance(f, SelectableMap)
        elif self.drops and not isinstance(f, SelectableMap):
            raise TypeError(
                f"adaptive_batching=True needs a map with select(rows), got {type(f).__name__}; see SelectableMap"
            )
        self.layout = _Layout(z0)
        x = self.layout.flat(z0)
        self.stepper = _stepper(config, x)
        b = len(x)
        # of the whole batch
        self.z = x.clone()
        self.residual = x.new_full((b,), torch.inf)
        self.nfe = torch.zeros(b, dtype=torch.long, device=x.device)
        self.converged = torch.zeros(b, dtype=torch.bool, device=x.device)
        self.ridge_raises, self.plain_steps = torch.zeros_like(self.nfe), torch.zeros_like(self.nfe)
        self.trace: list[tuple[Tensor, Tensor]] = []  # samples and their residuals, evaluation by evaluation
        self.evaluations = 0
        # of the samples still in the batch
        self.rows = torch.arange(b, device=x.device)
        self.done = torch.zeros_like(self.converged)
        self.any_done = False
        self.x, self.best, self.best_residual = x, x, self.residual
        self.bounds: list[tuple[float, float]] | None = None

    def run(self, measure: Measure | None) -> SolveResult:
        for k in range(1, self.tau + 1):
            fx, g, r = self._evaluate(measure)
            if not self._uneventful(fx, r) and self._record(k, fx, r):
                if bool(self.done.all()):
                    break
                if self.drops:
                    fx, g = self._drop(fx, g)
            if k < self.tau:
                self.x = self.stepper.step(self.x, fx, g)
                if self.any_done:  # still in the batch: keep them where they are finite
                    self.x = torch.where(self.done[:, None], self.best, self.x)
        self._store(~self.done, self.tau)
        return SolveResult(
            self.layout.shaped(self.z), self.residual, self.nfe, self.converged, self._whole_trace(),
            len(self.trace), self.evaluations, self.ridge_raises, self.plain_steps,
        )  # fmt: skip

    def _evaluate(self, measure: Measure | None) -> tuple[Tensor, Tensor, Tensor]:
        z = self.layout.shaped(self.x)
        value = self.f(z)
        if value.shape != z.shape:
            raise ValueError(f"f must keep the shape, got {tuple(value.shape)} from {tuple(z.shape)}")
        self.evaluations += len(z)
        fx = self.layout.flat(value).to(self.x.dtype)
        g = torch.sub(fx, self.x, out=self.stepper.place())
        return fx, g, relative_residual(fx, g) if measure is None else measure(value, z, self.rows)

    def _uneventful(self, fx: Tensor, r: Tensor) -> bool:
        """Note an evaluation in which every sample came nearer and none arrived, with a single look at the device."""
        if self.any_done:
            return False
        if self.bounds is None:
            self.bounds = list(zip(self.limits.tolist(), self.best_residual.tolist()))
        found = r.tolist()
        if not all(limit <= value < best for value, (limit, best) in zip(found, self.bounds)):
            self.bounds = None
            return False
        self.bounds = [(limit, value) for value, (limit, _) in zip(found, self.bounds)]
        self.trace.append((self.rows, r))
        self.best, self.best_residual = fx, r
        return True

    def _whole_trace(self) -> Float[Tensor, "b iterations"]:
        """Residuals of all samples, NaN once a sample is done."""
        whole = self.residual.new_full((len(self.residual), len(self.trace)), torch.nan)
        for k, (rows, r) in enumerate(self.trace):
            whole[rows, k] = r
        return whole

    def _record(self, k: int, fx: Tensor, r: Tensor) -> bool:
        """Note the k-th evaluation; whether it finished a sample."""
        self.trace.append((self.rows, torch.where(self.done, torch.nan, r) if self.any_done else r))
        finite = torch.isfinite(r)
        if not bool(finite.all()):
            bad = ~finite & ~self.done
            if self.config.on_diverge == "raise" and bool(bad.any()):
                raise SolverDivergedError(k, self.rows[bad].tolist())
            self._store(bad, self.tau)
            self.done = self.done | bad
            self.any_done = True
        better = (r < self.best_residual) & ~self.done
        if bool(better.all()):
            self.best, self.best_residual = fx, r
        else:
            self.best = torch.where(better[:, None], fx, self.best)
            self.best_residual = torch.where(better, r, self.best_residual)
        hit = (r < self.limits) & ~self.done
        if bool(hit.any()):
            self.converged[self.rows[hit]] = True
            self._store(hit, k)
            self.done = self.done | hit
            self.any_done = True
        return self.any_done

    def _store(self, which: Bool[Tensor, "n"], nfe: int) -> None:
        """Write the samples down that leave now."""
        rows = self.rows[which]
        self.z[rows], self.residual[rows] = self.best[which], self.best_residual[which]
        self.nfe[rows] = nfe
        self.ridge_raises[rows] = self.stepper.ridge_raises[which]
        self.plain_steps[rows] = self.stepper.plain_steps[which]

    def _drop(self, fx: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Take the samples that are done out of the batch."""
        n = int((~self.done).sum())
        stay = torch.arange(
            n, device=self.rows.device
        )  # the last ones fill the gaps, the others keep their place
        stay[self.done[:n]] = n + (~self.done[n:]).nonzero()[:, 0]
        self.f = self.f.select(stay)  # type: ignore[attr-defined]
        self.stepper.keep(stay)
        self.rows, self.limits, self.x = self.rows[stay], self.limits[stay], self.x[stay]
        self.best, self.best_residual = self.best[stay], self.best_residual[stay]
        self.done, self.any_done, self.bounds = self.done[stay], False, None
        kept = self.stepper.place()
        return fx[stay], g[stay] if kept is None else kept
