"""C8: how the size of the hypothesis class grows with depth — bounds in three regimes, measured covers, the gap (§3.3)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels

from ..blocks import ConvexPotentialBlock, ExactRateBlock, TanhBlock
from ..covering import counted_blocks, covering_number_bound, covering_profile, generalization_bound
from ..figures import depth_limits
from ..lipschitz.pairs import pair_statistics
from ..models.block import TransformerBlock
from ..models.config import GPTConfig
from ..retention import digits, tanh_states
from ..solvable import SolvableLimitModel
from .scales import derive, device_for, in_words
from .training import seeded

P, R, L_THETA, EPS = 100, 1.0, 1.0, 0.01
"""Parameters of a block, radius of their ball, Lipschitz constant in them, resolution of the bounds shown."""

GAP_DEPTHS = (8, 16, 32, 64, 128)
"""Shallower read-outs leave a residual of their own (the architecture error), which adds to the gap whatever the capacity."""

SIZES = (8, 32, 128)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        n_points: points whose covers are measured; 0 for the bounds alone.
        n_data: training samples of the solvable model; 0 leaves the gap out.
        n_seeds: training samples drawn.
    """

    n_points: int = 0
    n_data: int = 0
    n_seeds: int = 0


EFFORTS = {
    Scale.SMOKE: Effort(),
    Scale.CPU: Effort(1024, 1024, 16),
    Scale.GPU: Effort(4096, 1024, 32),
    Scale.PAPER: Effort(4096, 4096, 64),
}


@claim(
    "C8",
    "Below the critical value capacity does not grow with depth: an infinite system with a finite realisation",
    source="summary of the paper (covering numbers); the bounds are reconstructions with standard tools (notes, section 3.3)",
)
def covering(scale: Scale, seed: int) -> Measurement:
    """smoke: the bound saturates in P for λ < 1 (increment < 1e-6 past J), grows as p log P (tied, λ = 1) and quadratically
    (untied, λ > 1). cpu, gpu, paper: measured profiles e_m obey e_m(T(D)) <= 2 Lip(T|D) e_m(D) for every block, map and m;
    the gap of test and training error of the solvable model with λ = .8 is flat in P: its slope in log-log over P = 8…128 is
    within ±.05. The last two are on the processor at every scale: they take seconds."""
    device_for(scale)
    effort, run = EFFORTS[scale], derive(seed, 1)[0]
    conditions, values = growth()
    tables: list[Table] = []
    if effort.n_points:
        rows = measured_covers(effort.n_points, run)
        conditions["measured_covers_within_2_Lip"] = all(
            after <= 2 * lip * before * (1 + 1e-9) for *_, before, after, lip in rows
        )
        columns = ("map", "balls", "radius before", "radius after", "largest pair ratio")
        tables.append(Table("covers", columns, tuple(rows)))
    if effort.n_data:
        gaps = generalisation_gaps(effort, run)
        slope = _slope([float(p) for p in gaps], list(gaps.values()))
        conditions["gap_flat_in_depth"] = abs(slope) <= 0.05
        bounds = [gap_bound(depth, effort.n_data) for depth in gaps]
        values |= {"slope of log gap in log P": slope, f"bound of the gap, P = {GAP_DEPTHS[-1]}": bounds[-1]}
        tables.append(
            Table("gap", ("P", "test minus training error", "bound"), tuple(zip(gaps, gaps.values(), bounds)))
        )
    return Measurement(
        quantity="log covering number at 1,024 untied blocks, λ = 0.8; baseline λ = 1",
        ours=log_number(0.8, 1024, tied=False),
        baseline=log_number(1.0, 1024, tied=False),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=tables,
        figures=[picture()],
    )


def log_number(lam: float, n_blocks: int, tied: bool) -> float:
    return covering_number_bound(P, R, L_THETA, lam, n_blocks, EPS, tied)


