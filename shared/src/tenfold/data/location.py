"""Where data live: `$TENFOLD_DATA`, else `./data`, else the user's cache folder."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path


class DataNotFoundError(FileNotFoundError):
    """A data set is not where it was looked for; the message says where, what is expected and how to get it."""


def root() -> Path:
    """The folder that holds the data sets.

    Raises:
        NotADirectoryError: if `$TENFOLD_DATA` is set but is not a folder.
    """
    named = os.environ.get("TENFOLD_DATA")
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise NotADirectoryError(
                f"TENFOLD_DATA={named} is not a folder; make it, or unset the variable to use ./data"
            )
        return folder
    local = Path("data")
    return local if local.is_dir() else user_cache()


def user_cache() -> Path:
    """The user's cache folder for data sets; it need not exist yet."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tenfold"


def first_existing(candidates: Iterable[Path], name: str) -> Path:
    """The first of `candidates` that exists.

    Raises:
        DataNotFoundError: if none does; it shows them and what the registry says about data set `name`.
    """
    searched = list(candidates)
    for path in searched:
        if path.exists():
            return path
    raise not_found(searched, name)


def not_found(searched: Iterable[Path], name: str) -> DataNotFoundError:
    """The error for data set `name`: searched paths, expected tree, source."""
    from .registry import DATASETS

    data = DATASETS[name]
    paths = "\n".join(f"  {path}" for path in searched)
    tree = "\n".join(f"  {line}" for line in data.tree.splitlines())
    how = f"tenfold data fetch {name}\n  {data.source}" if data.files else data.source
    return DataNotFoundError(
        f"{data.title} not found. Looked for\n{paths}\n"
        f"Expected below the data folder (TENFOLD_DATA, or ./data)\n{tree}\nWhere to get it\n  {how}"
    )
