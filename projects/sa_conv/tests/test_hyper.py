"""The hypernetworks: exact size, zero start, what they are blind to, and what they refuse."""

import warnings

import pytest
import torch
from torch import nn

from sa_conv.hyper import FeatureHyperNet, ImageHyperNet


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def with_open_head(hyper: nn.Module) -> nn.Module:
    nn.init.normal_(hyper.mlp[-1].weight, std=0.1)
    return hyper.double().eval()


def test_parameters_are_those_of_the_paper():
    assert parameters(ImageHyperNet()) == 33_523
    assert parameters(FeatureHyperNet(35)) == 29_107


@pytest.mark.parametrize(("hyper", "channels"), [(ImageHyperNet(), 3), (FeatureHyperNet(35), 35)])
def test_starts_at_zero_and_returns_there(hyper, channels):
    x = 255 * torch.rand(2, channels, 32, 30)
    assert torch.equal(hyper(x), torch.zeros(2, 3))
    nn.init.ones_(hyper.mlp[-1].weight)
    assert hyper(x).abs().max() > 0
    hyper.zero_head()
    assert torch.equal(hyper(x), torch.zeros(2, 3))


def test_answer_is_the_inner_product_with_the_image():
    """w1 written out with loops-free float64 algebra, apart from the module's own path."""
    hyper = with_open_head(ImageHyperNet())
    x = torch.rand(2, 3, 41, 33, dtype=torch.float64) * 255
    gray = torch.einsum("bchw,c->bhw", x, torch.tensor([0.2989, 0.5870, 0.1140], dtype=torch.float64))
    features = hyper.features(gray[:, None])
    small = torch.nn.functional.adaptive_avg_pool2d(gray[:, None], features.shape[-2:])[:, 0]
    w1 = torch.einsum("bcxy,bxy->bc", features, small) / small[0].numel()
    torch.testing.assert_close(hyper(x), hyper.mlp(w1), rtol=1e-6, atol=0)  # luminance weights are float32


def test_gray_image_is_its_own_luminance():
    hyper = with_open_head(ImageHyperNet())
    gray = torch.rand(1, 1, 32, 32, dtype=torch.float64) * 255
    colour = gray.expand(-1, 3, -1, -1) / sum((0.2989, 0.5870, 0.1140))
    torch.testing.assert_close(hyper(gray), hyper(colour), rtol=1e-5, atol=1e-7)


def test_normalised_input_divides_by_the_range():
    hyper = with_open_head(ImageHyperNet())
    scaled = ImageHyperNet(normalize_input=True)
    scaled.load_state_dict(hyper.state_dict())
    scaled.double().eval()
    x = torch.rand(1, 1, 32, 32, dtype=torch.float64) * 255
    hyper._range_checked = True
    torch.testing.assert_close(scaled(x), hyper(x / 255))
    assert not torch.allclose(scaled(x), hyper(x))


@pytest.mark.parametrize("size", [25, 26, 48])
def test_smallest_image_is_25(size):
    assert ImageHyperNet().eval()(torch.full((1, 1, size, size), 9.0)).shape == (1, 3)
    with pytest.raises(ValueError, match="needs at least 25×25"):
        ImageHyperNet()(torch.full((2, 1, 24, size), 9.0))


def test_smallest_feature_map_is_17():
    assert FeatureHyperNet(2).eval()(torch.rand(1, 2, 17, 17)).shape == (1, 3)
    with pytest.raises(ValueError, match="needs at least 17×17"):
        FeatureHyperNet(2)(torch.rand(1, 2, 17, 16))


def test_warns_once_when_images_are_not_in_0_255():
    hyper = ImageHyperNet()
    with pytest.warns(UserWarning, match="0..255"):
        hyper(torch.rand(2, 3, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hyper(torch.rand(2, 3, 32, 32))
        ImageHyperNet()(255 * torch.rand(2, 3, 32, 32))
        ImageHyperNet(value_range=None)(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("channels", [2, 4])
def test_image_must_be_gray_or_colour(channels):
    with pytest.raises(ValueError, match="1 or 3"):
        ImageHyperNet()(torch.rand(1, channels, 32, 32))


def test_other_bad_input():
    with pytest.raises(ValueError, match=r"\(b, 35, h, w\)"):
        FeatureHyperNet(35)(torch.rand(1, 34, 32, 32))
    with pytest.raises(ValueError, match="in_channels"):
        FeatureHyperNet(0)
    with pytest.raises(ValueError, match="value_range"):
        ImageHyperNet(value_range=-1)
    with pytest.raises(ValueError, match="normalize_input"):
        ImageHyperNet(value_range=None, normalize_input=True)
    with pytest.raises(ValueError, match="batch norm"):
        ImageHyperNet()(torch.full((1, 1, 25, 25), 9.0))


def test_size_independent_and_layout_independent():
    hyper = with_open_head(ImageHyperNet())
    x = torch.rand(2, 3, 31, 45, dtype=torch.float64) * 255
    torch.testing.assert_close(hyper(x.to(memory_format=torch.channels_last)), hyper(x))
