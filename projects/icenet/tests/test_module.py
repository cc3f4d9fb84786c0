"""The LightningModule: it learns, reports convergence by SNR, warns of fake equilibria, refuses another grid's checkpoint."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from icenet.data import OnTheFlyDataModule
from icenet.estimators.icenet import ICENet
from icenet.estimators.simplenet import SimpleNet
from icenet.metrics import nmse_db
from icenet.module import LitChannelEstimator
from tenfold.checkpoint import CheckpointError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def trainer(epochs: int = 1, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0, **options,
    )  # fmt: skip


def data(**options: Any) -> OnTheFlyDataModule:
    settings = {"batch_size": 8, "steps": 10, "n_val": 12, "n_test": 12, "eval_snr_db": [0, 20]}
    return OnTheFlyDataModule(**{**settings, **options})  # type: ignore[arg-type]


def implicit(**options: Any) -> ICENet:
    return ICENet("nr_v2x_15", channels=4, **{"solver": {"eps": 1e-2, "tau": 12}, **options})


def numbers(run: lightning.Trainer, stage: str) -> dict[str, float]:
    prefix = f"{stage}/"
    return {key[len(prefix) :]: float(v) for key, v in run.callback_metrics.items() if key.startswith(prefix)}


def test_training_lowers_the_error() -> None:
    lightning.seed_everything(0, verbose=False)
    module, source = LitChannelEstimator(SimpleNet("nr_v2x_15", resize="lattice"), lr=5e-3), data()
    run = trainer()
    run.validate(module, source, verbose=False)
    before = numbers(run, "val")
    run = trainer(4)
    run.fit(module, source)
    after = numbers(run, "val")
    assert after["nmse_db"] < before["nmse_db"] - 1
    assert set(after) == {"loss", "nmse_db", "nmse_db_at_0", "nmse_db_at_20"}
    rate = run.optimizers[0].param_groups[0]["lr"]
    assert rate == pytest.approx(1e-5)  # the cosine has come to its end


def test_the_logged_error_is_the_ratio_of_sums_at_each_snr() -> None:
    module, source = LitChannelEstimator(SimpleNet("nr_v2x_15")), data(n_val=700)
    run = trainer()
    run.validate(module, source, verbose=False)
    found = numbers(run, "val")
    for snr in (0, 20):
        batches = [b for b in source.val_dataloader() if float(b["snr_db"][0]) == snr]
        assert len(batches) == 2
        h = torch.cat([b["h"] for b in batches])
        ls = torch.cat([b["ls"] for b in batches])
        assert found[f"nmse_db_at_{snr}"] == pytest.approx(nmse_db(module.model.estimate(ls), h), abs=1e-4)
    assert found["nmse_db"] == pytest.approx((found["nmse_db_at_0"] + found["nmse_db_at_20"]) / 2, abs=1e-5)


def test_an_implicit_model_reports_iterations_and_convergence() -> None:
    module, source = LitChannelEstimator(implicit(), lr=2e-3), data(steps=4)
    run = trainer()
    run.fit(module, source)
    found = numbers(run, "val")
    wanted = {
        "residual_p50",
        "residual_p90",
        "residual_p99",
        "converged",
        "converged_1e-2",
        "nfe",
        "nfe_at_0",
        "nfe_at_20",
    }
    assert wanted <= set(found)
    assert found["residual_p50"] <= found["residual_p90"] <= found["residual_p99"]
    assert {"nfe", "penalty", "loss"} <= set(numbers(run, "train"))
    run.test(module, source, verbose=False)
    assert wanted <= set(numbers(run, "test"))
    model, counts = module.model.eval(), []
    assert isinstance(model, ICENet)
    with torch.no_grad():
        for batch in source.val_dataloader():
            counts.append(model(batch["ls"], batch["noise_var"], return_info=True)[1].nfe)
    assert found["nfe"] == pytest.approx(float(torch.cat(counts).double().mean()), abs=1e-5)


def test_a_network_without_fixed_points_is_called_so() -> None:
    """Three evaluations at ε = 1e-9: nothing converges, whatever the error is."""
    module = LitChannelEstimator(implicit(solver={"eps": 1e-9, "tau": 3}))
    with pytest.warns(UserWarning, match=r"of the validation slots reach a residual of 0.01, less than 95%"):
        trainer().fit(module, data(steps=1))
    assert module.converged is not None


def test_the_jacobian_penalty_is_part_of_what_is_minimised() -> None:
    module = LitChannelEstimator(implicit(cell="resnet", jac_reg=2.0, jac_fraction=1.0), min_converged=0.0)
    run = trainer()
    run.fit(module, data(steps=2))
    assert numbers(run, "train")["penalty"] > 0


def test_the_warm_up_is_four_plain_iterations_then_the_solver_runs() -> None:
    module = LitChannelEstimator(implicit(solver={"eps": 1e-4, "tau": 12}), warm_up_steps=2)
    assert isinstance(module.model, ICENet)
    seen: list[int] = []

    def remember(model: ICENet, inputs: Any, output: Any) -> None:
        if model.training:
            seen.append(int(output[1].nfe.max()))

    module.model.register_forward_hook(remember)
    trainer(1).fit(module, data(steps=3))
    assert seen[:2] == [4, 4]
    assert seen[2] > 4
    assert module.model.layer.grad == "ift"
    with pytest.raises(ValueError, match="0 for a model without an implicit layer, got 5 with SimpleNet"):
        LitChannelEstimator(SimpleNet("nr_v2x_15"), warm_up_steps=5)


@pytest.mark.parametrize("loss", ["nmse", "mse", "huber"])
def test_losses(loss: str) -> None:
    module = LitChannelEstimator(SimpleNet("nr_v2x_15"), loss=loss)  # type: ignore[arg-type]
    h = torch.ones(1, 2, 2, dtype=torch.complex64)
    found = float(module.loss(h + 3, h))
    assert found == pytest.approx({"nmse": 9.0, "mse": 4.5, "huber": 1.25}[loss])


def test_the_predecessors_schedule_halves_the_rate() -> None:
    module = LitChannelEstimator(SimpleNet("nr_v2x_15"), lr=1e-3, schedule="halve", halve_every=2)
    run = trainer(4)
    run.fit(module, data(steps=1))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(2.5e-4)


def test_a_checkpoint_of_another_grid_is_refused_with_the_difference(tmp_path: Path) -> None:
    module = LitChannelEstimator(SimpleNet("nr_v2x_15"))
    saved: dict[str, Any] = {}
    module.on_save_checkpoint(saved)
    module.on_load_checkpoint(saved)
    other = LitChannelEstimator(SimpleNet("lte_small"))
    with pytest.raises(
        CheckpointError, match=r"another grid .* carrier_frequency: 2100000000.0 here, 5900000000.0 there"
    ):
        other.on_load_checkpoint(saved)
    with pytest.raises(CheckpointError, match="does not say which grid"):
        module.on_load_checkpoint({})


def test_predictions_are_the_channels() -> None:
    module, source = LitChannelEstimator(SimpleNet("nr_v2x_15")), data()
    found = trainer().predict(module, source)
    assert found is not None
    assert found[0].shape == (12, 72, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"final_lr": 1.0}, "final_lr must lie between 0 and lr = 0.001, got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0 .* got -1.0"),
        ({"min_converged": 1.5}, "min_converged between 0 and 1, got .* 1.5"),
        ({"schedule": "step"}, "schedule must be one of cosine, halve, got 'step'"),
        ({"loss": "mae"}, "loss must be one of nmse, mse, huber, got 'mae'"),
        ({"snr_bin": 0.0}, "snr_bin must be above 0, got 0.0"),
        ({"halve_every": 0}, "halve_every must be above 0, got 0"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LitChannelEstimator(SimpleNet("nr_v2x_15"), **options)
