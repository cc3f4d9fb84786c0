"""Data modules: ranges, splits without overlap, shapes for both kinds of networks, and clear refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor

import metakan.data
from metakan.augment import AUGMENTATIONS
from metakan.data import CIFAR10Data, CollocationSteps, DigitsData, FunctionData, IdxImageData
from metakan.functions import feynman
from metakan.images import STATISTICS, load_digits, normalise_images, split_indices


@pytest.fixture
def small_idx(monkeypatch: pytest.MonkeyPatch) -> None:
    """120 + 30 images whose pixel (0, 0) is their number, in place of the files."""

    def load(name: str, train: bool) -> tuple[Tensor, Tensor]:
        n, first = (120, 0) if train else (30, 120)
        images = torch.randint(
            0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(n)
        )
        images[:, 0, 0, 0] = torch.arange(first, first + n)
        return images, torch.arange(first, first + n) % 10

    monkeypatch.setattr(metakan.data, "load_idx", load)


def numbers(batch: Any) -> set[int]:
    """Which images of `small_idx` a batch holds, read back from pixel (0, 0)."""
    return set(((batch[0].flatten(1)[:, 0] + 1) * 127.5).round().int().tolist())


def seen(loader: Any) -> set[int]:
    return set().union(*(numbers(batch) for batch in loader))


def test_images_fill_the_range_of_the_grid_by_default() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert normalise_images(images, "mnist").flatten().tolist() == [-1, 1]
    digit = torch.tensor([0, 16], dtype=torch.uint8).view(2, 1, 1, 1)
    assert normalise_images(digit, "digits").flatten().tolist() == [-1, 1]


@pytest.mark.parametrize("dataset", STATISTICS)
def test_the_papers_normalisation(dataset: str) -> None:
    mean, std = STATISTICS[dataset]
    white = torch.full((1, len(mean), 1, 1), 255, dtype=torch.uint8)
    expected = [(1 - m) / s for m, s in zip(mean, std)]
    assert normalise_images(white, dataset, "paper").flatten().tolist() == pytest.approx(expected)


def test_white_mnist_lies_outside_the_splines_with_the_papers_normalisation() -> None:
    """P12: the reason for our default."""
    white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    assert normalise_images(white, "mnist", "paper").item() > 2.8


def test_unknown_normalisation_is_an_error() -> None:
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="'grid' or 'paper', got 'unit'"):
        normalise_images(images, "mnist", "unit")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not for 'digits'"):
        normalise_images(images, "digits", "paper")


def test_splits_are_disjoint_and_depend_on_the_seed_alone() -> None:
    fit, held_out = split_indices(100, 0.2, 3)
    assert len(held_out) == 20
    assert sorted([*fit.tolist(), *held_out.tolist()]) == list(range(100))
    torch.manual_seed(0)
    assert torch.equal(split_indices(100, 0.2, 3)[1], held_out)
    assert not torch.equal(split_indices(100, 0.2, 4)[1], held_out)
    with pytest.raises(ValueError, match="at least 0 and below 1, got 1"):
        split_indices(10, 1.0, 0)


def test_digits_are_the_real_ones_and_split_into_three() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.max() == 16
    data = DigitsData(batch_size=64, val_fraction=0.1)
    data.setup()
    sizes = {part: len(data.parts[part]) for part in ("train", "val", "test")}
    assert sizes == {"train": 1132, "val": 126, "test": 539}
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (64, 64)
    assert x.min() == -1
    assert x.max() == 1
    assert y.dtype == torch.int64
    assert len(labels) == sum(sizes.values())


@pytest.mark.usefixtures("small_idx")
def test_parts_do_not_overlap_and_cover_everything() -> None:
    data = IdxImageData("mnist", batch_size=7, val_fraction=0.25)
    data.setup()
    train, val, test = (
        seen(data.train_dataloader()),
        seen(data.val_dataloader()),
        seen(data.test_dataloader()),
    )
    assert (len(train), len(val), len(test)) == (90, 30, 30)
    assert train | val == set(range(120))
    assert test == set(range(120, 150))


@pytest.mark.usefixtures("small_idx")
def test_without_a_validation_share_the_test_images_validate() -> None:
    data = IdxImageData("mnist", val_fraction=0.0)
    data.setup()
    assert seen(data.val_dataloader()) == set(range(120, 150))


@pytest.mark.usefixtures("small_idx")
def test_flat_and_square_batches_hold_the_same_pixels() -> None:
    flat, square = IdxImageData("mnist", flatten=True), IdxImageData("mnist")
    for data in (flat, square):
        data.setup()
    a, b = next(iter(flat.test_dataloader()))[0], next(iter(square.test_dataloader()))[0]
    assert a.shape == (30, 784)
    assert b.shape == (30, 1, 28, 28)
    assert torch.equal(a, b.flatten(1))
    single = square.parts["test"][4]
    assert torch.equal(single[0], b[4])


@pytest.mark.parametrize(("name", "channels"), [("mnist", 1), ("cifar10", 3)])
def test_augmentation_changes_images_but_not_their_type_or_size(name: str, channels: int) -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (channels, 28, 28), dtype=torch.uint8)
    augmented = [AUGMENTATIONS[name]()(image) for _ in range(4)]
    assert all(a.shape == image.shape and a.dtype == torch.uint8 for a in augmented)
    assert any(not torch.equal(a, image) for a in augmented)


@pytest.mark.usefixtures("small_idx")
def test_only_training_images_are_augmented() -> None:
    data = IdxImageData("mnist", augment="mnist", val_fraction=0.25)
    data.setup()
    assert data.parts["train"].augment is not None
    assert data.parts["val"].augment is None
    assert data.parts["test"].augment is None


def test_cifar_is_resized_for_fully_connected_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.full((20, 3, 32, 32), 200, dtype=torch.uint8)
    monkeypatch.setattr(metakan.data, "load_cifar10", lambda train: (images, torch.zeros(20).long()))
    data = CIFAR10Data(batch_size=4, size=28, flatten=True)
    data.setup()
    x, _ = next(iter(data.train_dataloader()))
    assert x.shape == (4, 3 * 28 * 28)
    torch.testing.assert_close(x, torch.full_like(x, 200 / 127.5 - 1))


def test_function_points_fill_the_cube_and_keep_their_values() -> None:
    data = FunctionData("I.6.20b", n_train=300, n_test=50, seed=1)
    data.setup()
    (x, y), (x_test, _) = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert x.shape == (300, 3)
    assert y.shape == (300, 1)
    assert x_test.shape == (50, 3)
    assert x.abs().max() <= 1
    raw = FunctionData("I.6.20b", n_train=300, n_test=50, seed=1, normalise=False)
    raw.setup()
    x_raw, y_raw = raw.parts["train"].tensors
    torch.testing.assert_close(feynman("I.6.20b")(x_raw)[:, None], y_raw)
    assert x_raw.abs().max() > 1


def test_collocation_steps_count() -> None:
    assert [int(batch[0]) for batch in CollocationSteps(3).train_dataloader()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IdxImageData("emnist"), "name must be mnist.*'emnist'"),  # type: ignore[arg-type]
        (lambda: IdxImageData(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: IdxImageData(val_fraction=1.5), "below 1, got 1.5"),
        (lambda: IdxImageData(augment="heavy"), "augment must be one of mnist, cifar10 or null, got 'heavy'"),
        (lambda: IdxImageData(normalisation="unit"), "'grid' or 'paper', got 'unit'"),  # type: ignore[arg-type]
        (lambda: CIFAR10Data(size=0), "size must be at least 1, got 0"),
        (lambda: DigitsData(test_fraction=0.0), "test_fraction must be above 0"),
        (lambda: FunctionData(n_train=0), "at least 1, got 0"),
        (lambda: FunctionData(n_test=0), "n_test must be at least 1, got 0"),
        (lambda: CollocationSteps(0), "steps must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_errors(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.realdata
def test_real_mnist_arrives_complete() -> None:
    data = IdxImageData("mnist", batch_size=100, flatten=True)
    data.setup()
    assert {part: len(d) for part, d in data.parts.items()} == {"train": 55_000, "val": 5_000, "test": 10_000}
    x, _ = next(iter(data.test_dataloader()))
    assert (x.min(), x.max()) == (-1, 1)


def test_missing_files_are_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    for data in (IdxImageData("fashion_mnist"), CIFAR10Data()):
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            data.setup()
