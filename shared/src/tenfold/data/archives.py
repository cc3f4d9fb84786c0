"""Safe extraction of zip and tar archives: nothing is written outside the folder, and not without limit."""

import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

_CHUNK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    RuntimeError,
    NotImplementedError,
)


class ArchiveError(ValueError):
    """An archive that is damaged or that must not be extracted; the message names the member."""


def extract_archive(
    archive: str | Path, folder: str | Path, *, max_bytes: int = 4 << 30, max_files: int = 500_000
) -> list[Path]:
    """Extract a zip or tar (gz, bz2, xz) archive into `folder`.

    Everything is extracted beside `folder` first and moved in when all of it is good, so a refused archive leaves
    nothing behind. Existing files of the same names are replaced. Only plain files are made, without their
    permissions and owners.

    Args:
        archive: the file.
        folder: made if it does not exist.
        max_bytes: limit on the sum of the extracted sizes, counted as they are written (headers may lie).
        max_files: limit on the number of members, folders included.

    Returns:
        The extracted files, in the order of the archive.

    Raises:
        FileNotFoundError: if there is no such archive.
        ArchiveError: absolute path, `..`, link, device, a limit, no zip or tar file, or damage.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(f"no archive {archive}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".extracting-") as scratch:
        names: list[PurePosixPath] = []
        written = 0
        try:
            with _members(archive) as members:
                for count, (name, content) in enumerate(members, start=1):
                    if count > max_files:
                        raise ArchiveError(f"{archive} has more than {max_files:,} members")
                    path = _safe(archive, name)
                    if content is None:
                        continue
                    target = Path(scratch, path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    written += _copy(archive, content, target, max_bytes - written, max_bytes)
                    names.append(path)
        except ArchiveError:
            raise
        except _DAMAGED as error:
            raise ArchiveError(f"{archive} cannot be extracted: {error}") from error
        for path in names:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if Path(scratch, path).exists():  # a name given twice was moved already
                os.replace(Path(scratch, path), target)
        return [folder / path for path in names]


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root:
        raise ArchiveError(f"{archive} has the absolute path {name!r}")
    if ".." in path.parts or ".." in windows.parts:
        raise ArchiveError(f"{archive} has a path that leaves the folder: {name!r}")
    if "\0" in name or not name.strip():
        raise ArchiveError(f"{archive} has the unusable name {name!r}")
    return path


def _copy(archive: Path, content: IO[bytes], target: Path, allowed: int, limit: int) -> int:
    written = 0
    with content, target.open("wb") as file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > allowed:
                raise ArchiveError(f"{archive} unpacks to more than {limit:,} bytes")
            file.write(chunk)
    return written


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes] | None]]]:
    """Names with open contents (None for a folder) of either kind of archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(archive, file)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _tar_members(archive, tar)
    else:
        raise ArchiveError(f"{archive} is neither a zip nor a tar file")


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes] | None]]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{archive} has the link or special file {info.filename!r}")
        _safe(archive, info.filename)
        yield info.filename, None if info.is_dir() else file.open(info)


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes] | None]]:
    for info in tar:
        if not (info.isreg() or info.isdir()):
            raise ArchiveError(f"{archive} has the link or special file {info.name!r}")
        yield info.name, None if info.isdir() else tar.extractfile(info)
