"""The commands on models whose answers are known, their files, and what they refuse."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from koopgen import evaluate as commands
from koopgen.analysis import read_out
from koopgen.baselines import LRAN
from koopgen.evaluate import analysis, evaluation
from koopgen.latent import SamplingIntervalWarning
from koopgen.model import KoopGen
from koopgen.trajectories import TrajectorySet
from tenfold.cli import CommandLineError

Oscillator = Callable[..., KoopGen]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small untrained model of a two-dimensional system."""
    KoopGen(2, 2, dt=0.05, hidden=4).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def damped(model: KoopGen, steps: int = 60) -> TrajectorySet:
    """Exact trajectories of ẋ = −0.1 x + J x."""
    t = float(model.dt) * torch.arange(steps + 1, dtype=torch.float64)
    start = torch.randn(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    decay = start * (-0.1 * t).exp()
    return TrajectorySet(torch.stack([decay * t.cos(), decay * t.sin()], -1).float(), float(model.dt), 0.5)


def test_a_model_that_is_the_system_is_valid_to_the_end(oscillator: Oscillator) -> None:
    model = oscillator()
    data = damped(model)
    numbers = evaluation(model, data)
    assert numbers["rmse_end"] < 1e-6
    assert numbers["divergence_rate"] == 0
    for name in ("0.1_sigma", "0.3_sigma", "nrmse_0.4"):
        assert numbers[f"vpt_{name}"] == pytest.approx(6.1)
        assert numbers[f"vpt_{name}_cap_share"] == 1
        assert numbers[f"vpt_{name}_lyapunov_times"] == pytest.approx(3.05)
    wrong = evaluation(oscillator(omega=1.5), data)
    assert 0 < wrong["vpt_0.3_sigma"] < 2
    assert wrong["rmse_end"] > 1


def test_a_wider_sigma_makes_forecasts_valid_for_longer(oscillator: Oscillator) -> None:
    data = damped(oscillator())
    narrow, wide = (evaluation(oscillator(omega=1.2), data, sigma)["vpt_0.3_sigma"] for sigma in (1.0, 4.0))
    assert narrow < wide


def test_numbers_that_are_not_finite_are_null() -> None:
    model = LRAN(2, 2, dt=0.1, hidden=4)
    with torch.no_grad():
        model.operator.copy_(1e9 * torch.eye(2))
    data = TrajectorySet(torch.randn(10, 61, 2), 0.1)
    numbers = evaluation(model, data)
    assert numbers["rmse_end"] is None
    assert numbers["divergence_rate"] == 1
    json.dumps(numbers, allow_nan=False)


def test_analysis_agrees_with_the_read_outs_of_the_model() -> None:
    model = KoopGen(2, 2, dt=0.05, hidden=4, dissipation="nonpositive").eval()
    x = torch.randn(6, 4, 2)
    numbers, found = analysis(model, x, steps=50), read_out(model, x)
    assert numbers["dissipative_share"] == pytest.approx(float(found.dissipative_share.mean()))
    assert numbers["energy_rate_mean"] == pytest.approx(float(found.energy_rate.mean()))
    assert numbers["states"] == 24
    assert numbers["local_rate_largest"] <= 1e-6
    assert numbers["rollouts_finite"] == 1
    assert numbers["certificate_holds"] is True
    # for d = 2 a self-adjoint part is a multiple of the identity, and the bound is the growth up to rounding
    assert numbers["ln_norm_growth_at_the_end"] <= numbers["certificate_ln_bound_at_the_end"] + 1e-9
    assert numbers["certificate_ln_bound_at_the_end"] <= 1e-6


def test_evaluate_writes_what_it_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "numbers" / "evaluation.json"
    arguments = [str(folder), "--system", "pendulum", "--n", "12", "--horizon", "20", "--out", str(out)]
    assert commands.evaluate(arguments) == 0
    numbers = json.loads(out.read_text())
    assert numbers["trajectories"] == 12
    assert numbers["horizon"] == pytest.approx(1.0)
    printed = capsys.readouterr().out
    assert all(name in printed for name in numbers)
    first = numbers
    assert commands.evaluate(arguments) == 0
    assert json.loads(out.read_text()) == first  # the same seed, the same trajectories


def test_evaluate_on_trajectories_of_ones_own(folder: Path) -> None:
    x = torch.randn(4, 30, 2)
    TrajectorySet([*x, torch.randn(5, 2)], 0.05).save(folder.parent / "own.npz")
    out = folder.parent / "own.json"
    arguments = [str(folder), "--data", str(folder.parent / "own.npz"), "--out", str(out), "--horizon"]
    assert commands.evaluate([*arguments, "20"]) == 0
    numbers = json.loads(out.read_text())
    assert numbers["trajectories"] == 4  # the fifth is too short
    assert numbers["horizon"] == pytest.approx(1.0)
    with pytest.raises(
        CommandLineError, match="no trajectory has 31 samples, the longest has 30; lower --horizon"
    ):
        commands.evaluate([*arguments, "30"])
    with pytest.raises(CommandLineError, match="n and horizon must be at least 1"):
        commands.evaluate([*arguments, "0"])


@pytest.mark.realdata
def test_evaluate_on_the_rings_of_the_predecessor(folder: Path) -> None:
    out = folder.parent / "rings.json"
    with pytest.warns(SamplingIntervalWarning, match="rescaled"):  # Δt is 0.02 there, 0.05 in the model
        assert (
            commands.evaluate([str(folder), "--data", "pendulum_rings", "--horizon", "40", "--out", str(out)])
            == 0
        )
    assert json.loads(out.read_text())["trajectories"] == 10


def test_analyze_writes_numbers_and_pictures(folder: Path) -> None:
    out = folder.parent / "analysis"
    arguments = [
        str(folder),
        "--system",
        "pendulum",
        "--n",
        "10",
        "--horizon",
        "10",
        "--steps",
        "30",
        "--out",
        str(out),
    ]
    assert commands.analyze(arguments) == 0
    numbers = json.loads((out / "analysis.json").read_text())
    assert numbers["certificate_holds"] is True
    assert 0 <= numbers["dissipative_share"] <= 1
    assert sorted(path.name for path in out.iterdir()) == [
        "analysis.json",
        "pendulum-fields.png",
        "pendulum-maps.png",
    ]


def test_forecast_at_given_times_is_the_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.forecast([str(folder), "--start", "0.5,-0.2", "--times", "0,0.03,0.2"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "trajectory,t,x0,x1"
    table = torch.tensor([[float(part) for part in row.split(",")] for row in rows])
    expected = (
        KoopGen.from_pretrained(folder)
        .eval()
        .forecast(torch.tensor([0.5, -0.2]), t=torch.tensor([0, 0.03, 0.2]))
    )
    torch.testing.assert_close(table[:, 1], torch.tensor([0, 0.03, 0.2]))
    torch.testing.assert_close(table[:, 2:], expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_forecast_from_a_file_of_states(folder: Path, suffix: str) -> None:
    states = np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 0.0]])
    start, out = folder.parent / f"states{suffix}", folder.parent / "forecast.csv"
    np.save(start, states) if suffix == ".npy" else np.savetxt(start, states, delimiter=",")
    assert commands.forecast([str(folder), "--start", str(start), "--steps", "4", "--out", str(out)]) == 0
    table = np.loadtxt(out, delimiter=",", skiprows=1)
    assert table.shape == (15, 4)
    assert table[:, 0].tolist() == [i for i in range(3) for _ in range(5)]


REFUSED: list[tuple[Callable[[Sequence[str]], int], list[str], str]] = [
    (commands.evaluate, ["--system", "pendulums"], "unknown system 'pendulums'"),
    (commands.evaluate, ["--system", "lorenz63"], "the data have 3 channels, the model was made for 2"),
    (commands.evaluate, ["--system", "pendulum", "--n", "0"], "n must be at least 1, got 0"),
    (commands.evaluate, ["--data", "nowhere.npz"], "nowhere.npz"),
    (commands.forecast, ["--start", "1,2", "--times", "0,0.2,0.1"], "t must increase"),
    (commands.forecast, ["--start", "1,2", "--steps", "-1"], "steps must be at least 0"),
    (commands.forecast, ["--start", "1,2,3", "--steps", "1"], "n_x"),
    (commands.forecast, ["--start", "1;2", "--steps", "1"], "--start takes numbers with commas"),
    (commands.forecast, ["--start", "nowhere.csv", "--steps", "1"], "no file nowhere.csv"),
]


@pytest.mark.parametrize(("command", "arguments", "message"), REFUSED)
def test_mistakes_are_told_in_a_line(
    command: Callable[[Sequence[str]], int], arguments: list[str], message: str, folder: Path
) -> None:
    with pytest.raises(CommandLineError, match=message):
        command([str(folder), *arguments])


def test_models_that_are_not_there_or_have_no_generator(tmp_path: Path) -> None:
    with pytest.raises(CommandLineError, match="no model"):
        commands.evaluate([str(tmp_path / "nowhere"), "--system", "pendulum"])
    LRAN(2, 2, dt=0.05, hidden=4).save_pretrained(tmp_path / "lran")
    with pytest.raises(CommandLineError, match="LRAN has no generator to analyze"):
        commands.analyze([str(tmp_path / "lran"), "--system", "pendulum", "--n", "10", "--horizon", "2"])


def test_help_and_unknown_options_leave_through_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in ((["--help"], 0), (["model"], 2)):
        with pytest.raises(SystemExit) as stop:
            commands.evaluate(arguments)
        assert stop.value.code == status
    assert "koopgen evaluate" in capsys.readouterr().out
