"""The claims' machinery: fair comparisons, seeds, criteria, sizes of the networks; every claim runs with few steps."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import eq_asisr.claims as claims
from eq_asisr import LIIF, build
from eq_asisr.claims import far_scales, networks, orientation, plug_in, protocol, quality, zoom
from eq_asisr.claims.networks import EQ, EQUAL, LIKE_EQ, PLAIN, PUBLISHED, SMALL, TINY
from eq_asisr.claims.training import Contender, Recipe, batches_of, parameters, school, train
from eq_asisr.data import ImageFolder, SRDownsampled
from eq_asisr.data.evaluation import EvaluationPair, EvaluationSet
from tenfold.claims import Scale, collect

CPU = torch.device("cpu")


def samples(inp_size=8):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 40, 44), generator=generator, dtype=torch.uint8) for _ in range(3)]
    return SRDownsampled(ImageFolder(images), inp_size=inp_size, sample_q=20)


def tiny():
    return build(
        "edsr", "liif", encoder_options={"n_feats": 4, "n_blocks": 1}, decoder_options={"hidden": [8]}
    )


def test_all_claims_are_there():
    found = collect(claims)
    assert {"C1", "C2", "C3", "C4", "C4b", "C5", "C6", "C7"} <= set(found)
    assert all(
        "smoke" in claim.scales and "cpu" in claim.scales for id, claim in found.items() if id != "C4b"
    )
    assert all(claim.published is None for claim in found.values()), "the paper's numbers are not available"


def test_gpu_scale_never_falls_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for claim in (claims.transfer_across_orientations, claims.plugs_in):
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            claim(Scale.GPU, 0)
    with pytest.raises(ValueError, match="claim C4b has no scale cpu"):
        claims.longer_training(Scale.CPU, 0)


@pytest.mark.parametrize(
    ("width", "plain", "eq"),
    [(TINY, 30_099, 15_847), (SMALL, 111_395, 66_315), (PUBLISHED, 1_567_299, 1_022_291)],
)
def test_networks_have_the_sizes_of_the_notes(width, plain, eq):
    assert parameters(networks.plain(width)) == plain
    assert parameters(networks.equivariant(width)) == eq
    channels = networks.channels_of_equal_parameters(width)
    assert parameters(networks.plain(width, channels)) == pytest.approx(eq, rel=0.05)
    for other in (channels - 1, channels + 1):
        assert abs(parameters(networks.plain(width, other)) - eq) >= abs(
            parameters(networks.plain(width, channels)) - eq
        )


def test_the_controls_differ_in_one_cause_each():
    found = {c.name: c.build() for c in networks.contenders(TINY)}
    assert list(found) == [PLAIN, EQ, LIKE_EQ, EQUAL]
    like, eq = found[LIKE_EQ], found[EQ]
    assert like.group is None
    assert like.encoder.config["kernel_size"] == eq.encoder.config["kernel_size"] == 5
    assert like.encoder.config["res_scale"] == eq.encoder.config["res_scale"] == 0.1
    assert like.encoder.out_dim == eq.encoder.out_dim
    assert isinstance(like.decoder, LIIF)
    assert not like.decoder.feat_unfold
    assert found[EQUAL].encoder.config["kernel_size"] == 3


def test_batches_do_not_depend_on_threads():
    plain, threaded = (list(batches_of(samples(), 2, threads)(7)) for threads in (0, 2))
    assert len(plain) == 7
    assert all(torch.equal(a, b) for one, other in zip(plain, threaded) for a, b in zip(one, other))
    assert not torch.equal(plain[0].lr, plain[1].lr)


def test_training_is_repeatable_and_leaves_the_global_random_state():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    runs = [
        school(Contender("tiny", tiny), batches_of(samples(), 2), lambda m: 0.0, Recipe(4), 5, CPU)
        for _ in range(2)
    ]
    assert torch.equal(torch.rand(3), expected)
    one, other = (dict(run.model.named_parameters()) for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_search_takes_the_best_rate_and_survives_divergence():
    def judge(model):
        batch = next(batches_of(samples(), 4)(1))
        with torch.no_grad():
            return -float((model(*batch[:3]) - (2 * batch.colour - 1)).abs().mean())

    recipe = Recipe(12, rates=(1e-8, 1e-2, math.inf), search_steps=12)
    trained = school(Contender("tiny", tiny), batches_of(samples(), 4), judge, recipe, 0, CPU)
    assert trained.rate == 1e-2
    assert trained.candidate_scores[2] == -math.inf
    assert trained.parameters == parameters(tiny())


def test_a_loss_that_is_not_finite_stops_the_training():
    model = tiny()
    nn.init.constant_(next(model.parameters()), math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        train(model, batches_of(samples(), 2), Recipe(3), 1e-3, CPU)


def test_rates_follow_their_recipe():
    published = Recipe(1000, milestones=(200, 400))
    assert [published.factor(step) for step in (0, 199, 200, 999)] == [1.0, 1.0, 0.5, 0.25]
    short = Recipe(100, warmup=0.1)
    assert short.factor(0) == pytest.approx(0.1)
    assert short.factor(10) == 1
    assert short.factor(99) < 0.01


def test_averaging_over_turns_is_invariant_for_any_model():
    upscale = orientation.averaged_over_turns(tiny())
    lr = torch.rand(1, 3, 6, 8)
    large = upscale(lr, size=(13, 20))
    turned = upscale(lr.rot90(1, (2, 3)), size=(20, 13))
    assert torch.allclose(turned, large.rot90(1, (2, 3)), atol=1e-6)
    plain = tiny().upscale
    assert not torch.allclose(
        plain(lr.rot90(1, (2, 3)), size=(20, 13)), plain(lr, size=(13, 20)).rot90(1, (2, 3)), atol=1e-3
    )


class Corner(EvaluationSet):
    """Six low-resolution pixels of the first photograph."""

    def __init__(self, name, scale, first=1):
        super().__init__("builtin", scale, first=1)

    def __getitem__(self, index):
        pair = super().__getitem__(index)
        side = 6 * int(self.scale)
        return EvaluationPair(pair.name, pair.lr[:, :6, :6], pair.hr[:, :side, :side])


def few_steps(size, steps=3):
    return dataclasses.replace(size, recipe=Recipe(steps))


def test_c3_runs(monkeypatch):
    small = dataclasses.replace(few_steps(orientation.SIZES[Scale.SMOKE]), n_train=2, n_test=1, side=48)
    monkeypatch.setitem(orientation.SIZES, Scale.CPU, small)
    found = claims.transfer_across_orientations(Scale.CPU, 0)
    assert found.values["EQ falls by <= 0.001 dB"]
    assert abs(found.values["plain, averaged over four turns, fall"]) < 1e-4
    assert abs(found.values["plain, fall"]) > 1e-4, "the measurement sees what a plain network does"
    assert len(found.tables[0].rows) == 4
    assert "plain falls by >= 0.5 dB" in found.criterion


def test_c4_reports_every_control(monkeypatch):
    """The cpu criteria with photographs in the place of Set5: three steps must not pass them."""
    monkeypatch.setitem(zoom.SIZES, Scale.CPU, few_steps(zoom.SIZES[Scale.SMOKE]))
    monkeypatch.setattr(quality, "EvaluationSet", Corner)
    monkeypatch.setattr(quality, "figures", lambda task, trained: [])
    monkeypatch.setattr(quality, "spreads", lambda task, trained, side=None: dict.fromkeys(trained, 2e-5))
    found = claims.quality_per_parameter(Scale.CPU, 0)
    assert not found.passed
    assert not found.values["both >= bicubic + 0.4 dB"]
    assert {f"EQ − {name}" for name in (PLAIN, LIKE_EQ, EQUAL)} <= set(found.values)
    assert [row[0] for row in found.tables[0].rows] == ["bicubic", PLAIN, EQ, LIKE_EQ, EQUAL]


def test_spreads_tell_equivariant_from_plain():
    size = few_steps(zoom.SIZES[Scale.SMOKE])
    task = zoom.ZoomTask(size, Scale.SMOKE, 0, [EvaluationSet("builtin", 2, first=1)])
    trained = task.school(controls=False)
    found = quality.spreads(task, trained, side=20)
    assert found[EQ] < quality.SPREAD_BOUND < found[PLAIN]
    assert task.validation_loss(task.untrained(PLAIN)) > 0
    with pytest.raises(ValueError, match="there is no contender 'other'"):
        task.untrained("other")


def test_margins_are_means_over_the_sets_and_the_worse_of_two():
    scores = {PLAIN: {"a": 30.0, "b": 31.0}, EQ: {"a": 32.0, "b": 31.5}, LIKE_EQ: {"a": 0.0, "b": 0.0}}
    assert quality.margin(scores, {"a": 29.0, "b": 30.0}) == 1.0


def test_c6_measures_near_and_far(monkeypatch):
    size = dataclasses.replace(few_steps(far_scales.PLANS[Scale.SMOKE][0]))
    monkeypatch.setitem(far_scales.PLANS, Scale.CPU, (size, (8,), (12,)))
    monkeypatch.setattr(far_scales, "EvaluationSet", Corner)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 96, 120), generator=generator, dtype=torch.uint8)
    monkeypatch.setattr(far_scales, "large_images", lambda: {"noise": image})
    found = claims.far_outside_the_training(Scale.CPU, 0)
    assert {"EQ − plain at ×6, ×8", "EQ − plain at ×12 … ×30", "bicubic, noise ×12"} <= set(found.values)
    assert "mean of EQ >= plain − 0.05 dB at ×12 … ×30" in found.criterion


def test_the_missing_image_of_div2k_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"image 0803 of DIV2K not found[\s\S]*div2k_valid_0803"):
        far_scales.div2k_0803()


def test_a_reference_value_that_is_missed_fails_c7(monkeypatch):
    checks = [protocol.Check("x", "PSNR", 30.0, 30.001), protocol.Check("y", "bytes", 5, 5)]
    monkeypatch.setattr(protocol, "_photographs", lambda: iter(checks))
    assert claims.evaluation_protocol(Scale.SMOKE, 0).passed
    checks.append(protocol.Check("z", "SSIM", 0.9, 0.9003))
    found = claims.evaluation_protocol(Scale.SMOKE, 0)
    assert not found.passed
    assert found.ours == 2
    assert not protocol.Check("b", "bytes", 5, 6).holds


def test_functions_without_the_adapter_are_seen():
    lr = torch.rand(1, 3, 6, 8, dtype=torch.float64)
    make = plug_in.FUNCTIONS["MLP"]
    assert plug_in._function_error(make, 8, True, lr, 0) < 1e-11
    assert plug_in._function_error(make, 8, False, lr, 0) > 1e-3
