"""The LightningModule: it learns, judges by valid prediction time, warms up, says when a run has collapsed."""

from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from koopgen.baselines import LRAN
from koopgen.data import TrajectoryDataModule
from koopgen.losses import KoopGenLoss
from koopgen.model import KoopGen
from koopgen.module import KoopGenModule
from koopgen.optim import Rates
from tenfold.runs import RunError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def trainer(epochs: int, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0, **options,
    )  # fmt: skip


def data(**options: Any) -> TrajectoryDataModule:
    settings = {"n": 40, "steps": 30, "window": 8, "batch_size": 14, "cache": False}
    return TrajectoryDataModule("pendulum", **{**settings, **options})


def small(**options: Any) -> KoopGen:
    return KoopGen(2, 2, dt=0.05, hidden=16, time_scale=1.0, noise_steps=50, **options)


def number(run: lightning.Trainer, name: str) -> float:
    return float(run.callback_metrics[name])


def test_training_lowers_the_loss_and_forecasts_are_judged() -> None:
    lightning.seed_everything(0, verbose=False)
    module = KoopGenModule(
        small(), rates=Rates(1e-2), pretrain_steps=10, threshold=0.3, sigma=1.17, loss_window=8
    )
    run = trainer(1)
    run.validate(module, data(), verbose=False)
    before = number(run, "val/loss")
    run = trainer(20)
    run.fit(module, data(windows_per_epoch=2))
    assert number(run, "val/loss") < 0.7 * before
    assert number(run, "val/vpt") > 0.2
    assert number(run, "train/collapsed") == 0
    names = {"vpt", "vpt_cap_share", "rmse_start", "rmse_end", "diverged", "loss"}
    assert {f"val/{name}" for name in names} | {"train/prediction", "train/linear"} <= set(
        run.callback_metrics
    )
    assert "val/vpt_lyapunov" not in run.callback_metrics  # a pendulum has no Lyapunov time
    run.test(module, data(), verbose=False)
    assert number(run, "test/rmse_start") < 1.0


def test_scales_come_from_the_training_part_and_travel_with_the_weights() -> None:
    module = KoopGenModule(small(normalisation="channel"), pretrain_steps=0)
    source = data()
    trainer(1).fit(module, source)
    train = source.parts["train"]
    assert module.sigma == pytest.approx(train.sigma)
    torch.testing.assert_close(module.model.scaler.std, train.channel_std)
    other = KoopGenModule(small(normalisation="channel"), pretrain_steps=0)
    other.load_state_dict(module.state_dict())
    x = torch.randn(3, 2)
    torch.testing.assert_close(other.eval()(x, 4), module.eval()(x, 4), rtol=0, atol=0)


def test_chaos_is_judged_in_lyapunov_times_too() -> None:
    module = KoopGenModule(KoopGen(3, 4, dt=0.01, hidden=8), pretrain_steps=0, sigma=14.0)
    source = TrajectoryDataModule("lorenz63", n=20, steps=20, window=8, cache=False)
    run = trainer(1)
    run.validate(module, source, verbose=False)
    assert number(run, "val/vpt_lyapunov") == pytest.approx(0.905 * number(run, "val/vpt"))


def test_the_warm_up_leaves_generator_and_gate_alone_then_all_is_trained() -> None:
    module = KoopGenModule(small(), rates=Rates(1e-2), pretrain_steps=6, sigma=1.17)
    start = {name: p.detach().clone() for name, p in module.model.named_parameters()}
    seen: list[set[str]] = []

    class Watch(lightning.pytorch.callbacks.Callback):
        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            now = dict(module.model.named_parameters())
            seen.append({name.split(".")[0] for name in start if not torch.equal(now[name], start[name])})

    trainer(4, callbacks=[Watch()]).fit(module, data())  # two steps an epoch
    assert seen[5] == {"encoder", "decoder"}
    assert seen[7] == {"encoder", "decoder", "generator"}


