"""A claim: one sentence of a paper, turned into a number and a criterion.

    @claim("K1", "Matched symmetry wins", source="abstract; section 5", published=None)
    def alignment(scale: Scale, seed: int) -> Measurement: ...

The arguments of `@claim` are literals, so that `tenfold list` can read them from the source without importing torch.
Names, seeds and thresholds are fixed before a run; a threshold changes only together with a reason in the docstring.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType

Value = float | int | str | bool | None


class Scale(StrEnum):
    """How much is spent on a claim.

    `smoke` checks that the machinery works (two CPU cores, a minute a paper), `cpu` shows the effect against a
    baseline (two cores, a quarter of an hour a paper), `gpu` shows it at the paper's sizes (one GPU, under half
    an hour a paper), `paper` is the full recipe.
    """

    SMOKE = "smoke"
    CPU = "cpu"
    GPU = "gpu"
    PAPER = "paper"


@dataclass(frozen=True)
class Figure:
    """A picture that belongs to a measurement.

    Args:
        name: file-name stem, lower case with hyphens, unique within the claim.
        png: the encoded PNG file.
        alt: what the picture shows, for readers who do not see it.
    """

    name: str
    png: bytes = field(repr=False)
    alt: str

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG"):
            raise ValueError(f"png of figure {self.name!r} is not an encoded PNG file")
        if not self.alt.strip():
            raise ValueError(f"alt of figure {self.name!r} is empty: say what the picture shows")


@dataclass(frozen=True)
class Table:
    """A small table that belongs to a measurement; every row has one value per column."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name!r} has {len(self.columns)} columns, but a row of {len(row)} values: {row}"
                )


@dataclass(frozen=True)
class Measurement:
    """What one run of a claim found.

    Args:
        quantity: what `ours` and `baseline` are, with the unit: "test accuracy on digits (%)".
        ours: the headline number of our model.
        baseline: the same quantity for the fairly trained baseline; None where the claim has none.
        criterion: the condition in words and numbers: "mean(MetaKAN) >= mean(KAN) - 1.5 points".
        passed: whether the criterion holds.
        values: every other number measured, by name; finite floats, ints, strings, booleans or None.
        figures: pictures, written beside the result.
        tables: small tables, shown in the report.

    Raises:
        TypeError: if a value is not a plain number, string, boolean or None (a tensor, say).
    """

    quantity: str
    ours: Value
    criterion: str
    passed: bool
    baseline: Value = None
    values: Mapping[str, Value] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.passed, bool):
            raise TypeError(f"passed must be a bool, got {type(self.passed).__name__}: wrap it in bool(...)")
        for name, value in (("ours", self.ours), ("baseline", self.baseline), *self.values.items()):
            if value is not None and not isinstance(value, float | int | str | bool):
                raise TypeError(f"value {name!r} is a {type(value).__name__}; convert it with float(...)")
        not_finite = [
            name
            for name, value in (("ours", self.ours), ("baseline", self.baseline))
            if isinstance(value, float) and not math.isfinite(value)
        ]
        if self.passed and not_finite:
            raise ValueError(f"a measurement cannot pass with {' and '.join(not_finite)} not finite")


@dataclass(frozen=True)
class Claim:
    """A claim with everything needed to run and report it; made by the decorator `claim`."""

    id: str
    title: str
    source: str
    published: Value
    scales: tuple[Scale, ...]
    known_gaps: Mapping[str, str]
    cpus: int
    module: str
    measure: Callable[[Scale, int], Measurement] = field(repr=False)

    def __call__(self, scale: Scale, seed: int) -> Measurement:
        """Measure the claim.

        Args:
            scale: how much to spend; one of `self.scales`.
            seed: a non-negative integer; everything random in the claim derives from it.

        Raises:
            ValueError: if the claim is not defined at this scale, or the seed is negative.
            TypeError: if the function does not return a Measurement.
        """
        if scale not in self.scales:
            raise ValueError(f"claim {self.id} has no scale {scale}; it has {', '.join(self.scales)}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        measurement = self.measure(Scale(scale), seed)
        if not isinstance(measurement, Measurement):
            raise TypeError(f"claim {self.id} must return a Measurement, got {type(measurement).__name__}")
        return measurement


def claim(
    id: str,
    title: str,
    *,
    source: str,
    published: Value = None,
    scales: Sequence[str] = ("smoke", "cpu", "gpu", "paper"),
    known_gaps: Mapping[str, str] | None = None,
    cpus: int = 1,
) -> Callable[[Callable[[Scale, int], Measurement]], Claim]:
    """Turn a function `(scale, seed) -> Measurement` into a `Claim`.

    All arguments must be literals (see the module's first paragraph).

    Args:
        id: short name, unique within the paper: "C1".
        title: the claim in one line.
        source: where the paper says it: "abstract; section 5", or "inferred" where the paper does not.
        published: the paper's number, only where a source gives it; None is printed "not published".
        scales: the scales at which the claim is defined.
        known_gaps: scale -> why the claim is known not to hold there. Such a claim is still measured and reported
            as failing, but does not make `tenfold reproduce` exit with an error.
        cpus: threads the measurement may use; results must not depend on the machine's number of cores.
    """
    unknown = [s for s in (*scales, *(known_gaps or {})) if s not in Scale.__members__.values()]
    if unknown:
        raise ValueError(f"unknown scale {unknown[0]!r} in claim {id}; known: {', '.join(Scale)}")
    if cpus < 1:
        raise ValueError(f"cpus must be at least 1 in claim {id}, got {cpus}")

    def decorate(measure: Callable[[Scale, int], Measurement]) -> Claim:
        return Claim(
            id=id,
            title=title,
            source=source,
            published=published,
            scales=tuple(Scale(s) for s in scales),
            known_gaps=dict(known_gaps or {}),
            cpus=cpus,
            module=measure.__module__,
            measure=measure,
        )

    return decorate


def collect(module: ModuleType) -> dict[str, Claim]:
    """The claims that a paper's `claims` module (or package) exports, by id, in the order of the module.

    Raises:
        ValueError: if two claims share an id, or there is none.
    """
    found: dict[str, Claim] = {}
    for value in vars(module).values():
        if isinstance(value, Claim):
            if value.id in found and found[value.id] is not value:
                raise ValueError(f"{module.__name__} has two claims named {value.id!r}")
            found[value.id] = value
    if not found:
        raise ValueError(
            f"{module.__name__} exports no claim; decorate a function with @tenfold.claims.claim"
        )
    return found
