"""C2: Lip(T) = 1 is the value at which a deep stack neither forgets its input nor tears it apart (T6 of §3.2, §7.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels

from ..figures import retention as retention_picture
from ..limits.iterate import iterate_depth
from ..mean_field import critical_gain, mean_field
from ..retention import BIAS_STD, RetentionTable, digits_retention, groupsort_isometry, random_weights
from .deep_residual import byte_models
from .scales import derive, device_for, in_words
from .trained_tanh import trained_accuracies

DEEP, MIDDLE = 128, 32
COLLAPSED = 0.25
"""An accuracy below this counts as collapsed; chance is 0.1."""


@dataclass(frozen=True)
class Effort:
    """Gains and depths of the random networks.

    Args:
        gains: λ; hold those that the criterion names.
        depths: hold 32 and 128.
        draws: networks a gain.
        trained_steps: of the trained variant; 0 leaves it out.
    """

    gains: tuple[float, ...]
    depths: tuple[int, ...]
    draws: int = 3
    trained_steps: int = 0


EFFORTS = {
    Scale.SMOKE: Effort((0.8, 0.9, 0.97, 1.0, 1.05, 1.1, 1.3, 2.0, 3.0), (1, 8, 32, 128)),
    Scale.CPU: Effort(
        (0.8, 0.9, 0.97, 1.0, 1.025, 1.05, 1.075, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0),
        (1, 2, 4, 8, 16, 32, 64, 128),
        draws=5,
        trained_steps=150,
    ),
}


@claim(
    "C2",
    "Lip(T) = 1 is critical: only there a deep stack still tells its inputs apart",
    source="abstract (critical case Lip(T) = 1); the experiment is ours",
)
def retention(scale: Scale, seed: int) -> Measurement:
    """smoke (independent tanh blocks, digits, ridge probe with state noise .02, P = 128, mean of 3 draws): accuracy >= .75 at
    λ in {1.05, 1.1}; <= .2 at λ in {.8, .9, 2, 3}; <= .35 at 1.3; P = 32: >= .8 for λ in {.97, 1.0, 1.1}. Exact variants in
    float64: linear orthogonal ret(P) = 1 ± 1e-10 for P <= 512; orthogonal + GroupSort2: all singular values of the depth-P
    Jacobian are 1 ± 1e-8 while pair ratios are <= 1.
    cpu: also the mean-field edge χ = 1 within .1 in λ of the peak of the accuracy at P = 128, and accuracy below .25
    wherever P >= 12 ξ ("P much larger than 6 ξ"); plus a 64-block variant with trained read-in, read-out and biases, whose
    matrices stay λ times orthogonal, reported without a threshold.
    gpu, paper: ConvexPotential (Lip <= 1) against plain residual blocks at depth 200 (paper: 1000) on bytes, the same rates
    and steps: the convex potential keeps pair ratios <= 1 + 1e-4 through all blocks and beats the bits per byte of single-byte
    frequencies; the residual network is the baseline, it need not lose.
    """
    device = device_for(scale)
    if scale in (Scale.GPU, Scale.PAPER):
        return byte_models(scale, seed, device)
    effort = EFFORTS[scale]
    table = digits_retention(effort.gains, effort.depths, derive(seed, effort.draws))
    conditions = digits_conditions(table) | exact_conditions(derive(seed, 1)[0])
    edge = critical_gain(BIAS_STD)
    values: dict[str, Value] = {
        "critical_gain_of_mean_field": edge,
        "best_gain_at_128": table.best_gain(DEEP),
    }
    tables = [accuracy_table(table)]
    if scale == Scale.CPU:
        conditions |= mean_field_conditions(table, edge)
        trained = trained_accuracies(
            (0.8, 0.9, 1.0, 1.05, 1.1, 1.3), effort.trained_steps, derive(seed, 1)[0]
        )
        values |= {f"trained 64 blocks/accuracy at gain {gain}": found for gain, found in trained.items()}
    values |= {f"accuracy/gain {g}, 128 blocks": table.at(g, DEEP) for g in effort.gains}
    return Measurement(
        quantity="probe accuracy after 128 blocks at λ = 1.05; baseline λ = 0.9",
        ours=table.at(1.05, DEEP),
        baseline=table.at(0.9, DEEP),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=tables,
        figures=[picture(table, edge)],
    )


def digits_conditions(table: RetentionTable) -> dict[str, bool]:
    deep = {gain: table.at(gain, DEEP) for gain in table.gains}
    return {
        "P_128_accuracy_at_least_0.75_at_1.05_and_1.1": min(deep[1.05], deep[1.1]) >= 0.75,
        "P_128_accuracy_at_most_0.2_at_0.8,_0.9,_2_and_3": max(deep[g] for g in (0.8, 0.9, 2.0, 3.0)) <= 0.2,
        "P_128_accuracy_at_most_0.35_at_1.3": deep[1.3] <= 0.35,
        "P_32_accuracy_at_least_0.8_at_0.97,_1_and_1.1": min(table.at(g, MIDDLE) for g in (0.97, 1.0, 1.1))
        >= 0.8,
    }


def exact_conditions(seed: int, depths: Sequence[int] = (1, 8, 64, 512)) -> dict[str, bool]:
    """Isometries in float64: a linear one keeps every distance, one with GroupSort2 only lengths of tangent vectors."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(32, 64, generator=generator, dtype=torch.float64)
    matrices = random_weights(max(depths), 64, generator=generator)
    blocks = [lambda z, q=q: z @ q.mT for q in matrices]
    kept = iterate_depth(blocks, x, max(depths), ("retention",)).retention
    isometries = groupsort_isometry(64, depths, seed=seed)
    return {
        "linear_orthogonal_retention_1_to_1e-10": kept is not None and float((kept - 1).abs().max()) <= 1e-10,
        "GroupSort_singular_values_1_to_1e-8": max(found.largest_deviation for found in isometries) <= 1e-8,
        "GroupSort_pair_ratios_at_most_1": max(found.pair_max for found in isometries) <= 1 + 1e-12,
    }


