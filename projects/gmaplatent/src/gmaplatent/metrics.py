"""What a translation is worth: accuracy, mixtures, coverage, distances of features, empty space (§8).

Images are judged by a classifier of the *target* domain, trained on its real images. `fid_clf` is the Fréchet distance of
that classifier's features; it is not FID, which needs an Inception network, and is not comparable with it.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import shapely
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from torch import Tensor

from .alignment.correspondence import validated_codes, validated_labels
from .models.classifier import ImageClassifier
from .neighbours import vote

MIXTURE_THRESHOLD = 0.8
"""An output is a mixture if the classifier gives no class more than this probability (G2)."""


class Judgement(NamedTuple):
    """What the classifier says about images.

    Args:
        probabilities: of the classes; rows sum to 1.
        features: of its last layer before the logits.
    """

    probabilities: Float[np.ndarray, "n k"]
    features: Float[np.ndarray, "n f"]


@torch.no_grad()
def judge(classifier: ImageClassifier, images: Float[Tensor, "n c h w"], batch_size: int = 512) -> Judgement:
    """Probabilities and features of images, in evaluation mode, on the device of the classifier, in float64.

    Raises:
        ValueError: for images of another shape than the classifier's, or none.
    """
    if not len(images):
        raise ValueError("images must hold at least one image")
    was_training = classifier.training
    classifier.eval()
    place = next(classifier.parameters())
    features = torch.cat([classifier.features(part.to(place)) for part in images.split(batch_size)])
    probabilities = classifier.head(features).double().softmax(1)
    classifier.train(was_training)
    return Judgement(probabilities.cpu().numpy(), features.double().cpu().numpy())


def translation_accuracy(probabilities: Float[np.ndarray, "n k"], labels: ArrayLike) -> float:
    """Share of the translations that the classifier puts into the cluster of their source image.

    With labels given to the translation this is nearly 1 by construction (§10.11): report it without labels too, beside
    `knn_accuracy`.

    Example:
        >>> translation_accuracy(np.array([[0.9, 0.1], [0.4, 0.6]]), [0, 0])
        0.5
    """
    found = _probabilities(probabilities)
    return float((found.argmax(1) == validated_labels(labels, len(found), "labels")).mean())


def mixture_rate(probabilities: Float[np.ndarray, "n k"], threshold: float = MIXTURE_THRESHOLD) -> float:
    """Share of the images of which no class has a probability of at least `threshold`.

    Example:
        >>> mixture_rate(np.array([[0.9, 0.1], [0.5, 0.5]]))
        0.5
    """
    return float((_probabilities(probabilities).max(1) < threshold).mean())


def excess_mixture(
    translated: Float[np.ndarray, "n k"],
    reconstructed: Float[np.ndarray, "m k"],
    threshold: float = MIXTURE_THRESHOLD,
) -> float:
    """Mixture rate of translations minus that of plain reconstructions of real target images; may be below 0."""
    return mixture_rate(translated, threshold) - mixture_rate(reconstructed, threshold)


class Coverage(NamedTuple):
    """Clusters that are found often enough: how many, and of how many."""

    covered: int
    of: int

    @property
    def share(self) -> float:
        """covered / of."""
        return self.covered / self.of


def cluster_coverage(probabilities: Float[np.ndarray, "n k"], labels: ArrayLike) -> Coverage:
    """Target clusters with at least half of the frequency they should have, which is that among `labels`.

    Example:
        >>> cluster_coverage(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), [0, 0, 1, 1])
        Coverage(covered=1, of=2)
    """
    found = _probabilities(probabilities)
    wanted = validated_labels(labels, len(found), "labels")
    names, expected = np.unique(wanted, return_counts=True)
    got = np.bincount(found.argmax(1), minlength=found.shape[1])[names]
    return Coverage(int((2 * got >= expected).sum()), len(names))


def knn_accuracy(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, k: int = 15
) -> float:
    """Accuracy of a vote of the k nearest codes: what translation without labels can reach at best."""
    train = validated_codes(codes, "codes")
    test = validated_codes(test_codes, "test_codes", train.shape[1])
    names = validated_labels(labels, len(train), "labels")
    return float(
        (vote(train, names, test, k) == validated_labels(test_labels, len(test), "test_labels")).mean()
    )


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets of vectors.

        |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a^½ Σ_b Σ_a^½)^½)

    Args:
        a: (n, f), n ≥ 2.
        b: (m, f), m ≥ 2.

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(frechet_distance(x, x + [3, 4, 0]), 6)
        25.0
    """
    first = validated_codes(a, "a")
    second = validated_codes(b, "b")
    if first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(
            f"a and b must have the same columns and at least two rows each, got {first.shape} and {second.shape}"
        )
    mean = np.square(first.mean(0) - second.mean(0)).sum()
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
    root = _root(cov_a)
    # The eigenvalues of a symmetric product are real: no complex square root, and no imaginary part to drop.
    cross = np.sqrt(np.clip(scipy.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(max(mean + np.trace(cov_a) + np.trace(cov_b) - 2 * cross, 0.0))


def _root(matrix: Float[np.ndarray, "f f"]) -> Float[np.ndarray, "f f"]:
    values, vectors = scipy.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def fid_clf(
    classifier: ImageClassifier, images: Float[Tensor, "n c h w"], real: Float[Tensor, "m c h w"]
) -> float:
    """Fréchet distance of the classifier's features of two sets of images; not FID."""
    return frechet_distance(judge(classifier, images).features, judge(classifier, real).features)


class NeighbourScores(NamedTuple):
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of generated features."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(real: ArrayLike, generated: ArrayLike, k: int = 5) -> NeighbourScores:
    """How generated features lie among real ones, by balls that reach to the k-th neighbour.

    Args:
        real: (n, f), n > k.
        generated: (m, f), m > k.
        k: neighbours.

    Returns:
        precision: share of the generated in a ball of the real.
        recall: share of the real in a ball of the generated.
        density: balls of the real around a generated one, divided by k; may exceed 1.
        coverage: share of the real whose ball holds a generated one.

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 2))
        >>> neighbour_scores(x, x + 100).coverage
        0.0
    """
    ours, theirs = validated_codes(real, "real"), validated_codes(generated, "generated")
    if ours.shape[1] != theirs.shape[1] or k < 1 or min(len(ours), len(theirs)) <= k:
        raise ValueError(
            f"real and generated must have the same columns and more than k = {k} >= 1 rows each, got {ours.shape} "
            f"and {theirs.shape}"
        )
    around_real, around_generated = (np.partition(cdist(x, x), k, axis=1)[:, k] for x in (ours, theirs))
    distances = cdist(ours, theirs)
    in_real = distances <= around_real[:, None]  # [real, generated]
    in_generated = distances <= around_generated[None, :]
    return NeighbourScores(
        float(in_real.any(0).mean()),
        float(in_generated.any(1).mean()),
        float(in_real.sum(0).mean() / k),
        float(in_real.any(1).mean()),
    )


def cluster_hulls(points: ArrayLike, labels: ArrayLike) -> list[shapely.Geometry]:
    """The convex hull of every cluster in the plane, in the order of the labels.

    Hulls are generous: a point outside all of them is in no cluster by any definition.
    """
    found = validated_codes(points, "points", 2)
    names = validated_labels(labels, len(found), "labels")
    return [shapely.convex_hull(shapely.multipoints(found[names == name])) for name in np.unique(names)]


def empty_share(regions: list[shapely.Geometry], domain: ArrayLike) -> float:
    """Share of a domain's area that lies in none of the regions: of uniform samples, how many are in no cluster.

    Args:
        regions: of the clusters, e.g. `cluster_hulls`, or the cells of a merged domain.
        domain: (m, 2), the vertices of the polygon that samples are drawn from.

    Example:
        >>> square = [[0, 0], [1, 0], [1, 1], [0, 1]]
        >>> empty_share([shapely.box(0, 0, 0.5, 1)], square)
        0.5
    """
    whole = shapely.Polygon(np.asarray(domain, dtype=np.float64))
    if not whole.is_valid or whole.area <= 0:
        raise ValueError("domain must be the vertices of a simple polygon with positive area")
    if not regions:
        raise ValueError("regions must hold at least one region")
    return float(whole.difference(shapely.union_all(regions)).area / whole.area)


def _probabilities(probabilities: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    found = validated_codes(probabilities, "probabilities")
    if (found < 0).any() or not np.allclose(found.sum(1), 1, atol=1e-6):
        raise ValueError("probabilities must be non-negative rows that sum to 1; logits need a softmax")
    return found
