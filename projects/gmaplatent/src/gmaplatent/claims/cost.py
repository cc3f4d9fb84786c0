"""G6: what the alignment costs: time and memory of the merge methods, no training; a CycleGAN's training beside it."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Curve, Labels, Look, curves

from ..alignment.canonical import to_canonical
from ..alignment.merge import MAX_ASSIGNED, Merged, Method, merge_clusters
from ..alignment.meshing import mesh_of
from ..alignment.translate import make_slots
from ..data.blobs import blobs
from .generation import CYCLEGAN_STEPS
from .judging import CYCLEGAN, OURS, compare
from .pair import PAIRS, aligned_pair
from .training import device_for, in_words

N_CLUSTERS = 10
METHODS: tuple[Method, ...] = ("hierarchical", "global", "assignment")
GROWTH, LONGEST = 2.0, 300.0


@dataclass(frozen=True)
class Effort:
    """Numbers of points, and the most that "assignment" is given: its time grows with their cube."""

    sizes: tuple[int, ...]
    assigned: int


EFFORTS = {
    Scale.SMOKE: Effort((200, 500), 500),
    Scale.CPU: Effort((500, 2_000, 5_000), 2_000),
    Scale.GPU: Effort((500, 2_000, 5_000, 10_000), MAX_ASSIGNED),
    Scale.PAPER: Effort((500, 2_000, 5_000, 10_000), MAX_ASSIGNED),
}


@dataclass(frozen=True)
class Cost:
    """One domain by one method.

    Args:
        n: points.
        method: of merging.
        merge_seconds: of the transport.
        merge_megabytes: largest memory of the arrays made on the way, beyond those given.
        map_seconds: of the mesh and the canonical map; None where the merged clusters cannot be meshed.
        mass_error: largest; None for "assignment", which has no masses.
    """

    n: int
    method: str
    merge_seconds: float
    merge_megabytes: float
    map_seconds: float | None
    mass_error: float | None


@claim(
    "G6",
    "Alignment costs seconds and needs no training",
    source="summary of the paper: a geometric method without a translator network; criterion inferred",
)
def cost_of_alignment(scale: Scale, seed: int) -> Measurement:
    """Time and memory of merging, meshing and mapping one domain of blobs, K = 10, for every method and n up to 500 (smoke),
    5,000 (cpu) and 10,000 (gpu). The criterion, ours: the hierarchical method takes less than five minutes at the
    largest n, and its time grows more slowly than the square of n. At gpu scale a CycleGAN is trained on the same pair, and
    its seconds and accuracy stand beside those of the alignment; the alignment must be the faster one."""
    effort, device = EFFORTS[scale], device_for(scale)
    rows = [
        cost(n, method, seed)
        for n in effort.sizes
        for method in METHODS
        if method != "assignment" or n <= effort.assigned
    ]
    ours = {row.n: whole(row) for row in rows if row.method == "hierarchical"}
    first, last = effort.sizes[0], effort.sizes[-1]
    growth = float(np.log(ours[last] / ours[first]) / np.log(last / first))
    conditions = {
        "hierarchical_under_5_minutes_at_the_largest_n": ours[last] < LONGEST,
        "hierarchical_grows_more_slowly_than_n_squared": growth < GROWTH,
    }
    values: dict[str, Value] = {"growth_exponent": growth, "assignment_up_to": effort.assigned}
    values |= {f"{row.method}/n_{row.n}/seconds": whole(row) for row in rows}
    baseline = None
    if CYCLEGAN_STEPS[scale]:
        aligned = aligned_pair(PAIRS[scale], seed, device)
        found = compare(aligned, seed, CYCLEGAN_STEPS[scale]).scores
        baseline = found[CYCLEGAN].seconds
        conditions["alignment_faster_than_training_a_CycleGAN"] = found[OURS].seconds < baseline
        for name in (OURS, CYCLEGAN):
            values |= {
                f"{name}/seconds": found[name].seconds,
                f"{name}/accuracy_free": found[name].accuracy_free,
            }
        values["autoencoder_seconds"] = aligned.pair.source.seconds + aligned.pair.target.seconds
        ours_seconds = found[OURS].seconds
    else:
        ours_seconds = ours[last]
    return Measurement(
        quantity="seconds of one alignment; baseline: training a CycleGAN" if baseline else
        f"seconds of merging, meshing and mapping {last} points, hierarchical",
        ours=ours_seconds,
        baseline=baseline,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=[_table(rows)],
        figures=[_figure(rows)],
    )  # fmt: skip


def cost(n: int, method: Method, seed: int) -> Cost:
    """Measure one method: once for the time, once more for the memory, which slows it down."""
    drawn = blobs(N_CLUSTERS, n // N_CLUSTERS, seed=seed)
    slots = make_slots(drawn.codes, drawn.labels, N_CLUSTERS)
    points = slots(drawn.codes, drawn.labels)
    run = _merger(points, drawn.labels, slots.centres, method)
    started = time.perf_counter()
    merged = run()
    merging = time.perf_counter() - started
    started = time.perf_counter()
    try:
        to_canonical(mesh_of(merged))
        mapping = time.perf_counter() - started
    except ValueError:  # regions in pieces: this draw cannot be meshed by this method
        mapping = None
    error = None if method == "assignment" else merged.mass_error
    return Cost(n, method, merging, peak_megabytes(run), mapping, error)


def _merger(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, "n"],
    centres: Float[np.ndarray, "k 2"],
    method: Method,
) -> Callable[[], Merged]:
    return lambda: merge_clusters(points, labels, centres, method)


def peak_megabytes(run: Callable[[], object]) -> float:
    """Largest memory that `run` holds beyond what there was, of all that Python and numpy allocate."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def whole(row: Cost) -> float:
    """Seconds of merging, and of meshing and mapping where that was possible."""
    return row.merge_seconds + (row.map_seconds or 0.0)


def _table(rows: list[Cost]) -> Table:
    columns = tuple(Cost.__dataclass_fields__)
    return Table("costs", columns, tuple(tuple(getattr(row, name) for name in columns) for row in rows))


def _figure(rows: list[Cost]) -> Figure:
    lines: dict[str, Curve] = {
        method: (
            [float(row.n) for row in rows if row.method == method],
            [row.merge_seconds for row in rows if row.method == method],
        )
        for method in METHODS
    }
    words = Labels(
        "Time of merging",
        "points",
        "seconds",
        "Seconds of the three merge methods over the number of points, both axes logarithmic.",
    )
    return curves("merge-seconds", lines, words, Look(log="xy"))
