"""C9: what public scaling data say about the limit law (§7.5, §8)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels, Look, curves

from ..data.scaling_laws import load_chinchilla, load_gadre_grid
from ..scaling.allocation import optimal_allocation
from ..scaling.compare import holdout_errors
from ..scaling.fit import FitResult, fit_scaling_law
from ..scaling.forms import ChinchillaLaw, LimitLaw, effective_depth
from ..scaling.laws import ScalingLaw, SumLaw, Term
from .scales import derive, device_for, in_words

EPOCH = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
"""Epoch AI's re-fit of the same extraction (2404.10102)."""

CUTS = (1e20, 3e20, 1e21)
"""Runs below so many floating-point operations are fitted, the others predicted."""

DEPTH_AND_DATA = ("depth", "data")

LAWS: dict[str, ScalingLaw] = {
    "Chinchilla": ChinchillaLaw(),
    "limit, γ free": LimitLaw(terms=DEPTH_AND_DATA, gamma=None),
    "limit": LimitLaw(terms=DEPTH_AND_DATA),
    "exponential in parameters": SumLaw(
        name="exponential in parameters",
        terms=(Term("b", "lam", "n_params", "exponential"), Term("c", "gamma", "n_data", "power")),
    ),
}
"""From the best in sample to the worst (§7.5)."""

HELD_OUT = {
    "Chinchilla": (0.0089, 0.0100, 0.0105),
    "limit": (0.0129, 0.0172, 0.0173),
    "exponential in parameters": (0.024, 0.028, 0.039),
}
"""Mean |log error| on the runs above each cut, as measured before (§7.5)."""

GRID_LAWS: dict[str, ScalingLaw] = {
    "exponential in depth": LimitLaw(terms=DEPTH_AND_DATA),
    "exponential in depth, γ free": LimitLaw(terms=DEPTH_AND_DATA, gamma=None),
    "power of depth": SumLaw(
        name="power of depth",
        terms=(Term("b", "delta", "n_blocks", "power"), Term("c", "gamma", "n_data", "power", fixed=0.5)),
    ),
    "power of depth, γ free": SumLaw(
        name="power of depth",
        terms=(Term("b", "delta", "n_blocks", "power"), Term("c", "gamma", "n_data", "power")),
    ),
    "power of size": SumLaw(name="power of size", terms=(Term("A", "alpha", "n_params", "power"),)),
}

GRID_CUTS = {
    "deepest (24)": ("n_blocks", 24),
    "16 and 24 blocks": ("n_blocks", 16),
    "widest (1024)": ("width", 1024),
    "768 and wider": ("width", 768),
    "above 4e9 tokens": ("n_tokens", 4e9),
}

STARTS = {Scale.SMOKE: 16, Scale.CPU: 32, Scale.GPU: 64, Scale.PAPER: 64}
BOOTSTRAP = {Scale.SMOKE: 0, Scale.CPU: 200, Scale.GPU: 1000, Scale.PAPER: 4000}


@claim(
    "C9",
    "On public data exponential-in-depth is competitive in sample and worse in extrapolation; in parameters it is refuted",
    source="abstract: the form of the law; the test on public data is inferred",
    published="not the paper's: Epoch AI's re-fit of Chinchilla, E 1.8172, α .3478, β .3658",
)
def public_data(scale: Scale, seed: int) -> Measurement:
    """The extraction of Hoffmann et al.'s Figure 4 without its five highest losses, 240 runs.

    cpu: refit within 2 % of Epoch's α, β, E; ranking and hold-out numbers of 7.5 within 10 %. Reported without a condition:
    intervals, and the same question on 50 small models whose true depth is known (Gadre et al.).
    smoke needs no download, so its 240 runs are generated from Epoch's law, with sizes around the optimal ones as in the
    original: the refit gives that law to 2 %, and the ranking is that of the cpu scale, in sample and held out.
    gpu, paper: as cpu, with more resamples.
    """
    if scale in (Scale.GPU, Scale.PAPER):
        device_for(scale)
    real = scale != Scale.SMOKE
    rows = with_depth(load_chinchilla(drop_highest=5) if real else generated())
    found = {
        name: Judged.of(rows, form, STARTS[scale], BOOTSTRAP[scale], derive(seed, 1)[0])
        for name, form in LAWS.items()
    }
    conditions = verdict(found, real)
    values: dict[str, Value] = dict(conditions)
    for name, judged in found.items():
        values |= {f"{name}/{key}": value for key, value in judged.numbers.items()}
    tables = [table_of(found)]
    if real:
        grid, numbers = on_the_grid(STARTS[scale], seed)
        tables.append(grid)
        values |= numbers
    return Measurement(
        quantity="mean |log error| on runs of 1e21 operations and more; ours the limit law, baseline Chinchilla",
        ours=found["limit"].errors[-1],
        baseline=found["Chinchilla"].errors[-1],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=tables,
        figures=[picture(found)] if real else [],
    )


@dataclass(frozen=True)
class Judged:
    """A law on the data.

    Args:
        fit: to all runs.
        errors: mean |log error| on the runs above each cut, of fits to those below.
        biases: the same with sign; above 0 the law expects too high a loss.
    """

    fit: FitResult
    errors: tuple[float, ...]
    biases: tuple[float, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, form: ScalingLaw, n_starts: int, bootstrap: int, seed: int) -> "Judged":
        held = []
        for limit in CUTS:
            below = rows["flops"] < limit
            part = fit_scaling_law(rows[below], form, n_starts=n_starts, seed=seed)
            held.append(holdout_errors(part, rows[~below]))
        fit = fit_scaling_law(rows, form, n_starts=n_starts, bootstrap=bootstrap, seed=seed)
        return cls(
            fit,
            tuple(float(part["holdout_error"]) for part in held),
            tuple(float(part["holdout_bias"]) for part in held),
        )

    @property
    def numbers(self) -> dict[str, Value]:
        numbers: dict[str, Value] = {
            "objective": self.fit.objective,
            "AICc": self.fit.aicc,
            **self.fit.params,
        }
        for name, (low, high) in self.fit.ci.items():
            numbers |= {f"{name}_low": low, f"{name}_high": high}
        for limit, error, bias in zip(CUTS, self.errors, self.biases, strict=True):
            numbers |= {f"error_above_{limit:.0e}": error, f"bias_above_{limit:.0e}": bias}
        return numbers


