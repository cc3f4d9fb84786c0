"""C1: when the limit architecture exists — the theorems T1–T5 checked, and `classify_block` judged by known operators (§3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

import tenfold.data
from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.data import DataNotFoundError
from tenfold.drawing import Labels

from ..blocks import ConvexPotentialBlock, ExactRateBlock, TanhBlock
from ..figures import depth_limits
from ..limits.classify import classify_block
from ..limits.report import BlockReport
from ..operators import NegIdentity, RotationBlock, ZooEntry, operator_zoo
from .existence_checks import average, banach, orders
from .network_blocks import checkpoint_reports, random_blocks, trained_turns
from .scales import derive, device_for, in_words


@dataclass(frozen=True)
class Effort:
    """How much is looked at.

    Args:
        dims: widths of the zoo.
        n_blocks: depth of the untied compositions.
        networks: also classify blocks of networks.
    """

    dims: tuple[int, ...]
    n_blocks: int
    networks: bool


EFFORTS = {
    Scale.SMOKE: Effort((8,), 60, False),
    Scale.CPU: Effort((8, 32), 100, True),
    Scale.GPU: Effort((8, 32), 100, True),
}

HUGGING_FACE = "hugging-face"


@claim(
    "C1",
    "The limit of infinite depth exists below the critical value, at it under conditions, and not above it",
    source="abstract; the theorems are reconstructions from the literature (notes, section 3.2)",
    known_gaps={
        "cpu": "all 28 operators are labelled correctly and all bounds hold with every seed; of the random transformer blocks, some have "
        "rates that differ by more than 0.02 between two halves of the starts with seeds 1 and 2"
    },
)
def existence(scale: Scale, seed: int) -> Measurement:
    """smoke: `classify_block` labels an operator zoo correctly: λQ (λ = .5, .9) contractive with the fitted rate within 1 %;
    the non-normal matrix contractive with ρ < 1 and Lip > 1; −I and rotations critical without a limit; their 0.5-averages,
    a projection and ConvexPotential critical with a limit; 1.05 Q expansive. T2 and T4 bounds hold at every step; forward
    and reversed untied compositions behave as T3.
    cpu: the zoo in two widths, and random transformer blocks with bootstrap intervals: two disjoint halves of the starts
    must give estimates of ρ within .02. gpu: trained looped blocks of width 512: one certified to
    contract by .9 must be found contractive with ρ <= .91; an unconstrained one is reported. paper: every block list of a
    Hugging Face checkpoint; none may be inconclusive.

    Reading: the average of −I is the zero map, that of a rotation of all planes contracts by cos(θ/2): with one fixed point
    an average cannot stay critical, and "contractive, limit exists" is demanded of them. "Critical, limit exists" is
    demanded of the averages of the reflection and of the rotation with an axis, which have many fixed points.
    """
    device = device_for(scale)
    if scale == Scale.PAPER:
        return checkpoints()
    effort, seeds = EFFORTS[scale], derive(seed, len(EFFORTS[scale].dims) + 1)
    found = {
        f"{entry.name}, d = {dim}": (entry, judge(entry))
        for dim, run in zip(effort.dims, seeds)
        for entry in operator_zoo(dim, seed=run)
    }
    conditions: dict[str, bool] = {
        "every_operator_labelled_correctly": all(correct(*pair) for pair in found.values()),
        "rates_within_1_percent": all(rate_correct(*pair) for pair in found.values()),
    }
    bounds, steps = theorems(effort, seeds[-1])
    conditions |= bounds
    reports: dict[str, BlockReport] = {name: report for name, (_, report) in found.items()}
    if effort.networks:
        extra, held = random_blocks(seeds[-1]) if scale == Scale.CPU else trained_turns(seeds[-1], device)
        conditions |= held
        reports |= extra
    right = sum(correct(*pair) for pair in found.values())
    return Measurement(
        quantity="share of operators labelled correctly (regime and limit)",
        ours=right / len(found),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **errors(found)},
        tables=[table(reports)],
        figures=[orbits(found, effort.dims[0]), compositions(steps)],
    )


def judge(entry: ZooEntry) -> BlockReport:
    return classify_block(entry.block, entry.start)


def correct(entry: ZooEntry, report: BlockReport) -> bool:
    """Regime, limit and, for the non-normal matrix, a Lipschitz constant above 1."""
    limit = entry.limit_exists if entry.limit_exists is not None else False
    above = report.lip_lower > 1 if entry.lip > 1 else report.lip_lower <= 1 + 1e-6
    return report.regime == entry.regime and report.limit_exists == limit and above


def rate_correct(entry: ZooEntry, report: BlockReport) -> bool:
    """ρ within 1 % where it is known to be above 0."""
    return abs(report.rho - entry.rho) <= 0.01 * max(entry.rho, 0.01)


def errors(found: Mapping[str, tuple[ZooEntry, BlockReport]]) -> dict[str, Value]:
    return {f"rho/{name}": report.rho for name, (_, report) in found.items()}


def theorems(effort: Effort, seed: int) -> tuple[dict[str, bool], dict[str, list[float]]]:
    """T2–T4 as conditions, and the steps of the compositions for the picture."""
    generator = torch.Generator().manual_seed(seed)
    dim = effort.dims[0]
    x = torch.randn(32, dim, generator=generator, dtype=torch.float64)
    exact = [ExactRateBlock(dim, lam, generator=generator) for lam in (0.5, 0.9)]
    banach_checks = [banach(block, x) for block in exact]
    tanh = banach(TanhBlock(dim, 0.9, bias_std=0.3, generator=generator), x)
    potential = ConvexPotentialBlock(dim, activation=torch.tanh, fraction=1.0, generator=generator).double()
    zero = torch.zeros_like(x)  # W·0 + 0 = 0 under tanh: the fixed point of all three
    averages = [
        average(block, x, zero)
        for block in (NegIdentity(), RotationBlock(dim, 1.0, torch.float64), potential)
    ]
    order = orders(dim, effort.n_blocks, generator)
    conditions = {
        "exact_rate_to_1e-9": max(check.rate_error for check in banach_checks) <= 1e-9,
        "T2_bounds_at_every_step": all(check.holds for check in (*banach_checks, tanh)),
        "T4_bounds_at_every_step": all(check.holds for check in averages),
        "T3_forward_needs_settling_blocks_reversed_does_not": order.holds,
    }
    return conditions, order.steps


def table(reports: Mapping[str, BlockReport]) -> Table:
    columns = (
        "operator",
        "regime",
        "limit exists",
        "ρ",
        "interval",
        "Lip at least",
        "Lip at most",
        "retention",
    )
    rows = tuple(
        (
            name,
            r.regime,
            r.limit_exists,
            r.rho,
            f"{r.rho_interval[0]:.4f} to {r.rho_interval[1]:.4f}",
            r.lip_lower,
            str(r.lip_upper) if r.lip_upper == float("inf") else r.lip_upper,
            r.retention,
        )
        for name, r in reports.items()
    )
    return Table("operators", columns, rows)


SHOWN = (
    "0.9 Q",
    "non-normal",
    "rotation with an axis",
    "average of rotation with an axis",
    "convex potential",
    "1.05 Q",
)


def orbits(found: Mapping[str, tuple[ZooEntry, BlockReport]], dim: int) -> Figure:
    """Sizes of the steps over the depth: a line that falls to 0 fast enough has a limit."""
    lines = {}
    for name in SHOWN:
        steps = found[f"{name}, d = {dim}"][1].evidence.deltas.mean(1)
        lines[name] = (range(1, len(steps) + 1), [max(float(step), 1e-16) for step in steps])
    words = Labels(
        "Which compositions come to rest",
        "number of blocks",
        "mean size of a step",
        "Size of a step over the depth: falling for contractions, the averaged rotation and the convex potential, constant "
        "for the rotation, growing for the expansive operator.",
    )
    return depth_limits("operators", lines, words, log="y")


def compositions(steps: Mapping[str, Sequence[float]]) -> Figure:
    lines = {name: (range(1, len(found) + 1), found) for name, found in steps.items()}
    words = Labels(
        "Untied blocks: the order decides",
        "number of blocks",
        "change by one more block",
        "Change of the output by one more block: constant for the forward order, falling geometrically for the reversed "
        "order and for the forward order with blocks that settle.",
    )
    return depth_limits("compositions", lines, words, log="y")


def checkpoints() -> Measurement:
    """First, middle and last block of each checkpoint below `hugging-face/` of the data folder."""
    folder = tenfold.data.root() / HUGGING_FACE
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found:
        raise DataNotFoundError(
            f"{folder} holds no checkpoint: put folders there as Hugging Face publishes them (config.json, safetensors)"
        )
    reports = {f"{path.name}, {name}": r for path in found for name, r in checkpoint_reports(path).items()}
    conditions = {"no_block_inconclusive": all(r.regime != "inconclusive" for r in reports.values())}
    return Measurement(
        quantity="blocks of public checkpoints that are critical",
        ours=sum(r.regime == "critical" for r in reports.values()),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=dict(conditions),
        tables=[table(reports)],
    )
