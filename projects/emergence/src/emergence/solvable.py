"""A model in which every term of the law β^K + λ^P + N^(−1/2) can be switched on and measured alone (§3.3, §4.3).

    state      z_{p+1} = tanh(λ Q z_p + U x + b),  z_0 = 0,  Q orthogonal     (so Lip ≤ λ, and z_∞(x) exists for λ < 1)
    target     y = ⟨w*, z_∞(x)⟩ + σ · noise,   the signal has zero mean and unit variance
    student    a linear read-out of z_P(x) with an intercept, fitted to n_data samples by n_steps damped Newton steps

The three errors are root mean squares over a test set without noise: of stopping the recursion after n_blocks (the best
read-out of z_P), of having n_data noisy samples, and of having taken n_steps. The damped Newton step w ← w − η H⁻¹ g
contracts every direction by exactly β = 1 − η, hence w_K = (1 − β^K) w_LS from w_0 = 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

STATE_TOLERANCE = 1e-10
"""z_∞ is iterated until the a-posteriori bound λ/(1−λ)·‖z_p − z_{p−1}‖ is below this for every sample."""

_CHUNK = 4096
"""Samples iterated at once: their states stay in the processor's cache."""


class ErrorSplit(NamedTuple):
    """Root-mean-square errors; total² ≈ opt² + arch² + sample² away from where two of them cross.

    Args:
        total: of the student after n_steps.
        opt: between the student and the least-squares read-out it converges to.
        arch: of the best read-out of z_P, had there been infinitely many samples.
        sample: what the least-squares read-out on n_data samples adds to `arch`, in quadrature.
    """

    total: float
    opt: float
    arch: float
    sample: float


@dataclass(frozen=True)
class _Sample:
    """Inputs' states at some depths and what the student is to predict.

    Args:
        states: depth -> (n, d_state + 1), the last column is 1 for the intercept.
        clean: targets without noise, (n,).
    """

    states: dict[int | None, Float[Tensor, "n k"]]
    clean: Float[Tensor, "n"]