def with_depth(rows: pd.DataFrame) -> pd.DataFrame:
    """n_data and the heuristic depth beside n_params and n_tokens."""
    return rows.assign(n_data=rows["n_tokens"], n_blocks=effective_depth(rows["n_params"]))


def generated() -> pd.DataFrame:
    """240 runs without noise by Epoch's law: sizes within a factor of five of the optimal one, at twelve computes."""
    law = ChinchillaLaw(EPOCH)
    rows = []
    for flops in np.geomspace(6e18, 3e21, 12):
        for factor in np.geomspace(0.2, 5.0, 20):
            n_params = factor * optimal_allocation(law, float(flops))[0]
            rows.append((n_params, flops / (6 * n_params), flops))
    frame = pd.DataFrame(rows, columns=["n_params", "n_tokens", "flops"])
    return frame.assign(loss=law.predict(frame))


def verdict(found: Mapping[str, Judged], real: bool) -> dict[str, bool]:
    """The conditions; on generated runs there are no held-out numbers to compare with."""
    refit = found["Chinchilla"].fit.params
    objectives = [found[name].fit.objective for name in LAWS]
    errors = [found[name].errors[-1] for name in ("Chinchilla", "limit", "exponential in parameters")]
    conditions = {
        "refit_within_2_%_of_Epoch's_α,_β,_E": all(
            abs(refit[name] / EPOCH[name] - 1) <= 0.02 for name in ("alpha", "beta", "E")
        ),
        "ranking_in_sample_Chinchilla,_limit_with_γ_free,_limit,_exponential_in_parameters": objectives
        == sorted(objectives),
        "ranking_held_out_Chinchilla,_limit,_exponential_in_parameters": errors == sorted(errors),
    }
    if real:
        conditions["hold-out_numbers_of_§7.5_within_10_%"] = all(
            abs(measured / expected - 1) <= 0.1
            for name, numbers in HELD_OUT.items()
            for measured, expected in zip(found[name].errors, numbers, strict=True)
        )
    return conditions


def table_of(found: Mapping[str, Judged]) -> Table:
    """One row a law."""
    columns: tuple[str, ...] = ("law", "parameters", "objective × 10³", "AICc", "R² (log)")
    columns += (*(f"error above {limit:.0e}" for limit in CUTS), "bias above 1e+21", "expected errors")
    rows = tuple(
        (
            name,
            len(j.fit.params),
            1e3 * j.fit.objective,
            j.fit.aicc,
            j.fit.r2,
            *j.errors,
            j.biases[-1],
            " / ".join(f"{e:g}" for e in HELD_OUT[name]) if name in HELD_OUT else None,
        )
        for name, j in found.items()
    )
    return Table("laws-on-chinchilla", columns, rows)


def on_the_grid(n_starts: int, seed: int) -> tuple[Table, dict[str, Value]]:
    """The same question where depth is known: small models of Gadre et al., the best run of each depth and width."""
    rows = load_gadre_grid()
    rows = rows.assign(n_data=rows["n_tokens"].astype(float))
    body: list[tuple[Value, ...]] = []
    errors: dict[str, list[float]] = {}
    values: dict[str, Value] = {}
    for name, form in GRID_LAWS.items():
        fit = fit_scaling_law(rows, form, n_starts=n_starts, seed=seed)
        errors[name] = []
        for column, least in GRID_CUTS.values():
            kept = rows[column] < least
            part = fit_scaling_law(rows[kept], form, n_starts=n_starts, seed=seed)
            errors[name].append(float(holdout_errors(part, rows[~kept])["holdout_error"]))
        values |= {f"depth grid/{name}/{key}": value for key, value in fit.params.items()}
        values |= {
            f"depth grid/{name}/error, {cut}": e for cut, e in zip(GRID_CUTS, errors[name], strict=True)
        }
        body.append((name, len(fit.params), fit.aicc, fit.r2, *errors[name]))
    for tail in ("", ", γ free"):
        pairs = zip(errors[f"exponential in depth{tail}"], errors[f"power of depth{tail}"], strict=True)
        values[f"depth grid/splits on which exponential beats power of depth{tail}"] = sum(
            a < b for a, b in pairs
        )
    values["depth grid/splits"] = len(GRID_CUTS)
    columns = ("law", "parameters", "AICc", "R² (log)", *(f"error, {cut}" for cut in GRID_CUTS))
    return Table("laws-on-depth-grid", columns, tuple(body)), values


def picture(found: Mapping[str, Judged]) -> Figure:
    """Errors of extrapolation over the compute the fit has seen."""
    lines = {name: (CUTS, judged.errors) for name, judged in found.items()}
    at_most = "; ".join(f"{name} {judged.errors[-1]:.4f}" for name, judged in found.items())
    return curves(
        "hold-out-error",
        lines,
        Labels(
            "Predicting larger runs of the Chinchilla data",
            "fitted to runs below (floating-point operations)",
            "mean |log error| above",
            f"Mean absolute log error of the runs above a compute, by laws fitted to those below it. At 1e21: {at_most}.",
        ),
        Look(log="x", colours={"limit": "#0b6e99"}),
    )
