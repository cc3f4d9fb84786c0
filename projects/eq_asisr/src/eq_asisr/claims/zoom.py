"""Arbitrary-scale super-resolution of photographs: what C4 and C6 share. Training samples, and PSNR on evaluation sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eq_asisr.claims.networks import PUBLISHED, SMALL, TINY, Width, contenders
from eq_asisr.claims.starts import derive, device_for, seeded, tf32
from eq_asisr.claims.training import Recipe, Trained, batches_of, school, validation_psnr
from eq_asisr.data.evaluation import EvaluationPair, EvaluationSet, Lowres
from eq_asisr.data.folders import ImageFolder
from eq_asisr.data.samples import SRDownsampled
from eq_asisr.data.sources import TESTED, photographs, training_images
from eq_asisr.model import ASISR, normalize
from eq_asisr.scoring import bicubic
from tenfold.claims import Scale
from tenfold.metrics import Protocol, restoration_psnr
from tenfold.restoration import require_disjoint

VALIDATION_BATCHES = 8


@dataclass(frozen=True)
class Size:
    """Networks and training of a scale.

    Args:
        width: of the networks.
        recipe: of the training.
        source: of the training images; "in-sample" trains on the photographs that are tested.
        min_side: shorter images are left out.
        n_val: images held out for the search of the learning rate.
        inp_size: side of the low-resolution patches.
        batch_size: patches a step.
        sample_q: queries a patch.
        threads: that make samples ahead of time.
    """

    width: Width
    recipe: Recipe
    source: str = "t91"
    min_side: int = 1
    n_val: int = 4
    inp_size: int = 24
    batch_size: int = 8
    sample_q: int = 576
    threads: int = 0


_BSDS = {"source": "bsds500", "n_val": 10, "inp_size": 48, "batch_size": 16, "sample_q": 2304, "threads": 8}
_DIV2K = {**_BSDS, "source": "div2k"}
_EPOCH = 1000

SIZES: dict[Scale, Size] = {
    Scale.SMOKE: Size(TINY, Recipe(200, rates=(2e-3,)), "in-sample", inp_size=16, batch_size=4, sample_q=128),
    Scale.CPU: Size(SMALL, Recipe(2000, rates=(1e-3, 2e-3), search_steps=100), min_side=100),
    Scale.GPU: Size(
        PUBLISHED,
        Recipe(15_000, rates=(4e-4, 8e-4), search_steps=500, warmup=0.03, autocast=True),
        **_BSDS,  # type: ignore[arg-type]
    ),
    Scale.PAPER: Size(
        PUBLISHED,
        Recipe(1000 * _EPOCH, rates=(1e-4,), milestones=tuple(_EPOCH * e for e in (200, 400, 600, 800))),
        **_DIV2K,  # type: ignore[arg-type]
    ),
}

LONG = Size(
    SMALL, Recipe(6000, rates=(1e-3, 2e-3), search_steps=300), "t91", min_side=100, n_val=4, threads=8
)
"""The small networks, trained three times as long."""


class ZoomTask:
    """Samples to train on, and sets to test on.

    Args:
        size: of the scale.
        scale: gives the device.
        seed: of the claim.
        tests: evaluation sets; none of their images may be trained on, but in-sample.

    Raises:
        DataNotFoundError: if a data set is missing (not in-sample).
        ValueError: if a training image is also tested on.
    """

    def __init__(self, size: Size, scale: Scale, seed: int, tests: Sequence[EvaluationSet]):
        self.size, self.seed, self.tests, self.device = size, seed, list(tests), device_for(scale)
        if size.source == "in-sample":
            train = val = ImageFolder(list(photographs(TESTED).values()))
        else:
            train, val = training_images(size.source, size.n_val, min_side=size.min_side)
            require_disjoint(train.files, {file for images in tests for file in images.files})
        patch: dict[str, Any] = {"inp_size": size.inp_size, "sample_q": size.sample_q}
        samples = SRDownsampled(train, **patch, seed=derive(seed, 1))
        held_out = SRDownsampled(val, **patch, augment=(), seed=derive(seed, 2))
        self.batches = batches_of(samples, size.batch_size, size.threads)
        self.validation = batches_of(held_out, size.batch_size, size.threads)

    def judge(self, model: ASISR) -> float:
        """PSNR on the held-out images at random scales."""
        return validation_psnr(model, self.validation, VALIDATION_BATCHES)

    def school(self, controls: bool = True) -> dict[str, Trained]:
        """Every contender trained on the same batches from the same seed."""
        return {
            c.name: school(
                c, self.batches, self.judge, self.size.recipe, derive(self.seed, 10 + i), self.device
            )
            for i, c in enumerate(contenders(self.size.width, controls))
        }

    def untrained(self, name: str) -> ASISR:
        """A contender as its training starts."""
        for i, c in enumerate(contenders(self.size.width)):
            if c.name == name:
                return seeded(derive(self.seed, 10 + i), c.build).to(self.device)
        raise ValueError(f"name: there is no contender {name!r}")

    @torch.no_grad()
    def validation_loss(self, model: ASISR) -> float:
        """L1 of the normalised colours on the held-out images."""
        losses = []
        for batch in self.validation(VALIDATION_BATCHES):
            lr, coord, cell, colour = batch.to(self.device)
            losses.append((model(lr, coord, cell) - normalize(colour)).abs().mean().item())
        return mean(losses)

    def scores(self, model: ASISR) -> dict[str, float]:
        """Mean PSNR in decibels on every test set, by its protocol."""
        return self._scores(lambda pair, images: upscaled(model, pair))

    def bicubic(self) -> dict[str, float]:
        """The same of 8-bit bicubic interpolation, MATLAB's or Pillow's, as the low-resolution images were made."""
        return self._scores(lambda pair, images: bicubic_of(pair, images.lowres))

    def _scores(self, enlarge: Callable[[EvaluationPair, EvaluationSet], Tensor]) -> dict[str, float]:
        found = {}
        for images, pairs in zip(self.tests, self._pairs):
            scores = [
                psnr_of(enlarge(pair, images), pair, int(images.scale), images.protocol) for pair in pairs
            ]
            found[f"{images.name} ×{images.scale:g}"] = mean(scores)
        return found

    @cached_property
    def _pairs(self) -> list[list[EvaluationPair]]:
        """Read, and shrunk where there are no files, once for all models."""
        return [[images[i] for i in range(len(images))] for images in self.tests]


def upscaled(model: ASISR, pair: EvaluationPair) -> Float[Tensor, "1 3 H W"]:
    """The low-resolution image at the size of the other, on the CPU."""
    device = next(model.parameters()).device
    with tf32(False):
        large = model.upscale(pair.lr[None].to(device), size=(pair.hr.shape[1], pair.hr.shape[2]))
    return large.float().cpu()


def bicubic_of(pair: EvaluationPair, lowres: Lowres) -> Float[Tensor, "1 3 H W"]:
    """The low-resolution image interpolated to the size of the other."""
    return bicubic(pair.lr, (pair.hr.shape[1], pair.hr.shape[2]), lowres == "matlab")[None]


def psnr_of(large: Float[Tensor, "1 3 H W"], pair: EvaluationPair, scale: int, protocol: Protocol) -> float:
    """In decibels."""
    return restoration_psnr(large, pair.hr[None], scale=scale, protocol=protocol).item()


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)
