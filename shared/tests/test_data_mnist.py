import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from tenfold.data import DataNotFoundError, load_digits, load_idx_images, read_idx


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n images of one nonzero pixel each, at index mod 784, and labels index mod 10."""
    images = np.zeros((n, 784), dtype=np.uint8)
    images[np.arange(n), np.arange(n) % 784] = 200
    return images.reshape(n, 28, 28), (np.arange(n) % 10).astype(np.uint8)


def write(folder: Path, part: str, images: np.ndarray, labels: np.ndarray, zipped: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx(array)
        file = folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
        file.write_bytes(gzip.compress(content, 1) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "fashion_mnist"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("kmnist", "KMNIST/raw"),
    ],
)
def test_both_layouts_gzipped_and_unpacked(name: str, folder: str, zipped: bool, tmp_path: Path):
    images, labels = small(10_000)
    write(tmp_path / folder, "t10k", images, labels, zipped)
    got_images, got_labels = load_idx_images(name, train=False, root=tmp_path)
    assert got_images.dtype == np.uint8
    assert got_labels.dtype == np.int64
    np.testing.assert_array_equal(got_images, images)
    np.testing.assert_array_equal(got_labels, labels)


def test_the_training_part_has_its_own_files_and_count(tmp_path: Path):
    images, labels = small(60_000)
    write(tmp_path / "mnist", "train", images, labels)
    got_images, got_labels = load_idx_images("mnist", train=True, root=tmp_path)
    assert got_images.shape == (60_000, 28, 28)
    assert got_labels.sum() == labels.sum(dtype=np.int64)


def test_kmnist_t10k_splits_the_test_file_by_index(tmp_path: Path):
    images, labels = small(10_000)
    write(tmp_path / "kmnist", "t10k", images, labels)
    train, _ = load_idx_images("kmnist-t10k", train=True, root=tmp_path)
    test, test_labels = load_idx_images("kmnist-t10k", train=False, root=tmp_path)
    np.testing.assert_array_equal(train, images[:8_000])
    np.testing.assert_array_equal(test, images[8_000:])
    np.testing.assert_array_equal(test_labels, labels[8_000:])


def test_a_missing_file_says_where_what_and_how(tmp_path: Path):
    with pytest.raises(DataNotFoundError) as caught:
        load_idx_images("kmnist", train=True, root=tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path / "kmnist" / "train-images-idx3-ubyte.gz"),
        str(tmp_path / "KMNIST" / "raw" / "train-images-idx3-ubyte"),
        "kmnist/t10k-labels-idx1-ubyte.gz",
        "tenfold data fetch kmnist",
        "http://codh.rois.ac.jp/kmnist/",
    ):
        assert part in message
    with pytest.raises(ValueError, match="unknown data set 'emnist'; known: mnist, fashion_mnist"):
        load_idx_images("emnist", train=True, root=tmp_path)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], r"is truncated: 23 bytes of data, its header promises 2 × 3 × 4 = 24"),
        (GOOD + b"x", "is too long"),
        (GOOD[:10], "is truncated: its header"),
        (GOOD[:3], "is not an idx file"),
        (b"", "begins with nothing"),
        (b"\x89PNG" + GOOD, "is not an idx file: it begins with 89 50 4e 47"),
        (b"\0\0\x0d\x01" + GOOD[4:], "values of type 0x0d"),
        (b"\0\0\x08\x00", "header of 0 dimensions"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_idx_files_are_named(content: bytes, message: str, zipped: bool, tmp_path: Path):
    file = tmp_path / ("file-ubyte.gz" if zipped else "file-ubyte")
    file.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "no gzip", "flipped"])
def test_damaged_gzip_is_named(damage: str, tmp_path: Path):
    content = bytearray(gzip.compress(GOOD))
    content[-6] ^= 1
    file = tmp_path / "file-ubyte.gz"
    file.write_bytes({"truncated": content[:-9], "no gzip": GOOD, "flipped": content}[damage])
    with pytest.raises(ValueError, match=r"file-ubyte\.gz is truncated or damaged"):
        read_idx(file)


def test_idx_arrays_come_back_writable(tmp_path: Path):
    (tmp_path / "f").write_bytes(GOOD)
    array = read_idx(tmp_path / "f")
    assert array.shape == (2, 3, 4)
    assert array[1, 2, 3] == 23
    array[0] = 0


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((10_000, 32, 32), np.uint8),
            small(10_000)[1],
            "images of 32 × 32 pixels; expected 28 × 28",
        ),
        (np.zeros((10_000, 784), np.uint8), small(10_000)[1], "images of 784 pixels"),
        (small(9_999)[0], small(10_000)[1], r"images-idx3-ubyte holds 9,999 items; expected 10,000"),
        (small(10_000)[0], small(9_999)[1], r"labels-idx1-ubyte holds 9,999 items; expected 10,000"),
        (small(10_000)[0], np.full(10_000, 10, np.uint8), "holds the label 10"),
        (small(10_000)[0], np.zeros((10_000, 2), np.uint8), "labels have one"),
    ],
)
def test_wrong_sizes_and_counts_are_named(images, labels, message: str, tmp_path: Path):
    write(tmp_path / "mnist", "t10k", images, labels)
    with pytest.raises(ValueError, match=message):
        load_idx_images("mnist", train=False, root=tmp_path)


def test_digits():
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 16)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.realdata
def test_real_mnist_is_complete():
    images, labels = load_idx_images("mnist", train=True)
    folder = Path(os.environ["TENFOLD_DATA"])
    packed = [folder / layout / "train-images-idx3-ubyte.gz" for layout in ("mnist", "MNIST/raw")]
    content = gzip.decompress(next(path for path in packed if path.exists()).read_bytes())
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert images.shape == (60_000, 28, 28)
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert abs(images.mean() / 255 - 0.1307) < 1e-4
    test_images, test_labels = load_idx_images("mnist", train=False)
    assert test_images.shape == (10_000, 28, 28)
    assert test_labels[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.realdata
def test_real_kmnist_test_file_is_balanced():
    parts = [load_idx_images("kmnist-t10k", train) for train in (True, False)]
    assert [len(images) for images, _ in parts] == [8_000, 2_000]
    labels = np.concatenate([labels for _, labels in parts])
    assert np.bincount(labels).tolist() == [1_000] * 10
