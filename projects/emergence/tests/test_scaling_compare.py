"""Comparison in and out of sample."""

import numpy as np
import pandas as pd
import pytest

from emergence.scaling.compare import compare_laws
from emergence.scaling.forms import LimitLaw, PowerStepLaw

DEPTH = LimitLaw({"E": 1.0, "b": 2.0, "lam": 0.7, "c": 30.0}, terms=("depth", "data"))


@pytest.fixture
def rows() -> pd.DataFrame:
    grid = pd.MultiIndex.from_product([[1, 2, 4, 8, 16], [1e3, 1e4, 1e5]], names=["n_blocks", "n_data"])
    frame = grid.to_frame(index=False)
    return frame.assign(
        loss=DEPTH.predict(frame), n_params=1e4 * frame["n_blocks"] ** 3, n_tokens=frame["n_data"]
    )


def test_the_true_law_wins_in_and_out_of_sample(rows):
    table = compare_laws(rows, [DEPTH, "chinchilla"], "n_blocks>=16", n_starts=16)
    assert table["law"].tolist() == ["limit", "chinchilla"]
    assert table["parameters"].tolist() == [4, 5]
    assert table["holdout_rows"].tolist() == [3, 3]
    assert table["holdout_error"][0] < 1e-3 < table["holdout_error"][1]
    assert (table["holdout_bias"].abs() <= table["holdout_error"] + 1e-15).all()


def test_a_mask_is_a_condition(rows):
    mask = (rows["n_blocks"] >= 16).to_numpy()
    by_word, by_mask = (compare_laws(rows, {"a": DEPTH}, h, n_starts=4) for h in ("n_blocks>=16", mask))
    pd.testing.assert_frame_equal(by_word, by_mask)
    assert "holdout_error" not in compare_laws(rows, {"a": DEPTH}, n_starts=4)


@pytest.mark.parametrize(
    ("laws", "holdout", "message"),
    [
        ([], None, "laws is empty"),
        ([LimitLaw(), LimitLaw(gamma=None)], None, "laws share a name"),
        ([DEPTH], np.zeros(15, bool), "holdout holds out 0 of 15 rows"),
        ([DEPTH], np.ones(3, bool), "boolean array of 15 entries, got bool of shape"),
        ([DEPTH], "loss>", "holdout must be a condition"),
        ([PowerStepLaw()], None, "no column 'n_steps'"),
    ],
)
def test_bad_input(rows, laws, holdout, message):
    with pytest.raises(ValueError, match=message):
        compare_laws(rows, laws, holdout)
