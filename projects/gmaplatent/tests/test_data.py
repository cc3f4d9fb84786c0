"""Domains: what is loaded, that parts share nothing, and what is said when something is missing or wrong."""

import io
import zipfile

import numpy as np
import pytest
import torch

from gmaplatent.data import (
    DOMAINS,
    DomainData,
    LabelledImages,
    chinese_mnist,
    load_animals,
    load_chinese_mnist,
    load_cifar_animals,
    load_digits_half,
    load_domain,
    load_mnist,
)
from gmaplatent.data.images import require_images, resized
from tenfold.data import DataNotFoundError

# --- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
            TypeError,
            "images must be floating point in .* divide bytes",
        ),
        (torch.zeros(2, 4, 4), ValueError, r"images must have shape \(n, c, h, w\)"),
        (torch.zeros(0, 1, 4, 4), ValueError, "with n >= 1"),
        (
            torch.full((2, 1, 4, 4), 1.5),
            ValueError,
            r"images must be in \[0, 1\], got values from 1.5 to 1.5",
        ),
        (torch.full((2, 1, 4, 4), -0.1), ValueError, r"images must be in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), torch.nan), ValueError, r"images must be in \[0, 1\], got values from nan"),
    ],
)
def test_what_are_not_images_is_refused(images, error, message):
    with pytest.raises(error, match=message):
        require_images(images)


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (torch.zeros(3, dtype=torch.long), None, r"labels must have shape \(2,\), one an image, got \(3,\)"),
        (torch.tensor([0, -1]), None, "labels must be at least 0, got -1"),
        (torch.tensor([0, 1]), torch.tensor([1]), r"groups must have shape \(2,\)"),
    ],
)
def test_labels_must_fit(labels, groups, message):
    with pytest.raises(ValueError, match=message):
        LabelledImages(torch.zeros(2, 1, 4, 4), labels, groups)


def test_a_selection_keeps_images_labels_and_groups_together():
    images = torch.arange(6).float()[:, None, None, None] / 10
    data = LabelledImages(images, torch.arange(6), torch.arange(6) * 7)
    chosen = data[torch.tensor([4, 1])]
    assert chosen.images.flatten().tolist() == pytest.approx([0.4, 0.1])
    assert chosen.labels.tolist() == [4, 1]
    assert chosen.groups.tolist() == [28, 7]
    assert len(data[data.labels > 2]) == 3


@pytest.mark.parametrize(("old", "new"), [(64, 32), (8, 32), (20, 12)])
def test_resizing_keeps_the_range_and_the_mean(old, new):
    images = torch.rand(3, 1, old, old, dtype=torch.float64)
    found = resized(images, new)
    assert found.shape == (3, 1, new, new)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.allclose(found.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.02)
    assert torch.equal(resized(images, old), images)


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        resized(torch.zeros(1, 1, 4, 4), 0)


# --- digits ------------------------------------------------------------------------------------------------------------


