"""G2 and G3: no collapse and no mixture in generation, and the quality of what is generated."""

from collections.abc import Mapping
from dataclasses import asdict

import torch

from tenfold.claims import Figure, Measurement, Scale, Value, claim

from ..figures import translation_grid
from .judging import CYCLEGAN, OURS, PLAIN, Comparison, compare, examples
from .pair import COLOUR, PAIRS, AlignedPair, aligned_pair
from .training import device_for, in_words

CYCLEGAN_STEPS = {Scale.SMOKE: 0, Scale.CPU: 0, Scale.GPU: 4_000, Scale.PAPER: 40_000}
ACCURACY = {Scale.SMOKE: 0.97, Scale.CPU: 0.93, Scale.GPU: 0.96, Scale.PAPER: 0.96}
OVER_PLAIN, BELOW_KNN, MIXTURE = 0.40, 0.03, 0.03
COLOUR_ACCURACY, JUDGE_ACCURACY = 0.95, 0.95
FID_RATIO = 1.25


@claim(
    "G2",
    "No mode collapse and no mode mixture in generation",
    source="abstract: alleviates mode collapse and mode mixture; criterion inferred",
    known_gaps={
        "cpu": "accuracy 0.74, 0.70, 0.73 without labels (seeds 0, 1, 2) and 0.76, 0.73, 0.75 with them, 9, 8 and 9 of 10 clusters covered. The "
        "autoencoder of Chinese MNIST is the limit: the judge (0.97 to 0.98 on real images) recognises only 0.60, 0.59, 0.64 of its reconstructions. "
        "Plain transport 0.08, 0.05, 0.11, keypoint-guided 0.37, random partners in the class 0.69, 0.67, 0.73"
    },
)
def no_collapse(scale: Scale, seed: int) -> Measurement:
    """smoke: digits with principal components, accuracy >= 0.97 with source labels given, plain transport reported.
    cpu: MNIST -> Chinese MNIST, autoencoders with d = 16: with labels >= 0.93 and >= plain transport + 0.40; without
    labels >= accuracy of the vote of codes on source test images - 0.03; all clusters covered; mixture rate <= that of
    reconstructions + 0.03; the judge, trained on real images of the target, reaches 0.95 on its test images. gpu:
    with labels >= 0.96 in both directions, and >= 0.95 on the colour pair (K = 3).

    The headline is the accuracy without labels: with labels it is nearly guaranteed by construction (10.11)."""
    device = device_for(scale)
    aligned = aligned_pair(PAIRS[scale], seed, device)
    found = compare(aligned, seed, CYCLEGAN_STEPS[scale])
    conditions = verdict(found, aligned.pair.judge_accuracy, scale)
    values: dict[str, Value] = {}
    if scale in COLOUR:
        conditions |= _further_pairs(scale, seed, device, values)
    ours, plain = found.ours, found.scores[PLAIN]
    values |= {
        "accuracy_given": ours.accuracy_given,
        "accuracy_free": ours.accuracy_free,
        "knn_accuracy_of_codes": found.knn,
        "judge_accuracy": aligned.pair.judge_accuracy,
        "covered": ours.covered,
        "mixture_over_reconstruction": ours.excess,
        "merge": aligned.model.merge_,
        **{f"{name}/accuracy_free": score.accuracy_free for name, score in found.scores.items()},
    }
    return Measurement(
        quantity="translation accuracy without source labels, by a classifier of real target images; baseline: plain OT",
        ours=ours.accuracy_free,
        baseline=plain.accuracy_free,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=[found.table()],
        figures=[grid(aligned, found)],
    )


