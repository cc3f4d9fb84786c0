"""Runs that are killed, interrupted, run beside each other, or out of disk: with real processes."""

import errno
import signal
import time
from pathlib import Path

from tenfold_benchmarks import ledger


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_kill_9_loses_nothing_that_was_finished(toys):
    toys.counting(pause="60 if seed == 2 and not os.path.exists('go') else 0", value="os.getpid()")
    process = toys.start("toy", "--seeds", "4", "--workers", "1")
    wait_for(lambda: toys.runs() == ["0", "1", "2"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = [toys.record("toy", "T1", seed) for seed in (0, 1)]
    assert sorted(p.name for p in (toys.results / "smoke/toy").glob("*.json")) == [
        "T1-seed0.json",
        "T1-seed1.json",
    ]
    worker = kept[0]["ours"]
    wait_for(lambda: not is_running(worker))  # the orphan does not compute on
    (toys.folder / "go").touch()
    done = toys.reproduce("toy", "--seeds", "4")
    assert done.returncode == 0, done.stdout
    assert "2 of 4 results were there already" in done.stdout
    assert toys.runs() == ["0", "1", "2", "2", "3"]
    assert [toys.record("toy", "T1", seed) for seed in (0, 1)] == kept


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupt_keeps_what_is_finished_and_ends_the_workers(toys):
    toys.counting(pause="60 if seed == 1 else 0", value="os.getpid()")
    process = toys.start("toy", "--seeds", "2", "--workers", "1")
    wait_for(lambda: toys.runs() == ["0", "1"])
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode not in (0, 2), output
    assert not is_running(toys.record("toy", "T1", 0)["ours"])


def test_two_runs_at_once_share_the_work(toys):
    toys.counting(pause=0.15)
    both = [toys.start("toy", "--seeds", "6", "--workers", "1") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert toys.runs() == list("012345")  # nothing measured twice
    assert all(toys.record("toy", "T1", seed)["ours"] == 1 for seed in range(6))
    assert all("holds (6 of 6)" in output for output in outputs)


def test_a_claim_measured_by_another_run_is_waited_for(toys):
    toys.counting(pause="while not os.path.exists('go'): time.sleep(0.05)")
    first = toys.start("toy")
    wait_for(lambda: toys.runs() == ["0"])
    second = toys.start("toy")
    assert "toy T1 seed 0 is being measured by another process" in second.stdout.readline()
    (toys.folder / "go").touch()
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert "1 of 1 results were there already" in outputs[1]
    assert toys.runs() == ["0"]


def test_a_full_disk_ends_the_run_with_the_reason_and_keeps_the_rest(toys, here, monkeypatch):
    toys.counting()
    whole = ledger.save

    def full(results, entry, record, figures):
        if entry.seed == 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(entry.path(results)))
        return whole(results, entry, record, figures)

    monkeypatch.setattr(ledger, "save", full)
    code, _, errors = here(
        "reproduce", "toy", "--seeds", "3", "--workers", "1", "--no-report", "--results", str(toys.results)
    )
    assert code == 2
    assert "No space left on device" in errors
    assert "T1-seed1.json" in errors
    assert toys.record("toy", "T1", 0)["passed"]
    monkeypatch.setattr(ledger, "save", whole)
    assert toys.reproduce("toy", "--seeds", "3").returncode == 0  # the locks are free again


def test_code_edited_during_the_run_gets_no_result_under_the_old_hash(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "Edits itself", source="s")
        def t1(scale, seed):
            with open(__file__, "a") as file:
                file.write("edited = True\\n")
            return Measurement("n", 1, "always", True)
        """,
    )
    done = toys.reproduce("toy", "--seeds", "2", "--workers", "1")
    assert done.returncode == 1
    assert toys.record("toy", "T1", 0)["passed"]
    assert "is not what this run was started with" in toys.record("toy", "T1", 1)["error"]
