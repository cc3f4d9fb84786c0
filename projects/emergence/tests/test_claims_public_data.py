"""C9: the smoke scale holds, each condition can fail; the real data are those of the fits."""

import os
from dataclasses import replace

import pytest
import torch

from emergence.claims.public_data import (
    EPOCH,
    HELD_OUT,
    LAWS,
    Judged,
    generated,
    on_the_grid,
    picture,
    public_data,
    table_of,
    verdict,
    with_depth,
)
from emergence.data.scaling_laws import load_chinchilla
from emergence.scaling.forms import ChinchillaLaw
from tenfold.claims import Scale


@pytest.fixture(scope="module")
def found() -> dict[str, Judged]:
    """Four laws on the generated runs, with the errors and objectives that the real ones have."""
    fit = Judged.of(with_depth(generated()), ChinchillaLaw(), 4, 0, 0).fit
    objectives = dict(zip(LAWS, (1.018e-3, 1.042e-3, 1.260e-3, 2.451e-3)))
    errors = {**HELD_OUT, "limit, γ free": (0.0112, 0.0148, 0.0124)}
    return {n: Judged(replace(fit, objective=objectives[n]), errors[n], (0.0, 0.0, 0.0)) for n in LAWS}


def test_smoke_needs_no_file_and_holds(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    measured = public_data(Scale.SMOKE, 0)
    assert measured.passed
    assert measured.baseline < measured.ours


def test_the_generated_runs_follow_epochs_law():
    rows = generated()
    assert len(rows) == 240
    expected = (
        EPOCH["E"] + EPOCH["A"] * rows["n_params"] ** -0.3478 + EPOCH["B"] * rows["n_tokens"] ** -0.3658
    )
    assert (rows["loss"] / expected - 1).abs().max() < 1e-12


def test_conditions_hold_for_results_that_meet_them(found):
    assert all(verdict(found, real=True).values())
    assert len(verdict(found, real=False)) == len(verdict(found, real=True)) - 1
    assert len(table_of(found).rows) == 4
    assert picture(found).png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "change", "failing"),
    [
        (
            "Chinchilla",
            lambda j: replace(j, fit=replace(j.fit, params={**j.fit.params, "alpha": 0.36})),
            "refit",
        ),
        ("limit", lambda j: replace(j, fit=replace(j.fit, objective=1.0e-3)), "ranking_in_sample"),
        ("limit", lambda j: replace(j, errors=(0.0129, 0.0172, 0.0195)), "hold-out"),
        ("Chinchilla", lambda j: replace(j, errors=(0.0089, 0.01, 0.0175)), "ranking_held_out"),
    ],
)
def test_each_condition_can_fail(found, name, change, failing):
    conditions = verdict({**found, name: change(found[name])}, real=True)
    assert any(key.startswith(failing) for key, holds in conditions.items() if not holds)


@pytest.mark.realdata
def test_held_out_errors_of_the_limit_law():
    rows = with_depth(load_chinchilla(os.environ["TENFOLD_DATA"], drop_highest=5))
    judged = Judged.of(rows, LAWS["limit"], 8, 0, 0)
    assert judged.errors == pytest.approx(HELD_OUT["limit"], rel=0.02)
    assert min(judged.biases) > 0  # it expects saturation too early


@pytest.mark.realdata
def test_the_grid_with_true_depth():
    table, values = on_the_grid(4, 0)
    assert len(table.rows) == 5
    wins = [
        values[f"depth grid/splits on which exponential beats power of depth{tail}"]
        for tail in ("", ", γ free")
    ]
    assert all(0 <= count <= values["depth grid/splits"] for count in wins)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
def test_gpu_scales_never_fall_back_to_the_cpu(scale):
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        public_data(scale, 0)
