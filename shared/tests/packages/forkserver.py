"""Runs commands of the toy paper as processes of their own, having paid for importing Lightning once.

Reads lines of JSON from stdin: a list of jobs {"argv", "env", "out"}. All jobs of a line run at once, each in a
forked process with its output in the file `out`; the answer is a line of JSON with their exit statuses (negative: the
signal that ended it).
"""

import json
import os
import sys
import traceback

import toypaper.module  # noqa: F401
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from toypaper.train import main

import tenfold.training  # noqa: F401 (the import that is shared)


def start(job: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        out = os.open(job["out"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(job["env"])
        rank_zero_only.rank = int(os.environ.get("RANK", "0"))  # Lightning read it when it was imported
        sys.argv = ["toypaper"]
        status = main(job["argv"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        pids = [start(job) for job in json.loads(line)]
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)
