"""The networks: sizes, ranges, what they refuse, and that they come back from a file as they were."""

import pytest
import torch

from gmaplatent.models import ColourAutoencoder, GreyAutoencoder, ImageClassifier, reconstruction_loss


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


AUTOENCODERS = [
    lambda n_clusters=0: GreyAutoencoder(d=2, n_clusters=n_clusters),
    lambda n_clusters=0: ColourAutoencoder(size=32, d=5, width=4, n_clusters=n_clusters),
    lambda n_clusters=0: ColourAutoencoder(size=64, d=5, width=4, n_clusters=n_clusters),
]


def test_the_grey_autoencoder_has_the_size_of_the_text():
    assert n_parameters(GreyAutoencoder(d=16)) == 397_201  # ≈ 0.40 M
    # d enters through two linear layers of 2048: nothing else may change with it.
    assert n_parameters(GreyAutoencoder(d=64)) - n_parameters(GreyAutoencoder(d=16)) == 48 * (2 * 2048 + 1)


@pytest.mark.parametrize(("size", "stages"), [(32, 3), (64, 4), (128, 5), (256, 6)])
def test_the_colour_autoencoder_halves_down_to_4_x_4(size, stages):
    model = ColourAutoencoder(size=size, d=7, width=2)
    down = [m for m in model.encoder if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in down] == [2 * min(2**i, 8) for i in range(stages)] + [7]
    x = torch.rand(2, 3, size, size)
    assert model.encode(x).shape == (2, 7)
    assert model(x).shape == x.shape


@pytest.mark.parametrize("make", AUTOENCODERS)
def test_reconstructions_are_images_and_the_encoder_sees_the_image(make):
    model = make().eval()
    x = torch.rand(3, *model.shape)
    decoded = model(x)
    assert decoded.shape == x.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert model.decode(10 * torch.randn(3, model.d)).isfinite().all()
    assert not torch.allclose(model.encode(x)[0], model.encode(x)[1])


@pytest.mark.parametrize("make", AUTOENCODERS)
def test_an_autoencoder_learns_a_few_images(make):
    model = make()
    x = torch.rand(4, *model.shape).round()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss, _ = reconstruction_loss(model, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    "model",
    [GreyAutoencoder(3, 4), ColourAutoencoder(32, 3, 2, 4), ImageClassifier(3, 5, 16, 2, 6)],
)
def test_a_network_comes_back_as_it_was(tmp_path, model):
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    x = torch.rand(2, *model.shape)
    assert torch.equal(again(x), model.eval()(x))
    assert again.config == model.config


# --- the loss ----------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_its_terms():
    model = GreyAutoencoder(d=4, n_clusters=3).double().eval()
    x, labels = torch.rand(5, 1, 32, 32, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    loss, terms = reconstruction_loss(model, x, labels, sparsity=0.01, cluster_weight=0.1)
    codes = model.encode(x)
    expected = (
        (model(x) - x).square().mean()
        + 0.01 * codes.abs().sum() / 5
        - 0.1 * model.head(codes).log_softmax(1)[range(5), labels].mean()
    )
    assert torch.allclose(loss, expected, rtol=1e-12)
    assert set(terms) == {"reconstruction", "clusters"}


def test_cross_entropy_of_pixels():
    model = GreyAutoencoder(d=4).double().eval()
    x = torch.rand(5, 1, 32, 32, dtype=torch.float64)
    y = model(x)
    loss, _ = reconstruction_loss(model, x, kind="bce", sparsity=0)
    assert torch.allclose(loss, -(x * y.log() + (1 - x) * (1 - y).log()).mean())


@pytest.mark.parametrize("kind", ["mse", "bce"])
def test_the_loss_works_under_autocast(kind):
    model, x = GreyAutoencoder(d=4), torch.rand(5, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = reconstruction_loss(model, x, kind=kind)
    assert loss.dtype == torch.float32
    plain, _ = reconstruction_loss(model, x, kind=kind)
    assert torch.allclose(loss, plain, rtol=0.02)


def test_the_cluster_head_reaches_the_encoder():
    model = GreyAutoencoder(d=2, n_clusters=3)
    x, labels = torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 2, 0])
    _, terms = reconstruction_loss(model, x, labels, cluster_weight=0.1)
    terms["clusters"].backward()
    assert model.encoder[0].weight.grad.abs().max() > 0
    assert model.decoder[0].weight.grad is None


@pytest.mark.parametrize(
    ("n_clusters", "options", "message"),
    [
        (0, {"kind": "l1"}, "kind must be 'mse' or 'bce', got 'l1'"),
        (0, {"cluster_weight": 0.1}, "cluster_weight is 0.1, and the model has no cluster head"),
        (3, {}, "cluster_weight is 0.0, and the model has a cluster head"),
        (3, {"cluster_weight": 0.1}, "labels are needed to train the cluster head"),
    ],
)
def test_losses_that_do_not_fit_are_named(n_clusters, options, message):
    with pytest.raises(ValueError, match=message):
        reconstruction_loss(GreyAutoencoder(2, n_clusters), torch.rand(2, 1, 32, 32), **options)


# --- the classifier ----------------------------------------------------------------------------------------------------


def test_the_logits_are_linear_in_the_features():
    model = ImageClassifier(1, 10, width=4, n_features=8).eval()
    x = torch.rand(3, 1, 32, 32)
    features = model.features(x)
    assert features.shape == (3, 8)
    assert torch.allclose(model(x), model.head(features))


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GreyAutoencoder(0), "d must be at least 1, got 0"),
        (lambda: GreyAutoencoder(2, -1), "n_clusters must be at least 0, got -1"),
        (lambda: ColourAutoencoder(size=48), "size must be 32, 64, 128 or 256, got 48"),
        (lambda: ColourAutoencoder(width=0), "width must be at least 1, got 0"),
        (lambda: ImageClassifier(0, 3), "in_channels must be at least 1, got 0"),
        (lambda: ImageClassifier(1, 0), "n_classes must be at least 1, got 0"),
        (lambda: ImageClassifier(1, 3, size=20), "size must be a multiple of 8, got 20"),
    ],
)
def test_bad_sizes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GreyAutoencoder(2).encode(torch.zeros(1, 3, 32, 32)),
            r"images have shape \(3, 32, 32\) \(channels, height, width\), this autoencoder takes \(1, 32, 32\)",
        ),
        (lambda: GreyAutoencoder(2)(torch.zeros(1, 1, 28, 28)), r"\(1, 28, 28\).* takes \(1, 32, 32\)"),
        (lambda: GreyAutoencoder(2).decode(torch.zeros(4, 3)), r"codes have shape \(4, 3\).* takes \(n, 2\)"),
        (lambda: ImageClassifier(3, 2)(torch.zeros(1, 1, 32, 32)), r"this classifier takes \(3, 32, 32\)"),
    ],
)
def test_images_of_another_shape_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