def mean_field_conditions(table: RetentionTable, edge: float) -> dict[str, bool]:
    """The edge against the peak, the depth scale against the collapse."""
    scales = {gain: mean_field(gain, BIAS_STD).depth_scale for gain in table.gains}
    far = [table.at(g, p) for g in table.gains for p in table.depths if p >= 12 * scales[g]]
    return {
        "edge_within_0.1_of_the_best_gain_at_P_128": abs(edge - table.best_gain(DEEP)) <= 0.1,
        "accuracy_below_0.25_from_12_depth_scales_on": bool(far) and max(far) < COLLAPSED,
    }


def accuracy_table(table: RetentionTable) -> Table:
    columns = ("λ", "χ", "ξ in blocks", *(f"P = {p}" for p in table.depths))
    rows = []
    for i, gain in enumerate(table.gains):
        field = mean_field(gain, BIAS_STD)
        accuracies = (round(float(value), 3) for value in table.accuracy[i])
        rows.append((gain, round(field.chi, 4), round(field.depth_scale, 1), *accuracies))
    return Table("probe accuracy", columns, tuple(rows))


def picture(table: RetentionTable, edge: float) -> Figure:
    by_depth = {
        f"P = {p}": (table.gains, table.accuracy[:, i].tolist()) for i, p in enumerate(table.depths) if p >= 8
    }
    shown = [gain for gain in (0.9, 1.0, 1.05, 1.3, 2.0) if gain in table.gains]
    by_gain = {
        f"λ = {gain}": (table.depths, table.accuracy[table.gains.index(gain)].tolist()) for gain in shown
    }
    words = Labels(
        "What a probe still reads after P random tanh blocks",
        "gain λ",
        "accuracy on digits",
        f"Probe accuracy over the gain and over the depth. At 128 blocks it peaks at a gain of {table.best_gain(DEEP)} with "
        f"{float(table.accuracy[:, table.depths.index(DEEP)].max()):.2f}; the mean-field edge is at {edge:.2f}.",
    )
    return retention_picture("retention", by_depth, by_gain, words, edge)
