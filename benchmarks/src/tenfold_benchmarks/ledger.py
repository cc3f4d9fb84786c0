"""Which claims of a run are still to be measured, which are being measured, and what came out.

Launchers take tasks from the ledger and bring answers back; the ledger resumes, locks and writes. A task is held under
a file lock from `take` to `finish`, so two runs on one results folder share the work instead of doing it twice, and a
run that is killed lets go of everything at once.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from tenfold_benchmarks.discovery import ListedClaim
from tenfold_benchmarks.measure import Response, Task
from tenfold_benchmarks.results import Entry, Record, UnreadableResultError, read, save


class Watcher(Protocol):
    """Who is told what happens; called from the threads of the launcher."""

    def started(self, entry: Entry, where: str) -> None: ...
    def finished(self, entry: Entry, record: Record) -> None: ...
    def reused(self, entry: Entry, record: Record) -> None: ...
    def stale(self, entry: Entry) -> None: ...
    def notice(self, message: str) -> None: ...


class Ledger:
    """The tasks of one run.

    Args:
        results: the results folder.
        tasks: what is to be measured, in the order of preference.
        claims: what is known statically about each claim, by (paper, claim).
        commits: commit of each paper's source.
        watcher: who is told.
        force: measure again what is already there.
    """

    def __init__(
        self,
        results: Path,
        tasks: Iterable[Task],
        claims: Mapping[tuple[str, str], ListedClaim],
        commits: Mapping[str, str | None],
        watcher: Watcher,
        force: bool = False,
    ):
        self.results = results
        self.claims = claims
        self.commits = commits
        self.watcher = watcher
        self.force = force
        self.records: dict[Entry, Record] = {}
        self._mutex = threading.Lock()
        self._locks: dict[Entry, FileLock] = {}
        self._held_elsewhere: list[Task] = []
        self._waiting: deque[Task] = deque()
        for task in tasks:
            record = None if force else self._there(task, tell=True)
            if record is None:
                self._waiting.append(task)
            else:
                self._reuse(task.entry, record)

    @property
    def open(self) -> int:
        """Number of tasks that nobody has taken yet."""
        return len(self._waiting) + len(self._held_elsewhere)

    def take(
        self, paper: str | None = None, *, wait: bool = True, stop: threading.Event | None = None
    ) -> Task | None:
        """The next task, locked for this process; None when there is nothing left to take.

        Args:
            paper: prefer this paper, whose code the asking worker has loaded.
            wait: if the only tasks left are being measured by another process, wait for them; else return None.
            stop: give up waiting when this is set.
        """
        while not (stop and stop.is_set()):
            with self._mutex:
                task = self._take_free(paper) or self._take_released()
                if task is not None or not self._held_elsewhere:
                    return task
            if not wait:
                return None
            time.sleep(0.2)
        return None

    def _take_free(self, paper: str | None) -> Task | None:
        while self._waiting:
            index = next((i for i, task in enumerate(self._waiting) if task.paper == paper), None)
            if index is None:
                # Start where no worker of this run is busy, so that two papers load side by side, not one twice.
                busy = {entry.paper for entry in self._locks}
                index = next((i for i, task in enumerate(self._waiting) if task.paper not in busy), 0)
            task = self._waiting[index]
            del self._waiting[index]
            if self._lock(task.entry):
                record = (
                    None if self.force else self._there(task)
                )  # another run may have finished it meanwhile
                if record is None:
                    return task
                self._unlock(task.entry)
                self._reuse(task.entry, record)
                continue
            self.watcher.notice(f"{task.entry} is being measured by another process; coming back to it")
            self._held_elsewhere.append(task)
        return None

    def _take_released(self) -> Task | None:
        for task in list(self._held_elsewhere):
            if not self._lock(task.entry):
                continue
            self._held_elsewhere.remove(task)
            record = self._there(task)
            if record is None:
                return task
            self._unlock(task.entry)
            self._reuse(task.entry, record)
        return None

    def finish(self, task: Task, response: Response) -> None:
        """Write what came out of a task and let go of it."""
        listed = self.claims[task.paper, task.claim]
        answer = {key: value for key, value in response.items() if key != "figures"}
        record = {
            "paper": task.paper,
            "claim": task.claim,
            "scale": task.scale,
            "seed": task.seed,
            "title": listed.title,
            "source": listed.source,
            "published": listed.published,
            "known_gap": listed.known_gaps.get(task.scale),
            **answer,
            "cpus": task.cpus,
            "git_commit": self.commits.get(task.paper),
            "code_hash": task.code_hash,
            "command": task.entry.command,
        }
        try:
            written = save(self.results, task.entry, record, response["figures"])
        finally:
            with self._mutex:
                self._unlock(task.entry)
        self.records[task.entry] = written
        self.watcher.finished(task.entry, written)

    def _there(self, task: Task, tell: bool = False) -> Record | None:
        """The result of a task if it is on disk, made by the same code, and no error."""
        try:
            record = read(task.entry.path(self.results))
        except FileNotFoundError:
            return None
        except UnreadableResultError as error:
            self.watcher.notice(f"measuring {task.entry} again: {error}")
            return None
        if record["code_hash"] != task.code_hash:
            if tell:
                self.watcher.stale(task.entry)
            return None
        return None if record.get("error") else record

    def _reuse(self, entry: Entry, record: Record) -> None:
        self.records[entry] = record
        self.watcher.reused(entry, record)

    def _lock(self, entry: Entry) -> bool:
        path = entry.lock(self.results)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._locks[entry] = lock
        return True

    def _unlock(self, entry: Entry) -> None:
        self._locks.pop(entry).release()
