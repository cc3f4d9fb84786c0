import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.data import CIFAR10_CLASSES, DataNotFoundError, load_cifar10


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def picture(label: int, i: int) -> np.ndarray:
    array = np.zeros((32, 32, 3), np.uint8)
    array[label, i] = (10, 20, 30)
    return array


def image_tree() -> dict[str, bytes]:
    """Two images of each class for training, one for testing."""
    return {
        f"cifar10/{part}/{name}/{i:04d}.png": png(picture(label, i))
        for label, name in enumerate(CIFAR10_CLASSES)
        for part, count in (("train", 2), ("test", 1))
        for i in range(count)
    }


def write_tree(root: Path, tree: dict[str, bytes]) -> None:
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def write_zip(root: Path, tree: dict[str, bytes]) -> None:
    with zipfile.ZipFile(root / "cifar10.zip", "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("write", [write_tree, write_zip])
def test_image_files_in_a_folder_or_a_zip(write, tmp_path: Path):
    write(tmp_path, image_tree())
    images, labels = load_cifar10(train=True, root=tmp_path)
    assert labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[7], picture(3, 1))
    images, _ = load_cifar10(train=False, root=tmp_path)
    assert images.shape == (10, 32, 32, 3)


@pytest.mark.parametrize("write", [write_tree, write_zip])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "cifar10/train/cat/0000.png",
            png(np.zeros((28, 28, 3), np.uint8)),
            r"cat/0000\.png is uint8 \(28, 28, 3\)",
        ),
        ("cifar10/train/cat/0000.png", png(np.zeros((32, 32), np.uint8)), r"\(32, 32\); expected"),
        ("cifar10/train/cat/0000.png", b"no image", r"cat/0000\.png is not a readable image"),
        ("cifar10/train/cat/0000.png", png(picture(0, 0))[:40], r"cat/0000\.png is not a readable image"),
        ("cifar10/train/lion/0000.png", png(picture(0, 0)), "unknown class 'lion'; known: airplane"),
    ],
)
def test_bad_image_files_are_named(write, name: str, content: bytes, message: str, tmp_path: Path):
    write(tmp_path, {**image_tree(), name: content})
    with pytest.raises(ValueError, match=message):
        load_cifar10(train=True, root=tmp_path)


@pytest.mark.parametrize("write", [write_tree, write_zip])
def test_a_missing_class_is_named(write, tmp_path: Path):
    write(tmp_path, {name: content for name, content in image_tree().items() if "/frog/" not in name})
    with pytest.raises(ValueError, match="has no images of frog"):
        load_cifar10(train=True, root=tmp_path)


def test_a_truncated_zip_is_named(tmp_path: Path):
    write_zip(tmp_path, image_tree())
    file = tmp_path / "cifar10.zip"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cifar10\.zip is truncated or damaged"):
        load_cifar10(train=True, root=tmp_path)


def batch(seed: int, n: int = 10_000) -> dict[bytes, object]:
    data = np.zeros((n, 3072), np.uint8)
    data[:, 0], data[:, 1024], data[:, 2 * 1024 + 33] = (
        seed,
        100,
        200,
    )  # red (0, 0), green (0, 0), blue (1, 1)
    return {b"data": data, b"labels": [(seed + i) % 10 for i in range(n)], b"batch_label": b"x"}


def write_batches(root: Path, **changed: object) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        (folder / name).write_bytes(pickle.dumps(changed.get(name, batch(i)), protocol=4))
    return folder


def test_original_batches_in_their_order(tmp_path: Path):
    write_batches(tmp_path)
    images, labels = load_cifar10(train=True, root=tmp_path)
    assert images.shape == (50_000, 32, 32, 3)
    assert images[::10_000, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert images[0, 0, 0].tolist() == [0, 100, 0]
    assert images[0, 1, 1].tolist() == [0, 0, 200]
    assert labels[::10_000].tolist() == [0, 1, 2, 3, 4]
    images, labels = load_cifar10(train=False, root=tmp_path)
    assert (len(images), labels[0]) == (10_000, 5)


# What Python 2 and numpy 1 wrote: text in protocol 0-2 strings, numpy.core.multiarray, labels as a list.
PYTHON2_BATCH = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
    b"K\x00\x85U\x01b\x87Rq\x05(K\x01M\x10'M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\xc0\xd4\x01%s"
    b"tbU\x06labelsq\x08]q\t(%su"
    b"U\x0bbatch_labelq\nU\x01xs."
)


def test_the_pickles_of_python_2_are_read(tmp_path: Path):
    pixels = np.arange(10_000, dtype=np.uint8)[:, None].repeat(3072, axis=1)
    labels = b"".join(b"K" + bytes([i % 10]) for i in range(10_000)) + b"e"
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(PYTHON2_BATCH % (pixels.tobytes(), labels))
    images, got = load_cifar10(train=False, root=tmp_path)
    assert images[258, 5, 6].tolist() == [2, 2, 2]
    assert got[17] == 7


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_batch_is_refused_and_not_executed(tmp_path: Path):
    trap = tmp_path / "executed"
    evil = {**batch(0), b"extra": [Evil(trap)]}
    pickle.loads(pickle.dumps(Evil(tmp_path / "control")))  # noqa: S301
    assert (tmp_path / "control").exists(), "the trap works with an ordinary unpickler"
    write_batches(tmp_path, test_batch=evil)
    with pytest.raises(ValueError, match=r"test_batch is not a batch of CIFAR-10: it asks for posix\.mkdir"):
        load_cifar10(train=False, root=tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize("module", ["builtins", "numpy", "os", "numpy.f2py"])
@pytest.mark.parametrize("name", ["eval", "load", "system", "fromfile"])
def test_no_function_can_be_named(module: str, name: str, tmp_path: Path):
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(ValueError, match="which is not allowed"):
        load_cifar10(train=False, root=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(0, 9_999), r"data is uint8 \(9999, 3072\)"),
        ({**batch(0), b"data": np.zeros((10_000, 3072))}, "data is float64"),
        ({b"labels": []}, "data is NoneType"),
        ({**batch(0), b"labels": [10] * 10_000}, "labels must be"),
        ([1, 2], "data is NoneType"),
    ],
)
def test_wrong_batches_are_named(content: object, message: str, tmp_path: Path):
    write_batches(tmp_path, test_batch=content)
    with pytest.raises(ValueError, match=message):
        load_cifar10(train=False, root=tmp_path)


def test_truncated_or_missing_batches_are_named(tmp_path: Path):
    folder = write_batches(tmp_path)
    file = folder / "data_batch_4"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ValueError, match="data_batch_4 is not a batch"):
        load_cifar10(train=True, root=tmp_path)
    file.unlink()
    with pytest.raises(
        DataNotFoundError, match=r"(?s)data_batch_4.*cifar10\.zip.*tenfold data fetch cifar10"
    ):
        load_cifar10(train=True, root=tmp_path)


def test_nothing_there_lists_the_three_places(tmp_path: Path):
    with pytest.raises(DataNotFoundError, match=r"(?s)cifar-10-batches-py\n.*cifar10\n.*cifar10\.zip"):
        load_cifar10(train=True, root=tmp_path)


@pytest.mark.realdata
def test_the_real_portion():
    images, labels = load_cifar10(train=False)
    assert images.shape[1:] == (32, 32, 3)
    assert len(set(np.bincount(labels).tolist())) == 1, "balanced"
    assert 100 < images.mean() < 140
