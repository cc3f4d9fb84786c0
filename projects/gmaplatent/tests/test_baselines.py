"""The baselines: what each must do on clusters where the answer is known, and what they refuse."""

import numpy as np
import pytest

from gmaplatent.baselines import (
    BASELINES,
    BarycentreNearest,
    KeypointGuidedOT,
    PlainOT,
    RandomPairing,
    SinkhornL1L2,
)
from gmaplatent.baselines.transport import _jensen_shannon, _medoids
from gmaplatent.neighbours import vote

METHODS = [make() for make in BASELINES.values()]
TRANSPORTS = [PlainOT(), SinkhornL1L2(), KeypointGuidedOT()]


def clusters(seed=0, n=30, dim=2, shift=0.0, order=(0, 1, 2)):
    """Three clusters on a line; `order` says which label is where."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], n)
    place = np.argsort(order)[labels]
    codes = 0.2 * rng.normal(size=(3 * n, dim))
    codes[:, 0] += 4 * place + shift
    return codes, labels


def nearest_label(codes, labels, found):
    return vote(codes, labels, found, k=3)


@pytest.mark.parametrize("method", METHODS, ids=list(BASELINES))
@pytest.mark.parametrize("given", [True, False])
def test_all_find_clusters_that_lie_alike(method, given):
    (source, y), (target, w) = clusters(0), clusters(1, n=25, shift=1.0)
    query, labels = clusters(2, n=10)
    found = method.translate(source, y, target, w, query, labels if given else None)
    assert found.shape == query.shape
    assert np.array_equal(nearest_label(target, w, found), labels)


def test_plain_transport_mismatches_clusters_that_lie_in_another_order():
    """Without labels the clusters are paired by where they are; with K pairs of keypoints they are not."""
    (source, y), (target, w) = clusters(0), clusters(1, order=(1, 2, 0))
    scores = {
        name: (nearest_label(target, w, make().translate(source, y, target, w, source)) == y).mean()
        for name, make in BASELINES.items()
    }
    assert scores["plain_ot"] < 0.1
    for name in ("keypoint_guided_ot", "barycentre_nearest", "random_pairing"):
        assert scores[name] == 1


def test_plain_transport_is_optimal():
    """On a line the optimal plan is monotone, and with equal numbers it is a matching."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(20, 1)), 3 * rng.normal(size=(20, 1)) + 2
    labels = np.zeros(20, dtype=int)
    found = PlainOT().translate(source, labels, target, labels, source)
    assert np.allclose(found[source[:, 0].argsort()], np.sort(target, axis=0))


def test_a_new_code_follows_its_nearest_one():
    source, labels = np.array([[0.0], [10.0]]), [0, 1]
    there = {
        rule: PlainOT(extension=rule).translate(source, labels, source + 3, labels, [[1.0], [8.5]])
        for rule in ("nearest", "displacement")
    }
    assert np.allclose(there["nearest"], [[3.0], [13.0]])
    assert np.allclose(there["displacement"], [[4.0], [11.5]])


