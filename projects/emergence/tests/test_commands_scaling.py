"""The commands about scaling, from files to what they print and write."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from emergence.commands_scaling import data_pysrc, describe, law, solvable
from emergence.scaling.fit import fit_scaling_law
from emergence.scaling.forms import LimitLaw
from tenfold.cli import CommandLineError

TRUE = LimitLaw({"E": 1.0, "b": 2.0, "lam": 0.7, "c": 30.0}, terms=("depth", "data"))


@pytest.fixture
def table(tmp_path):
    rows = pd.MultiIndex.from_product(
        [[1, 2, 4, 8, 16], [1e3, 1e4, 1e5]], names=["n_blocks", "n_data"]
    ).to_frame(index=False)
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(rows))
    path = tmp_path / "runs.csv"
    rows.assign(nats=TRUE.predict(rows) * np.exp(noise)).to_csv(path, index=False)
    return path


def test_a_law_is_fitted_compared_and_saved(table, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        str(table),
        "--terms",
        "depth,data",
        "--column",
        "loss=nats",
        "--starts",
        "16",
        "--bootstrap",
        "20",
    ]
    arguments += ["--compare", "power-step", "--holdout", "n_blocks>=16", "--out", str(out)]
    assert law(arguments) == 0
    shown = capsys.readouterr().out
    assert "limit law, 15 runs" in shown
    assert "95% interval" in shown
    assert "holdout_error" in shown
    found = json.loads((out / "fit.json").read_text())
    assert found["params"]["lam"] == pytest.approx(0.7, rel=0.05)
    assert found["intervals"]["lam"][0] < found["intervals"]["lam"][1]
    assert pd.read_csv(out / "comparison.csv")["law"].tolist() == ["limit", "power-step"]


@pytest.mark.realdata
def test_the_chinchilla_runs_from_their_own_columns(capsys):
    path = os.path.join(os.environ["TENFOLD_DATA"], "scaling_laws", "chinchilla_fig4.csv")
    columns = ["--column", "n_params=Model Size", "--column", "flops=Training FLOP"]
    depth = ["--tokens-from-flops", "--effective-depth", "--terms", "depth,data"]
    compared = ["--compare", "chinchilla", "--holdout", "flops>=1e21"]
    assert law([path, *columns, *depth, *compared, "--starts", "4", "--bootstrap", "0"]) == 0
    shown = capsys.readouterr().out
    assert "limit law, 245 runs" in shown
    assert "objective 0.00182502" in shown  # §7.5: on all rows the depth form equals Chinchilla
    assert "chinchilla" in shown


def test_what_is_not_identifiable_is_said():
    rows = pd.MultiIndex.from_product([[1, 2, 4, 8], [1e3, 1e4, 1e5]], names=["n_blocks", "n_data"]).to_frame(
        index=False
    )
    flat = rows.assign(loss=1 + 30 * rows["n_data"] ** -0.5)
    assert "not identifiable: its term makes up less than" in describe(
        fit_scaling_law(flat, TRUE, n_starts=8)
    )


def test_the_solvable_model_is_measured_and_fitted(tmp_path, capsys):
    path = tmp_path / "grid.csv"
    arguments = [
        "--lam",
        "0.7",
        "--beta",
        "0.75",
        "--data",
        "256,1024,4096",
        "--blocks",
        "1,2,4,8",
        "--steps",
        "1,4,16",
    ]
    assert solvable([*arguments, "--repeats", "2", "--reference", "4000", "--out", str(path)]) == 0
    assert "beta" in capsys.readouterr().out
    grid = pd.read_csv(path)
    assert len(grid) == 36
    assert list(grid.columns) == ["n_data", "n_blocks", "n_steps", "total", "opt", "arch", "sample"]


def test_a_corpus_is_built(tmp_path, capsys):
    folder = tmp_path / "sources"
    folder.mkdir()
    for i in range(200):
        (folder / f"m{i}.py").write_text(f"x = {i}\n")
    assert data_pysrc(["--out", str(tmp_path / "corpus"), "--folder", str(folder)]) == 0
    assert "files       200" in capsys.readouterr().out
    assert (tmp_path / "corpus" / "train.bin").is_file()
    with pytest.raises(CommandLineError, match="which is not a folder"):
        data_pysrc(["--out", str(tmp_path / "corpus"), "--folder", str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "no file nowhere.csv"),
        (["TABLE"], "no column 'n_steps'"),
        (["TABLE", "--column", "loss"], r"--column takes NAME=COLUMN .*n_blocks, n_data, nats\), got 'loss'"),
        (["TABLE", "--terms", "width"], "terms must be some of steps, depth, data"),
        (["TABLE", "--gamma", "half"], "gamma must be a number or 'free', got 'half'"),
        (["TABLE", "--terms", "depth,data"], "no column 'loss'"),
        (["TABLE", "--effective-depth"], "--effective-depth needs a column n_params"),
        (["TABLE", "--tokens-from-flops"], "--tokens-from-flops needs a column flops"),
        (
            [
                "TABLE",
                "--terms",
                "depth,data",
                "--column",
                "loss=nats",
                "--holdout",
                "size>1",
                "--bootstrap",
                "0",
                "--starts",
                "1",
            ],
            "holdout names the column 'size'",
        ),
    ],
)
def test_bad_input_of_the_law(table, arguments, message):
    with pytest.raises(CommandLineError, match=message):
        law([str(table) if word == "TABLE" else word for word in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lam", "1.0"], r"lam must lie in \(0, 1\)"),
        (["--data", "few"], "--data takes integers with commas between them, got 'few'"),
        (["--beta", "1.0", "--reference", "100"], r"eta must lie in \(0, 1\), got 0"),
    ],
)
def test_bad_input_of_the_solvable_model(arguments, message):
    with pytest.raises(CommandLineError, match=message):
        solvable(arguments)
