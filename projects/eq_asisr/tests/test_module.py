"""The module learns, logs by the protocol of its sets, and starts the schedules of the recipe."""

import lightning
import pytest
import torch

from eq_asisr import build
from eq_asisr.data import ASISRData, ImageFolder, SRDownsampled
from eq_asisr.module import LitASISR
from eq_asisr.schedules import warm_cosine


def model():
    torch.manual_seed(0)
    return build(
        "eq_edsr",
        "eq_liif",
        encoder_options={"n_feats": 8, "n_blocks": 1, "kernel_size": 3},
        decoder_options={"group_hidden": [16], "hidden": [16]},
    )


def samples():
    ramp = torch.arange(60 * 60).reshape(60, 60).remainder(251).to(torch.uint8)
    return SRDownsampled(ImageFolder([torch.stack([ramp, ramp.T, 255 - ramp])]), inp_size=8, sample_q=40)


def test_steps_of_the_optimiser_lower_the_loss():
    lit = LitASISR(model(), lr=1e-2)
    optimizer = lit.configure_optimizers()["optimizer"]
    batch = samples().batch(range(4))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss, answer = lit.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert answer.shape == (4, 40, 3)
    assert losses[-1] < 0.7 * losses[0]


def test_the_published_schedule_halves_at_its_milestones():
    lit = LitASISR(model(), lr=1e-4, milestones=[2, 3])
    found = lit.configure_optimizers()
    schedule, rates = found["lr_scheduler"]["scheduler"], []
    for _ in range(4):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        found["optimizer"].step()
        schedule.step()
    assert rates == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5])


def test_the_cosine_rises_and_ends_at_zero():
    rates = [warm_cosine(step, 200, 0.05) for step in range(201)]
    assert max(rates) == 1
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == 0
    assert rates == [*sorted(rates[:10]), *sorted(rates[10:], reverse=True)]
    assert warm_cosine(0, 10, 0.0) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_run_logs_what_it_says(tmp_path):
    data = ASISRData(
        "builtin",
        inp_size=8,
        sample_q=16,
        batch_size=2,
        epoch_length=2,
        n_val=1,
        val_draws=2,
        test_sets=("builtin",),
        test_scales=(12.5,),
    )
    lit = LitASISR(model(), lr=1e-3, schedule="cosine")
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(lit, data)
    assert {"train/loss", "val/loss", "val/psnr"} <= set(trainer.callback_metrics)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    trainer.limit_test_batches = 1
    (found,) = trainer.test(lit, data, verbose=False)
    assert set(found) == {"test/psnr_builtin_x12.5", "test/ssim_builtin_x12.5"}
    assert 5 < found["test/psnr_builtin_x12.5"] < 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr must be positive, got 0"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"schedule": "linear"}, "schedule must be one of steps, cosine, got 'linear'"),
        ({"milestones": [5, 3]}, r"milestones must be increasing positive epochs, got \[5, 3\]"),
        ({"gamma": 1.5}, r"gamma must lie in \(0, 1\], got 1.5"),
        ({"warmup": 1.0}, r"warmup must lie in \[0, 1\), got 1.0"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        LitASISR(model(), **options)
