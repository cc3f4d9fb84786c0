"""Every method on the same pair, the same test images and the same judge: what G2 and G3 compare.

Plain reconstructions of real target images are the floor of all scores: no translation can be decoded better than the
target's codec decodes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from tenfold.claims import Table

from ..baselines.named import BASELINES
from ..metrics import (
    Judgement,
    cluster_coverage,
    excess_mixture,
    frechet_distance,
    judge,
    knn_accuracy,
    mixture_rate,
    neighbour_scores,
    translation_accuracy,
)
from ..models.cyclegan import CycleGAN, train_cyclegan
from .pair import AlignedPair, Pair
from .training import seeded

OURS, PLAIN = "GMapLatent", "plain OT"
NAMES = {
    "plain_ot": PLAIN,
    "sinkhorn_l1l2": "Sinkhorn, class-regularised",
    "keypoint_guided_ot": "keypoint-guided OT",
    "barycentre_nearest": "translation + nearest neighbour",
    "random_pairing": "random pairing in the class",
}
CYCLEGAN = "CycleGAN"
WITHOUT_LABELS = (PLAIN, NAMES["sinkhorn_l1l2"], NAMES["keypoint_guided_ot"], CYCLEGAN)
"""What makes no use of the labels of the images it translates: there is one result, not two."""

Translator = Callable[[bool], Float32[Tensor, "n c h w"]]
"""Translates the source's test images; True gives it their labels."""


@dataclass(frozen=True)
class Score:
    """One method on the test images; everything but `accuracy_given` is without labels.

    Args:
        accuracy_given: the judge's accuracy on translations with source labels given; None if the method takes none.
        accuracy_free: without labels.
        mixture: rate of outputs in no class.
        excess: that rate minus the one of reconstructions.
        covered: clusters that are found at least half as often as expected.
        fid: `fid_clf` against real target test images.
        fid_given: the same with labels given.
        precision, recall, density, coverage: of features among neighbours.
        seconds: of fitting and of translating the test images.
    """

    accuracy_given: float | None
    accuracy_free: float
    mixture: float
    excess: float
    covered: int
    fid: float
    fid_given: float | None
    precision: float
    recall: float
    density: float
    coverage: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All methods on one pair.

    Args:
        scores: method -> score; "reconstruction" is the floor, "reconstruction, other images" what is left of it
            when the images are not those they are compared with.
        translated: method -> images without labels.
        sources: the test images they come from.
        knn: accuracy of the vote of codes on the source's test images.
        n_clusters: K.
    """

    scores: Mapping[str, Score]
    translated: Mapping[str, Float32[Tensor, "n c h w"]]
    sources: Float32[Tensor, "n c h w"]
    knn: float
    n_clusters: int

    @property
    def ours(self) -> Score:
        return self.scores[OURS]

    @property
    def floor(self) -> Score:
        return self.scores["reconstruction"]

    def table(self) -> Table:
        columns = ("method", *Score.__dataclass_fields__)
        rows = tuple(
            (name, *(getattr(score, column) for column in columns[1:])) for name, score in self.scores.items()
        )
        return Table("methods", columns, rows)


@lru_cache(maxsize=2)
def compare(aligned: AlignedPair, seed: int, cyclegan_steps: int = 0) -> Comparison:
    """Translate the source's test images with every method, and judge.

    Args:
        aligned: a trained pair with its alignment.
        seed: of the baselines.
        cyclegan_steps: of a CycleGAN on the images; 0 leaves it out.
    """
    pair = aligned.pair
    real = judge(pair.judge, pair.target.parts.test.images)
    plain = pair.target.codec.decode(pair.target.codes["test"])
    floor = judge(pair.judge, plain)
    target_labels = pair.target.labels("test")
    some = np.random.default_rng(seed).permutation(len(pair.target.codes["train"]))[: len(target_labels)]
    others = judge(pair.judge, pair.target.codec.decode(pair.target.codes["train"][some]))
    scores = {
        "reconstruction": _score(floor, None, target_labels, floor, real, pair.target.seconds),
        "reconstruction, other images": _score(
            others, None, pair.target.labels("train")[some], floor, real, pair.target.seconds
        ),
    }
    translated: dict[str, Float32[Tensor, "n c h w"]] = {}
    for name, (translate, fitting) in _methods(aligned, seed, cyclegan_steps).items():
        started = time.perf_counter()
        images = translate(False)
        seconds = fitting + time.perf_counter() - started
        takes_labels = name not in WITHOUT_LABELS
        given = judge(pair.judge, translate(True)) if takes_labels else None
        scores[name] = _score(
            judge(pair.judge, images), given, pair.source.labels("test"), floor, real, seconds
        )
        translated[name] = images
    source = pair.source
    knn = knn_accuracy(
        source.codes["train"], source.labels("train"), source.codes["test"], source.labels("test")
    )
    return Comparison(scores, translated, source.parts.test.images, knn, pair.n_clusters)


def _methods(aligned: AlignedPair, seed: int, cyclegan_steps: int) -> dict[str, tuple[Translator, float]]:
    """Name -> translator, and the seconds of fitting it where that is apart from translating."""
    found: dict[str, tuple[Translator, float]] = {OURS: (_ours(aligned), aligned.seconds)}
    for key, name in NAMES.items():
        found[name] = (_on_codes(key, aligned.pair, seed), 0.0)
    if cyclegan_steps:
        started = time.perf_counter()
        network = trained_cyclegan(aligned.pair, cyclegan_steps, seed)
        found[CYCLEGAN] = (_on_images(network, aligned.pair), time.perf_counter() - started)
    return found


def _ours(aligned: AlignedPair) -> Translator:
    source, codec = aligned.pair.source, aligned.pair.target.codec
    codes, labels = source.codes["test"], source.labels("test")
    return lambda given: codec.decode(aligned.model.transform(codes, labels if given else None))


def _on_codes(key: str, pair: Pair, seed: int) -> Translator:
    random = key != "barycentre_nearest"
    method = BASELINES[key](seed=seed) if random else BASELINES[key]()  # type: ignore[call-arg]
    source, target = pair.source, pair.target

    def translate(given: bool) -> Float32[Tensor, "n c h w"]:
        codes = method.translate(
            source.codes["train"], source.labels("train"), target.codes["train"], target.labels("train"),
            source.codes["test"], source.labels("test") if given else None,
        )  # fmt: skip
        return target.codec.decode(codes)

    return translate


def trained_cyclegan(pair: Pair, steps: int, seed: int) -> CycleGAN:
    """On the training images of both domains, without labels, on the judge's device."""
    channels = pair.source.parts.train.shape[0]
    network = seeded(seed, lambda: CycleGAN(channels)).to(next(pair.judge.parameters()).device)
    train_cyclegan(
        network, pair.source.parts.train.images, pair.target.parts.train.images, steps=steps, seed=seed
    )
    return network.eval()


