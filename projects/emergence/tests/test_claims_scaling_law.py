"""C3: the smoke scale holds, each condition can fail, and the paths of the other scales run on small sizes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from emergence.claims import language_grid
from emergence.claims.corpora import split
from emergence.claims.language_grid import GRIDS, LAWS, Grid, comparison, train_grid
from emergence.claims.scaling_law import (
    EFFORTS,
    Effort,
    Study,
    picture,
    recovery,
    scaling_law,
    table_of,
    verdict,
)
from emergence.claims.training import Effort as Training
from emergence.scaling.fit import fit_scaling_law
from emergence.scaling.forms import LimitLaw
from tenfold.claims import Scale

FIT = {"E": 0.01, "a": 1.0, "beta": 0.8, "b": 0.4, "lam": 0.7, "c": 1.5, "gamma": 0.5}


@pytest.fixture(scope="module")
def study() -> Study:
    """Errors that follow the law, with the noise a fit of the law has."""
    rows = pd.MultiIndex.from_product(
        [[256, 1024, 8192], [1, 2, 6, 16], [1, 4, 16, 64]], names=["n_data", "n_blocks", "n_steps"]
    ).to_frame(index=False)
    law = LimitLaw(FIT, gamma=None, combine="quadrature")
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(len(rows)))
    rows = rows.assign(total=law.predict(rows) * noise)
    fit = fit_scaling_law(rows.rename(columns={"total": "loss"}), law, n_starts=16, bootstrap=3)
    return Study(0.8, 0.8, rows, fit, 0.72, float(np.log(0.8)), -0.51, float(np.log(0.8)))


def test_smoke_recovers_the_parameters():
    for seed in (0, 1):
        measured = scaling_law(Scale.SMOKE, seed)
        assert measured.passed
        assert measured.ours < 0.01
    assert recovery(0).values["sum/lam"] != recovery(1).values["sum/lam"]


def test_conditions_hold_for_a_study_that_meets_them(study):
    assert all(verdict([study]).values())
    assert len(table_of([study]).rows) == 1
    assert picture(study).png.startswith(b"\x89PNG")


def changed(study: Study, **params: float) -> Study:
    return replace(study, fit=replace(study.fit, params={**study.fit.params, **params}))


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda s: changed(s, beta=0.83), "|β̂−β|_at_most_.02"),
        (lambda s: changed(s, gamma=0.65), "γ̂_in_[.45,.62]"),
        (lambda s: replace(s, fit=replace(s.fit, r2=0.98)), "R²_at_least_.99_(log)"),
        (lambda s: replace(changed(s, lam=0.86), arch_rate=0.8), "λ̂_at_most_Lip(T)+.05"),
        (lambda s: replace(s, arch_rate=0.85), "|λ̂−λ_arch-only|_at_most_.12"),
        (lambda s: replace(s, opt_slope=s.opt_slope + 0.02), "opt_slope_within_.01_of_log_β"),
        (lambda s: replace(s, sample_slope=-0.6), "sample_slope_−½±.06"),
        (
            lambda s: replace(s, linear_slope=s.linear_slope + 1e-5),
            "exact-rate_linear_block_gives_log_λ_to_1e-6",
        ),
    ],
)
def test_each_condition_can_fail(study, change, failing):
    conditions = verdict([study, change(study)])
    assert [name for name, holds in conditions.items() if not holds] == [failing]


def test_a_study_on_small_sizes():
    found = Study.of(0.7, 0.75, (1, 2, 4, 8), Effort(5000, repeats=2, repeats_alone=4, bootstrap=2), seed=0)
    assert found.opt_slope == pytest.approx(np.log(0.75), abs=1e-6)
    assert found.linear_slope == pytest.approx(np.log(0.7), abs=1e-6)
    assert found.fit.params["beta"] == pytest.approx(0.75, abs=0.03)
    assert found.arch_rate < 0.7
    assert -0.65 < found.sample_slope < -0.4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
def test_gpu_scales_never_fall_back_to_the_cpu(scale):
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        scaling_law(scale, 0)
    assert scale in GRIDS
    assert scale in EFFORTS


# The grid of language models --------------------------------------------------------------------------------------------

TINY = Grid(
    (300, 600), (1, 2), (2, 4), 8, 2, Training(4, ctx=8, batch_size=2, val_windows=4, rates=(1e-3,), warmup=1)
)


def test_the_grid_is_trained_with_data_and_steps_apart():
    corpus = split("digits", torch.arange(1000) % 10, 10)
    rows, failures = train_grid(TINY, corpus, 0, torch.device("cpu"))
    assert failures == []
    assert len(rows) == 8
    assert rows["loss"].between(0.5, 5).all()
    assert sorted(set(zip(rows["n_data"], rows["n_steps"]))) == [(300, 2), (300, 4), (600, 2), (600, 4)]
    assert (rows["n_tokens"] == 16 * rows["n_steps"]).all()
    short = split("short", torch.arange(500) % 10, 10)
    with pytest.raises(ValueError, match="short has 450 tokens to train on, the grid needs 600"):
        train_grid(TINY, short, 0, torch.device("cpu"))


def test_the_laws_are_compared_on_what_was_held_out(monkeypatch):
    monkeypatch.setattr(
        language_grid, "LAWS", {"limit": LAWS["limit"], "all by powers": LAWS["all by powers"]}
    )
    rows = pd.MultiIndex.from_product(
        [[1e3, 1e4, 1e5, 1e6], [1, 2, 4, 8], [1, 4, 16, 64]], names=["n_data", "n_blocks", "n_steps"]
    ).to_frame(index=False)
    powers = {"E": 1.0, "a": 1.0, "eta": 0.5, "b": 0.5, "delta": 0.7, "c": 20.0, "gamma": 0.4}
    rows = rows.assign(loss=LAWS["all by powers"].with_params(powers).predict(rows))
    table = comparison(rows, Grid((1000, 10**6), (1, 8), (1, 64), 8, 2, TINY.effort), n_starts=16)
    assert table.rows[0][0] == "all by powers"
    assert len(table.columns) == len(table.rows[0]) == 8
    assert max(table.rows[0][5:]) < 0.1 * min(table.rows[1][5:])
