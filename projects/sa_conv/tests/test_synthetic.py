"""The generators have the statistics, and the symmetry, that they are named after."""

import math

import pytest
import torch

from sa_conv.synthetic import (
    AnisotropicTextures,
    StretchedMotifs,
    builtin_images,
    rain_layer,
    texture_spectrum,
)


@pytest.mark.parametrize("dataset", [AnisotropicTextures, StretchedMotifs, rain_layer])
def test_the_seed_decides_everything(dataset):
    def make(seed):
        if dataset is rain_layer:
            return rain_layer(32, 40, angle=0.2, seed=seed)
        return dataset(3, 24, mode="sample", seed=seed).images

    assert torch.equal(make(3), make(3))
    assert not torch.equal(make(3), make(4))


def test_textures_have_unit_variance_and_the_stated_size():
    textures = AnisotropicTextures(400, 32, 2.5, "sample", seed=1)
    assert len(textures) == 400
    assert textures[7].shape == (1, 32, 32)
    assert textures.images.dtype == torch.float32
    assert textures.images.var().item() == pytest.approx(1, abs=0.05)


def neighbour_correlation(images, dy, dx):
    a, b = images[..., : images.shape[-2] - dy, : images.shape[-1] - dx], images[..., dy:, dx:]
    return (a * b).mean().item()


@pytest.mark.parametrize(
    ("mode", "angle", "elongated"),
    [("dataset", 0.0, "y"), ("dataset", math.pi / 2, "x"), ("iso", 0.0, ""), ("sample", 0.0, "")],
)
def test_correlation_is_an_ellipse_along_the_axis(mode, angle, elongated):
    """ρ multiplies the frequency along the axis: low-pass there, so the texture is smooth along it."""
    images = AnisotropicTextures(500, 32, 2.5, mode, angle=angle, seed=2).images
    along_x, along_y = neighbour_correlation(images, 0, 4), neighbour_correlation(images, 4, 0)
    if elongated == "y":
        assert along_x > along_y + 0.2
    elif elongated == "x":
        assert along_y > along_x + 0.2
    else:
        assert along_x == pytest.approx(along_y, abs=0.05)


def test_sample_mode_is_isotropic_only_on_average():
    images = AnisotropicTextures(60, 32, 2.5, "sample", seed=3).images
    differences = [neighbour_correlation(x, 0, 4) - neighbour_correlation(x, 4, 0) for x in images]
    iso = AnisotropicTextures(60, 32, 2.5, "iso", seed=3).images
    reference = [neighbour_correlation(x, 0, 4) - neighbour_correlation(x, 4, 0) for x in iso]
    assert torch.tensor(differences).std() > 1.5 * torch.tensor(reference).std()


def test_spectrum_turns_with_the_angle():
    """A quarter turn of the axis is a quarter turn of the spectrum, and no other angle is."""
    quarter = texture_spectrum(16, 2.5, torch.tensor([0.0, math.pi / 2], dtype=torch.float64))
    turned = quarter[0].T
    assert torch.allclose(quarter[1], turned, atol=1e-12)
    assert not torch.allclose(quarter[0], turned, atol=1e-2)


def test_motifs_stay_in_range_and_keep_their_parameters():
    motifs = StretchedMotifs(20, 32, stretch=0.7, seed=0)
    assert motifs.images.shape == (20, 1, 32, 32)
    assert motifs.images.min() >= 0
    assert motifs.images.max() <= 1
    assert motifs.images.std((1, 2, 3)).min() > 0.02, "every image shows something"
    assert motifs.log_ratios.abs().max() <= 0.7
    assert StretchedMotifs(3, 16, "iso").log_ratios.abs().max() == 0
    assert torch.allclose(
        StretchedMotifs(3, 16, "dataset", stretch=0.5).log_ratios, torch.tensor(0.5).double()
    )


def test_builtin_images_are_rgb_bytes():
    images = builtin_images(("astronaut", "text"))
    assert images["astronaut"].shape == (3, 512, 512)
    assert images["astronaut"].dtype == torch.uint8
    assert torch.equal(images["text"][0], images["text"][2]), "grey is replicated"
    with pytest.raises(ValueError, match="names: 'lena' is not shipped"):
        builtin_images(("lena",))


def test_rain_falls_in_its_direction():
    def elongation(angle):
        rain = rain_layer(96, 96, angle=angle, density=0.004, seed=5)
        return neighbour_correlation(rain, 6, 0) - neighbour_correlation(rain, 0, 6)

    assert elongation(0.0) > 0, "vertical streaks"
    assert elongation(math.pi / 2) < 0, "horizontal streaks"
    rain = rain_layer(64, 64, angle=0.3, intensity=100, seed=1)
    assert rain.min() >= 0
    assert rain.max() > 30


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnisotropicTextures(0), "n must be a positive integer, got 0"),
        (lambda: AnisotropicTextures(2, size=2.5), "size must be a positive integer, got 2.5"),
        (lambda: AnisotropicTextures(2, ratio=0.5), "ratio must be finite and at least 1, got 0.5"),
        (
            lambda: AnisotropicTextures(2, mode="none"),
            "mode must be 'iso', 'dataset' or 'sample', got 'none'",
        ),
        (lambda: StretchedMotifs(2, stretch=-1), "stretch must be finite and at least 0, got -1"),
        (lambda: StretchedMotifs(2, motifs=0), "motifs must be a positive integer, got 0"),
        (lambda: rain_layer(8, 8, angle=0, density=2), "density must lie between 0 and 1, got 2"),
        (lambda: rain_layer(8, 8, angle=0, length=0), "length must be positive and finite, got 0"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
