"""Tables of runs: what a fit refuses before it starts (§12), and how a hold-out is chosen.

Columns: `loss`, and those the law reads among `n_data`, `n_blocks`, `n_steps` (limit laws) and `n_params`, `n_tokens`.
"""

import operator
import re
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool

from .laws import ScalingLaw, column

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_CONDITION = re.compile(r"^\s*([A-Za-z_][\w ]*?)\s*(>=|<=|==|>|<)\s*([-+.\deE]+)\s*$")

_COLLINEAR = 1e-9
"""1 − |correlation| of two logarithms below which they are taken for the same quantity."""


def check_rows(rows: pd.DataFrame, law: ScalingLaw) -> None:
    """Raise unless the law can be fitted to the table.

    Raises:
        TypeError: not a DataFrame.
        ValueError: a column that is missing, not above 0 or constant; too few rows; two columns that vary only together.
    """
    if not isinstance(rows, pd.DataFrame):
        raise TypeError(f"the data must be a pandas DataFrame, got {type(rows).__name__}")
    names = list(dict.fromkeys(law.columns))
    values = {name: column(rows, name) for name in names}
    column(rows, "loss")
    needed = len(law.names) + 2
    if len(rows) < needed:
        raise ValueError(
            f"the {law.name} law has {len(law.names)} parameters and needs at least {needed} rows, got {len(rows)}"
        )
    for name, x in values.items():
        if x.max() <= x.min() * (1 + 1e-12):
            raise ValueError(
                f"column {name!r} is constant ({x[0]:g}): its term cannot be told from the floor; vary it, or use a law "
                "without this term"
            )
    for one, two in combinations(names, 2):
        _check_collinear(one, two, np.log(values[one]), np.log(values[two]))


def _check_collinear(one: str, two: str, log_one: np.ndarray, log_two: np.ndarray) -> None:
    if 1 - abs(float(np.corrcoef(log_one, log_two)[0, 1])) > _COLLINEAR:
        return
    reason = f"columns {one!r} and {two!r} vary only together, so their terms cannot be told apart"
    if {one, two} == {"n_steps", "n_data"}:
        reason += (
            " (training in one epoch ties steps × batch to the data); use runs that repeat data, or "
            'terms=("depth", "data")'
        )
    else:
        reason += "; use runs in which they vary independently, or a law without one of them"
    raise ValueError(reason)


def held_out(rows: pd.DataFrame, condition: str) -> Bool[np.ndarray, "n"]:
    """Which rows a condition such as "flops>1e21" holds out.

    Raises:
        ValueError: not a condition, an unknown column, or no row (or every row) is held out.

    Example:
        >>> held_out(pd.DataFrame({"flops": [1e20, 1e21, 1e22]}), "flops >= 1e21").tolist()
        [False, True, True]
    """
    match = _CONDITION.match(condition)
    if match is None:
        raise ValueError(f"holdout must be a condition on a column like 'flops>1e21', got {condition!r}")
    name, sign, number = match.groups()
    if name not in rows:
        raise ValueError(
            f"holdout names the column {name!r}; the data have {', '.join(map(str, rows.columns))}"
        )
    try:
        limit = float(number)
    except ValueError:
        raise ValueError(f"holdout must compare with a number, got {number!r}") from None
    mask = np.asarray(_OPERATORS[sign](rows[name].to_numpy(), limit))
    if mask.all() or not mask.any():
        raise ValueError(
            f"holdout {condition!r} holds out {int(mask.sum())} of {len(mask)} rows; some must stay and some must go"
        )
    return mask