def test_groups_and_cycles_of_the_optimiser() -> None:
    module = KoopGenModule(small(), rates=Rates(1e-2, 2e-2, 5e-3), pretrain_steps=2, sigma=1.17)
    run = trainer(3)
    run.fit(module, data())
    groups = {group["name"]: group for group in run.optimizers[0].param_groups}
    assert {name: group["initial_lr"] for name, group in groups.items()} == {
        "main": 1e-2,
        "bases": 2e-2,
        "gate": 5e-3,
    }
    assert [groups[name]["lr"] for name in ("main", "bases", "gate")] == pytest.approx([1e-6, 2e-7, 5e-7])


class Silent(LRAN):
    """Answers with zero whatever its weights are: a collapsed model."""

    def decode(self, z: Tensor) -> Tensor:
        return 0 * super().decode(z)

    def __init__(self) -> None:
        super().__init__(2, 2, dt=0.05, hidden=8)
        self.decoder.register_forward_hook(lambda module, inputs, output: 0 * output)


def test_a_collapsed_run_is_called_failed() -> None:
    module = KoopGenModule(Silent(), pretrain_steps=0, sigma=1.17, collapse_after=2)
    run = trainer(3)
    with pytest.warns(UserWarning, match="the model has collapsed"):
        run.fit(module, data())
    assert number(run, "train/collapsed") == 1


def test_every_model_of_the_package_trains_here() -> None:
    module = KoopGenModule(
        LRAN(2, 2, dt=0.05, hidden=8), KoopGenLoss(w_rec=0.5), pretrain_steps=1, sigma=1.17
    )
    run = trainer(1)
    run.fit(module, data())
    assert torch.isfinite(run.callback_metrics["train/loss"])
    assert module.predict_step(torch.zeros(4, 31, 2)).shape == (4, 31, 2)


def test_parsimony_adds_its_penalty() -> None:
    module = KoopGenModule(small(), pretrain_steps=0, sigma=1.17, parsimony=0.1)
    run = trainer(1)
    run.fit(module, data())
    assert number(run, "train/parsimony") > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrain_steps": -1}, "pretrain_steps must be at least 0, got -1"),
        ({"pretrain_rate": 0.0}, r"pretrain_rate must be positive, got 0\.0"),
        ({"threshold": 0.0}, r"threshold must be positive, got 0\.0"),
        ({"sigma": -1.0}, r"sigma must be positive, got -1\.0"),
        ({"loss_window": 1}, "loss_window must be at least 2 samples, got 1"),
        ({"parsimony": -1.0}, r"parsimony must be at least 0, .* got -1\.0 with KoopGen"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KoopGenModule(small(), **options)


def test_parsimony_needs_a_generator() -> None:
    with pytest.raises(ValueError, match=r"0 for a model without a generator, got 0\.1 with LRAN"):
        KoopGenModule(LRAN(2, 2, dt=0.05), parsimony=0.1)


def test_sigma_is_asked_for_where_it_cannot_be_known() -> None:
    class Plain(lightning.LightningDataModule):
        def val_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(torch.zeros(4, 5, 2))

    with pytest.raises(ValueError, match="sigma is not given, and there is no TrajectoryDataModule"):
        trainer(1).validate(KoopGenModule(small()), Plain(), verbose=False)


def test_predict_gives_the_forecasts_of_the_test_trajectories() -> None:
    module, sets = KoopGenModule(small(), threshold=0.3, sigma=1.17), data()
    found = trainer(1).predict(module, sets)
    truth = next(iter(sets.test_dataloader()))
    assert found is not None
    assert found[0].shape == truth.shape
    torch.testing.assert_close(found[0], module.eval()(truth[:, 0], truth.shape[1] - 1).detach())


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    module = KoopGenModule(small(), pretrain_steps=50, threshold=0.3, sigma=1.17)
    with pytest.raises(RunError, match=r"warm-up takes 50 steps, but the run has 2 in all: train longer"):
        trainer(1).fit(module, data())
