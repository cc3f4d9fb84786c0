"""The trained pair that several claims judge: a codec for each domain, classifiers of real images, and the alignment.

A pair is made once in a process for a set-up and a seed, whichever claim asks first; what it holds does not depend on who
asks.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from tenfold.claims import Scale

from ..alignment.aligner import GMapLatent
from ..alignment.layout import Layout, planar_layout
from ..codec import Codec, NetworkCodec, PCACodec
from ..data.domains import load_domain
from ..data.images import LabelledImages, Parts
from ..models.autoencoder import Autoencoder, ColourAutoencoder, GreyAutoencoder, Loss
from ..models.classifier import ImageClassifier
from .training import Recipe, derive, seeded, train_autoencoder, train_classifier

PartName = Literal["train", "test"]

TITLES = {
    "digits_a": "digits",
    "digits_b": "digits, transposed and inverted",
    "mnist": "MNIST",
    "mnist_full": "MNIST",
    "chinese_mnist": "Chinese MNIST",
    "cifar_source": "CIFAR-10 cat, deer, horse",
    "cifar_target": "CIFAR-10 dog, frog, ship",
    "animals_source": "cat, fox, leopard",
    "animals_target": "lion, tiger, wolf",
}


@dataclass(frozen=True)
class PairSetup:
    """Which domains, and how their codes are made.

    Args:
        source, target: names of `gmaplatent.data.load_domain`.
        d: dimension of the codes.
        autoencoder: how the autoencoders are trained; None for principal components, which need no training.
        classifier: how the judges of the translations are trained, on real images.
        per_cluster: codes of each cluster in the mesh.
        layout: of codes in the plane.
        size: height and width of the images; the domain's own if None.
        width: channels of the first stage of a colour autoencoder.
        loss: of the autoencoders; cross entropy for grey images, whose thin strokes a squared error leaves out for long.
    """

    source: str
    target: str
    d: int
    autoencoder: Recipe | None
    classifier: Recipe
    per_cluster: int
    layout: Layout = "tsne"
    size: int | None = None
    width: int = 32
    loss: Loss = "mse"

    def reversed(self) -> "PairSetup":
        """The other direction."""
        return replace(self, source=self.target, target=self.source)


DIGITS = PairSetup("digits_a", "digits_b", 16, None, Recipe(30, 64, 3e-3), 300, size=8)
HANDWRITING = PairSetup("mnist", "chinese_mnist", 16, Recipe(16, 64, 3e-3), Recipe(6, 128), 150, loss="bce")
PAIRS = {
    Scale.SMOKE: DIGITS,
    Scale.CPU: HANDWRITING,
    Scale.GPU: PairSetup("mnist", "chinese_mnist", 16, Recipe(60, 64), Recipe(20), 300, loss="bce"),
    Scale.PAPER: PairSetup(
        "mnist_full", "chinese_mnist", 16, Recipe(100), Recipe(20), 300, "umap", loss="bce"
    ),
}
"""The pair of every scale. t-SNE instead of UMAP up to gpu scale: it needs no compilation."""

COLOUR = {
    Scale.GPU: PairSetup("cifar_source", "cifar_target", 64, Recipe(60), Recipe(30), 300),
    Scale.PAPER: PairSetup(
        "animals_source", "animals_target", 100, Recipe(200, rate=1e-3), Recipe(60), 300, "umap", 64, 80
    ),
}
"""K = 3 in colour; the one of gpu scale is a substitute and not AFHQ."""


@dataclass(frozen=True, eq=False)
class Side:
    """One domain with its codec.

    Args:
        name: of the domain.
        parts: images.
        codec: made from the training images.
        codes: of the training and of the test images.
        seconds: of making the codec.
    """

    name: str
    parts: Parts
    codec: Codec
    codes: Mapping[PartName, Float[np.ndarray, "n d"]]
    seconds: float

    @property
    def title(self) -> str:
        return TITLES[self.name]

    def images(self, part: PartName) -> LabelledImages:
        return self.parts.train if part == "train" else self.parts.test

    def labels(self, part: PartName) -> Int[np.ndarray, "n"]:
        return self.images(part).labels.numpy()


@dataclass(frozen=True, eq=False)
class Pair:
    """Both domains, and a classifier of the target's real images.

    Args:
        source, target: the domains.
        judge: trained on the target's training images, never on translations.
        judge_accuracy: on the target's test images.
        seconds: of the classifier.
    """

    source: Side
    target: Side
    judge: ImageClassifier
    judge_accuracy: float
    seconds: float

    @classmethod
    def judged(cls, source: Side, target: Side, judge: ImageClassifier, seconds: float) -> "Pair":
        """With the judge's accuracy measured."""
        return cls(source, target, judge, accuracy_of(judge, target.parts.test), seconds)

    @property
    def name(self) -> str:
        return f"{self.source.title} → {self.target.title}"

    @property
    def n_clusters(self) -> int:
        return self.source.parts.train.n_clusters


