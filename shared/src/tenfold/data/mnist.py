"""MNIST and its relatives: images and labels in idx files.

An idx file is, big-endian: two zero bytes, a type code (8: unsigned byte), the number of dimensions, one 32-bit size
per dimension, then the values in C order.
"""

import gzip
import struct
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8

from .location import first_existing
from .location import root as data_root

_FOLDERS = {
    "mnist": ("mnist", "MNIST"),
    "fashion_mnist": ("fashion_mnist", "FashionMNIST"),
    "kmnist": ("kmnist", "KMNIST"),
    "kmnist-t10k": ("kmnist", "KMNIST"),
}
_COUNTS = {"train": 60_000, "t10k": 10_000}
_T10K_TRAIN = 8_000  # kmnist-t10k: images [0, 8000) of the test file train, [8000, 10000) test


def read_idx(path: str | Path) -> UInt8[np.ndarray, "..."]:
    """Read an idx file of unsigned bytes, gzipped if its name ends in `.gz`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, too long, not gzip, or not an idx file of unsigned bytes.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is truncated or damaged: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path} is not an idx file: it begins with {content[:4].hex(' ') or 'nothing'}")
    if content[2] != 8:
        raise ValueError(
            f"{path} holds values of type 0x{content[2]:02x}; only unsigned bytes (0x08) are read"
        )
    n_dimensions = content[3]
    header = 4 + 4 * n_dimensions
    if n_dimensions < 1 or len(content) < header:
        raise ValueError(f"{path} is truncated: its header of {n_dimensions} dimensions does not fit")
    shape = struct.unpack(f">{n_dimensions}I", content[4:header])
    expected = 1
    for size in shape:
        expected *= size
    if len(content) - header != expected:
        kind = "truncated" if len(content) - header < expected else "too long"
        raise ValueError(
            f"{path} is {kind}: {len(content) - header} bytes of data, "
            f"its header promises {' × '.join(map(str, shape))} = {expected}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()


def load_idx_images(
    name: str, train: bool, root: str | Path | None = None
) -> tuple[UInt8[np.ndarray, "n 28 28"], Int64[np.ndarray, "n"]]:
    """Images and labels of MNIST, Fashion-MNIST or KMNIST.

    The files are looked for in `<root>/<name>/` and in torchvision's `<root>/<Name>/raw/`, gzipped or unpacked.
    `kmnist-t10k` splits the test file of KMNIST by index: 8,000 images to train, 2,000 to test.

    Args:
        name: "mnist", "fashion_mnist", "kmnist" or "kmnist-t10k".
        train: the training or the test part.
        root: the data folder; `tenfold.data.root()` if None.

    Returns:
        Grey values 0–255 (0 is the background) and classes 0–9.

    Raises:
        ValueError: unknown name; or a file that is damaged or has the wrong size or number of images.
        DataNotFoundError: if a file is missing.
    """
    if name not in _FOLDERS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(_FOLDERS)}")
    folder = data_root() if root is None else Path(root)
    part = "train" if train and name != "kmnist-t10k" else "t10k"
    image_file = first_existing(idx_candidates(folder, name, f"{part}-images-idx3-ubyte"), name)
    label_file = first_existing(idx_candidates(folder, name, f"{part}-labels-idx1-ubyte"), name)
    images, labels = read_idx(image_file), read_idx(label_file)
    _check(image_file, images, label_file, labels, _COUNTS[part])
    if name == "kmnist-t10k":
        chosen = slice(0, _T10K_TRAIN) if train else slice(_T10K_TRAIN, None)
        images, labels = images[chosen], labels[chosen]
    return images, labels.astype(np.int64)


def idx_candidates(root: Path, name: str, file: str) -> tuple[Path, ...]:
    """Where an idx file of data set `name` is looked for, in this order; `file` with or without folder and `.gz`."""
    stem = PurePosixPath(file).name.removesuffix(".gz")
    ours, torchvisions = _FOLDERS[name]
    folders = (root / ours, root / torchvisions / "raw")
    return tuple(folder / (stem + end) for folder in folders for end in (".gz", ""))


def _check(image_file: Path, images: np.ndarray, label_file: Path, labels: np.ndarray, count: int) -> None:
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        size = " × ".join(map(str, images.shape[1:])) or "no size"
        raise ValueError(f"{image_file} holds images of {size} pixels; expected 28 × 28")
    if labels.ndim != 1:
        raise ValueError(f"{label_file} has {labels.ndim} dimensions; labels have one")
    for path, array in ((image_file, images), (label_file, labels)):
        if len(array) != count:
            raise ValueError(f"{path} holds {len(array):,} items; expected {count:,}")
    if labels.max() > 9:
        raise ValueError(f"{label_file} holds the label {labels.max()}; expected 0 to 9")