class SolvableLimitModel:
    """Teacher, student and their three errors.

    Args:
        d_in: size of x, drawn from N(0, I).
        d_state: size of z.
        lam: λ, the Lipschitz constant of a block is at most this; in (0, 1).
        noise: standard deviation σ of the noise of the training targets.
        seed: of the teacher, of the test set and of the training samples.
        activation: "tanh", or "linear" for a block whose rate is λ exactly.
        n_test: samples of the test set.
        n_reference: fresh samples that stand for infinitely many in `arch`.

    Raises:
        ValueError: λ outside (0, 1), a size below 1, negative noise.

    Example:
        >>> model = SolvableLimitModel(n_test=500, n_reference=2000)
        >>> split = model.error(n_data=1000, n_blocks=4, n_steps=10, eta=0.2)
        >>> split.total > split.arch > 0
        True
    """

    def __init__(
        self,
        d_in: int = 6,
        d_state: int = 24,
        lam: float = 0.8,
        noise: float = 0.3,
        seed: int = 0,
        *,
        activation: Literal["tanh", "linear"] = "tanh",
        n_test: int = 4000,
        n_reference: int = 200_000,
    ):
        for name, value in (("d_in", d_in), ("d_state", d_state), ("n_test", n_test)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if n_reference <= d_state + 1:
            raise ValueError(
                f"n_reference must exceed d_state + 1 = {d_state + 1} for a read-out, got {n_reference}"
            )
        if not 0 < lam < 1:
            raise ValueError(f"lam must lie in (0, 1) for the limit state to exist, got {lam}")
        if not 0 <= noise < math.inf:
            raise ValueError(f"noise must be finite and at least 0, got {noise}")
        if activation not in ("tanh", "linear"):
            raise ValueError(f"activation must be 'tanh' or 'linear', got {activation!r}")
        self.d_in, self.d_state, self.lam, self.noise, self.seed = d_in, d_state, lam, noise, seed
        self.activation, self.n_test, self.n_reference = activation, n_test, n_reference
        draw = self._generator(0)
        gaussian = torch.randn(d_state, d_state, generator=draw, dtype=torch.float64)
        q, r = torch.linalg.qr(gaussian)
        self.rotation = q * r.diagonal().sign()
        self.read_in = 0.5 * d_in**-0.5 * torch.randn(d_state, d_in, generator=draw, dtype=torch.float64)
        self.bias = 0.1 * torch.randn(d_state, generator=draw, dtype=torch.float64)
        direction = torch.randn(d_state, generator=draw, dtype=torch.float64)
        self._scale_target(direction)

    def _scale_target(self, direction: Float[Tensor, "d"]) -> None:
        """w* and its intercept, such that ⟨w*, z_∞⟩ has mean 0 and variance 1."""
        states = self.limit_state(self.draw_inputs(4000, stream=1))
        signal = states @ direction
        self.weight = direction / signal.std()
        self.intercept = -float(signal.mean() / signal.std())

    def _generator(self, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(1_000_003 * self.seed + stream)

    def draw_inputs(self, n: int, stream: int) -> Float[Tensor, "n d_in"]:
        """x ~ N(0, I) of one of the model's independent random streams."""
        return torch.randn(n, self.d_in, generator=self._generator(stream), dtype=torch.float64)

    def block(self, z: Float[Tensor, "n d"], drive: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """One step of the recursion; `drive` is U x + b."""
        z = torch.addmm(drive, z, self.rotation.mT, alpha=self.lam)
        return z.tanh_() if self.activation == "tanh" else z

    def drive(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d"]:
        """U x + b."""
        return x @ self.read_in.mT + self.bias

    def iterate(self, x: Float[Tensor, "n d_in"]) -> Iterator[Float[Tensor, "n d"]]:
        """z_0, z_1, z_2, … without end."""
        drive = self.drive(x)
        z = torch.zeros_like(drive)
        while True:
            yield z
            z = self.block(z, drive)

    def state(self, x: Float[Tensor, "n d_in"], n_blocks: int) -> Float[Tensor, "n d"]:
        """z_P(x) after P = n_blocks steps."""
        if n_blocks < 0:
            raise ValueError(f"n_blocks must be at least 0, got {n_blocks}")
        return next(z for p, z in enumerate(self.iterate(x)) if p == n_blocks)

    def limit_state(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d"]:
        """z_∞(x) to the tolerance `STATE_TOLERANCE`, by the a-posteriori bound of the contraction (§3.2)."""
        return torch.cat([self._limit(part) for part in x.split(_CHUNK)])

    def _limit(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d"]:
        tolerance = STATE_TOLERANCE * (1 - self.lam) / self.lam
        before = None
        for z in self.iterate(x):
            if before is not None and float((z - before).norm(dim=1).max()) <= tolerance:
                return z
            before = z
        raise AssertionError("unreachable: the recursion has no end")

    def state_error(self, n_blocks: int, n: int = 4000) -> float:
        """Root mean square of ‖z_P − z_∞‖ over n inputs; λ^P times that of P = 0 exactly for the linear block."""
        x = self.draw_inputs(n, stream=2)
        return float((self.state(x, n_blocks) - self.limit_state(x)).square().sum(1).mean().sqrt())

    # The student --------------------------------------------------------------------------------------------------------

    def sample(self, n: int, depths: Sequence[int | None], stream: int) -> _Sample:
        """Fresh inputs with their states at the given depths (None is z_∞) and targets without noise."""
        parts = [self._states(x, depths) for x in self.draw_inputs(n, stream).split(_CHUNK)]
        states = {depth: torch.cat([part[0][depth] for part in parts]) for depth in depths}
        return _Sample(states, torch.cat([part[1] for part in parts]))

    def _states(
        self, x: Float[Tensor, "n d_in"], depths: Sequence[int | None]
    ) -> tuple[dict[int | None, Tensor], Tensor]:
        wanted = {depth for depth in depths if depth is not None}
        found: dict[int | None, Tensor] = {}
        for p, z in enumerate(self.iterate(x)):
            if p in wanted:
                found[p] = _with_intercept(z)
            if p >= max(wanted, default=0):
                break
        limit = self._limit(x)
        if None in depths:
            found[None] = _with_intercept(limit)
        return found, limit @ self.weight + self.intercept

    def noisy(self, clean: Float[Tensor, "n"], stream: int) -> Float[Tensor, "n"]:
        """Training targets: the clean ones plus σ times noise of its own stream."""
        noise = torch.randn(len(clean), generator=self._generator(stream), dtype=torch.float64)
        return clean + self.noise * noise

    @cached_property
    def _reference_sums(self) -> dict[int | None, tuple[Tensor, Tensor]]:
        return {}

    def best_read_out(self, n_blocks: int | None) -> Float[Tensor, "k"]:
        """Weights of the best linear read-out of z_P (of z_∞ for None) on the reference sample, intercept last."""
        self._prepare([n_blocks])
        gram, moment = self._reference_sums[n_blocks]
        return torch.linalg.lstsq(gram, moment[:, None], driver="gels").solution[:, 0]

    def _prepare(self, depths: Sequence[int | None]) -> None:
        """Second moments of the reference sample at depths not seen yet; states are made in chunks and dropped."""
        missing = [depth for depth in dict.fromkeys(depths) if depth not in self._reference_sums]
        if not missing:
            return
        sums = {depth: [torch.zeros((), dtype=torch.float64)] * 2 for depth in missing}
        for x in self.draw_inputs(self.n_reference, stream=3).split(_CHUNK):
            states, clean = self._states(x, missing)
            for depth in missing:
                phi = states[depth]
                sums[depth] = [sums[depth][0] + phi.mT @ phi, sums[depth][1] + phi.mT @ clean]
        self._reference_sums.update({depth: (gram, moment) for depth, (gram, moment) in sums.items()})

    def error(
        self, n_data: int, n_blocks: int | None, n_steps: int | None, eta: float = 0.2, n_seeds: int = 4
    ) -> ErrorSplit:
        """The errors of a student, root mean squares over `n_seeds` training samples.

        Args:
            n_data: noisy training samples.
            n_blocks: depth P of the student; None for z_∞.
            n_steps: damped Newton steps K; None for the least-squares read-out itself.
            eta: step size η, β = 1 − η; in (0, 1).
            n_seeds: training samples drawn.

        Raises:
            ValueError: fewer samples than read-out weights, a depth below 1, negative steps, η outside (0, 1).
        """
        table = self.error_grid([n_data], [n_blocks], [n_steps], eta, n_seeds)
        return ErrorSplit(*(float(table[name].iloc[0]) for name in ErrorSplit._fields))

    def error_grid(
        self,
        n_data: Sequence[int],
        n_blocks: Sequence[int | None],
        n_steps: Sequence[int | None],
        eta: float = 0.2,
        n_seeds: int = 4,
    ) -> pd.DataFrame:
        """`error` on a grid, one row a combination: n_data, n_blocks, n_steps (infinite where None), total, opt, arch, sample.

        The samples of a seed are nested: the first n_data of the same stream, so a grid costs as much as its largest entry.
        """
        _check_grid(n_data, n_blocks, n_steps, eta, n_seeds, self.d_state + 1)
        beta = 1 - eta
        self._prepare(n_blocks)
        test = self.sample(self.n_test, n_blocks, stream=4)
        shrink = torch.tensor([0.0 if k is None else beta**k for k in n_steps], dtype=torch.float64)
        arch = {p: _rms(test.states[p] @ self.best_read_out(p) - test.clean) for p in n_blocks}
        squares: dict[tuple[int, int | None], list[tuple[Tensor, Tensor, float]]] = {}
        for repeat in range(n_seeds):
            train = self.sample(max(n_data), n_blocks, stream=10 + 2 * repeat)
            y = self.noisy(train.clean, stream=11 + 2 * repeat)
            for n in n_data:
                for p in n_blocks:
                    fitted = test.states[p] @ _least_squares(train.states[p][:n], y[:n])
                    errors = (1 - shrink)[:, None] * fitted - test.clean
                    squares.setdefault((n, p), []).append(
                        (
                            errors.square().mean(1),
                            (shrink * _rms(fitted)).square(),
                            _rms(fitted - test.clean) ** 2,
                        )
                    )
        rows = []
        for (n, p), found in squares.items():
            total = torch.stack([part[0] for part in found]).mean(0).sqrt()
            opt = torch.stack([part[1] for part in found]).mean(0).sqrt()
            ls = sum(part[2] for part in found) / n_seeds
            sample = math.sqrt(max(ls - arch[p] ** 2, 0.0))
            rows += [
                (
                    n,
                    math.inf if p is None else p,
                    math.inf if k is None else k,
                    float(t),
                    float(o),
                    arch[p],
                    sample,
                )
                for k, t, o in zip(n_steps, total, opt, strict=True)
            ]
        return pd.DataFrame(rows, columns=["n_data", "n_blocks", "n_steps", *ErrorSplit._fields])


def damped_newton(
    features: Float[Tensor, "n k"], targets: Float[Tensor, "n"], eta: float, n_steps: int
) -> Float[Tensor, "n_steps+1 k"]:
    """Weights of w ← w − η H⁻¹ g on the mean squared error, from zero; H = ΦᵀΦ/n, g = Φᵀ(Φ w − y)/n.

    Every step removes the share η of the distance to the least-squares weights.

    Example:
        >>> path = damped_newton(torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64), 0.5, 2)
        >>> path[:, 0].numpy().round(6).tolist()
        [0.0, 0.5, 0.75]
    """
    if not 0 < eta < 1:
        raise ValueError(f"eta must lie in (0, 1), got {eta}")
    if n_steps < 0:
        raise ValueError(f"n_steps must be at least 0, got {n_steps}")
    factor = torch.linalg.cholesky(features.mT @ features / len(features))
    moment = features.mT @ targets / len(features)
    path = [torch.zeros_like(moment)]
    for _ in range(n_steps):
        gradient = factor @ (factor.mT @ path[-1]) - moment
        path.append(path[-1] - eta * torch.cholesky_solve(gradient[:, None], factor)[:, 0])
    return torch.stack(path)


def _with_intercept(z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
    return torch.cat([z, z.new_ones(len(z), 1)], dim=1)


def _least_squares(features: Float[Tensor, "n k"], targets: Float[Tensor, "n"]) -> Float[Tensor, "k"]:
    return torch.linalg.lstsq(features, targets[:, None], driver="gels").solution[:, 0]


def _rms(errors: Float[Tensor, "n"]) -> float:
    return float(errors.square().mean().sqrt())


def _check_grid(
    n_data: Sequence[int],
    n_blocks: Sequence[int | None],
    n_steps: Sequence[int | None],
    eta: float,
    n_seeds: int,
    weights: int,
) -> None:
    for name, values in (("n_data", n_data), ("n_blocks", n_blocks), ("n_steps", n_steps)):
        if not values:
            raise ValueError(f"{name} is empty: give at least one value")
    if min(n_data) <= weights:
        raise ValueError(f"n_data must exceed the {weights} weights of the read-out, got {min(n_data)}")
    shallow = [p for p in n_blocks if p is not None and p < 1]
    if shallow:
        raise ValueError(f"n_blocks must be at least 1 (or None for the limit), got {shallow[0]}")
    negative = [k for k in n_steps if k is not None and k < 0]
    if negative:
        raise ValueError(f"n_steps must be at least 0 (or None for the limit), got {negative[0]}")
    if not 0 < eta < 1:
        raise ValueError(f"eta must lie in (0, 1), got {eta}")
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, got {n_seeds}")