def test_the_class_penalty_keeps_classes_together():
    """Two classes that overlap in the source: the penalty makes rows of one class share their columns."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(40, 2)), 2 * rng.normal(size=(40, 2))
    y = np.repeat([0, 1], 20)

    def distance_within(weight):
        method = SinkhornL1L2(reg_classes=weight, iterations=20)
        found = method.translate(source, y, target, y, source)
        return np.mean(
            [np.linalg.norm(found[y == k] - found[y == k].mean(0), axis=1).mean() for k in (0, 1)]
        ), found

    loose, plain = distance_within(0.0)
    tight, grouped = distance_within(5.0)
    apart = [
        np.linalg.norm(np.diff([codes[y == k].mean(0) for k in (0, 1)], axis=0)) for codes in (plain, grouped)
    ]
    assert apart[1] > 1.5 * apart[0]
    assert tight < loose


def test_transport_that_did_not_converge_is_an_error():
    (source, y), (target, w) = clusters(0), clusters(1, n=25, shift=1.0)
    with pytest.raises(
        ValueError, match=r"reg is 1e-05, too small for these codes: .* is off the target's; raise it"
    ):
        SinkhornL1L2(reg=1e-5).translate(source, y, target, w, source)


# --- keypoints ---------------------------------------------------------------------------------------------------------


def test_the_plan_obeys_the_mask_and_the_masses():
    (source, y), (target, w) = clusters(0, n=8), clusters(1, n=5)
    keys_src, keys_tgt = _medoids(source, y), _medoids(target, w)
    plan = KeypointGuidedOT().plan(source, keys_src, target, keys_tgt)
    mass = 1 / 24
    for u in range(3):
        assert np.flatnonzero(plan[keys_src[u]]).tolist() == [keys_tgt[u]]
        assert np.flatnonzero(plan[:, keys_tgt[u]]).tolist() == [keys_src[u]]
        assert plan[keys_src[u], keys_tgt[u]] == pytest.approx(mass)
    assert plan.sum() == pytest.approx(1)
    rest = np.setdiff1d(np.arange(15), keys_tgt)
    assert np.allclose(plan[:, rest].sum(0), (1 - 3 * mass) / 12)


def test_relations_need_no_common_dimension():
    (source, y), (target, w) = clusters(0), clusters(1, dim=5, order=(2, 0, 1))
    found = KeypointGuidedOT(alpha=0.0).translate(source, y, target, w, source)
    assert found.shape == (90, 5)
    assert (nearest_label(target, w, found) == y).mean() == 1


def test_the_divergence_is_a_divergence():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), 5), rng.dirichlet(np.ones(4), 6)
    found = _jensen_shannon(p, q)
    assert found.shape == (5, 6)
    assert (found > 0).all()
    assert np.allclose(found, _jensen_shannon(q, p).T)
    assert np.allclose(np.diag(_jensen_shannon(p, p)), 0)
    # Disjoint distributions are ln 2 apart.
    assert np.allclose(_jensen_shannon(np.eye(2), np.eye(2)), np.log(2) * (1 - np.eye(2)))


def test_medoids_are_codes_of_their_cluster():
    codes, labels = clusters(0)
    found = _medoids(codes, labels)
    assert labels[found].tolist() == [0, 1, 2]
    for k, row in enumerate(found):
        others = codes[labels == k]
        distances = np.linalg.norm(others - others.mean(0), axis=1)
        assert np.linalg.norm(codes[row] - others.mean(0)) == distances.min()


# --- translation of means, random partners -----------------------------------------------------------------------------


def test_translation_alone_mixes_clusters_that_overlap():
    """The nearest code of an overlapping target may be another cluster's, even with the label given."""
    rng = np.random.default_rng(0)
    source, labels = np.zeros((100, 1)), np.repeat([0, 1], 50)
    source[:, 0] = np.where(labels == 0, -5, 5) + rng.normal(size=100)
    target = np.where(labels == 0, -0.2, 0.2)[:, None] + rng.normal(size=(100, 1))
    found = BarycentreNearest().translate(source, labels, target, labels, source, labels)
    rows = np.abs(found - target[:, 0]).argmin(1)
    assert (labels[rows] != labels).mean() > 0.2


