"""The light part of the command line: help, presets, mistakes. Training itself is in test_training.py."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenfold.cli import CommandLineError, parse, run
from tenfold.runs import RunError

PACKAGES = Path(__file__).parent / "packages"
HEAVY = (
    "torch",
    "lightning",
    "numpy",
    "jsonargparse",
    "yaml",
    "rich",
    "lazy_loader",
    "jaxtyping",
    "toypaper.module",
)


@pytest.fixture(autouse=True)
def toypaper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PACKAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)


def toy(line: str) -> int:
    return run("toypaper", line.split(), {"greet": ("toypaper.train:greet", "say hello")})


LIGHT = f"""
import sys
from toypaper.train import main
status = main(sys.argv[1:])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("--help", 0),
        ("", 0),
        ("--list", 0),
        ("fot", 2),
        ("fit --config smok", 2),
        ("greet you", 3),
        ("fit", 2),
    ],
)
def test_answers_at_once_and_imports_nothing_heavy(line: str, status: int):
    """CPU time, since the machine may be busy; a real process, since this one has imported much already."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    before, begin = os.times(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *line.split()], check=False, env=env, capture_output=True, text=True
    )
    after, seconds = os.times(), time.monotonic() - begin
    assert done.returncode == status, done.stderr
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 2, f"{spent:.1f} s of CPU time, {seconds:.1f} s"


def test_help_reads_well(capsys: pytest.CaptureFixture[str]):
    assert toy("--help") == 0
    text = capsys.readouterr().out
    for part in (
        "usage: toypaper COMMAND --config NAME",
        "  fit       train a model",
        "  greet     say hello",
        "  smoke  sixty-four points, five epochs",
        "toypaper fit --config smoke",
        "--ckpt_path last|best|FILE",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 110


def test_list_and_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert toy("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "smoke  sixty-four points, five epochs"
    assert len(lines) == 3
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"7 of {name}")
    assert toy("--version") == 0
    assert capsys.readouterr().out == "toypaper 7 of toypaper\n"


def test_extra_commands_get_the_rest_and_give_the_status(capsys: pytest.CaptureFixture[str]):
    assert toy("greet all of --you") == 3
    assert capsys.readouterr().out == "hello all of --you\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fti", "unknown subcommand 'fti'; did you mean 'fit'? Known: fit, validate, test, predict, greet"),
        ("quux", "unknown subcommand 'quux'. Known: fit"),
        (
            "--config smoke fit",
            "--config must come after a subcommand: toypaper fit|validate|test|predict --config …",
        ),
        ("fit", "say what to fit: toypaper fit --config NAME; presets: smoke, plain, wide"),
        ("test --trainer.max_epochs 3", "say what to test"),
        ("fit --config", "--config needs a value"),
        ("fit --config --wandb", "--config needs a value"),
        ("fit --config=", "--config needs a value"),
        (
            "fit --config smok",
            "unknown preset: 'smok'; did you mean 'smoke'? Presets of toypaper: smoke, plain, wide",
        ),
        (
            "fit --config smoke --ckpt_path last",
            "no run of toypaper smoke to continue: runs/toypaper/smoke has none",
        ),
        ("fit --config smoke --ckpt_path x.ckpt", "no checkpoint x.ckpt; give a file, 'last' or 'best'"),
    ],
)
def test_mistakes_are_named(line: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert toy(line) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("toypaper: error: ")
    assert message in captured.err
    assert captured.out == ""


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "lightning", None)
    assert toy("fit --config smoke") == 2
    assert "training needs lightning: install toypaper[train]" in capsys.readouterr().err


def request_of(line: str):
    return parse("toypaper", *line.split(maxsplit=1)[:1], line.split()[1:])


def test_presets_are_resolved_and_joined():
    request = request_of("fit --config smoke --trainer.max_epochs 3 -c=wide --run_dir here --wandb")
    assert [path.name for path in request.configs] == ["smoke.yaml", "wide.yaml"]
    assert request.preset == "smoke+wide"
    assert request.options == ["--trainer.max_epochs", "3", "--wandb"]
    assert request.run_dir == Path("here")
    assert not request.continues
    assert request_of("fit --model toypaper.module.Classifier").preset == "custom"


def test_help_of_a_subcommand_needs_no_preset():
    assert request_of("fit --help").options == ["--help"]
    assert request_of("fit --model.help toypaper.module.Classifier").configs == []


def make_run(name: str, *, config: bool = True) -> Path:
    run = Path(name)
    (run / "checkpoints").mkdir(parents=True)
    for which in ("last", "best"):
        (run / "checkpoints" / f"{which}.ckpt").touch()
    if config:
        (run / "config.yaml").touch()
    return run


def test_last_continues_the_newest_run_with_its_configuration():
    make_run("runs/toypaper/smoke/2026-01-01_00-00-00")
    newest = make_run("runs/toypaper/smoke/2026-01-02_00-00-00")
    request = request_of("fit --config smoke --ckpt_path last --trainer.max_epochs 9")
    assert request.checkpoint == newest / "checkpoints" / "last.ckpt"
    assert request.run_dir == newest
    assert request.continues
    assert request.configs[-1] == newest / "config.yaml"


def test_last_of_a_named_run_directory():
    run = make_run("mine")
    request = request_of("fit --config smoke --ckpt_path last --run_dir mine")
    assert request.checkpoint == run / "checkpoints" / "last.ckpt"
    with pytest.raises(RunError, match=r"elsewhere has no checkpoints/last\.ckpt"):
        request_of("fit --config smoke --ckpt_path last --run_dir elsewhere")


@pytest.mark.parametrize("wanted", ["best", "runs/toypaper/smoke/2026-01-01_00-00-00/checkpoints/best.ckpt"])
def test_another_checkpoint_starts_a_new_run(wanted: str):
    run = make_run("runs/toypaper/smoke/2026-01-01_00-00-00")
    request = request_of(f"fit --config smoke --ckpt_path {wanted}")
    assert request.checkpoint == run / "checkpoints" / "best.ckpt"
    assert request.run_dir is None
    assert not request.continues


def test_a_named_checkpoint_and_a_named_directory_are_a_new_run():
    run = make_run("old")
    request = request_of(f"fit --config smoke --ckpt_path {run}/checkpoints/last.ckpt --run_dir new")
    assert request.run_dir == Path("new")
    assert not request.continues
    assert request_of("fit --config smoke --ckpt_path best --run_dir old").run_dir is None


def test_a_checkpoint_from_elsewhere_brings_no_configuration():
    make_run("loose", config=False)
    request = request_of("test --config smoke --ckpt_path loose/checkpoints/best.ckpt")
    assert [path.name for path in request.configs] == ["smoke.yaml"]


@pytest.mark.parametrize("broken", ["fit --run_dir", "fit --config smoke --ckpt_path"])
def test_options_without_value(broken: str):
    with pytest.raises(CommandLineError, match="needs a value"):
        request_of(broken)


def test_a_reader_that_stops_early_is_no_error():
    env = {**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONUNBUFFERED": "1"}
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-m", "toypaper.train", "--list"]
        done = subprocess.run(command, check=False, env=env, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_test_of_lightness_can_fail():
    source = LIGHT.replace("from toypaper.train", "import torch\nfrom toypaper.train")
    env = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run(
        [sys.executable, "-c", source, "--list"], check=False, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "'torch'" in done.stderr