def growth() -> tuple[dict[str, bool], dict[str, Value]]:
    """The three regimes, as conditions and as the numbers behind them."""
    past = math.ceil(counted_blocks(R, L_THETA, 0.8, EPS)) + 1
    untied = max(log_number(0.8, p + 1, False) - log_number(0.8, p, False) for p in range(past, past + 64))
    far = 200  # for tied blocks λ^P must have died out
    tied = max(log_number(0.8, p + 1, True) - log_number(0.8, p, True) for p in range(far, far + 64))
    depths = [2.0**k for k in range(6, 13)]
    log_slope = _line([math.log(p) for p in depths], [log_number(1.0, int(p), True) for p in depths])
    curvature = sum(c * log_number(1.2, 1000 + i, False) for i, c in ((-1, 1), (0, -2), (1, 1)))
    linear = _slope(depths, [log_number(1.2, int(p), True) for p in depths])
    conditions = {
        "saturates_below_1_(increment_below_1e-6_past_J)": max(untied, tied) < 1e-6,
        "grows_as_p_log_P_at_1,_tied": abs(log_slope / P - 1) <= 0.01,
        "grows_quadratically_above_1,_untied": abs(curvature / (P * math.log(1.2)) - 1) <= 0.01,
    }
    return conditions, {
        "J": counted_blocks(R, L_THETA, 0.8, EPS),
        "slope in p log P, tied, λ = 1": log_slope / P,
        "second difference in p log λ, untied, λ = 1.2": curvature / (P * math.log(1.2)),
        "power of P, tied, λ = 1.2": linear,
    }


def _line(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(x, y, 1)[0])


def _slope(x: list[float], y: list[float]) -> float:
    return _line([math.log(v) for v in x], [math.log(v) for v in y])


@torch.no_grad()
def measured_covers(n_points: int, seed: int) -> list[tuple[str, int, float, float, float]]:
    """Map, balls, e_m before and after, and Lip restricted to the points, which is the largest pair ratio exactly."""
    generator = torch.Generator().manual_seed(seed)
    x = digits()[0][:n_points].double()
    block = seeded(seed, lambda: TransformerBlock(GPTConfig(d=64, init_std=None))).double().eval()
    maps: dict[str, Callable[[Tensor], Tensor]] = {
        "0.8 Q": ExactRateBlock(64, 0.8, generator=generator),
        "tanh, λ = 1": TanhBlock(64, 1.0, generator=generator),
        "tanh, λ = 3, independent entries": TanhBlock(64, 3.0, weights="iid", generator=generator),
        "convex potential": ConvexPotentialBlock(64, generator=generator).double(),
        "16 tanh blocks": lambda z: tanh_states(z, 1.1, (16,), generator=torch.Generator().manual_seed(seed))[
            16
        ],
        "transformer block": lambda z: block(z[:, None])[:, 0],
    }
    rows = []
    for name, fn in maps.items():
        y = fn(x)
        lip = pair_statistics(x, y, pairs="all", min_dist=0.0).max
        before, after = covering_profile(x, SIZES), covering_profile(y, SIZES)
        rows += [(name, m, before[m], after[m], lip) for m in SIZES]
    return rows


def generalisation_gaps(effort: Effort, seed: int, lam: float = 0.8) -> dict[int, float]:
    """Mean squared error on noisy test samples minus that on the training samples, of the least-squares read-out of z_P."""
    model = SolvableLimitModel(lam=lam, seed=seed, n_test=20_000, n_reference=2_000)
    test = model.sample(model.n_test, GAP_DEPTHS, stream=4)
    gaps = dict.fromkeys(GAP_DEPTHS, 0.0)
    for repeat in range(effort.n_seeds):
        train = model.sample(effort.n_data, GAP_DEPTHS, stream=10 + 2 * repeat)
        y = model.noisy(train.clean, stream=11 + 2 * repeat)
        for depth in GAP_DEPTHS:
            weights = torch.linalg.lstsq(train.states[depth], y[:, None]).solution[:, 0]
            training = _mse(train.states[depth] @ weights, y)
            unseen = _mse(test.states[depth] @ weights, test.clean) + model.noise**2
            gaps[depth] += (unseen - training) / effort.n_seeds
    return gaps


def _mse(predicted: Float[Tensor, "n"], target: Float[Tensor, "n"]) -> float:
    return float((predicted - target).square().mean())


def gap_bound(n_blocks: int, n_data: int, lam: float = 0.8) -> float:
    """What §3.3 allows for the read-out's 25 weights and a tied block, with B = 1: valid, and loose as such bounds are."""
    eps = n_data**-0.5
    return generalization_bound(covering_number_bound(25, R, L_THETA, lam, n_blocks, eps), n_data, eps)


def picture() -> Figure:
    depths = [2**k for k in range(11)]
    lines = {
        f"λ = {lam}, {'tied' if tied else 'untied'}": (depths, [log_number(lam, p, tied) for p in depths])
        for lam, tied in ((0.8, False), (1.0, False), (1.2, False), (0.8, True), (1.0, True), (1.2, True))
    }
    words = Labels(
        "Log covering number of models with P blocks",
        "number of blocks",
        "bound of log N",
        "Bounds of the log covering number over the depth. Below the critical value they level off; at it they grow as "
        "log P (tied) or P log P (untied), above it as P or P squared.",
    )
    return depth_limits("covering-numbers", lines, words)
