"""The theorems on depth limits as numerical checks (T1–T4 of §3.2): each returns how far a bound is from being broken."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..blocks import ExactRateBlock, TanhBlock
from ..limits.fixed_point import fixed_point
from ..limits.iterate import Block, iterate_depth
from ..limits.krasnoselskii_mann import krasnoselskii_mann

ROUNDING = 1e-12


@dataclass(frozen=True)
class BanachCheck:
    """T2 on one block, at every step.

    Args:
        a_priori, a_posteriori: largest ratio of the error to its bound; at most 1 if the theorem holds.
        rate_error: largest |‖T^P z − z*‖ / (λ^P ‖z − z*‖) − 1| while above rounding; only of the exact-rate block.
    """

    a_priori: float
    a_posteriori: float
    rate_error: float

    @property
    def holds(self) -> bool:
        return max(self.a_priori, self.a_posteriori) <= 1 + 1e-9


@torch.no_grad()
def banach(block: ExactRateBlock | TanhBlock, x: Float[Tensor, "b d"], n_steps: int = 60) -> BanachCheck:
    """‖T^P x − x*‖ ≤ λ^P/(1−λ) ‖Tx − x‖ and ≤ λ/(1−λ) ‖T^P x − T^(P−1) x‖, for λ = Lip(T) < 1."""
    lam = block.lam
    target = fixed_point(block, x, tol=ROUNDING / 2, lip=lam, n_steps=5000).x
    first, start = (block(x) - x).norm(dim=1), (x - target).norm(dim=1)
    before, state = x, x
    priori, posteriori, rate = 0.0, 0.0, 0.0
    for p in range(1, n_steps + 1):
        before, state = state, block(state)
        error = (state - target).norm(dim=1) - ROUNDING
        step = (state - before).norm(dim=1)
        priori = max(priori, float((error / (lam**p / (1 - lam) * first + ROUNDING)).max()))
        posteriori = max(posteriori, float((error / (lam / (1 - lam) * step + ROUNDING)).max()))
        if lam**p > 1e-3:
            rate = max(rate, float(((error + ROUNDING) / (lam**p * start) - 1).abs().max()))
    return BanachCheck(priori, posteriori, rate)


@dataclass(frozen=True)
class AverageCheck:
    """T4 on one operator.

    Args:
        residual: largest ratio of ‖x_k − T x_k‖ to ‖x_0 − p‖ / √(α(1−α)(k+1)); at most 1.
        descent: largest excess of ‖x_{k+1} − p‖² over ‖x_k − p‖² − α(1−α) ‖x_k − T x_k‖²; at most 0 up to rounding.
    """

    residual: float
    descent: float

    @property
    def holds(self) -> bool:
        return self.residual <= 1 + 1e-9 and self.descent <= 1e-9


@torch.no_grad()
def average(
    block: nn.Module, x: Float[Tensor, "b d"], p: Float[Tensor, "b d"], alpha: float = 0.5, n_steps: int = 200
) -> AverageCheck:
    """Both bounds of the averaged iteration, for a non-expansive T with the fixed points p."""
    found = krasnoselskii_mann(block, x, alpha, n_steps, tol=0.0)
    bound = found.bound((x - p).norm(dim=1))
    state, excess = x, 0.0
    for residual in found.residuals[:-1]:
        following = state + alpha * (block(state) - state)
        allowed = (state - p).square().sum(1) - alpha * (1 - alpha) * residual.square()
        excess = max(excess, float(((following - p).square().sum(1) - allowed).max()))
        state = following
    return AverageCheck(float((found.residuals / bound.clamp(min=ROUNDING)).max()), excess)


@dataclass(frozen=True)
class OrderCheck:
    """T3 for T_l x = 0.7 Q x + c_l: steps ‖A_P x − A_(P−1) x‖ at the last depths.

    Args:
        forward: smallest step over the last fifth of the depths; stays of order 1 where c_l does not settle.
        forward_settling: largest such step where c_l settles; goes to 0.
        reversed: largest ratio of a step to its bound 0.7^(P−1) ‖T_P x − x‖, at any depth.
        steps: the steps themselves, for the picture: order -> one number a depth.
    """

    forward: float
    forward_settling: float
    reversed: float
    steps: dict[str, list[float]]

    @property
    def holds(self) -> bool:
        return self.forward > 0.1 and self.forward_settling < 1e-3 and self.reversed <= 1 + 1e-9


@torch.no_grad()
def orders(dim: int, n_blocks: int, generator: torch.Generator, lam: float = 0.7) -> OrderCheck:
    """Untied blocks: forward composition needs blocks that settle, the reversed one does not."""
    shared = ExactRateBlock(dim, lam, offset=0.0, generator=generator)
    offsets = torch.randn(n_blocks, dim, generator=generator, dtype=torch.float64)
    settling = offsets * 0.8 ** torch.arange(n_blocks, dtype=torch.float64)[:, None]
    x = torch.randn(4, dim, generator=generator, dtype=torch.float64)
    untied = [_shifted(shared, c) for c in offsets]
    tail = max(1, n_blocks // 5)
    forward = iterate_depth(untied, x, n_blocks, ("delta",)).steps
    settled = iterate_depth([_shifted(shared, c) for c in settling], x, n_blocks, ("delta",)).steps
    backward = iterate_depth(untied, x, n_blocks, ("delta",), order="reversed").steps
    own = torch.stack([(block(x) - x).norm(dim=1) for block in untied])
    bound = lam ** torch.arange(n_blocks, dtype=torch.float64)[:, None] * own
    return OrderCheck(
        forward=float(forward[-tail:].min()),
        forward_settling=float(settled[-tail:].max()),
        reversed=float(((backward - ROUNDING).clamp(min=0) / (bound + ROUNDING)).max()),
        steps={
            "forward": forward.mean(1).tolist(),
            "forward, settling blocks": settled.mean(1).tolist(),
            "reversed": backward.mean(1).tolist(),
        },
    )


def _shifted(block: nn.Module, c: Float[Tensor, "d"]) -> Block:
    """x ↦ T x + c."""
    return lambda x: block(x) + c