def verdict(found: Comparison, judge_accuracy: float, scale: Scale) -> dict[str, bool]:
    """The conditions of a scale on its first pair."""
    ours, plain = found.ours, found.scores[PLAIN]
    assert ours.accuracy_given is not None
    least = ACCURACY[scale]
    conditions = {f"accuracy_with_labels_at_least_{least}": ours.accuracy_given >= least}
    if scale is Scale.SMOKE:
        return conditions
    return conditions | {
        "accuracy_with_labels_at_least_0.40_over_plain_OT": ours.accuracy_given
        >= plain.accuracy_free + OVER_PLAIN,
        "accuracy_without_labels_at_least_that_of_codes_minus_0.03": ours.accuracy_free
        >= found.knn - BELOW_KNN,
        "all_clusters_covered": ours.covered == found.n_clusters,
        "mixture_rate_at_most_that_of_reconstructions_plus_0.03": ours.excess <= MIXTURE,
        "judge_at_least_0.95_on_real_images": judge_accuracy >= JUDGE_ACCURACY,
    }


def _further_pairs(
    scale: Scale, seed: int, device: torch.device, values: dict[str, Value]
) -> dict[str, bool]:
    """The other direction, and the colour pair."""
    conditions = {}
    for name, setup, least in (
        ("reverse", PAIRS[scale].reversed(), ACCURACY[scale]),
        ("colour", COLOUR[scale], COLOUR_ACCURACY),
    ):
        aligned = aligned_pair(setup, seed, device)
        found = compare(aligned, seed)
        assert found.ours.accuracy_given is not None
        conditions[f"{name}_accuracy_with_labels_at_least_{least}"] = found.ours.accuracy_given >= least
        numbers: Mapping[str, Value] = asdict(found.ours)
        values |= {f"{name}/{key}": value for key, value in numbers.items()}
        values |= {
            f"{name}/judge_accuracy": aligned.pair.judge_accuracy,
            f"{name}/knn_accuracy_of_codes": found.knn,
            f"{name}/plain_OT/accuracy_free": found.scores[PLAIN].accuracy_free,
        }
    return conditions


def grid(aligned: AlignedPair, found: Comparison) -> Figure:
    """Test images of every cluster, and what the methods make of them without labels."""
    rows = examples(aligned.pair.source.labels("test"), found.n_clusters, 20)
    names = [
        name
        for name in (OURS, PLAIN, "translation + nearest neighbour", CYCLEGAN)
        if name in found.translated
    ]
    shown = [("source", found.sources[rows].numpy())]
    shown += [(name.replace(" + ", " +\n"), found.translated[name][rows].numpy()) for name in names]
    return translation_grid(
        "translations",
        shown,
        f"{aligned.pair.name}, without labels",
        f"Rows of images: test images of {aligned.pair.source.title}, cluster by cluster, and below what "
        f"{', '.join(names)} make of them.",
    )


@claim(
    "G3",
    "Translations are nearly as good as the target's own reconstructions",
    source="abstract: superior performance over existing models; criterion inferred, no number verified",
    known_gaps={
        "smoke": "180 test images: the floor is made of the very images it is compared with, and other real images miss it too"
    },
)
def quality(scale: Scale, seed: int) -> Measurement:
    """`fid_clf`, the Fréchet distance of the judge's features between translated test images, without labels, and real
    target test images: at most 1.25 times that of plain reconstructions of these images by the target's codec. Not FID,
    and not to be compared with published FIDs. Baselines are reported, and the distance of reconstructions of other
    images, which is what a perfect translator could reach."""
    aligned = aligned_pair(PAIRS[scale], seed, device_for(scale))
    found = compare(aligned, seed, CYCLEGAN_STEPS[scale])
    ours, floor = found.ours.fid, found.floor.fid
    conditions = {"fid_clf_at_most_1.25_times_that_of_reconstructions": ours <= FID_RATIO * floor}
    values: dict[str, Value] = {
        "ratio": ours / floor,
        "ratio_of_other_images_reconstructed": found.scores["reconstruction, other images"].fid / floor,
        "ratio_with_labels": None if found.ours.fid_given is None else found.ours.fid_given / floor,
        **{f"{name}/fid_clf": score.fid for name, score in found.scores.items()},
        **{f"{name}/recall": score.recall for name, score in found.scores.items()},
    }
    return Measurement(
        quantity="fid_clf of translations without labels; baseline: that of plain reconstructions",
        ours=ours,
        baseline=floor,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=[found.table()],
    )
