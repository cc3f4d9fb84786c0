"""Files that are either whole or not there, and folders that are known to take them."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash at any moment, meets the old content or the new, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name in one step.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can open folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse; the file itself is on the disk
    finally:
        os.close(handle)


def require_writable(folder: Path) -> None:
    """Create the folder if need be and write to it once, before anything expensive is computed for it.

    Raises:
        PermissionError: if nothing can be written there; says what to do.
    """
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise PermissionError(
            f"cannot write to the results folder {folder} ({error.strerror}): choose another with --results FOLDER"
        ) from error
