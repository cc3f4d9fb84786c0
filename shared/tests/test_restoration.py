"""Data sets of restoration: found in every layout users have, complete, and never trained on what is tested."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.data import DataNotFoundError
from tenfold.imaging import crop_to_multiple, imresize
from tenfold.restoration import (
    ImagePair,
    benchmark,
    bsds500,
    denoising_benchmark,
    div2k,
    find_overlap,
    rain100l,
    read_image,
    read_pair,
    require_disjoint,
    t91,
)


def smooth(height, width, seed):
    """A photograph-like random image: fingerprints of white noise would be fragile."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def small_bsds(monkeypatch):
    monkeypatch.setattr("tenfold.restoration.sets.BSDS500_COUNTS", {"train": 2, "val": 1, "test": 1})

    def make(root, layout):
        for seed, (split, name) in enumerate(
            [("train", "11"), ("train", "302003"), ("val", "22"), ("test", "33")]
        ):
            write(root / layout / split / f"{name}.jpg", smooth(321, 481, seed))

    return make


@pytest.mark.parametrize(
    "layout", ["bsds500", "bsds500/images", "BSR/BSDS500/data/images", "BSDS500/data/images"]
)
def test_bsds_is_found_in_every_layout(tmp_path, small_bsds, layout):
    small_bsds(tmp_path, layout)
    assert [path.stem for path in bsds500(root=tmp_path)] == ["11", "33"], "without Set5's woman"
    assert [path.stem for path in bsds500(("train",), tmp_path, leave_out=())] == ["11", "302003"]
    assert [pair.name for pair in benchmark("BSD100", 2, tmp_path, partial=True)] == ["22"], (
        "B100 is BSDS val"
    )


def test_bsds_counts_and_sizes_are_checked(tmp_path, small_bsds):
    with pytest.raises(DataNotFoundError, match=r"BSDS500 not found[\s\S]*bsds500/train[\s\S]*berkeley"):
        bsds500(root=tmp_path)
    small_bsds(tmp_path, "bsds500")
    write(tmp_path / "bsds500" / "test" / "33.jpg", smooth(320, 480, 0))
    with pytest.raises(ValueError, match=r"33\.jpg has 480×320 pixels, expected 481×321 or 321×481"):
        bsds500(root=tmp_path)
    (tmp_path / "bsds500" / "train" / "11.jpg").unlink()
    with pytest.raises(ValueError, match="BSDS500 train has 1 images here, the complete set has 2"):
        bsds500(root=tmp_path)
    with pytest.raises(ValueError, match="splits: 'validation' is not a split"):
        bsds500(("validation",), tmp_path)


@pytest.mark.parametrize("layout", ["edsr", "compact"])
def test_benchmarks_are_found_in_both_packagings(tmp_path, layout):
    for i in range(5):
        image = smooth(24, 30, i)
        low = imresize(torch.from_numpy(image.copy()).permute(2, 0, 1), 0.5).permute(1, 2, 0).numpy()
        if layout == "edsr":
            write(tmp_path / f"benchmark/Set5/HR/img{i}.png", image)
            write(tmp_path / f"benchmark/Set5/LR_bicubic/X2/img{i}x2.png", low)
        else:
            write(tmp_path / f"sr/Set5/x2/HR/img{i}.png", image)
            write(tmp_path / f"sr/Set5/x2/LR/img{i}.png", low)
    pairs = benchmark("Set5", 2, tmp_path)
    degraded, clean = read_pair(pairs[3], 2)
    assert degraded.shape == (3, 12, 15)
    made, same = read_pair(ImagePair("made", pairs[3].clean), 2)
    assert torch.equal(made, degraded), "a missing LR image is made as the distributed ones were"
    assert torch.equal(same, clean)
    assert all(pair.degraded is None for pair in benchmark("Set5", 1, tmp_path)), "clean images for denoising"
    pairs[4].degraded.unlink()
    with pytest.raises(DataNotFoundError, match=r"low-resolution partner of .*img4\.png not found"):
        benchmark("Set5", 2, tmp_path)


def test_incomplete_sets_need_consent(tmp_path):
    write(tmp_path / "sr/Urban100/x4/HR/img_001.png", smooth(16, 16, 0))
    with pytest.raises(
        ValueError, match="Urban100 has 1 images here, the complete set has 100; pass partial=True"
    ):
        benchmark("Urban100", 4, tmp_path)
    assert len(benchmark("Urban100", 4, tmp_path, partial=True)) == 1
    with pytest.raises(DataNotFoundError, match=r"Set14 not found[\s\S]*benchmark/Set14/HR"):
        benchmark("Set14", 2, tmp_path)
    with pytest.raises(ValueError, match="name: 'Set7' is no benchmark"):
        benchmark("Set7", 2, tmp_path)


def test_rain100l_pairs_belong_together(tmp_path):
    for i in (2, 10, 1):
        write(tmp_path / f"rain100l/train/norain/norain-{i}.png", smooth(20, 20, i))
        write(tmp_path / f"rain100l/train/rain/norain-{i}.png", smooth(20, 20, i + 50))
    pairs = rain100l("train", tmp_path, partial=True)
    assert [pair.name for pair in pairs] == ["norain-1", "norain-2", "norain-10"], "natural order"
    write(tmp_path / "rain100l/train/rain/norain-2.png", smooth(20, 18, 0))
    with pytest.raises(ValueError, match=r"norain-2\.png has 20×18 pixels, .* has 20×20; at scale 1"):
        read_pair(pairs[1])
    (tmp_path / "rain100l/train/rain/norain-10.png").unlink()
    with pytest.raises(DataNotFoundError, match=r"rainy partner of .*norain-10\.png not found"):
        rain100l("train", tmp_path, partial=True)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        rain100l("val", tmp_path)


