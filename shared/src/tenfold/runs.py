"""Run directories: `runs/<paper>/<preset>/<timestamp>/` with config.yaml, metrics.csv and checkpoints/.

Below `$TENFOLD_RUNS` where it is set. A run is found again by its preset; the newest is the one that started last.
"""

import os
import re
from datetime import datetime
from pathlib import Path

TIMESTAMP = "%Y-%m-%d_%H-%M-%S"
_RUN = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?")


class RunError(ValueError):
    """A run that is not there, or is in the way; the message says where it was looked for."""


def runs_root() -> Path:
    """`$TENFOLD_RUNS`, else `./runs`."""
    return Path(os.environ.get("TENFOLD_RUNS") or "runs").expanduser()


def propose(package: str, preset: str, suffix: str = "") -> Path:
    """A folder for a new run, named by the time; not made, and not taken at this moment."""
    parent = runs_root() / package / preset
    name = datetime.now().strftime(TIMESTAMP) + suffix
    folder = parent / name
    count = 1
    while folder.exists():
        count += 1
        folder = parent / f"{name}-{count}"
    return folder


def create(folder: Path) -> Path:
    """Make a new run directory.

    Raises:
        RunError: if a run is there already, or the folder cannot be made.
    """
    if (folder / "config.yaml").exists():
        raise RunError(
            f"{folder} holds a run already; continue it with --ckpt_path last, or name another --run_dir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run directory {folder}: {error}") from error
    return folder


def find_checkpoint(package: str, preset: str, which: str, run_dir: Path | None = None) -> Path:
    """`checkpoints/last.ckpt` or `best.ckpt` of the newest run of a preset, or of `run_dir`.

    Args:
        package: the paper.
        preset: name of the preset, as in the path.
        which: "last" or "best".
        run_dir: a run directory; the newest run of the preset if None.

    Raises:
        RunError: if there is no run, or the newest one has no such checkpoint.
    """
    if run_dir is None:
        parent = runs_root() / package / preset
        runs = sorted(
            (path for path in parent.glob("*") if path.is_dir() and _RUN.fullmatch(path.name)), key=_started
        )
        if not runs:
            raise RunError(
                f"no run of {package} {preset} to continue: {parent} has none; start one without --ckpt_path"
            )
        run_dir = runs[-1]
    checkpoint = run_dir / "checkpoints" / f"{which}.ckpt"
    if not checkpoint.is_file():
        raise RunError(
            f"{run_dir} has no checkpoints/{which}.ckpt (the first is written at the end of the first epoch); "
            "name another run with --run_dir, or a file with --ckpt_path"
        )
    return checkpoint


def run_of(checkpoint: Path) -> Path | None:
    """The run directory a checkpoint lies in, or None if it lies elsewhere."""
    folder = checkpoint.parent
    return (
        folder.parent if folder.name == "checkpoints" and (folder.parent / "config.yaml").is_file() else None
    )


def _started(run: Path) -> tuple[str, int]:
    """Time, and number among the runs of one second (`…-2`, `…-10`)."""
    return run.name[:19], int(run.name[20:] or 1)
