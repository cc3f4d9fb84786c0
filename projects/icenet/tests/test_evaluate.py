"""The command `icenet evaluate`: its numbers agree with the definitions, its files with what it prints, its errors help."""

import json
from pathlib import Path

import pytest
import torch

from icenet.estimators.icenet import ICENet
from icenet.estimators.lmmse import LMMSE2D
from icenet.estimators.simplenet import SimpleNet
from icenet.evaluate import Bench, Stop, evaluate, evaluation, memory, table
from icenet.metrics import nmse_db
from icenet.ofdm.channel import ChannelSimulator
from tenfold.cli import CommandLineError

# ETU is longer than the cyclic prefix; the command says so, and that is tested with the simulator.
pytestmark = pytest.mark.filterwarnings("ignore::icenet.ofdm.channel.CyclicPrefixWarning")

DOPPLER = (0.0, 1000.0)
BENCH = Bench(ChannelSimulator("nr_v2x_15", "EVA", doppler=DOPPLER), (0.0, 20.0), n=40)


def small() -> ICENet:
    return ICENet("nr_v2x_15", channels=4, solver={"eps": 1e-2, "tau": 20}).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_numbers_are_those_of_the_definitions() -> None:
    model, lmmse = small(), LMMSE2D("nr_v2x_15", "EVA", DOPPLER)
    numbers = evaluation(model, {"lmmse": lmmse}, BENCH)
    slots = BENCH.slots(20.0)
    assert numbers["nmse"]["ICENet"][1] == pytest.approx(
        nmse_db(model.estimate(slots.ls, slots.noise_var), slots.h)
    )
    assert numbers["nmse"]["lmmse"][1] == pytest.approx(
        nmse_db(lmmse.estimate(slots.ls, slots.noise_var), slots.h)
    )
    for kind in ("qpsk", "16qam"):
        rates = numbers["ber"][kind]
        assert set(rates) == {"perfect", "ICENet", "lmmse"}
        assert rates["perfect"][0] <= rates["lmmse"][0] <= rates["ICENet"][0]
        assert rates["perfect"][1] < rates["perfect"][0]
    assert numbers["parameters"] == sum(p.numel() for p in model.parameters())
    json.dumps(numbers, allow_nan=False)


def test_slots_are_the_same_channels_at_every_snr_and_in_every_call() -> None:
    assert torch.equal(BENCH.slots(0.0).h, BENCH.slots(20.0).h)
    assert torch.equal(BENCH.slots(0.0).ls, BENCH.slots(0.0).ls)


def test_iterations_follow_the_stop() -> None:
    loose = evaluation(small(), {}, BENCH, ("iterations",), Stop(eps=0.3))["iterations"]
    tight = evaluation(small(), {}, BENCH, ("iterations",), Stop(eps=1e-4, tau=40))["iterations"]
    assert all(a < b for a, b in zip(loose["mean"], tight["mean"]))
    capped = evaluation(small(), {}, BENCH, ("nmse", "iterations"), Stop(eps=0.0, tau=3))
    assert capped["iterations"]["mean"] == [3.0, 3.0]
    assert capped["iterations"]["converged"] == [0.0, 0.0]
    assert capped["nmse"]["ICENet"] != evaluation(small(), {}, BENCH, ("nmse",))["nmse"]["ICENet"]


def test_memory_of_an_implicit_network_does_not_grow_with_the_cap() -> None:
    model = small().train()
    found = memory(model, BENCH, batch=2)
    assert found["tau=50"] < 1.01 * found["tau=5"]
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert memory(SimpleNet("nr_v2x_15"), BENCH, batch=2)["any"] > 0


def test_what_an_explicit_network_has_not_is_left_out_or_refused() -> None:
    net = SimpleNet("nr_v2x_15")
    assert "iterations" not in evaluation(net, {}, BENCH)
    with pytest.raises(ValueError, match="iterations: SimpleNet has no implicit layer"):
        evaluation(net, {}, BENCH, ("iterations",))
    with pytest.raises(
        ValueError, match="eps and tau are for networks with an implicit layer, not SimpleNet"
    ):
        evaluation(net, {}, BENCH, stop=Stop(tau=3))


def test_the_command_writes_what_it_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "numbers" / "results.json"
    arguments = [str(folder), "--what", "nmse,iterations", "--n", "12", "--snr", "0,10", "--baselines", "ls_linear,lmmse_mismatched"]  # fmt: skip
    assert evaluate([*arguments, "--out", str(out)]) == 0
    numbers = json.loads(out.read_text())
    assert capsys.readouterr().out.strip() == table(numbers)
    assert set(numbers["nmse"]) == {"ICENet", "ls_linear", "lmmse_mismatched"}
    assert "ber" not in numbers


@pytest.mark.parametrize("profile", ["C2C-urban-nlos", "ETU"])
def test_other_profiles_can_be_asked_for(folder: Path, profile: str) -> None:
    assert evaluate([str(folder), "--what", "nmse", "--n", "5", "--snr", "10", "--profile", profile]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "EVB"], "unknown profile 'EVB'"),
        (["--profile", "robust", "--delay_spread", "100"], "a mixture needs its covariance"),
        (["--profile", "TDL-A"], "delay_spread is missing"),
        (["--doppler", "3"], "--doppler takes a range low,high in Hz, got 3"),
        (["--n", "0"], "n must be at least 1"),
        (["--tau", "0"], "tau"),
    ],
)
def test_mistakes_are_said_without_a_traceback(folder: Path, options: list[str], message: str) -> None:
    with pytest.raises(CommandLineError, match=message):
        evaluate([str(folder), "--what", "nmse", "--n", "4", "--snr", "10", *options])


def test_unknown_words_and_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate([str(folder), "--what", "speed"])
    assert "speed is not one of nmse, ber, iterations, memory" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate([str(folder), "--snr", "high"])
    assert "numbers with commas between them" in capsys.readouterr().err
    with pytest.raises(CommandLineError, match="no model"):
        evaluate([str(folder.parent / "nowhere")])
