"""Degradations and patches are pure functions of their seeds; the tasks refuse to train on what they test."""

import numpy as np
import pytest
import torch
from PIL import Image

from sa_conv.data import (
    DenoisingData,
    DerainingData,
    PairedImages,
    PatchSampler,
    RandomPatches,
    SuperResolutionData,
    add_noise,
    add_rain,
    imresize,
)
from tenfold.restoration import ImagePair


def picture(height=40, width=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_noise_has_its_sigma_and_its_seed():
    flat = torch.full((3, 200, 200), 128, dtype=torch.uint8)
    noisy = add_noise(flat, 20, seed=3)
    assert noisy.dtype == torch.uint8
    assert (noisy.float() - 128).std().item() == pytest.approx(20, rel=0.02)
    assert torch.equal(noisy, add_noise(flat, 20, seed=3))
    assert not torch.equal(noisy, add_noise(flat, 20, seed=4))
    correlation = torch.corrcoef(noisy.float().flatten(1))
    assert correlation[0, 1].abs() < 0.02, "channels are independent"


def test_noise_is_clipped_only_when_quantised():
    black = torch.zeros(1, 64, 64)
    assert add_noise(black, 50).min() == 0
    raw = add_noise(black, 50, quantize=False)
    assert raw.min() < -50
    assert not torch.equal(raw, raw.round())


def test_rain_brightens_and_its_direction_is_drawn_per_image():
    image = torch.full((3, 64, 64), 60, dtype=torch.uint8)
    rainy = [add_rain(image, seed) for seed in range(4)]
    assert all((x >= image).all() and (x > image).any() for x in rainy)
    assert torch.equal(rainy[0][0], rainy[0][2]), "rain is white"

    def lean(x):
        rain = x[0].float() - 60
        return (rain[6:, 4:] * rain[:-6, :-4]).mean() - (rain[6:, :-4] * rain[:-6, 4:]).mean()

    assert lean(add_rain(image, 5, angle=0.6)) > 0 > lean(add_rain(image, 5, angle=-0.6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add_noise(picture(), -1), "sigma must be at least 0 and finite, got -1"),
        (lambda: add_noise(picture(), float("nan")), "sigma must be at least 0"),
        (lambda: add_noise(picture()[0], 5), r"img must have shape \(c, h, w\), got \(40, 48\)"),
        (lambda: add_noise(picture(), 5, quantize=False), "quantize=False needs a floating-point image"),
        (lambda: add_rain(picture().float(), 0), "img must be a uint8 tensor"),
        (lambda: PairedImages([]), "items is empty"),
        (lambda: PairedImages([picture()], scale=0), "scale must be at least 1, got 0"),
        (lambda: PairedImages([picture()], channels=1)[0], r"items\[0\] has 3 channels, channels=1"),
        (lambda: RandomPatches(PairedImages([picture()], scale=2), 7), "patch_size must be a positive multiple of scale=2"),
        (lambda: RandomPatches(PairedImages([picture()]), 8, augment=("flip",)), "augment: 'flip' is unknown"),
        (lambda: RandomPatches(PairedImages([picture()]), 48)[0], "patch_size is 48, but an image has only 40×48"),
        (lambda: PatchSampler(0, lambda: 0), "length must be at least 1, got 0"),
        (lambda: DenoisingData(sigma=0), "sigma must lie between 0 and 255, got 0"),
        (lambda: DenoisingData(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: SuperResolutionData(scale=1), "scale must be at least 2 for super-resolution, got 1"),
        (lambda: SuperResolutionData(patch_size=97), "patch_size must be a positive multiple of scale=2, got 97"),
        (lambda: DerainingData("builtin", ("rain100l",)), "train on Rain100L to test on it"),
        (lambda: DenoisingData("imagenet").setup(), "source must be one of bsds500, div2k, t91, builtin, got 'imagenet'"),
        (lambda: DenoisingData("builtin", n_val=7, test_sets=()).setup(), "n_val is 7, but source 'builtin' has only 7"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_patch_is_a_pure_function_of_its_draw_number():
    pairs = PairedImages([picture(seed=s) for s in range(3)], scale=2)
    patches = RandomPatches(pairs, 16, augment=("hflip", "vflip", "transpose"), seed=7)
    again = RandomPatches(
        PairedImages(pairs.items, scale=2), 16, augment=("hflip", "vflip", "transpose"), seed=7
    )
    order = [5, 1, 900, 5]
    assert all(torch.equal(a, b) for i in order for a, b in zip(patches[i], again[i]))
    draws = torch.stack([patches[i][1] for i in range(30)])
    assert len(draws.flatten(1).unique(dim=0)) > 25, "draws differ"
    other = RandomPatches(pairs, 16, seed=8)
    assert not torch.equal(patches[0][1], other[0][1])


def test_degraded_and_clean_patches_show_the_same_place():
    """Also after flips and transposition: shrinking a clean patch gives the low-resolution one, borders aside."""
    pairs = PairedImages([picture(64, 64)], scale=2)
    patches = RandomPatches(pairs, 32, augment=("hflip", "vflip", "transpose"), seed=0)
    for draw in range(8):
        low, clean = patches[draw]
        made = imresize(clean.to(torch.uint8), 0.5).float()
        assert (made - low)[:, 4:-4, 4:-4].abs().max() <= 1


def test_fresh_noise_differs_between_draws_and_fixed_noise_does_not():
    fresh = DenoisingData("builtin", sigma=25, test_sets=(), patch_size=300, n_val=1)
    fixed = DenoisingData("builtin", sigma=25, test_sets=(), patch_size=300, n_val=1, fixed_noise=True)
    for data in (fresh, fixed):
        data.setup()
        noisy, clean = data.train[3]
        middle = (clean > 90) & (clean < 165)  # where nothing is clipped
        assert (noisy - clean)[middle].std().item() == pytest.approx(25, rel=0.05)
    assert torch.equal(fresh.train.pairs[0][0], fresh.train.pairs[0][1]), "noise comes with the patch"
    assert not torch.equal(fixed.train.pairs[0][0], fixed.train.pairs[0][1]), "noise is stored with the image"
    noisy, clean = fresh.val[0]
    assert not torch.equal(noisy, clean)
    assert torch.equal(noisy, fixed.val[0][0]), "validation noise does not depend on the training protocol"


def test_grey_images_get_grey_noise(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (30, 30), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    data = DenoisingData("builtin", test_sets=())
    images = PairedImages([ImagePair("grey", tmp_path / "grey.png")], data.degrade_image("test"))
    noisy, _ = images[0]
    assert torch.equal(noisy[0], noisy[2])


def test_an_epoch_continues_where_the_last_one_ended():
    epoch = 0
    sampler = PatchSampler(4, lambda: epoch)
    assert list(sampler) == [0, 1, 2, 3]
    epoch = 3
    assert list(sampler) == [12, 13, 14, 15]
    assert len(sampler) == 4


@pytest.mark.parametrize("make", [DenoisingData, SuperResolutionData, DerainingData])
def test_every_task_gives_batches_without_any_download(make):
    data = make("builtin", test_sets=("builtin",), patch_size=32, batch_size=2, epoch_length=3, n_val=1)
    data.setup()
    batches = list(data.train_dataloader())
    scale = data.scale
    assert [tuple(x.shape) for x in batches[0]] == [(2, 3, 32 // scale, 32 // scale), (2, 3, 32, 32)]
    assert len(batches) == 3
    assert not torch.equal(batches[0][1], batches[1][1])
    (test,) = data.test_dataloader()
    degraded, clean = next(iter(test))
    assert clean.shape[-1] == scale * degraded.shape[-1]
    assert clean.max() > 1.5, "images are in 0…255"
    assert degraded.dtype == torch.float32


@pytest.mark.realdata
def test_real_sets_pair_up_and_do_not_overlap():
    data = DenoisingData(test_sets=("Set5", "B100", "BSD68"))
    data.setup()
    assert (len(data.train.pairs), len(data.val), len(data.tests["B100"])) == (389, 10, 100)
    rain = DerainingData(partial=True)
    rain.setup()
    assert (len(rain.train.pairs), len(rain.val), len(rain.tests["rain100l"])) == (26, 2, 14)
    rainy, clean = rain.train[0]
    assert (rainy - clean).abs().mean() > 1


@pytest.mark.realdata
def test_training_on_a_test_image_is_refused(monkeypatch):
    import tenfold.restoration

    real = tenfold.restoration.bsds500
    monkeypatch.setattr(tenfold.restoration, "bsds500", lambda *a, **k: real(("train",), leave_out=()))
    with pytest.raises(ValueError, match=r"302003\.jpg is .*img_005"):
        SuperResolutionData(test_sets=("Set5",)).setup()
