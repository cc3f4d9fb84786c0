"""Metrics: known values, invariances, and what they refuse."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from gmaplatent.metrics import (
    cluster_coverage,
    cluster_hulls,
    empty_share,
    excess_mixture,
    fid_clf,
    frechet_distance,
    judge,
    knn_accuracy,
    mixture_rate,
    neighbour_scores,
    translation_accuracy,
)
from gmaplatent.models import ImageClassifier

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]


def certain(classes, k=3, p=0.94):
    """Probabilities that say these classes."""
    rest = (1 - p) / (k - 1)
    return np.where(np.arange(k) == np.asarray(classes)[:, None], p, rest)


# --- accuracy, mixtures, coverage --------------------------------------------------------------------------------------


def test_accuracy_of_translations():
    assert translation_accuracy(certain([0, 1, 2, 2]), [0, 1, 2, 0]) == 0.75
    assert translation_accuracy(certain([1, 1]), [0, 0]) == 0


def test_mixtures_are_outputs_that_no_class_owns():
    sure, mixed = certain([0, 1]), certain([0, 1], p=0.5)
    assert mixture_rate(sure) == 0
    assert mixture_rate(np.concatenate([sure, mixed])) == 0.5
    assert mixture_rate(sure, threshold=0.99) == 1
    assert excess_mixture(np.concatenate([sure, mixed]), np.concatenate([sure, sure, mixed, mixed])) == 0
    assert excess_mixture(sure, mixed) == -1


@pytest.mark.parametrize(
    ("found", "covered"),
    [
        ([0, 0, 1, 1, 2, 2], 3),
        ([0, 0, 0, 0, 1, 2], 3),  # half of the expected frequency is enough
        ([0, 0, 0, 1, 1, 1], 2),
        ([0] * 6, 1),
    ],
)
def test_coverage_counts_clusters_with_half_their_frequency(found, covered):
    labels = [0, 0, 1, 1, 2, 2]
    score = cluster_coverage(certain(found), labels)
    assert score == (covered, 3)
    assert score.share == pytest.approx(covered / 3)


def test_coverage_expects_only_clusters_that_were_asked_for():
    assert cluster_coverage(certain([0, 0], k=10), [0, 0]) == (1, 1)


@pytest.mark.parametrize(
    "probabilities", [np.array([[2.0, -1.0]]), np.array([[0.2, 0.2]]), np.array([[np.nan, 1.0]])]
)
def test_logits_are_no_probabilities(probabilities):
    with pytest.raises(ValueError, match="probabilities must be"):
        mixture_rate(probabilities)


def test_neighbours_vote_on_codes():
    codes = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert knn_accuracy(codes, [0, 0, 1, 1], [[0.05], [5.05], [4.9], [0.2]], [0, 1, 1, 1], k=2) == 0.75


# --- Fréchet distance --------------------------------------------------------------------------------------------------


def test_the_distance_of_shifted_samples_is_the_square_of_the_shift():
    x = np.random.default_rng(0).normal(size=(200, 5))
    shift = np.array([1.0, -2.0, 0.0, 0.5, 3.0])
    assert frechet_distance(x, x + shift) == pytest.approx(np.square(shift).sum(), rel=1e-10)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)


def test_the_distance_of_scaled_samples():
    """Covariances Σ and s² Σ commute: the distance is (s - 1)² tr Σ."""
    x = np.random.default_rng(0).normal(size=(200, 4))
    x -= x.mean(0)
    assert frechet_distance(x, 3 * x) == pytest.approx(4 * np.trace(np.cov(x.T)), rel=1e-10)


def test_the_distance_agrees_with_the_square_root_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(100, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(80, 6)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_features_that_never_fire_are_no_trouble():
    x = np.random.default_rng(0).normal(size=(50, 3))
    dead = np.concatenate([x, np.zeros((50, 2))], 1)
    assert frechet_distance(dead, dead + np.eye(5)[0]) == pytest.approx(1, rel=1e-6)
    assert frechet_distance(x[:, :1], x[:, :1] + 2) == pytest.approx(4)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 2)), np.zeros((5, 2)), "at least two rows"),
        (np.zeros((5, 2)), np.zeros((5, 3)), "the same columns"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), "a must be finite"),
    ],
)
def test_bad_features_are_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


# --- the classifier's judgement ----------------------------------------------------------------------------------------


def test_a_judgement_is_that_of_the_classifier_in_evaluation_mode():
    classifier = ImageClassifier(1, 4, size=16, width=2)
    images = torch.rand(7, 1, 16, 16)
    classifier(images)  # moves the running statistics: training and evaluation differ from here on
    found = judge(classifier, images, batch_size=3)
    assert classifier.training
    classifier.eval()
    with torch.no_grad():
        assert np.allclose(found.probabilities, classifier(images).softmax(1), atol=1e-6)
        assert np.allclose(found.features, classifier.features(images), atol=1e-6)
    assert found.probabilities.dtype == np.float64
    assert fid_clf(classifier, images, images) == pytest.approx(0, abs=1e-6)
    assert fid_clf(classifier, images, 1 - images) > 1e-3


def test_no_images_cannot_be_judged():
    with pytest.raises(ValueError, match="at least one image"):
        judge(ImageClassifier(1, 2, 8), torch.zeros(0, 1, 8, 8))


# --- neighbours --------------------------------------------------------------------------------------------------------


def test_scores_of_the_same_distribution_are_high():
    rng = np.random.default_rng(0)
    scores = neighbour_scores(rng.normal(size=(300, 2)), rng.normal(size=(300, 2)))
    assert scores.precision > 0.9
    assert scores.recall > 0.9
    assert scores.coverage > 0.9
    assert 0.8 < scores.density < 1.2


def test_collapse_keeps_precision_and_loses_recall_and_coverage():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 2))
    scores = neighbour_scores(real, 0.01 * rng.normal(size=(300, 2)))
    assert scores.precision == 1
    assert scores.recall < 0.1
    assert scores.coverage < 0.1


def test_outliers_lose_precision_only():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 2))
    scores = neighbour_scores(real, np.concatenate([real + 1e-9, rng.normal(size=(200, 2)) + 50]))
    assert scores.precision == pytest.approx(0.5)
    assert scores.coverage == 1


def test_too_few_neighbours_are_named():
    with pytest.raises(ValueError, match="more than k = 5 >= 1 rows each"):
        neighbour_scores(np.zeros((5, 2)), np.zeros((9, 2)))


# --- empty space -------------------------------------------------------------------------------------------------------


def test_hulls_and_what_they_leave_empty():
    points = np.array(
        [[0, 0], [0.5, 0], [0.5, 1], [0, 1], [0.25, 0.5], [0.6, 0.4], [0.8, 0.4], [0.8, 0.6], [0.6, 0.6]]
    )
    labels = [0] * 5 + [1] * 4
    hulls = cluster_hulls(points, labels)
    assert [hull.area for hull in hulls] == pytest.approx([0.5, 0.04])
    assert empty_share(hulls, SQUARE) == pytest.approx(0.46)
    assert empty_share(hulls[:1], SQUARE) == pytest.approx(0.5)


def test_it_is_the_share_of_uniform_samples():
    import shapely

    hulls = cluster_hulls(np.random.default_rng(0).uniform(0.2, 0.7, size=(60, 2)), np.repeat([0, 1], 30))
    samples = np.random.default_rng(1).uniform(size=(20_000, 2))
    outside = ~np.any([shapely.contains_xy(hull, samples) for hull in hulls], axis=0)
    assert empty_share(hulls, SQUARE) == pytest.approx(outside.mean(), abs=4 * math.sqrt(0.25 / 20_000))


def test_overlaps_count_once_and_what_is_outside_does_not():
    hulls = cluster_hulls(np.array([[0, 0], [2, 0], [0, 2], [2, 2]] * 2), [0] * 4 + [1] * 4)
    assert empty_share(hulls, SQUARE) == 0


def test_bad_domains_are_named():
    hulls = cluster_hulls(np.random.default_rng(0).uniform(size=(9, 2)), [0] * 9)
    with pytest.raises(ValueError, match="simple polygon"):
        empty_share(hulls, [[0, 0], [1, 1], [1, 0], [0, 1]])
    with pytest.raises(ValueError, match="at least one region"):
        empty_share([], SQUARE)
