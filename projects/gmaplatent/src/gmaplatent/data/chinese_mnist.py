"""Chinese MNIST: the characters 零 (zero) to 九 (nine) by 100 writers, split by writer (§6).

A file is `input_<writer>_<sample>_<code>.jpg`, 64 × 64, ink bright; codes 1 … 10 are the values 0 … 9. Codes 11 … 15
(ten, hundred, …) have no partner among the Arabic digits and are not read.
"""

import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from tenfold.data import DataNotFoundError
from tenfold.data import root as data_root

from .images import LabelledImages, Parts, resized

N_WRITERS, N_SAMPLES, N_CODES = 100, 10, 10
TRAIN_WRITERS, VAL_WRITERS, TEST_WRITERS = range(1, 73), range(73, 81), range(81, 101)
_NAME = re.compile(r"input_(\d+)_(\d+)_(\d+)\.jpg")
_LARGEST = 1 << 20  # bytes of one image of 64 × 64, with a margin


class _Key(NamedTuple):
    writer: int
    sample: int
    code: int


_Files = dict[_Key, tuple[str, Callable[[], bytes]]]


def load_chinese_mnist(
    root: str | None = None,
    *,
    size: int = 32,
    train_writers: Collection[int] = TRAIN_WRITERS,
    val_writers: Collection[int] = VAL_WRITERS,
    test_writers: Collection[int] = TEST_WRITERS,
) -> Parts:
    """The Chinese digits, 100 of each writer. No writer is in two parts, so that no hand is known from training.

    Read from `chinese_mnist/` (the files anywhere below it), else from `chinese_mnist.zip`, which is not unpacked. Images
    are shrunk by averaging and brought to the full range of grey, as MNIST's are; those with dark ink are inverted.

    Args:
        root: the data folder; `tenfold.data.root()` if None.
        size: height and width.
        train_writers, val_writers, test_writers: numbers 1 … 100; by default 1–72, 73–80, 81–100.

    Raises:
        DataNotFoundError: if neither is there; it shows the expected tree and where to get it.
        ValueError: if writers are in two parts, unknown or none, or a file is missing, damaged or of another size.
    """
    chosen = {"train": train_writers, "val": val_writers, "test": test_writers}
    _require_apart(chosen)
    folder = data_root() if root is None else Path(root)
    archive = folder / "chinese_mnist.zip"
    if (folder / "chinese_mnist").is_dir():
        found = _in_folder(folder / "chinese_mnist")
        return Parts(*(_part(found, writers, folder / "chinese_mnist", size) for writers in chosen.values()))
    if not archive.is_file():
        raise _not_found(folder)
    try:
        with zipfile.ZipFile(archive) as file:
            found = _in_zip(file)
            return Parts(*(_part(found, writers, archive, size) for writers in chosen.values()))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is truncated or damaged: {error}") from error


def _require_apart(parts: dict[str, Collection[int]]) -> None:
    for name, writers in parts.items():
        unknown = sorted(set(writers) - set(range(1, N_WRITERS + 1)))
        if unknown or not writers:
            raise ValueError(f"{name}_writers must be numbers from 1 to {N_WRITERS}, got {unknown or 'none'}")
    names = list(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = sorted(set(parts[first]) & set(parts[second]))
            if both:
                raise ValueError(
                    f"writers {both} are in {first}_writers and in {second}_writers; split by writer"
                )


def _in_folder(folder: Path) -> _Files:
    return _named((str(path.relative_to(folder)), path.read_bytes) for path in sorted(folder.rglob("*.jpg")))


def _in_zip(file: zipfile.ZipFile) -> _Files:
    for info in file.infolist():
        if info.filename.endswith(".jpg") and info.file_size > _LARGEST:
            raise ValueError(
                f"{file.filename}: {info.filename} unpacks to {info.file_size:,} bytes; no such image"
            )
    names = [name for name in file.namelist() if name.endswith(".jpg")]
    return _named((name, _reader(file, name)) for name in names)


def _reader(file: zipfile.ZipFile, name: str) -> Callable[[], bytes]:
    return lambda: file.read(name)


def _named(files: Iterable[tuple[str, Callable[[], bytes]]]) -> _Files:
    found: _Files = {}
    for name, read in files:
        match = _NAME.fullmatch(PurePosixPath(name).name)
        if match:
            found[_Key(*map(int, match.groups()))] = (name, read)
    return found


def _part(found: _Files, writers: Collection[int], source: Path, size: int) -> LabelledImages:
    keys = [
        _Key(writer, sample, code)
        for writer in sorted(writers)
        for sample in range(1, N_SAMPLES + 1)
        for code in range(1, N_CODES + 1)
    ]
    missing = [key for key in keys if key not in found]
    if missing:
        first = "input_{}_{}_{}.jpg".format(*missing[0])
        raise ValueError(f"{source} lacks {len(missing):,} of {len(keys):,} images, the first is {first}")
    grey = np.stack([_decoded(*found[key], source) for key in keys])
    images = resized(torch.from_numpy(_ink_bright(grey))[:, None], size)
    # Blank images would be divided by zero; there is none in the set, and then a blank stays one.
    images = images / images.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return LabelledImages(
        images.clamp(0, 1),
        torch.tensor([key.code - 1 for key in keys]),
        torch.tensor([key.writer for key in keys]),
    )


def _ink_bright(grey: UInt8[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n h w"]:
    """In [0, 1]; the commoner grey is the paper."""
    images = grey.astype(np.float32) / 255
    dark_ink = np.median(images, axis=(1, 2)) > 0.5
    images[dark_ink] = 1 - images[dark_ink]
    return images


def _decoded(name: str, read: Callable[[], bytes], source: Path) -> UInt8[np.ndarray, "64 64"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(read())) as picture:
            array = np.asarray(picture.convert("L"))
    except (UnidentifiedImageError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source}: {name} is not a readable image: {error}") from error
    if array.shape != (64, 64):
        raise ValueError(f"{source}: {name} has {array.shape[0]} × {array.shape[1]} pixels; expected 64 × 64")
    return array


def _not_found(folder: Path) -> DataNotFoundError:
    return DataNotFoundError(
        f"Chinese MNIST not found. Looked for\n  {folder / 'chinese_mnist'}\n  {folder / 'chinese_mnist.zip'}\n"
        "Expected below the data folder (TENFOLD_DATA, or ./data)\n"
        "  chinese_mnist/input_<writer>_<sample>_<code>.jpg   100 writers × 10 samples × codes 1–10, 64 × 64\n"
        "  or chinese_mnist.zip with these files\n"
        "Where to get it\n"
        "  https://www.kaggle.com/datasets/gpreda/chinese-mnist (Newcastle University, K. Nazarpour and M. Chen); "
        "check its licence"
    )
