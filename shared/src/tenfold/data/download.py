"""Which data sets are here, and how to get the others: downloads with checksums."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .archives import extract_archive
from .cifar import cifar10_candidates
from .location import DataNotFoundError
from .location import root as data_root
from .mnist import idx_candidates
from .registry import Dataset, RemoteFile, known


@dataclass(frozen=True)
class Status:
    """What of a data set lies in the data folder.

    Args:
        state: "bundled" (inside a library), "present", "partial" or "missing".
        found: the files or folders a loader would read.
        missing: the files it would not find, relative to the data folder.
    """

    state: Literal["bundled", "present", "partial", "missing"]
    found: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()


def status(name: str, root: str | Path | None = None) -> Status:
    """Look for a data set without reading it.

    Args:
        name: a key of `DATASETS`.
        root: the data folder; `tenfold.data.root()` if None.

    Raises:
        ValueError: unknown name; the known ones are listed.

    Example:
        >>> status("digits").state
        'bundled'
    """
    data = known(name)
    if data.bundled:
        return Status("bundled")
    folder = data_root() if root is None else Path(root)
    if data.loader:
        return _status_of_images(data, folder)
    found, missing = [], []
    for remote in data.files:
        candidates = (
            cifar10_candidates(folder) if name == "cifar10" else idx_candidates(folder, name, remote.path)
        )
        here = next((path for path in candidates if path.exists()), None)
        if here is None:
            missing.append(remote.path)
        else:
            found.append(here)
    state: Literal["present", "partial", "missing"] = "missing"
    if found:
        state = "partial" if missing else "present"
    return Status(state, tuple(found), tuple(missing))


def _status_of_images(data: Dataset, folder: Path) -> Status:
    """What the loader itself finds: all, a portion (wrong number), or nothing."""
    from tenfold import restoration

    loader = getattr(restoration, data.loader)
    try:
        loader(*data.arguments, root=folder)
    except DataNotFoundError:
        return Status("missing", missing=tuple(data.tree.splitlines()))
    except ValueError:
        return Status("partial")
    return Status("present")


def fetch(name: str, root: str | Path | None = None, *, progress: bool = False) -> list[Path]:
    """Download a public data set into the data folder and verify it. What is already there is kept.

    Args:
        name: a key of `DATASETS`.
        root: the data folder, made if needed; `tenfold.data.root()` if None.
        progress: show a progress bar.

    Returns:
        The downloaded (or already present and verified) files; empty for a bundled set.

    Raises:
        ValueError: unknown name; a downloaded file, or one that is already there, has another checksum.
        DataNotFoundError: the set has to be fetched by hand and is not there; the message says from where.
        ConnectionError: if no mirror could be reached; the reason of each is given.
        ModuleNotFoundError: if pooch is not installed (it comes with the extra `train`).
    """
    data = known(name)
    folder = data_root() if root is None else Path(root)
    if data.loader and _status_of_images(data, folder).state == "missing":
        raise DataNotFoundError(
            f"{data.title} cannot be downloaded automatically. Fetch it from\n  {data.source}\n"
            f"and put it in {folder} as\n" + "\n".join(f"  {line}" for line in data.tree.splitlines())
        )
    return [_fetch_file(remote, folder, progress) for remote in data.files]


def _fetch_file(remote: RemoteFile, folder: Path, progress: bool) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("downloads need pooch: install tenfold[train]") from error

    target = folder / remote.path
    algorithm, digest = remote.checksum.split(":")
    if target.exists():
        found = pooch.file_hash(str(target), alg=algorithm)
        if found != digest:
            raise ValueError(
                f"{target} is there but its {algorithm} is {found}, not {digest}; move it away to fetch the original"
            )
    else:
        _download(remote, target, progress)
    if remote.unpack:
        extract_archive(target, target.parent)
    return target


def _download(remote: RemoteFile, target: Path, progress: bool) -> None:
    import pooch

    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in remote.urls:
        try:
            # pooch verifies the checksum before it moves the file into place.
            pooch.retrieve(
                url,
                known_hash=remote.checksum,
                fname=target.name,
                path=str(target.parent),
                progressbar=progress,
            )
            return
        except OSError as error:  # requests' exceptions are OSErrors
            failures.append(f"{url}: {error}")
    raise ConnectionError(f"{target.name} could not be downloaded\n  " + "\n  ".join(failures))
