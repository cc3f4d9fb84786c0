"""CycleGAN: its losses are the formulas, it learns both ways, and it says what it cannot take."""

import pytest
import torch

from gmaplatent.models import CycleGAN, train_cyclegan
from gmaplatent.models.cyclegan import PatchDiscriminator, _Pool


def small(**options):
    return CycleGAN(1, width=4, n_blocks=1, **options)


def test_the_losses_are_those_of_the_text():
    model = small(cycle_weight=10.0).double()
    x, y = torch.rand(3, 1, 16, 16, dtype=torch.float64), torch.rand(3, 1, 16, 16, dtype=torch.float64)
    loss, fake_y, fake_x = model.generator_loss(x, y)
    expected = (
        (model.judge_tgt(fake_y) - 1).square().mean()
        + (model.judge_src(fake_x) - 1).square().mean()
        + 10 * ((model.back(fake_y) - x).abs().mean() + (model.there(fake_x) - y).abs().mean())
    )
    assert torch.allclose(loss, expected)
    assert torch.equal(fake_y, model(x))
    assert not fake_y.requires_grad
    wrong = model.discriminator_loss(x, y, fake_x, fake_y)
    expected = (
        (model.judge_src(x) - 1).square().mean()
        + model.judge_src(fake_x).square().mean()
        + (model.judge_tgt(y) - 1).square().mean()
        + model.judge_tgt(fake_y).square().mean()
    ) / 2
    assert torch.allclose(wrong, expected)


@pytest.mark.parametrize(("n_stages", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_the_discriminator_sees_patches(n_stages, patch):
    judge = PatchDiscriminator(1, width=2, n_stages=n_stages)
    # Instance normalisation looks at the whole image by its mean; patches are what the convolutions see.
    convolutions = torch.nn.Sequential(
        *(m for m in judge.layers if not isinstance(m, torch.nn.InstanceNorm2d))
    )
    x = torch.rand(1, 1, 144, 144, requires_grad=True)
    scores = convolutions(x)
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    seen = x.grad[0, 0].abs() > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (patch, patch)


def test_training_changes_dark_images_into_bright_ones():
    """Two domains that differ in brightness alone: the translation of the source must become brighter."""
    generator = torch.Generator().manual_seed(0)
    dark = 0.3 * torch.rand(32, 1, 16, 16, generator=generator)
    bright = 1 - 0.3 * torch.rand(32, 1, 16, 16, generator=generator)
    model = small(cycle_weight=1.0)
    before = float(model(dark).mean().detach())
    history = train_cyclegan(model, dark, bright, steps=30, batch_size=8, lr=4e-3)
    assert float(model(dark).mean().detach()) > before + 0.1
    assert float(model.back(bright).mean().detach()) < before - 0.1
    assert len(history.generator) == len(history.discriminator) == 30


def test_the_same_seed_trains_the_same_network():
    x, y = torch.rand(8, 1, 16, 16), torch.rand(8, 1, 16, 16)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        model = small()
        train_cyclegan(model, x, y, steps=3, batch_size=4, seed=seed)
        found.append(model(x).detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_pool_gives_back_earlier_images():
    pool = _Pool(4, torch.Generator().manual_seed(0))
    first = torch.zeros(4, 1, 1, 1)
    assert torch.equal(pool.exchange(first), first)
    seen = torch.cat([pool.exchange(torch.full((2, 1, 1, 1), float(i))) for i in range(1, 30)]).flatten()
    fresh = torch.arange(1, 30).repeat_interleave(2).float()
    old = (seen != fresh).float().mean()
    assert 0.25 < old < 0.75
    assert (seen <= fresh).all()
    assert (first == 0).all()  # the pool has its own copy


def test_a_cyclegan_comes_back_as_it_was(tmp_path):
    model = small().eval()
    model.save_pretrained(tmp_path)
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(CycleGAN.from_pretrained(tmp_path).eval()(x), model(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_blocks": 0}, "n_blocks must be at least 1, got 0"),
        ({"cycle_weight": -1}, "cycle_weight must be at least 0, got -1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CycleGAN(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 8, "pool": 4}, "pool must be at least 8, got 4"),
        (
            {"images_tgt": torch.zeros(4, 3, 16, 16)},
            r"must have one shape, got \(1, 16, 16\) and \(3, 16, 16\)",
        ),
        ({"images_src": torch.full((4, 1, 16, 16), 2.0)}, r"images_src must be in \[0, 1\]"),
    ],
)
def test_bad_training_is_named(options, message):
    images = {"images_src": torch.zeros(4, 1, 16, 16), "images_tgt": torch.zeros(4, 1, 16, 16)}
    with pytest.raises(ValueError, match=message):
        train_cyclegan(small(), **{**images, "steps": 1, "batch_size": 4, **options})


def test_a_loss_that_is_not_finite_stops_the_training():
    model = small()
    with torch.no_grad():
        model.judge_tgt.layers[0].weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="loss of the generators is nan at step 0"):
        train_cyclegan(model, torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16), steps=2, batch_size=2)
