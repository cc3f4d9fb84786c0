"""CIFAR-10 in the forms people have it: the original batches, image files, a zip of image files."""

import io
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from .location import first_existing
from .location import root as data_root

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_SUFFIXES = (".png", ".jpg", ".jpeg")
_Arrays = tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, "n"]]


def cifar10_candidates(root: Path) -> tuple[Path, ...]:
    """Where CIFAR-10 is looked for, in this order."""
    return root / "cifar-10-batches-py", root / "cifar10", root / "cifar10.zip"


def load_cifar10(train: bool, root: str | Path | None = None) -> _Arrays:
    """Images and labels of CIFAR-10.

    Read from the original `cifar-10-batches-py/`, else from image files `cifar10/{train,test}/<class>/*`, else from
    the same tree in `cifar10.zip`, which is not unpacked. The batches must be complete (50,000 + 10,000); image
    files may be a portion of the set, in the order of class and file name.

    Args:
        train: the training or the test part.
        root: the data folder; `tenfold.data.root()` if None.

    Returns:
        RGB values 0–255 and classes 0–9 in the order of `CIFAR10_CLASSES`.

    Raises:
        DataNotFoundError: if none of the three is there.
        ValueError: a file that is damaged, an image that is not 32 × 32 RGB, a class missing or unknown.
    """
    folder = data_root() if root is None else Path(root)
    source = first_existing(cifar10_candidates(folder), "cifar10")
    if source.suffix == ".zip":
        return _from_zip(source, train)
    if source.name == "cifar-10-batches-py":
        names = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
        batches = [_read_batch(first_existing([source / name], "cifar10")) for name in names]
        return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])
    return _from_folder(source, train)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays, strings, numbers and containers; every other class or function is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        if name == "_reconstruct":
            return np.empty(0).__reduce__()[0]  # wherever this numpy keeps it
        return getattr(np, name)


def _read_batch(path: Path) -> _Arrays:
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is not a batch of CIFAR-10: {error}") from error
    batch = (
        {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        if isinstance(batch, dict)
        else {}
    )
    data, labels = batch.get("data"), batch.get("labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (10_000, 3072):
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{path}: data is {found}; expected uint8 (10000, 3072)")
    if not isinstance(labels, list) or len(labels) != len(data) or not set(labels) <= set(range(10)):
        raise ValueError(f"{path}: labels must be a list of 10,000 integers from 0 to 9")
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def _from_folder(folder: Path, train: bool) -> _Arrays:
    part = folder / ("train" if train else "test")
    first_existing([part], "cifar10")
    files = sorted(path for path in part.glob("*/*") if path.suffix.lower() in _SUFFIXES)
    return _decode(part, ((f"{p.parent.name}/{p.name}", p.read_bytes()) for p in files))


def _from_zip(path: Path, train: bool) -> _Arrays:
    part = "train" if train else "test"
    try:
        with zipfile.ZipFile(path) as archive:
            return _decode(path, _zip_images(archive, part))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error


def _zip_images(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, bytes]]:
    for name in sorted(archive.namelist()):
        path = PurePosixPath(name)
        if path.suffix.lower() in _SUFFIXES and path.parent.parent.name == part:
            yield f"{path.parent.name}/{path.name}", archive.read(name)


def _decode(source: Path, files: Iterable[tuple[str, bytes]]) -> _Arrays:
    from PIL import Image, UnidentifiedImageError

    images, labels = [], []
    for name, content in files:
        label = name.split("/")[0]
        if label not in CIFAR10_CLASSES:
            raise ValueError(f"{source}: unknown class {label!r}; known: {', '.join(CIFAR10_CLASSES)}")
        try:
            with Image.open(io.BytesIO(content)) as picture:
                array = np.asarray(picture)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{source}: {name} is not a readable image: {error}") from error
        if array.shape != (32, 32, 3) or array.dtype != np.uint8:
            raise ValueError(f"{source}: {name} is {array.dtype} {array.shape}; expected uint8 (32, 32, 3)")
        images.append(array)
        labels.append(CIFAR10_CLASSES.index(label))
    missing = [name for i, name in enumerate(CIFAR10_CLASSES) if i not in set(labels)]
    if missing:
        raise ValueError(f"{source} has no images of {', '.join(missing)}")
    return np.stack(images), np.array(labels, dtype=np.int64)