def test_the_halves_of_the_digits_share_no_image_and_have_the_same_classes():
    halves = [load_digits_half(half) for half in ("a", "b")]
    assert sum(len(part) for parts in halves for part in parts) == 1797
    # Undo what makes domain B another domain; then an image in both would be found twice.
    undone = [1 - part.images.transpose(-1, -2) for part in halves[1]]
    rows = torch.cat([*(part.images for part in halves[0]), *undone]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 1797
    for parts in halves:
        for part in parts:
            assert part.labels.unique().tolist() == list(range(10))


def test_half_b_is_transposed_and_inverted():
    from tenfold.data import load_digits

    grey, classes = load_digits()
    test = load_digits_half("b").test
    first = torch.from_numpy(grey[1::2][1]) / 16
    assert torch.allclose(test.images[0, 0], 1 - first.T)
    assert int(test.labels[0]) == int(classes[1::2][1])
    assert not torch.allclose(test.images[0, 0], 1 - first)


def test_bad_halves_are_named():
    with pytest.raises(ValueError, match="half must be 'a' or 'b', got 'c'"):
        load_digits_half("c")


# --- MNIST -------------------------------------------------------------------------------------------------------------


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


def test_mnist_is_split_by_index_and_padded(tmp_path):
    (tmp_path / "mnist").mkdir()
    images = np.zeros((10_000, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(10_000) // 100, np.arange(10_000) % 100
    write_idx(tmp_path / "mnist" / "t10k-images-idx3-ubyte", images)
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", (np.arange(10_000) % 10).astype(np.uint8))
    parts = load_mnist(str(tmp_path))
    assert [len(part) for part in parts] == [7_200, 800, 2_000]
    bytes_ = torch.cat([part.images for part in parts])[:, 0, 2, 2:4].mul(255).round().long()
    assert torch.equal(100 * bytes_[:, 0] + bytes_[:, 1], torch.arange(10_000))
    assert parts.train.shape == (1, 32, 32)
    assert float(parts.test.images[:, :, :2].abs().max()) == 0
    with pytest.raises(DataNotFoundError, match="train-images-idx3-ubyte"):
        load_mnist(str(tmp_path), full=True)


def test_mnist_has_one_size(tmp_path):
    with pytest.raises(ValueError, match="size of MNIST must be 32"):
        load_domain("mnist", str(tmp_path), 64)


# --- Chinese MNIST -----------------------------------------------------------------------------------------------------


def jpeg(grey):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def character(code, dark=False):
    """A stroke whose height says the code; not at full brightness, as in the real set."""
    grey = np.zeros((64, 64))
    grey[4 * code : 4 * code + 4, 8:56] = 150
    return 255 - grey if dark else grey


@pytest.fixture
def few_writers(monkeypatch):
    monkeypatch.setattr(chinese_mnist, "N_WRITERS", 4)
    monkeypatch.setattr(chinese_mnist, "N_SAMPLES", 2)
    return {"train_writers": [1, 2], "val_writers": [3], "test_writers": [4]}


def names():
    return [(w, s, c) for w in (1, 2, 3, 4) for s in (1, 2) for c in range(1, 16)]


def write_zip(folder, skip=(), content=None):
    with zipfile.ZipFile(folder / "chinese_mnist.zip", "w") as archive:
        archive.writestr("chinese_mnist/chinese_mnist.csv", "suite_id,sample_id,code,value,character\n")
        for w, s, c in names():
            if (w, s, c) not in skip:
                payload = (content or {}).get((w, s, c)) or jpeg(character(c, dark=w == 2))
                archive.writestr(f"chinese_mnist/input_{w}_{s}_{c}.jpg", payload)


@pytest.mark.parametrize("unpacked", [False, True])
def test_chinese_mnist_is_split_by_writer_with_bright_ink(tmp_path, few_writers, unpacked):
    write_zip(tmp_path)
    if unpacked:
        with zipfile.ZipFile(tmp_path / "chinese_mnist.zip") as archive:
            archive.extractall(tmp_path)
        (tmp_path / "chinese_mnist.zip").unlink()
    parts = load_chinese_mnist(str(tmp_path), **few_writers)
    assert [len(part) for part in parts] == [40, 20, 20]
    assert [part.groups.unique().tolist() for part in parts] == [[1, 2], [3], [4]]
    for part in parts:
        assert part.labels.unique().tolist() == list(range(10))
        assert part.shape == (1, 32, 32)
        # The stroke of code c is at rows 2c, 2c + 1 of 32; writer 2's ink was dark.
        assert torch.equal(part.images[:, 0, :, 8:24].mean(-1).argmax(-1) // 2, part.labels + 1)
        assert torch.allclose(part.images.amax((1, 2, 3)), torch.ones(len(part)))


@pytest.mark.parametrize(
    ("writers", "message"),
    [
        ({"test_writers": [3, 4]}, r"writers \[3\] are in val_writers and in test_writers; split by writer"),
        ({"train_writers": [4]}, r"writers \[4\] are in train_writers and in test_writers"),
        ({"val_writers": [5]}, r"val_writers must be numbers from 1 to 4, got \[5\]"),
        ({"train_writers": []}, "train_writers must be numbers from 1 to 4, got none"),
    ],
)
def test_an_overlap_of_writers_is_an_error(tmp_path, few_writers, writers, message):
    write_zip(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_chinese_mnist(str(tmp_path), **{**few_writers, "val_writers": [3], **writers})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": [(4, 2, 7), (4, 2, 8)]}, r"lacks 2 of 20 images, the first is input_4_2_7\.jpg"),
        ({"content": {(1, 1, 1): b"no image"}}, r"input_1_1_1\.jpg is not a readable image"),
        ({"content": {(3, 1, 2): jpeg(np.zeros((28, 28)))}}, "28 × 28 pixels; expected 64 × 64"),
        ({"content": {(1, 2, 1): bytes((1 << 20) + 1)}}, r"input_1_2_1\.jpg unpacks to 1,048,577 bytes"),
    ],
)
def test_damage_is_named(tmp_path, few_writers, options, message):
    write_zip(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        load_chinese_mnist(str(tmp_path), **few_writers)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "chinese_mnist.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(ValueError, match=r"chinese_mnist\.zip is truncated or damaged"):
        load_chinese_mnist(str(tmp_path))


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("chinese_mnist", r"(?s)Chinese MNIST not found.*input_<writer>_<sample>_<code>\.jpg.*kaggle"),
        ("mnist", r"(?s)MNIST.* not found.*Expected below the data folder"),
        ("cifar_source", r"(?s)CIFAR-10.* not found"),
        ("animals_source", r"(?s)No images in .*animals/train/cat.*\{train,test\}.*AFHQ"),
    ],
)
def test_missing_folders_show_the_tree_and_the_source(tmp_path, domain, message):
    with pytest.raises(DataNotFoundError, match=message):
        load_domain(domain, str(tmp_path))


# --- colour ------------------------------------------------------------------------------------------------------------


def write_pictures(folder, classes, n, size=32, suffix=".png"):
    from PIL import Image

    for part in ("train", "test"):
        for k, name in enumerate(classes):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(n):
                pixels = np.full((size, size, 3), (20 * k, i, 0), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i:04d}{suffix}")


def test_the_colour_substitute_has_three_classes_and_partners(tmp_path):
    from tenfold.data import CIFAR10_CLASSES

    write_pictures(tmp_path / "cifar10", CIFAR10_CLASSES, 10)
    parts = load_cifar_animals("target", str(tmp_path))
    assert [len(part) for part in parts] == [27, 3, 30]
    # Red tells the class: dog is 5, frog 6, ship 8.
    for part in parts:
        red = (255 * part.images[:, 0, 0, 0] / 20).round().long()
        assert torch.equal(red, torch.tensor([5, 6, 8])[part.labels])
    assert load_cifar_animals("source", str(tmp_path), size=64).train.shape == (3, 64, 64)
    with pytest.raises(ValueError, match="side must be 'source' or 'target', got 'both'"):
        load_cifar_animals("both", str(tmp_path))


def test_animals_are_read_from_folders(tmp_path):
    write_pictures(tmp_path / "animals", ("lion", "tiger", "wolf"), 10, size=48)
    parts = load_animals("target", str(tmp_path), size=16)
    assert parts.train.shape == (3, 16, 16)
    assert [len(part) for part in parts] == [27, 3, 30]
    assert parts.test.labels.bincount().tolist() == [10, 10, 10]
    (tmp_path / "animals" / "test" / "wolf" / "0003.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0003\.png is not a readable image"):
        load_animals("target", str(tmp_path), size=16)
    with pytest.raises(DataNotFoundError, match="animals/train/cat"):
        load_animals("source", str(tmp_path))


# --- the data module ---------------------------------------------------------------------------------------------------


def test_batches_of_a_domain():
    data = DomainData("digits_b", batch_size=100)
    data.setup()
    batches = list(data.train_dataloader())
    assert [len(images) for images, _ in batches] == [100] * 5  # of 538: the odd rest is left out in training
    assert batches[0][0].shape[1:] == (1, 32, 32)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert sum(len(images) for images, _ in loader) == 180
    torch.manual_seed(0)
    one, two = (next(iter(data.train_dataloader()))[1] for _ in range(2))
    assert not torch.equal(one, two)


def test_a_batch_larger_than_the_part_is_the_part():
    data = DomainData("digits_a", size=8, batch_size=10_000)
    data.setup()
    assert [len(images) for images, _ in data.train_dataloader()] == [539]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "letters"}, "unknown domain 'letters'; known: digits_a, digits_b, mnist"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_bad_options_of_the_data_module(options, message):
    with pytest.raises(ValueError, match=message):
        DomainData(**options)


def test_loaders_need_setup():
    with pytest.raises(RuntimeError, match="call setup"):
        DomainData().train_dataloader()


def test_unknown_domains_are_named():
    with pytest.raises(ValueError, match="unknown domain 'letters'"):
        load_domain("letters")


# --- real data ---------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "sizes", "shape"),
    [
        ("mnist", [7_200, 800, 2_000], (1, 32, 32)),
        ("chinese_mnist", [7_200, 800, 2_000], (1, 32, 32)),
        ("cifar_source", [4_050, 450, 900], (3, 32, 32)),
        ("cifar_target", [4_050, 450, 900], (3, 32, 32)),
    ],
)
def test_the_real_domains(domain, sizes, shape):
    assert domain in DOMAINS
    parts = load_domain(domain)
    assert [len(part) for part in parts] == sizes
    for part in parts:
        assert part.shape == shape
        counts = part.labels.bincount()
        assert counts.min() > 0.6 * counts.max()
    if domain == "chinese_mnist":
        assert len(torch.cat([part.groups.unique() for part in parts]).unique()) == 100
        assert float(parts.train.images.median()) == 0  # the paper is dark, the ink bright