@pytest.mark.parametrize("layout", ["DIV2K/HR", "DIV2K/DIV2K_train_HR", "DIV2K_train_HR"])
def test_div2k_is_found_in_every_layout(tmp_path, layout):
    write(tmp_path / layout / "0007.png", smooth(20, 24, 0))
    (pair,) = div2k(7, 7, 2, tmp_path)
    assert pair.degraded is None
    low = layout.replace("HR", "LR_bicubic") + "/X2/0007x2.png"
    write(tmp_path / low, smooth(10, 12, 1))
    assert div2k(7, 7, 2, tmp_path)[0].degraded == tmp_path / low
    with pytest.raises(DataNotFoundError, match=r"0008\.png"):
        div2k(7, 8, 2, tmp_path)
    with pytest.raises(ValueError, match="first and last must satisfy"):
        div2k(0, 5, root=tmp_path)


def test_grey_becomes_rgb_and_back(tmp_path):
    grey = smooth(9, 12, 3)[..., 0]
    path = write(tmp_path / "grey.png", grey)
    image = read_image(path)
    assert image.shape == (3, 9, 12)
    assert all(torch.equal(channel, torch.from_numpy(grey.copy())) for channel in image)
    assert torch.equal(read_image(path, channels=1)[0], image[0])
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 4"):
        read_image(path, channels=4)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"x\.png has an alpha channel; flatten it first"),
        (np.zeros((4, 4), np.uint16), r"x\.png has more than 8 bits per channel"),
        (np.zeros((4, 4), bool), r"x\.png has 1 bit per pixel"),
    ],
)
def test_images_that_would_be_misread_are_refused(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        read_image(write(tmp_path / "x.png", array))


def test_damaged_files_are_named(tmp_path):
    path = write(tmp_path / "x.png", smooth(64, 64, 0))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"x\.png is damaged"):
        read_image(path)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"x\.png is not an image"):
        read_image(path)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_pairs_need_matching_sizes(tmp_path):
    pair = ImagePair(
        "a", write(tmp_path / "hr.png", smooth(21, 25, 0)), write(tmp_path / "lr.png", smooth(10, 12, 1))
    )
    _, clean = read_pair(pair, 2)
    assert clean.shape[1:] == (20, 24), "cropped to a multiple of the scale"
    with pytest.raises(ValueError, match=r"lr\.png has 10×12 pixels, .*hr\.png has 21×25; at scale 3"):
        read_pair(pair, 3)
    with pytest.raises(ValueError, match="pair 'a' has no degraded image"):
        read_pair(ImagePair("a", pair.clean))


def test_overlap_is_found_by_content(tmp_path):
    train = [write(tmp_path / f"train/{i}.jpg", smooth(321, 481, i)) for i in range(4)]
    cropped = crop_to_multiple(torch.from_numpy(smooth(321, 481, 2).copy()).permute(2, 0, 1), 4)
    test = [
        write(tmp_path / "test/renamed.png", cropped.permute(1, 2, 0).numpy()),
        write(tmp_path / "test/other.png", smooth(321, 481, 99)),
    ]
    assert find_overlap(train, test) == [(train[2], test[0])]
    require_disjoint(train[:2], test)
    with pytest.raises(
        ValueError, match=r"1 training images are also tested on[\s\S]*2\.jpg is .*renamed\.png"
    ):
        require_disjoint(train, test)


@pytest.mark.realdata
def test_real_sets_are_complete_and_disjoint():
    training = bsds500()
    assert len(training) == 399
    assert [len(benchmark(name, 2)) for name in ("Set5", "Set14", "BSD100")] == [5, 14, 100]
    assert [len(denoising_benchmark(name)) for name in ("BSD68", "Set12")] == [68, 12]
    assert len(t91()) == 91
    tests = [pair.clean for name in ("Set5", "Set14", "B100") for pair in benchmark(name, 2)]
    require_disjoint(training, [*tests, *denoising_benchmark("BSD68"), *denoising_benchmark("Set12")])


@pytest.mark.realdata
def test_training_on_val_while_testing_on_bsd100_is_an_error():
    val = bsds500(("val",))
    with pytest.raises(ValueError, match="BSD100 is the val split of BSDS500"):
        require_disjoint(val[:10], [pair.clean for pair in benchmark("B100", 2)])
    assert len({theirs for _, theirs in find_overlap(val, denoising_benchmark("BSD68"))}) == 68
    woman = bsds500(("train",), leave_out=())
    assert [ours.stem for ours, _ in find_overlap(woman, [p.clean for p in benchmark("Set5", 2)])] == [
        "302003"
    ]


@pytest.mark.realdata
def test_real_low_resolution_files_are_the_made_ones():
    for pair in benchmark("Set5", 2):
        degraded, _ = read_pair(pair, 2)
        made, _ = read_pair(ImagePair(pair.name, pair.clean), 2)
        assert torch.equal(degraded, made)
    assert any(pair.name == "img_002" for pair in benchmark("Set14", 2))
    assert isinstance(rain100l("test", partial=True)[0].degraded, Path)
