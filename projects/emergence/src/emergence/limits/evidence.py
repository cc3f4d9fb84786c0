"""What a block does to a bundle of orbits: the measurements that `classify_block` judges (§3.8).

The growth of Tⁿ is seen on pairs of orbits, ‖Tⁿx − Tⁿy‖ / ‖x − y‖, and on tangent vectors, ‖J_{Tⁿ}(x) v‖: a bounded map
cannot drive pairs apart for ever, however chaotic it is, and a local isometry may bring distant points together.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..lipschitz.forward_ad import explained, push_forward
from .iterate import Block, apply

FIT_POWERS = 4
"""The rate is read off the last three doublings."""


@dataclass(frozen=True)
class OrbitEvidence:
    """Orbits of B starts under n applications of a block.

    Args:
        norms: ‖T^k x‖, k = 0 … n.
        deltas: ‖T^k x − T^(k−1) x‖, k = 1 … n.
        powers: 1, 2, 4, … up to n.
        log_ratios: logarithms of the growth of Tⁿ at these powers: first over pairs of starts, then over tangent vectors;
            −∞ for pairs that rounding error has swallowed.
        spread: mean distance of the orbits over that of the starts, k = 1 … n.
        points: states on the orbits, at which local constants are looked at.
        finite: False if an orbit left the floating-point numbers; everything is cut there.
    """

    norms: Float[Tensor, "n+1 b"]
    deltas: Float[Tensor, "n b"]
    powers: tuple[int, ...]
    log_ratios: Float[Tensor, "k pairs"]
    spread: Float[Tensor, "n"]
    points: Float[Tensor, "m ..."]
    finite: bool

    @property
    def growth(self) -> list[float]:
        """Largest ratio at each power: lower bounds of Lip(Tⁿ)."""
        return [float(row.max().exp()) for row in self.log_ratios]


@torch.no_grad()
def gather_evidence(
    fn: Block, x: Float[Tensor, "b ..."], n_steps: int, generator: torch.Generator | None = None
) -> OrbitEvidence:
    """Run the orbits of the samples x, with one random tangent vector each."""
    starts, scale = torch.pdist(x.flatten(1)), float(x.abs().max())
    tangent = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    tangent, log_growth = _normalise(tangent)[0], x.new_zeros(len(x))
    powers = tuple(2**i for i in range(n_steps.bit_length()))
    states, rows, spread = [x], [], []
    finite = True
    for n in range(1, n_steps + 1):
        state, tangent = push(fn, states[-1], tangent)
        if not bool(state.isfinite().all() & tangent.isfinite().all()):
            finite = False
            break
        tangent, log_length = _normalise(tangent)
        log_growth = log_growth + log_length
        states.append(state)
        distances = torch.pdist(state.flatten(1))
        spread.append(distances.mean() / starts.mean())
        if n in powers:
            scale = max(scale, float(state.abs().max()))
            rounding = 1e3 * torch.finfo(x.dtype).eps * scale
            ratios = torch.where(distances > rounding, (distances / starts).log(), -math.inf)
            rows.append(torch.cat([ratios[starts > 0], log_growth]))
    return _evidence(states, powers[: len(rows)], rows, spread, finite)


def push(fn: Block, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """fn(x) and J(x) · tangent, through attention too: fused kernels have no forward-mode derivative."""
    with explained():
        return push_forward(lambda z: apply(fn, z), x, tangent)


def _normalise(tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors and logarithms of the lengths; a vector that vanished stays 0, with length −∞."""
    lengths = tangent.flatten(1).norm(dim=1)
    shape = (-1, *[1] * (tangent.dim() - 1))
    safe = torch.where(lengths > 0, lengths, 1.0)
    return tangent / safe.reshape(shape), lengths.log()


def _evidence(
    states: list[Tensor], powers: tuple[int, ...], rows: list[Tensor], spread: list[Tensor], finite: bool
) -> OrbitEvidence:
    flat = torch.stack([state.flatten(1) for state in states])
    spread_out = {0, 1, len(states) // 4, len(states) - 1} if finite else {0}  # others are about to overflow
    picked = sorted(spread_out & set(range(len(states))))
    empty = flat.new_empty(0)
    return OrbitEvidence(
        norms=flat.norm(dim=2),
        deltas=flat.diff(dim=0).norm(dim=2),
        powers=powers,
        log_ratios=torch.stack(rows) if rows else empty.reshape(0, 0),
        spread=torch.stack(spread) if spread else empty,
        points=torch.cat([states[i] for i in picked]),
        finite=finite,
    )


def fit_rho(powers: tuple[int, ...], log_growth: Float[Tensor, "... k"]) -> Float[Tensor, "..."]:
    """ρ from log Lip(Tⁿ) ≈ c + a log n + n log ρ over the last three doublings.

    The power of n is what a defective matrix, or a critical map that settles slowly, puts before the rate; without it the
    matrix of T1 would look expansive until n is in the hundreds. With fewer than four powers it is left out.

    Example:
        >>> n = (1, 2, 4, 8, 16, 32, 64)
        >>> growth = torch.tensor([math.log(11 * k) + k * math.log(0.9) for k in n], dtype=torch.float64)
        >>> round(float(fit_rho(n, growth)), 6)
        0.9
    """
    used = powers[-FIT_POWERS:]
    log_growth = log_growth[..., -len(used) :].double()
    dead = log_growth[..., -1] == -math.inf
    n = torch.tensor(used, dtype=torch.float64, device=log_growth.device)
    if len(used) == 1:
        return (log_growth[..., 0] / n[0]).exp()
    columns = [torch.ones_like(n), n] if len(used) < FIT_POWERS else [torch.ones_like(n), n, n.log()]
    solution = torch.linalg.pinv(torch.stack(columns, 1))[1]
    finite = torch.where(log_growth.isfinite(), log_growth, 0.0)
    return torch.where(dead, 0.0, (finite @ solution).exp())


def bootstrap_rho(
    evidence: OrbitEvidence, n_bootstrap: int, generator: torch.Generator | None = None
) -> tuple[float, float, float]:
    """ρ with a 95 % interval, over pairs and tangent vectors drawn with replacement."""
    logs = evidence.log_ratios
    rho = float(fit_rho(evidence.powers, logs.amax(1)))
    m = logs.shape[1]
    draws = torch.randint(m, (n_bootstrap, m), generator=generator, device=logs.device)
    resampled = torch.stack([row[draws].amax(1) for row in logs[-FIT_POWERS:]], 1)  # n_bootstrap k
    found = fit_rho(evidence.powers[-FIT_POWERS:], resampled)
    low, high = (float(q) for q in found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)))
    return rho, min(low, rho), max(high, rho)
