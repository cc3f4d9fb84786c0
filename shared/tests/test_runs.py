from pathlib import Path

import pytest

from tenfold import runs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)
    return tmp_path


def make(run: str, *checkpoints: str) -> Path:
    folder = Path("runs/paper/mnist") / run
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").touch()
    for name in checkpoints:
        (folder / "checkpoints" / f"{name}.ckpt").touch()
    return folder


def test_the_root_is_the_variable_or_runs(monkeypatch: pytest.MonkeyPatch):
    assert runs.runs_root() == Path("runs")
    monkeypatch.setenv("TENFOLD_RUNS", "/somewhere")
    assert runs.propose("paper", "mnist").parent == Path("/somewhere/paper/mnist")


def test_runs_of_one_second_get_numbers():
    names = []
    for _ in range(3):
        folder = runs.create(runs.propose("paper", "mnist"))
        (folder / "config.yaml").touch()
        names.append(folder.name)
    assert len(set(names)) == 3
    assert all(runs._RUN.fullmatch(name) for name in names)


def test_the_newest_run_started_last():
    for name in (
        "2026-01-02_03-04-05-2",
        "2026-01-02_03-04-05",
        "2026-01-02_03-04-05-10",
        "2025-12-31_23-59-59",
    ):
        make(name, "last")
    make("2027-01-01_00-00-00-test")  # an evaluation, not a run
    (Path("runs/paper/mnist") / "notes.txt").touch()
    assert runs.find_checkpoint("paper", "mnist", "last").parts[-3] == "2026-01-02_03-04-05-10"


def test_no_run_and_no_checkpoint_are_errors():
    with pytest.raises(runs.RunError, match=r"no run of paper mnist to continue: runs/paper/mnist has none"):
        runs.find_checkpoint("paper", "mnist", "last")
    make("2026-01-01_00-00-00", "last")
    newest = make("2026-01-02_00-00-00", "last")
    with pytest.raises(runs.RunError, match=r"2026-01-02_00-00-00 has no checkpoints/best\.ckpt"):
        runs.find_checkpoint("paper", "mnist", "best")
    (newest / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(runs.RunError, match="end of the first epoch"):
        runs.find_checkpoint("paper", "mnist", "last")  # an older run is not taken silently
    old = Path("runs/paper/mnist/2026-01-01_00-00-00")
    assert runs.find_checkpoint("paper", "mnist", "last", old) == old / "checkpoints" / "last.ckpt"


def test_the_run_of_a_checkpoint():
    run = make("2026-01-01_00-00-00", "last")
    assert runs.run_of(run / "checkpoints" / "last.ckpt") == run
    assert runs.run_of(Path("elsewhere/last.ckpt")) is None


def test_a_run_is_not_overwritten_and_an_impossible_folder_is_named():
    run = make("2026-01-01_00-00-00")
    with pytest.raises(runs.RunError, match="holds a run already"):
        runs.create(run)
    Path("file").touch()
    with pytest.raises(runs.RunError, match="cannot make the run directory file/run"):
        runs.create(Path("file/run"))
