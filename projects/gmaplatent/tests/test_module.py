"""The LightningModules: a step lowers the loss, and options that do not fit are named."""

import pytest

from gmaplatent.data import DomainData
from gmaplatent.models import GreyAutoencoder, ImageClassifier
from gmaplatent.module import LitAutoencoder, LitClassifier


def batch(size=32):
    data = DomainData("digits_a", size=size, batch_size=64)
    data.setup()
    images, labels = next(iter(data.train_dataloader()))
    return images, labels


MODULES = [
    lambda: LitAutoencoder(GreyAutoencoder(4)),
    lambda: LitAutoencoder(GreyAutoencoder(2, n_clusters=10), loss="bce", cluster_weight=0.1),
    lambda: LitClassifier(ImageClassifier(1, 10, width=4)),
]


@pytest.mark.parametrize("make", MODULES)
def test_steps_of_the_optimiser_lower_the_loss(make, monkeypatch):
    lit, given = make(), batch()
    logged = {}
    monkeypatch.setattr(lit, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(lit, "log_dict", lambda values, **_: logged.update(values))
    optimizer = lit.configure_optimizers()
    losses = []
    for _ in range(6):
        loss = lit.training_step(given, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    lit.validation_step(given, 0)
    lit.test_step(given, 0)
    assert {"train/loss", "val/loss", "test/loss"} <= set(logged)
    assert not any(getattr(value, "requires_grad", False) for value in logged.values())


def test_predictions_are_codes_and_classes():
    given = batch()
    codes = LitAutoencoder(GreyAutoencoder(3)).eval().predict_step(given, 0)
    assert codes.shape == (64, 3)
    classes = LitClassifier(ImageClassifier(1, 10, width=2)).eval().predict_step(given, 0)
    assert classes.shape == (64,)
    assert not classes.is_floating_point()


def test_the_classifier_is_kept_by_its_accuracy():
    assert LitClassifier.monitor == ("val/acc", "max")
    assert not hasattr(LitAutoencoder, "monitor")  # by val/loss


@pytest.mark.slow
def test_compilation_reaches_what_a_step_calls():
    lit = LitAutoencoder(GreyAutoencoder(2))
    lit.on_fit_start()
    assert lit.model.encoder._compiled_call_impl is None
    lit.model.compile()  # nothing is compiled before the first call
    lit.on_fit_start()
    assert lit.model.encoder._compiled_call_impl is not None
    assert lit.model.decoder._compiled_call_impl is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LitAutoencoder(GreyAutoencoder(2), lr=0), "lr must be above 0, got 0"),
        (lambda: LitAutoencoder(GreyAutoencoder(2), loss="l1"), "loss must be 'mse' or 'bce', got 'l1'"),
        (lambda: LitAutoencoder(GreyAutoencoder(2), sparsity=-1), "sparsity must be at least 0, got -1"),
        (lambda: LitAutoencoder(GreyAutoencoder(2), cluster_weight=0.1), "the model has no cluster head"),
        (
            lambda: LitAutoencoder(GreyAutoencoder(2, 10)),
            "cluster_weight is 0.0, and the model has a cluster head",
        ),
        (lambda: LitClassifier(ImageClassifier(1, 2), lr=-1), "lr must be above 0, got -1"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
