"""Records, files, memory and environment: the small things that results are made of."""

import base64
import mmap
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tenfold_benchmarks import environment, files, memory
from tenfold_benchmarks.files import require_writable, write_whole
from tenfold_benchmarks.memory import PeakMemory
from tenfold_benchmarks.results import REQUIRED, Entry, UnreadableResultError, number, read, read_all, save

ENTRY = Entry("toy", "T1", "cpu", 3)
RECORD = {**dict.fromkeys(REQUIRED), "paper": "toy", "claim": "T1", "scale": "cpu", "seed": 3}


def figure(name):
    return {"name": name, "alt": "A curve.", "png": base64.b64encode(b"\x89PNG").decode()}


def test_a_record_comes_back_and_its_old_figures_go(tmp_path):
    save(tmp_path, ENTRY, RECORD, [figure("old"), figure("both")])
    written = save(tmp_path, ENTRY, {**RECORD, "values": {"x": float("inf")}}, [figure("both")])
    assert read(ENTRY.path(tmp_path)) == written
    assert written["values"] == {"x": "inf"}
    assert sorted(p.name for p in (tmp_path / "cpu/toy").iterdir()) == ["T1-seed3-both.png", "T1-seed3.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("\ufffe", "is not valid JSON"),
        ("[]", "lacks paper"),
        ('{"paper": "x"}', "lacks claim"),
    ],
)
def test_a_damaged_record_is_named_with_the_mend(tmp_path, text, message):
    path = ENTRY.path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UnreadableResultError, match=rf"T1-seed3\.json {message}.*delete it"):
        read(path)
    records, complaints = read_all(tmp_path, ["cpu"])
    assert records == []
    assert len(complaints) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("inf", float("inf")),
        ("-inf", float("-inf")),
        ("exact", None),
        (True, None),
        (None, None),
    ],
)
def test_numbers_come_back_from_json(value, expected):
    assert number(value) == expected


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_whole(path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_reader_never_sees_a_part(tmp_path):
    path = tmp_path / "result.json"
    contents = ["a" * 200_000, "b" * 200_000]
    write_whole(path, contents[0])
    done = threading.Event()

    def write():
        for i in range(40):
            write_whole(path, contents[i % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(contents)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="choose another with --results FOLDER"):
        require_writable(tmp_path / "file" / "results")
    require_writable(tmp_path / "new" / "results")
    assert os.listdir(tmp_path / "new" / "results") == []


def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(PermissionError, match="Permission denied"):
            require_writable(tmp_path)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def hold(megabytes: int) -> None:
    """Fresh pages from the kernel: the heap of a process that ran other tests may already hold free ones."""
    with mmap.mmap(-1, megabytes * 2**20) as block:
        block[:: mmap.PAGESIZE] = b"x" * len(range(0, len(block), mmap.PAGESIZE))
        threading.Event().wait(0.05)


@pytest.mark.parametrize("how", ["kernel", "sampled"])
def test_the_peak_covers_the_block_and_not_what_was_before(monkeypatch, how):
    if memory.resident() is None:
        pytest.skip("no /proc here")
    if how == "sampled":
        monkeypatch.setattr(memory, "reset_high_water_mark", lambda: False)
    elif not memory.reset_high_water_mark():
        pytest.skip("the kernel does not let us reset the mark")
    hold(150)
    with PeakMemory(interval=0.001) as small:
        pass
    with PeakMemory(interval=0.001) as large:
        hold(120)
    assert small.how == large.how == how
    assert large.megabytes > small.megabytes + 100


def test_the_commit_is_marked_where_files_differ_but_not_for_results(tmp_path):
    environment.git_commit.cache_clear()
    assert environment.git_commit(tmp_path / "nowhere") is None

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "benchmarks/results").mkdir(parents=True)
    for name in ("code.py", "benchmarks/results/x.json"):
        (tmp_path / name).write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    commit = environment.git_commit(tmp_path)
    assert len(commit) == 40
    environment.git_commit.cache_clear()
    (tmp_path / "benchmarks/results/x.json").write_text("2")
    assert environment.git_commit(tmp_path) == commit
    environment.git_commit.cache_clear()
    (tmp_path / "code.py").write_text("2")
    assert environment.git_commit(tmp_path) == f"{commit}-dirty"
    environment.git_commit.cache_clear()


def test_visible_cuda_devices_are_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert environment.cuda_devices() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert environment.cuda_devices() == []


def test_the_workspace_is_found_from_below_and_not_outside(tmp_path):
    assert environment.workspace(tmp_path) is None
    assert environment.default_results(tmp_path) == tmp_path / "results"
    here = environment.workspace(Path(__file__).parent)
    if here is not None:
        assert environment.default_results(Path(__file__).parent) == here / "benchmarks/results"
