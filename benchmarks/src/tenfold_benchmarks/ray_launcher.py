"""The launcher for a cluster: each claim × seed is a Ray task with its needs of CPUs and GPUs.

The driver holds the locks and writes the results; nodes need the papers installed, and no shared disk. A task whose
node or process is lost runs again elsewhere, `RETRIES` times.
"""

import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

from tenfold_benchmarks.ledger import Ledger
from tenfold_benchmarks.measure import Response, Task, circumstances, failure, measure

RETRIES = 3


class RayLauncher:
    """Measures the tasks of a ledger on a Ray cluster.

    Args:
        address: of a running cluster ("auto", "10.0.0.1:6379", "ray://…"); None starts one on this machine.
        workers: most claims measured side by side; None leaves it to what the cluster has.
    """

    def __init__(self, address: str | None = None, workers: int | None = None):
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.address = address
        self.workers = workers

    def run(self, ledger: Ledger) -> None:
        """Measure until the ledger is empty.

        Raises:
            ValueError: if Ray is not installed, the cluster cannot be reached, or it lacks what a claim needs.
        """
        ray = connect(self.address)
        try:
            _run(ray, ledger, self.workers)
        finally:
            ray.shutdown()


def connect(address: str | None) -> Any:
    """Ray, connected."""
    # GPUs stay visible to tasks that ask for none of them; Ray 2.60 warns that this is to come unless told.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError("--launcher ray needs Ray: install tenfold-benchmarks[ray]") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"--ray-address {address}: cannot reach a Ray cluster there ({error})") from error
    return ray


def _run(ray: Any, ledger: Ledger, workers: int | None) -> None:
    """Keep the cluster busy: submit what it can hold, and a little more, so that it never waits for the driver."""
    remote = ray.remote(max_retries=RETRIES)(measure)
    running: dict[Any, Task] = {}
    asked: dict[Any, float] = {}
    while True:
        limit = workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while len(running) < limit and (task := ledger.take(wait=not running)) is not None:
            _check_needs(ray, task)
            needs = {"num_cpus": task.cpus, "num_gpus": 1 if task.needs_gpu else 0}
            reference = remote.options(**needs, name=str(task.entry)).remote(task)
            running[reference], asked[reference] = task, time.perf_counter()
            ledger.watcher.started(task.entry, "Ray")
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
        for reference in done:
            task = running.pop(reference)
            ledger.finish(task, _answer(ray, reference, time.perf_counter() - asked.pop(reference)))


def _check_needs(ray: Any, task: Task) -> None:
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 1 if task.needs_gpu else 0
    if not any(node.get("CPU", 0) >= task.cpus and node.get("GPU", 0) >= gpus for node in have):
        shown = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in have)
        raise ValueError(
            f"{task.entry} needs {task.cpus} CPUs and {gpus} GPUs on one node; the cluster has {shown}"
        )


def _answer(ray: Any, reference: Any, seconds: float) -> Response:
    """What a task returned; if its process or node was lost for good, an error that says so."""
    try:
        answer: Response = ray.get(reference)
    except ray.exceptions.RayError as error:
        lost = failure(f"lost on the cluster, after {RETRIES} retries: {type(error).__name__}", str(error))
        return {**lost, **circumstances(datetime.now(UTC), seconds, None)}
    return answer
