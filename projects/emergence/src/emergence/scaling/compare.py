"""Laws side by side: in sample by information criteria, out of sample by a hold-out of the largest runs (§3.5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .fit import FitResult, fit_scaling_law
from .forms import get_law
from .laws import Array, ScalingLaw
from .rows import check_rows, held_out

Laws = Sequence[str | ScalingLaw | type[ScalingLaw]] | Mapping[str, str | ScalingLaw | type[ScalingLaw]]


def compare_laws(
    rows: pd.DataFrame,
    laws: Laws,
    holdout: str | Array | None = None,
    *,
    loss: str = "huber",
    delta: float = 1e-3,
    n_starts: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a law, the lowest AICc first.

    Args:
        rows: one run a row; see `fit_scaling_law`.
        laws: names or forms; a mapping gives them labels.
        holdout: a condition such as "flops>1e21", or a boolean array: these rows are predicted by a fit to the others.
        loss, delta, n_starts, seed: of every fit.

    Returns:
        law, parameters (their number), objective, aicc, bic, r2, identifiable, agreement; with a hold-out also
        holdout_error (mean |log prediction − log observation|), holdout_bias (its mean with sign; above 0 the law
        expects too high a loss) and holdout_rows. The criteria are those of the fit to all rows.

    Raises:
        ValueError: no law, two laws of one label, a bad hold-out, data a law cannot be fitted to.

    Example:
        >>> from emergence.scaling.forms import LimitLaw
        >>> grid = pd.MultiIndex.from_product([[1, 2, 4, 8], [1e3, 1e4, 1e5]], names=["n_blocks", "n_data"]).to_frame(index=False)
        >>> law = LimitLaw({"E": 1.0, "b": 2.0, "lam": 0.7, "c": 30.0}, terms=("depth", "data"))
        >>> table = compare_laws(grid.assign(loss=law.predict(grid)), [law], "n_blocks>=8", n_starts=16)
        >>> bool(table["holdout_error"][0] < 1e-4)
        True
    """
    forms = _labelled(laws)
    if isinstance(holdout, str):
        mask: Array | None = held_out(rows, holdout)
    else:
        mask = None if holdout is None else _mask(rows, holdout)
    found: list[dict[str, Any]] = []
    for label, form in forms.items():
        check_rows(rows, form)
        fit = fit_scaling_law(rows, form, loss=loss, delta=delta, n_starts=n_starts, seed=seed)
        found.append({"law": label, **_in_sample(fit)})
        if mask is not None:
            kept = rows[~mask]
            part = fit_scaling_law(kept, form, loss=loss, delta=delta, n_starts=n_starts, seed=seed)
            found[-1] |= holdout_errors(part, rows[mask])
    return pd.DataFrame(found).sort_values("aicc", kind="stable", ignore_index=True)


def holdout_errors(fit: FitResult, rows: pd.DataFrame) -> dict[str, float | int]:
    """Mean absolute and mean signed log error of predictions of rows the fit has not seen."""
    errors = np.log(fit.predict(rows)) - np.log(rows["loss"].to_numpy(dtype=float))
    return {
        "holdout_error": float(np.abs(errors).mean()),
        "holdout_bias": float(errors.mean()),
        "holdout_rows": len(rows),
    }


def _in_sample(fit: FitResult) -> dict[str, float | int | bool]:
    return {
        "parameters": len(fit.params),
        "objective": fit.objective,
        "aicc": fit.aicc,
        "bic": fit.bic,
        "r2": fit.r2,
        "identifiable": fit.identifiable,
        "agreement": fit.agreement,
    }


def _labelled(laws: Laws) -> dict[str, ScalingLaw]:
    if isinstance(laws, Mapping):
        forms = {label: get_law(law) for label, law in laws.items()}
    else:
        made = [get_law(law) for law in laws]
        forms = {law.name: law for law in made}
        if len(forms) < len(made):
            raise ValueError(
                f"laws share a name ({', '.join(law.name for law in made)}); give a mapping label -> law"
            )
    if not forms:
        raise ValueError("laws is empty: give at least one law")
    return forms


def _mask(rows: pd.DataFrame, holdout: Array) -> Array:
    mask = np.asarray(holdout)
    if mask.dtype != bool or mask.shape != (len(rows),):
        raise ValueError(
            f"holdout must be a condition or a boolean array of {len(rows)} entries, got {mask.dtype} of shape {mask.shape}"
        )
    if mask.all() or not mask.any():
        raise ValueError(
            f"holdout holds out {int(mask.sum())} of {len(mask)} rows; some must stay and some must go"
        )
    return mask
