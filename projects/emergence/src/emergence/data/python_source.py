"""A corpus of bytes from the Python sources that are installed: large, local, and not redistributed (§6).

Files are taken in the order of their relative names, each content once, and go to the training or to the validation
part by a digest of their content, so that the same files give the same corpus whatever else is installed.
"""

import hashlib
import json
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from jaxtyping import UInt8
from torch import Tensor

import tenfold.data
from tenfold.checkpoint import write_atomically
from tenfold.data import DataNotFoundError

from .text import to_bytes

FOLDER = "python-source"

_ONE_IN = 50
"""One file in fifty is for validation: 98/2."""


def build_python_corpus(
    out: str | Path, folders: Sequence[str | Path] | None = None, max_bytes: int = 150_000_000
) -> dict[str, int]:
    """Write `train.bin`, `val.bin` and `corpus.json` into a folder.

    Args:
        out: the folder, made if needed.
        folders: where `*.py` files are looked for; standard library and site-packages if None.
        max_bytes: stop before the corpus grows larger.

    Returns:
        Numbers of files, duplicates, and bytes of either part.

    Raises:
        NotADirectoryError: one of `folders` is none.
        ValueError: max_bytes below 1, or nothing was found for one of the parts.
    """
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
    parts: dict[str, list[bytes]] = {"train": [], "val": []}
    seen: set[bytes] = set()
    total, duplicates = 0, 0
    for path in _sources(folders or _installed()):
        content = path.read_bytes().rstrip() + b"\n\n"
        digest = hashlib.sha256(content).digest()
        if digest in seen or not content.strip():
            duplicates += 1
            continue
        if total + len(content) > max_bytes:
            break
        seen.add(digest)
        total += len(content)
        parts["val" if digest[0] * 256 + digest[1] < 65536 // _ONE_IN else "train"].append(content)
    for part, contents in parts.items():
        if not contents:
            raise ValueError(
                f"no file for the part {part!r} among {len(seen)} different ones; name more folders"
            )
    Path(out).mkdir(parents=True, exist_ok=True)
    counts = {"files": len(seen), "duplicates": duplicates}
    for part, contents in parts.items():
        joined = b"".join(contents)
        counts[f"{part}_bytes"] = len(joined)
        write_atomically(Path(out) / f"{part}.bin", joined)
    write_atomically(Path(out) / "corpus.json", (json.dumps(counts, indent=2) + "\n").encode())
    return counts


def load_python_corpus(part: Literal["train", "val"], root: str | Path | None = None) -> UInt8[Tensor, "n"]:
    """A part of the corpus in `python-source/` below the data folder.

    Raises:
        DataNotFoundError: if it has not been built; says how.
        ValueError: unknown part.
    """
    if part not in ("train", "val"):
        raise ValueError(f"part must be 'train' or 'val', got {part!r}")
    folder = (tenfold.data.root() if root is None else Path(root)) / FOLDER
    path = folder / f"{part}.bin"
    if not path.is_file():
        raise DataNotFoundError(f"{path} not found: build it with `emergence data-pysrc --out {folder}`")
    return to_bytes(path.read_bytes())


def _installed() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths[name]) for name in ("stdlib", "purelib", "platlib")]


def _sources(folders: Sequence[str | Path]) -> Iterator[Path]:
    """All files, in the order of their names relative to the folder they were found in."""
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise NotADirectoryError(f"folders names {folder}, which is not a folder")
        for path in folder.rglob("*.py"):
            if path.is_file():
                found.setdefault(path.relative_to(folder).as_posix(), path)
    for name in sorted(found):
        yield found[name]
