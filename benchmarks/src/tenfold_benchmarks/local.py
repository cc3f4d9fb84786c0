"""The launcher for one machine: worker processes, each with the claims of one paper in turn.

A worker keeps its paper while there is work on it, so that torch is imported once; a worker that dies, whatever the
reason, costs the claim it was measuring and is replaced.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from tenfold_benchmarks.environment import cores, cuda_devices
from tenfold_benchmarks.ledger import Ledger
from tenfold_benchmarks.measure import Response, Task, circumstances, failure

LOG_TAIL = 4000


def default_workers(tasks: Sequence[Task]) -> int:
    """As many as the machine takes: cores over the most threads a claim uses, or one per GPU for claims that need one."""
    if any(task.needs_gpu for task in tasks):
        return max(1, len(cuda_devices()))
    return max(1, cores() // max((task.cpus for task in tasks), default=1))


class LocalLauncher:
    """Measures the tasks of a ledger in worker processes.

    Args:
        workers: how many claims are measured side by side, at least 1.
    """

    def __init__(self, workers: int):
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.workers = workers
        self._stop = threading.Event()
        self._running: dict[int, Worker] = {}
        self._problem: BaseException | None = None

    def run(self, ledger: Ledger) -> None:
        """Measure until the ledger is empty; an interrupt ends the workers and keeps what is finished.

        Raises:
            OSError: if a result cannot be written (the disk is full, say).
        """
        slots = [
            threading.Thread(target=self._serve, args=(ledger, slot), daemon=True)
            for slot in range(min(self.workers, ledger.open))
        ]
        try:
            for thread in slots:
                thread.start()
            for thread in slots:
                while thread.is_alive():
                    thread.join(0.2)  # with a timeout, so that Ctrl-C is heard
        finally:
            self._stop.set()
            for worker in list(self._running.values()):
                worker.kill()
            for thread in slots:
                if thread.is_alive():
                    thread.join(5)
        if self._problem is not None:
            raise self._problem

    def _serve(self, ledger: Ledger, slot: int) -> None:
        """One slot: take a task, give it to a worker that has the paper loaded, bring the answer back."""
        worker: Worker | None = None
        try:
            while not self._stop.is_set():
                task = ledger.take(worker.paper if worker else None, stop=self._stop)
                if task is None:
                    break
                if worker is None or worker.paper != task.paper:
                    if worker is not None:
                        worker.close()
                    worker = self._running[slot] = Worker(task, slot)
                ledger.watcher.started(task.entry, f"worker {slot + 1}")
                response = worker.ask(task)
                if response is None:
                    if self._stop.is_set():
                        break
                    response = worker.obituary()
                    worker.close()
                    worker = None
                ledger.finish(task, response)
        except BaseException as error:
            self._problem = error
            self._stop.set()
        finally:
            if worker is not None:
                worker.close()


class Worker:
    """A process that has, or will have, one paper loaded.

    Args:
        task: its first task; decides the paper and the threads of libraries that ask only once.
        slot: number of the worker; picks the GPU where the task needs one.
    """

    def __init__(self, task: Task, slot: int):
        self.paper = task.paper
        self.asked = datetime.now(UTC)
        self.seconds = 0.0
        self.log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 – it lives as long as the worker
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(task.cpus)
        )
        environment = {"MPLBACKEND": "Agg", **os.environ, **threads, "PYTHONFAULTHANDLER": "1"}
        devices = cuda_devices() if task.needs_gpu else []
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tenfold_benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the driver, which then ends the whole group
        )

    def ask(self, task: Task) -> Response | None:
        """The answer to a task, or None if the process died over it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.asked = datetime.now(UTC)
        clock = time.perf_counter()
        try:
            self.process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (OSError, ValueError):  # ValueError: killed by us, and the pipe closed
            return None
        finally:
            self.seconds = time.perf_counter() - clock
        return json.loads(line) if line.endswith(b"\n") else None

    def obituary(self) -> Response:
        """The record of a claim over which the process died: how it ended and what it said last."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.kill()
        code = self.process.returncode
        if code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                cause += " (out of memory?)"
        else:
            cause = f"ended with exit code {code}"
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - LOG_TAIL))
        said = self.log.read().decode(errors="replace")
        return {
            **failure(f"the process measuring it {cause}", said or None),
            **circumstances(self.asked, self.seconds, None),
        }

    def kill(self) -> None:
        """End the process and everything it started."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End the process and let go of its pipes; only for the thread that asks."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
