"""The claims: they exist at all scales, their paths run on small sizes, their conditions can fail, seeds are honest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import gmaplatent.claims
from gmaplatent.alignment import GMapLatent
from gmaplatent.claims import ablations, cost, curves, exactness, generation, judging
from gmaplatent.claims.pair import (
    COLOUR,
    DIGITS,
    PAIRS,
    TITLES,
    AlignedPair,
    PairSetup,
    RememberedLayout,
    aligned_pair,
    make_side,
    trained_pair,
)
from gmaplatent.claims.training import Recipe, derive, device_for, in_words, shuffled, train, train_classifier
from gmaplatent.data import DOMAINS, blobs
from gmaplatent.geometry import disk
from tenfold.claims import Scale, collect

CPU = torch.device("cpu")
CLAIMS = collect(gmaplatent.claims)
SETUP = replace(DIGITS, d=8, classifier=Recipe(3, 64, 3e-3), per_cluster=25, layout="pca")


@pytest.fixture(scope="module")
def aligned() -> AlignedPair:
    return aligned_pair(SETUP, 0, CPU)


@pytest.fixture(scope="module")
def compared(aligned: AlignedPair) -> judging.Comparison:
    return judging.compare(aligned, 0)


def test_the_six_claims_exist_at_all_four_scales() -> None:
    assert sorted(CLAIMS) == [f"G{i}" for i in range(1, 7)]
    assert all(claim.scales == tuple(Scale) for claim in CLAIMS.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_gpu_scales_never_fall_back_to_the_cpu(name: str, scale: Scale) -> None:
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        CLAIMS[name](scale, 0)


def test_claim_seeds_share_no_other_seed() -> None:
    assert not set(derive(0, 50)) & set(derive(1, 50))
    assert device_for(Scale.CPU) == CPU
    assert in_words(["a_at_least_2", "b"]) == "a at least 2; b"


def test_pairs_name_domains_that_exist() -> None:
    named = {name for setup in (*PAIRS.values(), *COLOUR.values()) for name in (setup.source, setup.target)}
    assert named <= set(DOMAINS)
    assert set(TITLES) == set(DOMAINS)
    assert not any("AFHQ" in TITLES[setup.source] for setup in COLOUR.values())


# Training -----------------------------------------------------------------------------------------------------------------


def test_every_epoch_shows_every_image_once_and_follows_the_seed() -> None:
    recipe = Recipe(2, 4)
    batches = list(shuffled(12, recipe, 0))
    assert [len(rows) for rows in batches] == [4] * 6
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(12))
    assert all(torch.equal(a, b) for a, b in zip(batches, shuffled(12, recipe, 0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(batches, shuffled(12, recipe, 1), strict=True))
    assert [len(rows) for rows in shuffled(10, recipe, 0)] == [4, 4] * 2
    assert [len(rows) for rows in shuffled(3, Recipe(1, 4), 0)] == [3]


def test_training_learns_what_can_be_learned() -> None:
    x = torch.randn(200, 1, 1, 2)
    y = (x[:, 0, 0, 0] > 0).long()
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    found = train_classifier(network, x, y, Recipe(20, 50, 0.1), 0)
    assert found.losses[-1] < 0.3 < found.losses[0]
    assert (network(x).argmax(1) == y).float().mean() > 0.95


def test_a_loss_that_is_not_finite_stops_and_names_the_step() -> None:
    network = nn.Linear(1, 1)
    losses = iter([1.0, float("nan")])
    with pytest.raises(FloatingPointError, match="Linear is not finite at step 1"):
        train(network, lambda rows: network.weight.sum() * next(losses), 8, Recipe(1, 4), 0)


# The pair -----------------------------------------------------------------------------------------------------------------


def test_a_pair_is_made_once_and_its_parts_do_not_depend_on_who_asks(aligned: AlignedPair) -> None:
    assert trained_pair(SETUP, 0, CPU) is aligned.pair
    again = make_side(SETUP, "digits_a", derive(0, 1)[0], CPU)
    np.testing.assert_array_equal(again.codes["train"], aligned.pair.source.codes["train"])
    assert SETUP.reversed().reversed() == SETUP
    assert aligned.pair.name == "digits → digits, transposed and inverted"
    assert aligned.pair.judge_accuracy > 0.5


def test_an_autoencoder_learns_to_reconstruct() -> None:
    setup = PairSetup("digits_a", "digits_b", 8, Recipe(4, 64, 5e-3), Recipe(1), 20)
    side = make_side(setup, "digits_a", 0, CPU)
    images = side.parts.test.images
    error = (side.codec.decode(side.codes["test"]) - images).square().mean()
    assert error < 0.7 * images.var(), error


def test_a_remembered_layout_is_computed_once() -> None:
    layout = RememberedLayout("pca", 0)
    codes = blobs(3, 10, dim=4).codes
    places = layout(codes)
    np.testing.assert_array_equal(layout(codes[::3]), places[::3])
    fresh = RememberedLayout("pca", 0)(codes[::3])
    assert not np.allclose(fresh, places[::3])  # principal components of other codes


# G1 -----------------------------------------------------------------------------------------------------------------------


def test_blobs_are_exact_by_every_method_and_refusals_are_counted() -> None:
    found, refused = exactness.every_method(exactness.Effort((3, 5), 20, 0), 0)
    assert all(row.exact for row in found)
    assert len(found) + sum(refused.values()) >= 6
    assert not any(name.startswith("hierarchical") for name in refused)


def test_random_draws_are_of_all_kinds() -> None:
    found = exactness.random_draws(6, 0)
    assert all(row.exact for row in found)
    assert [("own cells" in row.case) for row in found] == [False, False, True] * 2
    assert any("1 : 10" in row.case for row in found)
    assert any(row.round_trip > 0 for row in found)  # a registration that moves something


@pytest.mark.parametrize(
    "change",
    [
        {"flips": 1}, {"mixed": 1}, {"outside": 1}, {"area_error": 1e-8}, {"mass_error": 1e-5},
        {"round_trip": 1e-8}, {"max_distortion": 1.0},
    ],
)  # fmt: skip
def test_each_condition_of_exactness_can_fail(change: dict[str, float]) -> None:
    row = exactness.Exactness("case", 10, 20, 0, 0.0, 0.0, 0, 0, 0.0, 0.1, 0.2, 1.0)
    assert row.exact
    assert not replace(row, **change).exact
    worse = exactness.worst([row, replace(row, **change)], "both")
    assert not worse.exact


def test_a_triangle_with_codes_of_two_clusters_is_seen() -> None:
    drawn = blobs(3, 20)
    model = GMapLatent(merge="hierarchical").fit(drawn.codes, drawn.labels, drawn.codes, drawn.labels)
    assert exactness.mixed_triangles(model.src_.mesh, model.src_.slots) == 0
    wrong = model.src_.slots.copy()
    wrong[0] = (wrong[0] + 1) % 3
    assert exactness.mixed_triangles(model.src_.mesh, wrong) > 0


# G2, G3 -------------------------------------------------------------------------------------------------------------------


def test_all_methods_are_judged_on_the_same_images(compared: judging.Comparison) -> None:
    floor = {"reconstruction", "reconstruction, other images"}
    assert set(compared.scores) == {judging.OURS, *judging.NAMES.values(), *floor}
    assert len(compared.sources) == 180
    assert compared.floor.excess == 0
    assert compared.ours.accuracy_given is not None
    assert compared.ours.accuracy_given > compared.scores[judging.PLAIN].accuracy_free + 0.3
    assert compared.scores[judging.PLAIN].accuracy_given is None  # it takes no labels
    assert len(compared.table().rows) == len(compared.scores)


def score(given: float = 0.99, free: float = 0.95, fid: float = 1.0, **change: float) -> judging.Score:
    numbers = {"mixture": 0.0, "excess": 0.0, "covered": 10, "fid_given": 1.0, "seconds": 1.0} | change
    kept = {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    return judging.Score(given, free, fid=fid, **numbers, **kept)  # type: ignore[arg-type]


def comparison(ours: judging.Score, plain: float = 0.2, knn: float = 0.95) -> judging.Comparison:
    scores = {judging.OURS: ours, judging.PLAIN: score(free=plain), "reconstruction": score()}
    return judging.Comparison(scores, {}, torch.zeros(0), knn, 10)


@pytest.mark.parametrize(
    ("found", "judge", "fails"),
    [
        (comparison(score()), 0.97, None),
        (comparison(score(given=0.92)), 0.97, "accuracy_with_labels_at_least_0.93"),
        (comparison(score(), plain=0.6), 0.97, "accuracy_with_labels_at_least_0.40_over_plain_OT"),
        (comparison(score(free=0.9)), 0.97, "accuracy_without_labels_at_least_that_of_codes_minus_0.03"),
        (comparison(score(covered=9)), 0.97, "all_clusters_covered"),
        (comparison(score(excess=0.04)), 0.97, "mixture_rate_at_most_that_of_reconstructions_plus_0.03"),
        (comparison(score()), 0.94, "judge_at_least_0.95_on_real_images"),
    ],
)
def test_each_condition_of_generation_can_fail(
    found: judging.Comparison, judge: float, fails: str | None
) -> None:
    verdict = generation.verdict(found, judge, Scale.CPU)
    assert [name for name, held in verdict.items() if not held] == ([fails] if fails else [])
    assert list(generation.verdict(found, judge, Scale.SMOKE)) == ["accuracy_with_labels_at_least_0.97"]


def test_generation_and_quality_report_their_numbers(
    aligned: AlignedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generation.PAIRS, Scale.SMOKE, SETUP)
    measured = CLAIMS["G2"](Scale.SMOKE, 0)
    assert measured.ours == judging.compare(aligned, 0).ours.accuracy_free  # never the one with labels
    assert [figure.name for figure in measured.figures] == ["translations"]
    quality = CLAIMS["G3"](Scale.SMOKE, 0)
    assert quality.passed == (quality.ours <= 1.25 * quality.baseline)
    assert "fid_clf" in quality.quantity


@pytest.mark.slow
def test_a_cyclegan_joins_the_comparison_if_it_is_given_steps(aligned: AlignedPair) -> None:
    larger = trained_pair(replace(SETUP, size=32, classifier=Recipe(1, 256)), 0, CPU)
    methods = judging._methods(replace(aligned, pair=larger), 0, 1)
    assert list(methods)[-1] == judging.CYCLEGAN
    images = methods[judging.CYCLEGAN][0](False)
    assert images.shape == (180, 1, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1


def test_examples_are_of_all_clusters() -> None:
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert judging.examples(labels, 3, 6) == [1, 4, 0, 2, 5]


# G4 -----------------------------------------------------------------------------------------------------------------------


def test_every_step_matters(aligned: AlignedPair) -> None:
    found = ablations.without_translation(aligned, 0)
    assert found.mixed > 0
    assert found.accuracy_with > found.accuracy_without + 0.05
    assert ablations.empty_before(aligned.model.stages_[0]) > 0.3
    assert ablations.empty_after(aligned.model.src_) < 1e-9
    assert ablations.hit_twice(aligned.model) > 0.05
    assert ablations.meeting_points(aligned.model) == 0


def test_what_is_empty_is_measured(aligned: AlignedPair) -> None:
    stage = aligned.model.stages_[0]
    everywhere = replace(stage, translated=disk(len(stage.translated)).vertices)
    one = replace(everywhere, prepared=replace(stage.prepared, slots=0 * stage.prepared.slots))
    assert ablations.empty_before(one) < 1e-4


def test_weights_are_compared_on_the_same_blobs() -> None:
    rows = [ablations._distortion(3, kind, 0) for kind in ("cotan", "uniform")]
    assert [row.flips for row in rows] == [0, 0]
    assert rows[0].mean < rows[1].mean  # harmonic maps distort less than Tutte's


# G5 -----------------------------------------------------------------------------------------------------------------------


def test_paths_stay_inside_or_cross_one_border(aligned: AlignedPair) -> None:
    model = aligned.model
    inner = curves.inner_paths(model, 12, 10, 0)
    slots = model.src_.slot_of(inner.points.reshape(-1, 2))[0].reshape(12, 10)
    assert (slots == inner.slots[:, None]).all()
    crossing = curves.crossing_paths(model, 12, 10, 0)
    _, target, named = curves.mapped(model, aligned, crossing)
    assert (curves.switches(named) == 1).all()
    assert (named[:, 0] == crossing.slots).all()
    assert (named[:, -1] == crossing.ends).all()
    assert (crossing.slots != crossing.ends).all()
    assert target.shape[:2] == (12, 10)


def test_steps_obey_the_bound_and_a_jump_does_not(aligned: AlignedPair) -> None:
    own = curves.own_cells(aligned)
    assert own.report()["registration"] == "harmonic"
    assert curves.step_over_bound(own, curves.inner_paths(own, 20, 30, 0)) <= 1 + 1e-9
    inner = curves.inner_paths(own, 20, 30, 0)
    assert curves.step_over_bound(own, inner) > 0.1
    forward = own.registration_.forward
    own.registration_.forward = lambda uv, slots: 9 * forward(uv, slots)  # type: ignore[method-assign]
    assert curves.step_over_bound(own, inner) > 1


def test_a_jump_of_the_images_raises_the_ratio() -> None:
    even = torch.linspace(0, 1, 9).reshape(1, 9, 1, 1, 1)
    assert curves.step_ratio(even) == pytest.approx(1, rel=1e-5)
    uneven = torch.tensor([0.0, 1.0, 1.1, 2.1, 2.2, 3.2]).reshape(1, 6, 1, 1, 1)
    assert curves.step_ratio(uneven) == pytest.approx(10, rel=1e-3)
    assert curves.step_ratio(torch.zeros(1, 9, 1, 1, 1)) == float("inf")
    assert curves.switches(np.array([[0, 0, 1, 1], [0, 1, 0, 0]])).tolist() == [1, 2]


def test_curves_report_their_numbers(aligned: AlignedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(curves.PAIRS, Scale.SMOKE, SETUP)
    monkeypatch.setattr(curves, "N_PATHS", 10)
    monkeypatch.setattr(curves, "N_STEPS", 16)
    measured = CLAIMS["G5"](Scale.SMOKE, 0)
    assert measured.values["cluster_switches_exactly_once_across_a_border"]
    assert [figure.name for figure in measured.figures] == ["curve-inside", "curve-across"]


# G6 -----------------------------------------------------------------------------------------------------------------------


def test_costs_of_every_method() -> None:
    rows = {method: cost.cost(100, method, 0) for method in cost.METHODS}
    assert all(row.merge_seconds > 0 and row.merge_megabytes > 0 for row in rows.values())
    assert rows["assignment"].mass_error is None
    assert rows["hierarchical"].mass_error <= 1e-8
    assert cost.whole(rows["hierarchical"]) > rows["hierarchical"].merge_seconds


def test_memory_is_that_of_the_call() -> None:
    assert cost.peak_megabytes(lambda: np.zeros(2**20)) == pytest.approx(8, abs=0.2)


def test_cost_reports_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cost.EFFORTS, Scale.SMOKE, cost.Effort((50, 100), 50))
    measured = CLAIMS["G6"](Scale.SMOKE, 0)
    assert measured.values["hierarchical/n_100/seconds"] == measured.ours
    assert "assignment/n_100/seconds" not in measured.values
