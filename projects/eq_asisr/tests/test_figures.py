import io

import numpy as np
import pytest
import torch
from PIL import Image

from eq_asisr.figures import _quantile, error_against_angle, turned, turned_photograph, zoom_sweep
from eq_asisr.pairs import build


@pytest.fixture(scope="module")
def models():
    sizes = {
        "encoder_options": {"n_feats": 8, "n_blocks": 1},
        "decoder_options": {"hidden": [8]},
    }
    torch.manual_seed(0)
    plain = build("edsr", "liif", **sizes)
    eq = build("eq_edsr", "eq_liif", **sizes)
    return {"plain": plain.eval(), "EQ": eq.eval()}


@pytest.fixture
def photograph():
    return torch.rand(3, 20, 26, generator=torch.Generator().manual_seed(1))


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB"))


def test_error_curves_are_the_same_bytes_for_the_same_numbers():
    errors = {"plain": ([0, 45, 90], [9.0, 5.0, 9.0]), "EQ4": ([0, 45, 90], [0.0, 2.0, 1e-16])}
    first, second = (error_against_angle("curve", errors, "Title", "alt") for _ in range(2))
    assert first.png == second.png
    errors["EQ4"] = ([0, 45, 90], [0.0, 0.1, 0.0])
    assert error_against_angle("curve", errors, "Title", "alt").png != first.png


def test_zoom_sweep_shows_what_upscale_gives(models, photograph, monkeypatch):
    import eq_asisr.figures as figures

    shown = []
    monkeypatch.setattr(figures, "_show", lambda axes, image: shown.append(image))
    zoom_sweep("zoom", models, photograph, "t", "alt", scales=(1, 2.5), side=16, centre=(0.3, 1.0))
    large = models["plain"].upscale(photograph.unsqueeze(0), scale=2.5)[0]  # 50×65 pixels
    expected = large[:, 7:23, 49:65]  # 0.3 · 50 − 8; the right border
    assert len(shown) == 6
    assert torch.allclose(shown[3].clamp(0, 1), expected, atol=1e-5)


def test_zoom_sweep_refuses_windows_larger_than_the_image(models, photograph):
    with pytest.raises(ValueError, match="side is 21, larger than the image of 20×26 pixels at scale 1"):
        zoom_sweep("zoom", models, photograph, "t", "alt", side=21)
    with pytest.raises(ValueError, match="models is empty"):
        zoom_sweep("zoom", {}, photograph, "t", "alt")
    models["EQ"].train()
    with pytest.raises(ValueError, match="model 'EQ' is in training mode"):
        zoom_sweep("zoom", models, photograph, "t", "alt", side=16)
    models["EQ"].eval()


def test_turned_differs_for_the_plain_model_alone(models, photograph):
    plain, eq = (turned(models[name].upscale, photograph, 2) for name in ("plain", "EQ"))
    assert plain.largest > 1e-1
    assert eq.largest < 1e-3
    assert plain.difference.shape == (40, 52)


def test_turned_photograph_has_one_row_a_model(models, photograph):
    upscalers = {name: model.upscale for name, model in models.items()}
    both = turned_photograph("turned", upscalers, photograph, 2, "t", "alt")
    one = turned_photograph("turned", {"EQ": models["EQ"].upscale}, photograph, 2, "t", "alt")
    assert pixels(both).shape[0] > 1.5 * pixels(one).shape[0]
    with pytest.raises(ValueError, match="upscalers is empty"):
        turned_photograph("turned", {}, photograph, 2, "t", "alt")


def test_quantile():
    assert _quantile(torch.arange(1000.0), 0.995) == 995
    assert _quantile(torch.zeros(3), 1.0) == 0
