"""C1 can fail, measures what it says, and leaves no trace behind."""

import importlib
import math

import pytest
import torch

from eq_asisr.claims.starts import derive, device_for, seeded, tf32
from eq_asisr.claims.trained_exactness import AfterTraining, after_training
from eq_asisr.pairs import build
from tenfold.claims import Scale

# The package re-exports the claim under the name of its module.
exactness = importlib.import_module("eq_asisr.claims.exactness")
CPU = torch.device("cpu")
SHORT = exactness.Plan(*[(1.5,)] * 5)


@pytest.fixture
def one_pair(monkeypatch):
    """EDSR-LIIF with t = 4 alone, at one scale."""
    for name, value in (("ENCODERS", ("edsr",)), ("DECODERS", ("liif",)), ("ORDERS", (4,)), ("QUICK", SHORT)):
        monkeypatch.setattr(exactness, name, value)


def test_the_claim_passes_and_fails_with_an_encoder_that_does_not_turn(one_pair, monkeypatch):
    measured = exactness.exactness(Scale.SMOKE, 0)
    assert measured.passed
    assert measured.ours < 1e-12
    assert len(measured.tables[0].rows) == 2
    network = exactness.network

    def broken(encoder, decoder, t, small):
        return network("edsr", decoder, t, small)

    monkeypatch.setattr(exactness, "network", broken)
    measured = exactness.exactness(Scale.SMOKE, 0)
    assert not measured.passed
    assert measured.ours > 1e-3


def test_the_claim_fails_if_its_harness_cannot_tell_ordinary_models(one_pair, monkeypatch):
    network = exactness.network
    monkeypatch.setattr(exactness, "network", lambda e, d, t, small: network("eq_edsr", "eq_liif", 4, small))
    measured = exactness.exactness(Scale.SMOKE, 0)
    assert measured.ours < 1e-12
    assert not measured.passed


@pytest.mark.parametrize("t", [4, 16])
@pytest.mark.parametrize("decoder", ["lte", "ope"])
def test_small_models_are_exact_and_vary(decoder, t):
    found = exactness.measure("eq_swinir", f"eq_{decoder}", t, True, SHORT, 1, CPU)
    assert found.double < 1e-12
    assert found.single < 2e-5
    assert found.variation > 1e-2


def test_training_moves_every_parameter():
    model = seeded(0, lambda: exactness.network("eq_swinir", "eq_liif", 4, True)).double()
    exactness.perturb(model, 0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    exactness.train(model, 0, CPU)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_published_sizes_are_those_of_the_registry():
    model = exactness.network("eq_edsr", "eq_liif", 4, small=False)
    assert model.config == build("eq_edsr", "eq_liif", 4).config


def test_what_lower_precision_leaves_is_measured():
    found = exactness.low_precision(True, 0, CPU)
    assert set(found) == {"TF32", "bf16 autocast"}
    assert all(math.isfinite(v) for v in found.values())
    assert found["bf16 autocast"] > found["TF32"]


def test_tf32_is_what_it_was_behind_the_block():
    flags = lambda: (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)  # noqa: E731
    before = flags()
    for allowed in (True, False):
        with tf32(allowed):
            assert flags() == (allowed, allowed)
        assert flags() == before
    with pytest.raises(KeyError), tf32(True):
        raise KeyError
    assert flags() == before


def test_gpu_scale_never_falls_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for scale in (Scale.GPU, Scale.PAPER):
        with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
            device_for(scale)
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            exactness.exactness(scale, 0)
    assert device_for(Scale.CPU) == CPU


def test_seeds_of_different_runs_and_purposes_differ():
    assert len({derive(seed, purpose) for seed in range(5) for purpose in range(1000)}) == 5000
    with pytest.raises(ValueError, match="purpose must lie between 0 and 999, got 1000"):
        derive(0, 1000)


def test_building_leaves_the_global_random_state():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = (seeded(5, lambda: torch.nn.Linear(2, 2)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.rand(3), expected)


def test_from_cpu_on_networks_trained_on_photographs_have_their_say(one_pair, monkeypatch):
    monkeypatch.setattr(exactness, "FULL", SHORT)
    for spread, passed in ((5e-5, True), (2e-4, False)):
        found = AfterTraining(double=1e-15, plain=0.1, spread=spread, plain_spread=0.01)
        monkeypatch.setattr(exactness, "after_training", lambda scale, seed, found=found: found)
        measured = exactness.exactness(Scale.CPU, 0)
        assert measured.passed is passed
        assert measured.values["after training: spread"] == spread


@pytest.mark.realdata
@pytest.mark.slow
def test_a_few_steps_on_photographs_break_nothing():
    found = after_training(Scale.CPU, 0, steps=3)
    assert found.double < 1e-12
    assert found.plain > 1e-3
    assert found.spread < 1e-4
