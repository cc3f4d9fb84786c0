"""Codecs: images to codes and back, what they refuse, and networks from files."""

import json

import numpy as np
import pytest
import torch

from gmaplatent.codec import Codec, NetworkCodec, PCACodec
from gmaplatent.data import load_digits_half
from gmaplatent.models import GreyAutoencoder, ImageClassifier
from gmaplatent.pretrained import load_classifier, load_codec, load_network
from tenfold.checkpoint import CheckpointError

IMAGES = load_digits_half("a").train.images


def pca(d=8):
    return PCACodec(d).fit(IMAGES)


def network(d=3):
    return NetworkCodec(GreyAutoencoder(d), batch_size=2)


@pytest.mark.parametrize(("make", "images"), [(pca, IMAGES[:5]), (network, torch.rand(5, 1, 32, 32))])
def test_a_codec_gives_exact_codes_and_images(make, images):
    codec = make()
    assert isinstance(codec, Codec)
    codes = codec.encode(images)
    assert codes.dtype == np.float64
    assert codes.shape == (5, codec.d)
    decoded = codec.decode(codes)
    assert decoded.dtype == torch.float32
    assert decoded.shape == images.shape
    assert (decoded.min() >= 0) & (decoded.max() <= 1)
    assert not decoded.requires_grad


def test_pca_is_a_projection_with_centred_codes():
    codec = pca(12)
    assert np.allclose(codec.components @ codec.components.T, np.eye(12), atol=1e-12)
    codes = codec.encode(IMAGES)
    assert np.abs(codes.mean(0)).max() < 1e-10
    correlations = np.cov(codes.T)
    assert np.abs(correlations - np.diag(np.diag(correlations))).max() < 1e-10
    assert (np.diff(np.diag(correlations)) <= 1e-12).all()  # the first component is the largest
    # Exact where nothing is clipped.
    middle = 0.5 * torch.ones(1, 1, 8, 8)
    flat = (middle.double().flatten(1).numpy() - codec.mean) @ codec.components.T
    assert np.allclose(codec.encode(middle), flat)


def test_all_components_reconstruct_exactly():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 4, 4, generator=generator, dtype=torch.float64)
    codec = PCACodec(16).fit(images)
    assert torch.allclose(codec.decode(codec.encode(images)), images.float(), atol=1e-6)


def test_fewer_components_lose_more():
    errors = [(pca(d).decode(pca(d).encode(IMAGES)) - IMAGES).square().mean() for d in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2]


def test_batches_do_not_change_the_codes():
    model = GreyAutoencoder(3)
    images = torch.rand(7, 1, 32, 32)
    one, many = (NetworkCodec(model, batch_size=size).encode(images) for size in (7, 2))
    assert np.allclose(one, many, atol=1e-6)
    assert not model.training


def test_a_pca_codec_comes_back_as_it_was(tmp_path):
    codec = pca()
    codec.save(tmp_path / "deep" / "codec.npz")
    again = load_codec(tmp_path / "deep" / "codec.npz")
    assert np.array_equal(again.encode(IMAGES), codec.encode(IMAGES))
    assert torch.equal(again.decode(codec.encode(IMAGES)), codec.decode(codec.encode(IMAGES)))
    assert (again.shape, again.d) == (codec.shape, codec.d)


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        {"mean": np.zeros(3)},
        {"facts": np.array(json.dumps({"format": "other"})), "mean": 0, "components": 0},
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "codec.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(ValueError, match=r"codec\.npz is not a file of PCACodec\.save"):
        PCACodec.load(path)


@pytest.mark.parametrize("codec", [pca(), network()])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda c: c.encode(torch.rand(2, 3, 8, 8)),
            ValueError,
            r"images have shape \(3, 8, 8\) .* this codec takes",
        ),
        (lambda c: c.encode(torch.full((2, *c.shape), 255.0)), ValueError, r"must be in \[0, 1\]"),
        (lambda c: c.encode(torch.zeros(2, *c.shape, dtype=torch.uint8)), TypeError, "divide bytes by 255"),
        (
            lambda c: c.decode(np.zeros((2, c.d + 1))),
            ValueError,
            r"codes have shape \(2, .*this codec takes \(n, ",
        ),
        (lambda c: c.decode(np.zeros((0, c.d))), ValueError, "with n >= 1"),
        (lambda c: c.decode(np.full((2, c.d), np.nan)), ValueError, "codes must be finite; row 0 is not"),
    ],
)
def test_bad_images_and_codes_are_named(codec, call, error, message):
    with pytest.raises(error, match=message):
        call(codec)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PCACodec(0), ValueError, "d must be at least 1, got 0"),
        (lambda: PCACodec(65).fit(IMAGES), ValueError, "d is 65, but there are 539 images of 64 pixels"),
        (lambda: PCACodec(2).encode(IMAGES), RuntimeError, "not fitted yet"),
        (lambda: PCACodec(2).decode(np.zeros((1, 2))), RuntimeError, "not fitted yet"),
        (lambda: NetworkCodec(GreyAutoencoder(2), batch_size=0), ValueError, "batch_size must be at least 1"),
    ],
)
def test_bad_codecs_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- networks from files -----------------------------------------------------------------------------------------------


def test_networks_come_from_folders(tmp_path):
    model, judge = GreyAutoencoder(3), ImageClassifier(1, 4, width=2)
    model.save_pretrained(tmp_path / "ae")
    judge.save_pretrained(tmp_path / "clf")
    images = torch.rand(2, 1, 32, 32)
    codec = load_codec(tmp_path / "ae")
    assert np.array_equal(codec.encode(images), NetworkCodec(model).encode(images))
    assert torch.equal(load_classifier(tmp_path / "clf")(images), judge.eval()(images))
    with pytest.raises(CheckpointError, match="holds a ImageClassifier, which is no autoencoder"):
        load_codec(tmp_path / "clf")
    with pytest.raises(CheckpointError, match="holds a GreyAutoencoder, which is no classifier"):
        load_classifier(tmp_path / "ae")


def test_a_network_of_another_package_is_refused(tmp_path):
    GreyAutoencoder(3).save_pretrained(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(document | {"class": "Transformer"}))
    with pytest.raises(
        CheckpointError, match="holds a Transformer; this package has GreyAutoencoder, Colour"
    ):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "nowhere", FileNotFoundError, "no network .*nowhere"),
        (lambda folder: folder / "nowhere.npz", FileNotFoundError, "no codec .*nowhere.npz"),
        (lambda folder: folder, CheckpointError, "neither a folder that save_pretrained wrote"),
    ],
)
def test_missing_networks_are_named(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        load_codec(make(tmp_path))


def test_a_damaged_folder_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        load_network(tmp_path)


def test_a_checkpoint_without_its_run_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "lost.ckpt")
    with pytest.raises(CheckpointError, match=r"does not lie in the checkpoints/ of a run"):
        load_network(tmp_path / "lost.ckpt")
