"""The claims' machinery: criteria, fair comparisons, seeds; the gpu and paper code with shrunken sizes."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import sa_conv.claims as claims
from sa_conv import figures
from sa_conv.claims import (
    alignment,
    cost,
    denoising,
    deraining,
    paper_protocol,
    superresolution,
    textures,
    trained_equivariance,
    warm_start,
)
from sa_conv.claims.networks import channels_for, edsr, edsr_cnn_like, texture_network
from sa_conv.claims.textures import SIZES, TextureTask, axis_correlation
from sa_conv.claims.training import Contender, Recipe, derive, device_for, school, seeded, train, trainable
from tenfold.claims import Scale, collect

SMALL = dataclasses.replace(
    SIZES[Scale.SMOKE], fields=1, n_train=20, n_test=6, steps=4, sample_steps=4, search_steps=2
)


def test_all_claims_of_the_page_are_there():
    found = collect(claims)
    assert {"K1a", "K1b", "K1c", "K1d", "K2", "K2b", "K3", "K4", "K5", "K6", "K7", "C1"} == set(found)
    assert all("gpu" in claim.scales and "paper" in claim.scales for claim in found.values())


def test_gpu_scale_never_falls_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for scale in (Scale.GPU, Scale.PAPER):
        with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
            device_for(scale)
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            claims.cheap_adaptivity(scale, 0)
    assert device_for(Scale.CPU) == torch.device("cpu")


def test_seeds_of_different_claims_and_purposes_differ():
    seeds = {derive(seed, purpose) for seed in range(5) for purpose in range(60)}
    assert len(seeds) == 300


def test_building_and_training_do_not_touch_the_global_random_state():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model = seeded(5, lambda: nn.Linear(2, 2))
    assert torch.equal(model.weight, seeded(5, lambda: nn.Linear(2, 2)).weight)
    task = TextureTask("iso", SMALL, seed=0)
    network = seeded(6, lambda: texture_network("B-Conv", "plain", SMALL))
    train(network, task.batches, Recipe(2), 1e-3, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


def test_the_search_takes_the_best_rate_and_survives_divergence():
    def build():
        return nn.Linear(1, 1)

    def batches(step):
        x = torch.ones(4, 1)
        return x, 3 * x

    def judge(model):
        with torch.no_grad():
            return -float((model(torch.ones(1, 1)) - 3).square())

    recipe = Recipe(60, rates=(1e-5, 0.1, math.inf), search_steps=30)
    trained = school(Contender("line", build), batches, judge, recipe, 0, torch.device("cpu"))
    assert trained.rate == 0.1
    assert trained.candidate_scores[2] == -math.inf
    assert judge(trained.model) > -0.5


def test_a_loss_that_is_not_finite_stops_the_training():
    with pytest.raises(FloatingPointError, match="the loss of Linear is nan at step 0"):
        train(
            nn.Linear(1, 1),
            lambda step: (torch.full((1, 1), math.nan), torch.ones(1, 1)),
            Recipe(3),
            1e-3,
            torch.device("cpu"),
        )


def test_cnns_have_as_many_parameters_within_five_percent():
    wanted = trainable(texture_network("SA-Conv", "plain", SIZES[Scale.CPU]))
    found = trainable(
        texture_network("CNN", "plain", SIZES[Scale.CPU], channels_for(wanted, SIZES[Scale.CPU]))
    )
    assert found == pytest.approx(wanted, rel=0.05)
    for sizes, scale in ((denoising.SIZES, 1), (superresolution.SIZES, 2)):
        for size in sizes.values():
            wanted = trainable(edsr("B-Conv", size.fields, size.blocks, scale))
            channels, blocks = edsr_cnn_like(size.fields, size.blocks, scale)
            cnn = edsr("CNN", size.fields, blocks, scale, channels)
            assert trainable(cnn) == pytest.approx(wanted, rel=0.05)


def test_the_frozen_head_keeps_sa_a_tl_network():
    torch.manual_seed(0)
    model = alignment._head_frozen(SMALL)
    task = TextureTask("sample", SMALL, seed=0)
    train(model, task.batches, Recipe(3), 5e-3, torch.device("cpu"))
    with torch.no_grad():
        assert model.hyper(task.noisy).abs().max() == 0
    assert trainable(model) == trainable(texture_network("TL-Conv", "plain", SMALL))


def test_axis_correlation_sees_the_axis_and_nothing_else():
    angles = torch.linspace(0, math.pi, 200)
    noise = torch.randn(200, generator=torch.Generator().manual_seed(0))
    found = axis_correlation(torch.stack([(2 * angles).sin() + 3, noise, torch.ones(200)], 1), angles)
    assert found[0] == pytest.approx(1)
    assert found[1] < 0.3
    assert found[2] == 0


@pytest.fixture
def shrunken(monkeypatch):
    """Every scale at the size of a toy, on the CPU and without data."""
    for scale in Scale:
        monkeypatch.setitem(textures.SIZES, scale, SMALL)
        monkeypatch.setitem(
            deraining.SIZES, scale, dataclasses.replace(deraining.SIZES[Scale.SMOKE], steps=2, crop=40)
        )
    toy = dataclasses.replace(denoising.SIZES[Scale.SMOKE], batch_size=2, steps=2)
    for sizes in (denoising.SIZES, superresolution.SIZES):
        for scale in (Scale.SMOKE, Scale.CPU, Scale.GPU):
            monkeypatch.setitem(sizes, scale, toy)
    monkeypatch.setattr(trained_equivariance, "N_IMAGES", 4)
    cpu = torch.device("cpu")
    modules = ("textures", "photographs", "deraining", "warm_start", "cost", "paper_protocol")
    for name in modules:
        monkeypatch.setattr(f"sa_conv.claims.{name}.device_for", lambda scale: cpu)
    generator = torch.Generator().manual_seed(0)
    pictures = {n: torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8) for n in "abcd"}
    monkeypatch.setattr("sa_conv.data.sources.builtin_images", lambda names: pictures)
    return pictures


TEXTURE_CLAIMS = (
    claims.dataset_level,
    claims.sample_level,
    claims.isotropic,
    claims.sample_level_equivariant,
    claims.trained_networks,
    claims.continued,
)


@pytest.mark.parametrize("claim", TEXTURE_CLAIMS, ids=lambda claim: claim.id)
def test_texture_claims_run_at_gpu_scale(shrunken, claim):
    measured = claim(Scale.GPU, 0)
    assert all(math.isfinite(v) for v in measured.values.values())
    assert measured.ours is not None
    assert measured.baseline is not None


@pytest.mark.parametrize(
    "claim",
    [claims.denoise_photographs, claims.super_resolve_photographs, claims.derain_photographs],
    ids=lambda c: c.id,
)
def test_picture_claims_run_and_draw(shrunken, claim):
    measured = claim(Scale.SMOKE, 0)
    assert measured.figures
    assert all(figure.png.startswith(b"\x89PNG") and len(figure.alt) > 20 for figure in measured.figures)
    assert all(math.isfinite(v) for v in measured.values.values())


@pytest.mark.parametrize("task", ["denoise", "sr"])
def test_the_papers_protocol_runs_with_toy_sizes(shrunken, monkeypatch, task):
    schedule = dataclasses.replace(
        paper_protocol.SCHEDULES[task], patch_size=32, fields=1, blocks=1, batch_size=2, steps=2, more_steps=2
    )
    monkeypatch.setitem(paper_protocol.SCHEDULES, task, schedule)
    from sa_conv.claims import photographs

    def toy_source(source, n_val, scale):
        assert source == "div2k"
        items = list(shrunken.values())
        return items[:2], items[2:]

    monkeypatch.setattr(photographs, "clean_source", toy_source)
    monkeypatch.setattr(
        photographs, "_test_sets", lambda task, size: {"Set5": [shrunken["c"]], "BSD100": [shrunken["d"]]}
    )
    measured = paper_protocol.measure(task, {"Set5": 32.0}, seed=0)
    assert not measured.passed, "two steps do not reach the published numbers"
    assert "TL-Conv continued, BSD100" in measured.values


def test_warm_starts_are_exact(monkeypatch):
    measured = claims.loss_free(Scale.SMOKE, 0)
    assert measured.passed
    assert len(measured.tables[0].rows) == 14
    monkeypatch.setattr(warm_start, "warm_start", lambda state, model: model.state_dict())
    assert not claims.loss_free(Scale.SMOKE, 0).passed, "without conversion the claim fails"


@pytest.mark.slow
def test_theory_holds():
    assert claims.theory_holds(Scale.SMOKE, 0).passed


def test_the_parameter_table_is_the_papers():
    for key in (("edsr", 2, "saconv"), ("edsr", 1, "tlconv")):  # the claim itself looks at all
        assert cost._count(*key[:2], key[2]) == cost.TABLE[key]


def test_orbits_of_the_identity_are_circles_and_figures_repeat_exactly():
    image = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0))
    orbit = figures.Orbit("a", image, torch.eye(2))
    first, second = (figures.elliptical_orbits("o", [orbit], "t", "alt text") for _ in range(2))
    assert first.png == second.png
    bent = figures.elliptical_orbits(
        "o", [figures.Orbit("a", image, torch.diag(torch.tensor([2.0, 0.5])))], "t", "alt"
    )
    assert bent.png != first.png
    scaled = figures.elliptical_orbits("o", [figures.Orbit("a", image, 3 * torch.eye(2))], "t", "alt text")
    assert scaled.png == first.png, "only the shape of an orbit is shown"
