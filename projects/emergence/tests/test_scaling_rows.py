"""What a fit refuses (§12), and hold-outs in words."""

import numpy as np
import pandas as pd
import pytest

from emergence.scaling.forms import ChinchillaLaw, LimitLaw
from emergence.scaling.rows import check_rows, held_out


def table(**columns: object) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product(
        [[1, 2, 4], [1, 2, 8], [10, 100]], names=["n_steps", "n_blocks", "n_data"]
    )
    return rows.to_frame(index=False).assign(loss=1.0).assign(**columns)


def test_a_grid_is_accepted():
    check_rows(table(), LimitLaw())


def test_no_table():
    with pytest.raises(TypeError, match="the data must be a pandas DataFrame, got list"):
        check_rows([1.0], LimitLaw())


def test_too_few_rows():
    """Seven parameters need nine rows."""
    check_rows(table().head(9).assign(n_data=range(1, 10)), LimitLaw(gamma=None))
    with pytest.raises(ValueError, match="limit law has 7 parameters and needs at least 9 rows, got 8"):
        check_rows(table().head(8), LimitLaw(gamma=None))


def test_a_constant_column():
    with pytest.raises(ValueError, match=r"column 'n_blocks' is constant \(4\)"):
        check_rows(table(n_blocks=4), LimitLaw())


def test_one_epoch_ties_steps_to_data():
    rows = table()
    with pytest.raises(ValueError, match=r"'n_steps' and 'n_data' vary only together.*one epoch"):
        check_rows(rows.assign(n_data=32 * rows["n_steps"]), LimitLaw())


def test_sizes_that_grow_together():
    sizes = np.geomspace(1e6, 1e9, 18)
    with pytest.raises(ValueError, match="'n_params' and 'n_tokens' vary only together"):
        check_rows(table(n_params=sizes, n_tokens=20 * sizes), ChinchillaLaw())


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("flops>1e21", [False, False, True]),
        ("flops >= 1e21", [False, True, True]),
        ("flops<1e21", [True, False, False]),
        ("flops <= 1e+21", [True, True, False]),
        ("flops==1e20", [True, False, False]),
    ],
)
def test_conditions(condition, expected):
    rows = pd.DataFrame({"flops": [1e20, 1e21, 1e22]})
    assert held_out(rows, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("the largest", "holdout must be a condition on a column like 'flops>1e21', got 'the largest'"),
        ("size>1", "holdout names the column 'size'; the data have flops"),
        ("flops>1e", "holdout must compare with a number, got '1e'"),
        ("flops>1e30", "holds out 0 of 3 rows"),
        ("flops>0", "holds out 3 of 3 rows"),
    ],
)
def test_bad_conditions(condition, message):
    with pytest.raises(ValueError, match=message):
        held_out(pd.DataFrame({"flops": [1e20, 1e21, 1e22]}), condition)
