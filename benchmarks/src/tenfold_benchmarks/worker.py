"""A process that measures the claims of one paper in turn: `python -m tenfold_benchmarks.worker`.

Tasks come as JSON lines on standard input, answers leave as JSON lines on what was standard output; whatever the
claims print goes to standard error. When the input ends, because the driver is done or dead, the process and all it
started end too, at once.
"""

import json
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import TextIO

from tenfold_benchmarks.measure import Task, measure


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tasks: SimpleQueue[Task] = SimpleQueue()
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    threading.Thread(target=_listen, args=(requests, tasks), daemon=True).start()
    while True:
        answers.write(json.dumps(measure(tasks.get()), allow_nan=False) + "\n")
        answers.flush()


def _listen(requests: TextIO, tasks: "SimpleQueue[Task]") -> None:
    """Pass tasks on; a claim may be computing when the input ends, so this is a thread of its own."""
    for line in requests:
        tasks.put(Task(**json.loads(line)))
    sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
