"""One claim measured in this process: what a local worker and a Ray task have in common."""

import base64
import importlib
import os
import platform
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tenfold.claims import Measurement, Scale, collect
from tenfold_benchmarks import sources
from tenfold_benchmarks.discovery import Paper
from tenfold_benchmarks.environment import describe
from tenfold_benchmarks.memory import PeakMemory
from tenfold_benchmarks.results import Entry, json_safe

Response = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What a worker must know to measure a claim; plain values, so that it travels as JSON."""

    paper: str
    module: str
    claim: str
    scale: str
    seed: int
    cpus: int
    code_hash: str
    needs_gpu: bool = False

    @property
    def entry(self) -> Entry:
        return Entry(self.paper, self.claim, self.scale, self.seed)


def measure(task: Task) -> Response:
    """Import the paper's claims, run one, and say what came out; whatever goes wrong is part of the answer.

    Returns:
        a dictionary that JSON can hold: the measurement or `error` and `traceback`, and seconds, memory, environment.
    """
    started = datetime.now(UTC)
    clock = time.perf_counter()
    peak = PeakMemory()
    outcome: Response
    try:
        _check_code(task)
        limit_threads(task.cpus)
        claims = collect(importlib.import_module(task.module))
        if task.claim not in claims:
            raise LookupError(f"{task.module} exports no claim {task.claim!r} when it is imported")
        limit_threads(task.cpus)  # torch may be here only now
        with peak:
            clock = time.perf_counter()
            measurement = claims[task.claim](Scale(task.scale), task.seed)
            seconds = time.perf_counter() - clock
        outcome = described(measurement)
    except (Exception, SystemExit) as error:
        seconds = time.perf_counter() - clock
        outcome = failure(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
    return {**outcome, **circumstances(started, seconds, peak)}


def _check_code(task: Task) -> None:
    """The code here, now, must be what the driver hashed: its numbers would carry the wrong hash otherwise."""
    sources.forget()  # a worker lives for many tasks, and somebody may be editing
    if Paper(task.paper, task.module).code_hash(task.claim) != task.code_hash:
        raise RuntimeError(
            f"the code of {task.paper} on {platform.node()} is not what this run was started with: "
            "it was edited meanwhile, or another version is installed there; run again"
        )


def circumstances(started: datetime, seconds: float | None, peak: PeakMemory | None) -> Response:
    """When, how long, with how much memory and on what; `seconds` and `peak` are None where the process died."""
    environment = describe()
    on_gpu = peak is not None and peak.cuda_megabytes is not None
    return {
        "seconds": None if seconds is None else round(seconds, 3),
        "peak_memory_mb": round(peak.megabytes, 1) if peak and peak.megabytes else None,
        "peak_cuda_memory_mb": round(peak.cuda_megabytes, 1) if peak and peak.cuda_megabytes else None,
        "peak_memory_how": peak.how if peak else None,
        "device": "cuda" if on_gpu else "cpu",
        "device_name": environment["cuda_device"] if on_gpu else environment["processor"],
        "torch": environment["torch"],
        "python": environment["python"],
        "system": environment["system"],
        "started_at": started.isoformat(timespec="seconds"),
    }


def limit_threads(cpus: int) -> None:
    """Let this process compute on `cpus` threads; torch is told if it is there and finds the variables if not."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(cpus)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(cpus)


def described(measurement: Measurement) -> Response:
    """A measurement as JSON can hold it; the pictures in base64."""
    return {
        "error": None,
        "traceback": None,
        "passed": measurement.passed,
        "criterion": measurement.criterion,
        "quantity": measurement.quantity,
        "ours": json_safe(measurement.ours),
        "baseline": json_safe(measurement.baseline),
        "values": json_safe(measurement.values),
        "tables": json_safe([asdict(table) for table in measurement.tables]),
        "figures": [
            {"name": figure.name, "alt": figure.alt, "png": base64.b64encode(figure.png).decode()}
            for figure in measurement.figures
        ],
    }


def failure(error: str, trace: str | None = None) -> Response:
    """The answer of a claim that did not come to a measurement."""
    return {
        "error": error,
        "traceback": trace,
        "passed": False,
        "criterion": None,
        "quantity": None,
        "ours": None,
        "baseline": None,
        "values": {},
        "tables": [],
        "figures": [],
    }
