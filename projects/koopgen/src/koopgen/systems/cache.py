"""Generated data on disk: one file per set, named by a hash of everything it depends on."""

import hashlib
import json
from pathlib import Path

from tenfold.data.location import user_cache

from ..trajectories import TrajectorySet
from .system import System

_GENERATORS = 1  # raise it when a generator changes what it makes: older files are then not found any more


def cache_folder() -> Path:
    """Where generated data are kept: `koopgen/` in the user's cache folder."""
    return user_cache() / "koopgen"


def cached_trajectories(
    system: System, n: int, steps: int, seed: int = 0, folder: str | Path | None = None
) -> TrajectorySet:
    """`system.generate(n, steps, seed)`, read from its file where there is one, and written where there is none.

    The file is `<folder>/<system>/<hash>.npz`. It appears complete or not at all, so that several processes may ask
    for the same set at once.

    Args:
        system: see `SYSTEMS`.
        n: trajectories.
        steps: sampling intervals.
        seed: of the initial conditions.
        folder: `cache_folder()` if None.

    Raises:
        OSError: if the folder cannot be written; `system.generate` needs none.
        ValueError: if the file is damaged.
    """
    path = cache_path(system, n, steps, seed, folder)
    if path.exists():
        return TrajectorySet.load(path)
    data = system.generate(n, steps, seed)
    data.save(path)
    return data


def cache_path(system: System, n: int, steps: int, seed: int = 0, folder: str | Path | None = None) -> Path:
    """The file `cached_trajectories` keeps that set in."""
    content = json.dumps([_GENERATORS, system.description(n, steps, seed)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return (cache_folder() if folder is None else Path(folder)) / system.name / f"{digest}.npz"