@dataclass(frozen=True, eq=False)
class AlignedPair:
    """A pair with its alignment; `seconds` are of the fit, the layout included."""

    pair: Pair
    model: GMapLatent
    seconds: float


class RememberedLayout:
    """A layout that is computed once: codes that were laid out before, all or some of them, get their places again."""

    def __init__(self, layout: Layout, seed: int):
        self.layout, self.seed = layout, seed
        self._places: dict[bytes, Float[np.ndarray, "2"]] = {}

    def __call__(self, codes: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
        keys = [row.tobytes() for row in codes]
        if not all(key in self._places for key in keys):
            self._places |= zip(keys, planar_layout(codes, self.layout, self.seed), strict=True)
        return np.stack([self._places[key] for key in keys])


@lru_cache(maxsize=4)
def make_side(setup: PairSetup, name: str, seed: int, device: torch.device) -> Side:
    """Load a domain and make its codec; the domains of a pair are trained independently of each other."""
    parts = load_domain(name, size=setup.size)
    started = time.perf_counter()
    codec: Codec
    if setup.autoencoder is None:
        codec = PCACodec(setup.d).fit(parts.train.images)
    else:
        network = seeded(seed, lambda: autoencoder_for(parts, setup)).to(device)
        train_autoencoder(network, parts.train.images.to(device), setup.autoencoder, seed, setup.loss)
        codec = NetworkCodec(network)
    return _side(name, parts, codec, time.perf_counter() - started)


def side_with(name: str, codec: Codec) -> Side:
    """A domain with a codec that is there already; images are brought to its size."""
    return _side(name, load_domain(name, size=codec.shape[-1]), codec, 0.0)


def _side(name: str, parts: Parts, codec: Codec, seconds: float) -> Side:
    codes: dict[PartName, Float[np.ndarray, "n d"]] = {
        "train": codec.encode(parts.train.images),
        "test": codec.encode(parts.test.images),
    }
    return Side(name, parts, codec, codes, seconds)


def autoencoder_for(parts: Parts, setup: PairSetup) -> Autoencoder:
    """Grey for one channel, colour for three; without the auxiliary head."""
    channels, height, _ = parts.train.shape
    return GreyAutoencoder(setup.d) if channels == 1 else ColourAutoencoder(height, setup.d, setup.width)


@lru_cache(maxsize=4)
def make_judge(
    setup: PairSetup, name: str, seed: int, device: torch.device
) -> tuple[ImageClassifier, float, float]:
    """A classifier of a domain's real images, its accuracy on the test images, and the seconds it took."""
    parts = load_domain(name, size=setup.size)
    channels, size, _ = parts.train.shape
    started = time.perf_counter()
    judge = seeded(seed, lambda: ImageClassifier(channels, parts.train.n_clusters, size)).to(device)
    train_classifier(
        judge, parts.train.images.to(device), parts.train.labels.to(device), setup.classifier, seed
    )
    seconds = time.perf_counter() - started
    return judge, accuracy_of(judge, parts.test), seconds


@torch.no_grad()
def accuracy_of(judge: ImageClassifier, data: LabelledImages) -> float:
    """Share of real images that a classifier gets right."""
    device = next(judge.parameters()).device
    found = torch.cat([judge(part.to(device)).argmax(1).cpu() for part in data.images.split(512)])
    return float((found == data.labels).double().mean())


@lru_cache(maxsize=2)
def trained_pair(setup: PairSetup, seed: int, device: torch.device) -> Pair:
    """Both codecs and the target's judge."""
    first, second, third = derive(seed, 3)
    source = make_side(setup, setup.source, first, device)
    target = make_side(setup, setup.target, second, device)
    judge, accuracy, seconds = make_judge(setup, setup.target, third, device)
    return Pair(source, target, judge, accuracy, seconds)


@lru_cache(maxsize=2)
def aligned_pair(setup: PairSetup, seed: int, device: torch.device) -> AlignedPair:
    """A trained pair and the alignment of its training codes."""
    pair = trained_pair(setup, seed, device)
    started = time.perf_counter()
    model = align(
        pair,
        layout=RememberedLayout(setup.layout, seed),
        max_per_cluster=setup.per_cluster,
        random_state=seed,
    )
    return AlignedPair(pair, model, time.perf_counter() - started)


def align(pair: Pair, **options: Any) -> GMapLatent:
    """Fit `GMapLatent(**options)` to the training codes of a pair."""
    source, target = pair.source, pair.target
    return GMapLatent(**options).fit(
        source.codes["train"], source.labels("train"), target.codes["train"], target.labels("train")
    )
