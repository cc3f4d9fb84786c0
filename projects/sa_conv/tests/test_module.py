"""The LightningModules: losses, logging of w, warm starts, and a stop at NaN."""

import pytest
import torch
from lightning import Trainer
from torch import nn

from sa_conv.data import DenoisingData
from sa_conv.losses import deraining_loss
from sa_conv.models import EDSR, RCDNet
from sa_conv.module import DerainingModule, RestorationModule, start_from, to_bytes
from tenfold.callbacks import NonFiniteError
from tenfold.checkpoint import CheckpointError, save_pretrained

TINY = {"scale": 1, "fields": 1, "n_blocks": 1}
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def tiny_data(**options):
    return DenoisingData("builtin", test_sets=("builtin",), patch_size=32, batch_size=2, n_val=1, **options)


def batch(n=2, side=32):
    generator = torch.Generator().manual_seed(0)
    clean = 255 * torch.rand(n, 3, side, side, generator=generator)
    return (clean + 50 * torch.randn(clean.shape, generator=generator)).clamp(0, 255), clean


@pytest.fixture
def small_pictures(monkeypatch):
    """Whole images of scikit-image take seconds to restore; small ones do for the machinery."""

    def pictures(names):
        generator = torch.Generator().manual_seed(0)
        return {
            n: torch.randint(0, 256, (3, 40, 44), generator=generator, dtype=torch.uint8) for n in names[-3:]
        }

    monkeypatch.setattr("sa_conv.data.sources.builtin_images", pictures)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*logging interval.*",
    "ignore:.*LeafSpec.*:FutureWarning",
)
def test_a_run_logs_quality_and_what_the_hypernetwork_answers(small_pictures):
    module = RestorationModule(EDSR("saconv", normalize_input=True, **TINY), lr=1e-3)
    data = tiny_data(epoch_length=3)
    trainer = Trainer(max_epochs=2, **QUIET)
    trainer.fit(module, datamodule=data)
    metrics = trainer.callback_metrics
    assert {
        "train/loss",
        "val/loss",
        "val/psnr",
        "val/w_theta_mean",
        "val/w_theta_std",
        "val/w_cx_mean",
    } <= set(metrics)
    assert metrics["val/w_cx_mean"] != 0, "the head has left zero"
    assert 5 < metrics["val/psnr"] < 60
    (result,) = trainer.test(module, datamodule=data, verbose=False)
    assert set(result) == {"test/psnr_builtin", "test/ssim_builtin"}
    restored = trainer.predict(module, datamodule=data)
    flat = restored[0] if isinstance(restored[0], torch.Tensor) else restored[0][0]
    assert flat.dtype == torch.uint8


def test_the_loss_is_the_mean_absolute_error_in_units_of_bytes():
    module = RestorationModule(nn.Identity())
    degraded, clean = batch()
    assert module.loss(degraded, clean).item() == pytest.approx((degraded - clean).abs().mean().item())


def test_the_learning_rate_falls_at_the_milestones():
    module = RestorationModule(nn.Conv2d(3, 3, 3, padding=1), lr=1.0, milestones=[2, 3], gamma=0.1)
    configured = module.configure_optimizers()
    schedule, rates = configured["lr_scheduler"]["scheduler"], []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        configured["optimizer"].step()
        schedule.step()
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.01])


def test_deraining_looks_at_every_stage():
    torch.manual_seed(0)
    net = RCDNet("saconv", n_stages=2, n_maps=2, n_dual=2, fields=1, n_blocks=1)
    module = DerainingModule(net)
    rainy, clean = batch(side=24)
    loss = module.loss(rainy, clean)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for n, p in net.named_parameters()), [
        n for n, p in net.named_parameters() if p.grad is None
    ]
    stages = net.stages(rainy)
    assert deraining_loss(stages, rainy, clean).item() == pytest.approx(loss.item(), rel=1e-4)
    better = stages._replace(background=clean)
    assert deraining_loss(better, rainy, clean) < deraining_loss(stages, rainy, clean)


def test_nan_in_w_stops_with_the_image_that_caused_it():
    module = RestorationModule(EDSR("saconv", normalize_input=True, **TINY))
    degraded, clean = batch()
    with torch.no_grad():
        module.model.hyper.mlp[-1].bias.fill_(float("nan"))
    with pytest.raises((NonFiniteError, ValueError), match=r"w of image 0 (of|in) the batch is not finite"):
        module.loss(degraded, clean)


def test_warm_starts_compute_what_the_simpler_network_does(tmp_path):
    torch.manual_seed(0)
    degraded, _ = batch()
    plain, adaptive = EDSR("bconv", **TINY), EDSR("saconv", **TINY)
    save_pretrained(plain, tmp_path / "plain", plain.config)
    start_from(adaptive, tmp_path / "plain")
    with torch.no_grad():
        assert torch.allclose(adaptive.eval()(degraded), plain.eval()(degraded), atol=1e-3)
        assert not torch.allclose(EDSR("saconv", **TINY).eval()(degraded), plain(degraded), atol=1e-1)


def test_a_warm_start_that_does_not_fit_is_refused(tmp_path):
    other = EDSR("tlconv", scale=1, fields=2, n_blocks=1)
    save_pretrained(other, tmp_path / "other", other.config)
    with pytest.raises(
        CheckpointError, match=r"other cannot start this EDSR: .*fields must be those of the weights"
    ):
        start_from(EDSR("saconv", **TINY), tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from(EDSR("saconv", **TINY), tmp_path / "nowhere.ckpt")


def test_the_warm_start_is_read_once_and_before_a_checkpoint(tmp_path):
    source = EDSR("tlconv", **TINY)
    save_pretrained(source, tmp_path / "tl", source.config)
    module = RestorationModule(EDSR("saconv", **TINY), warm_start=str(tmp_path / "tl"))
    module.setup("test")
    assert not torch.equal(module.model.head.weight, source.head.weight), "only fit starts warm"
    module.setup("fit")
    assert torch.equal(module.model.head.weight, source.head.weight)


def test_freezing_leaves_the_hypernetwork():
    module = RestorationModule(EDSR("saconv", **TINY), freeze_backbone=True)
    trained = {name.split(".")[1] for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"hyper"}
    with pytest.raises(ValueError, match="freeze_backbone=True, but EDSR has no hypernetwork"):
        RestorationModule(EDSR("tlconv", **TINY), freeze_backbone=True)


def test_results_are_bytes():
    assert to_bytes(torch.tensor([-3.0, 0.4, 99.6, 300.0])).tolist() == [0, 0, 100, 255]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr must be positive, got 0"),
        ({"scale": 0}, "scale must be at least 1, got 0"),
        ({"milestones": [5, 3]}, r"milestones must be increasing positive epochs, got \[5, 3\]"),
        ({"gamma": 1.5}, r"gamma must lie in \(0, 1\], got 1.5"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        RestorationModule(nn.Identity(), **options)