def test_random_partners_are_codes_of_the_cluster_and_depend_on_the_seed():
    (source, y), (target, w) = clusters(0), clusters(1, dim=3)
    first, again, other = (
        RandomPairing(seed).translate(source, y, target, w, source, y) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    rows = np.array([np.flatnonzero((target == code).all(1))[0] for code in first])
    assert np.array_equal(w[rows], y)
    # Nothing of the geometry is kept: neighbours do not stay neighbours.
    assert len(np.unique(rows)) > 40


# --- votes, subsamples -------------------------------------------------------------------------------------------------


def test_votes():
    codes = np.array([[0.0], [1.0], [2.0], [10.0]])
    labels = np.array(["b", "b", "a", "a"])
    assert vote(codes, labels, np.array([[0.4], [9.0]]), k=3).tolist() == ["b", "a"]
    assert vote(codes, labels, np.array([[0.4]]), k=99).tolist() == ["a"]  # a tie of two and two
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        vote(codes, labels, np.array([[0.4]]), k=0)


@pytest.mark.parametrize(
    "method", [PlainOT(max_points=20), SinkhornL1L2(max_points=20), KeypointGuidedOT(max_points=20)]
)
def test_a_subsample_is_enough_for_separate_clusters(method):
    (source, y), (target, w) = clusters(0), clusters(1)
    found = method.translate(source, y, target, w, source)
    assert (nearest_label(target, w, found) == y).mean() > 0.6


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=list(BASELINES))
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes_src": np.zeros(4)}, r"codes_src must have shape \(n, d\)"),
        ({"codes_tgt": np.full((4, 2), np.inf)}, "codes_tgt must be finite; row 0 is not"),
        ({"labels_src": [0, 1]}, r"labels_src must have shape \(4,\)"),
        ({"labels_tgt": [0, 0, 1, 2]}, r"must name the same clusters; in one only: \[2\]"),
        ({"query": np.zeros((1, 3))}, "query must have the 2 dimensions"),
        ({"query_labels": [7]}, r"query_labels has clusters that no training code has: \[7\]"),
        ({"query_labels": [0, 0]}, r"query_labels must have shape \(1,\)"),
    ],
)
def test_bad_arguments_are_named(method, changes, message):
    codes, labels = np.arange(8.0).reshape(4, 2), [0, 0, 1, 1]
    arguments = {
        "codes_src": codes,
        "labels_src": labels,
        "codes_tgt": codes,
        "labels_tgt": labels,
        "query": codes[:1],
        "query_labels": None,
    }
    with pytest.raises(ValueError, match=message):
        method.translate(**{**arguments, **changes})


@pytest.mark.parametrize(
    "method", [PlainOT(), SinkhornL1L2(), KeypointGuidedOT(alpha=0.5), BarycentreNearest()]
)
def test_codes_that_cannot_be_compared_are_refused(method):
    (source, y), (target, w) = clusters(0), clusters(1, dim=3)
    with pytest.raises(ValueError, match="codes_src have 2, codes_tgt have 3"):
        method.translate(source, y, target, w, source)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SinkhornL1L2(reg=0), "reg must be above 0, .* got 0, 0.1 and 5"),
        (lambda: SinkhornL1L2(iterations=0), "iterations at least 1"),
        (lambda: KeypointGuidedOT(alpha=2), r"alpha must be in \[0, 1\]"),
        (
            lambda: PlainOT("mean").translate([[0.0]], [0], [[0.0]], [0], [[0.0]]),
            "extension must be 'nearest' or 'displacement', got 'mean'",
        ),
        (
            lambda: KeypointGuidedOT(extension="displacement").translate(
                *clusters(), *clusters(dim=3), clusters()[0]
            ),
            "extension='displacement' needs codes of one dimension, got 2 and 3",
        ),
        (lambda: KeypointGuidedOT(temperature=0), "temperature above 0, got 0.0 and 0"),
        (
            lambda: PlainOT(max_points=0).translate([[0.0]], [0], [[0.0]], [0], [[0.0]]),
            "max_points must be at least 1",
        ),
        (
            lambda: KeypointGuidedOT().translate([[0.0], [1.0]], [0, 0], [[0.0]], [0], [[0.0]]),
            "no codes besides its 1 keypoints",
        ),
    ],
)
def test_bad_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_pot_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    codes, labels = clusters(0)
    for method in TRANSPORTS:
        with pytest.raises(ModuleNotFoundError, match=r"install gmaplatent\[train\]"):
            method.translate(codes, labels, codes, labels, codes)