def _on_images(network: CycleGAN, pair: Pair) -> Translator:
    place = next(network.parameters()).device

    @torch.no_grad()
    def translate(given: bool) -> Float32[Tensor, "n c h w"]:
        parts = pair.source.parts.test.images.split(256)
        return torch.cat([network(part.to(place)).clamp(0, 1).float().cpu() for part in parts])

    return translate


def _score(
    free: Judgement,
    given: Judgement | None,
    labels: Int[np.ndarray, "n"],
    floor: Judgement,
    real: Judgement,
    seconds: float,
) -> Score:
    return Score(
        accuracy_given=None if given is None else translation_accuracy(given.probabilities, labels),
        accuracy_free=translation_accuracy(free.probabilities, labels),
        mixture=mixture_rate(free.probabilities),
        excess=excess_mixture(free.probabilities, floor.probabilities),
        covered=cluster_coverage(free.probabilities, labels).covered,
        fid=frechet_distance(free.features, real.features),
        fid_given=None if given is None else frechet_distance(given.features, real.features),
        **neighbour_scores(real.features, free.features)._asdict(),
        seconds=seconds,
    )


def examples(labels: Int[np.ndarray, "n"], n_clusters: int, most: int = 16) -> list[int]:
    """Rows of the first images of every cluster, clusters in turn."""
    per = max(1, most // n_clusters)
    rows = [np.flatnonzero(labels == k)[:per] for k in range(n_clusters)]
    return np.concatenate(rows).tolist()
