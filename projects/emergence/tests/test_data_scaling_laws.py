"""Public tables of runs: what is in them, and what is said when they are not there."""

import os
import zipfile

import pandas as pd
import pytest

from emergence.data.scaling_laws import load_chinchilla, load_gadre_grid, load_gadre_models
from tenfold.data import DataNotFoundError


@pytest.mark.realdata
def test_the_chinchilla_extraction():
    rows = load_chinchilla(os.environ["TENFOLD_DATA"])
    assert len(rows) == 245
    assert list(rows.columns) == ["n_params", "n_tokens", "flops", "loss"]
    pd.testing.assert_series_equal(6 * rows["n_params"] * rows["n_tokens"], rows["flops"], check_names=False)
    kept = load_chinchilla(os.environ["TENFOLD_DATA"], drop_highest=5)
    assert len(kept) == 240
    assert kept["loss"].max() < rows["loss"].nlargest(5).min()
    with pytest.raises(ValueError, match=r"drop_highest must lie in 0 … 244, got 245"):
        load_chinchilla(os.environ["TENFOLD_DATA"], drop_highest=245)


@pytest.mark.realdata
def test_the_grid_of_depth_and_width():
    everything, best = (load_gadre_grid(os.environ["TENFOLD_DATA"], best=b) for b in (False, True))
    assert (len(everything), len(best)) == (435, 50)
    assert sorted(best["n_blocks"].unique()) == [4, 8, 12, 16, 24]
    assert (best["width"].min(), best["width"].max()) == (96, 1024)
    lowest = everything.groupby(["width", "n_blocks"])["loss"].min()
    assert (best.set_index(["width", "n_blocks"])["loss"] == lowest).all()
    wide = best[best["width"] == 1024]
    assert wide["loss"].is_monotonic_decreasing  # deeper is better


@pytest.mark.realdata
def test_the_test_bed():
    models = load_gadre_models(os.environ["TENFOLD_DATA"])
    assert len(models) == 104
    assert sum(name.startswith("loss") for name in models) == 8
    assert sum(name.startswith("eval/") for name in models) == 46
    assert not models.isna().any().any()
    largest = models.loc[models["n_params"].idxmax()]
    assert (largest["n_blocks"], largest["width"]) == (32, 4096)
    blocks = 12 * models["n_blocks"] * models["width"] ** 2
    assert ((blocks < models["n_params"]) & (models["n_params"] < 15 * blocks)).all()


@pytest.mark.parametrize("load", [load_chinchilla, load_gadre_grid, load_gadre_models])
def test_missing_files_are_named_with_their_source(load, tmp_path):
    with pytest.raises(DataNotFoundError, match=r"scaling_laws/.*not found: it is .*repository"):
        load(tmp_path)


def test_other_files_are_refused(tmp_path):
    folder = tmp_path / "scaling_laws"
    folder.mkdir()
    (folder / "chinchilla_fig4.csv").write_text("Model Size,loss\n1,2\n")
    with pytest.raises(ValueError, match="has 1 rows and the columns Model Size, loss; expected 245 rows"):
        load_chinchilla(tmp_path)
    (folder / "gadre.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is not the expected archive"):
        load_gadre_grid(tmp_path)
    with zipfile.ZipFile(folder / "gadre.zip", "w") as archive:
        archive.writestr("gadre/grid.json", '{"d=1_l=2": 3.0}')
    with pytest.raises(ValueError, match="has not the expected form"):
        load_gadre_grid(tmp_path)
    with pytest.raises(ValueError, match="has 0 models, expected 104"):
        load_gadre_models(tmp_path)
