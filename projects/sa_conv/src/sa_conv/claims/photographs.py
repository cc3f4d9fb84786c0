"""Denoising and ×2 super-resolution of photographs: what K3, K4 and the control share.

Trained on BSDS500 train + test (without the image that Set5 tests on), tested on Set5, Set14, BSD100 (= BSDS500 val) and,
denoising, BSD68; with source "builtin" on photographs of scikit-image, without any download. Images in 0…255, L1 loss, PSNR of
the luma of 8-bit results with a border of `scale` pixels removed.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sa_conv.claims.training import Contender, Recipe, Trained, derive, device_for, l1_loss, school
from sa_conv.data.degradations import as_it_is, fresh_noise, noisy
from sa_conv.data.pairs import PairedImages, RandomPatches
from sa_conv.data.sources import Item, Source, clean_source
from tenfold import restoration
from tenfold.claims import Scale
from tenfold.imaging import imresize
from tenfold.metrics import restoration_psnr
from tenfold.restoration import ImagePair

SIGMA = 50.0
TEST_SEED = 10_000
Task = Literal["denoise", "sr"]


@dataclass(frozen=True)
class Size:
    """Networks and training of a scale.

    Args:
        fields, blocks: of the equivariant EDSRs; the CNNs are matched to them.
        patch_size: side of the network's input patches, at least the 25 pixels of the hypernetwork.
        batch_size, steps: of the training.
        search_steps: of each trial of the search of the learning rate.
        rates: candidates for every model.
        every: only every n-th image of BSD100 and BSD68 is tested.
        source: of the training images.
        milestones: see `Recipe`.
        urban: also test on Urban100.
    """

    fields: int
    blocks: int
    patch_size: int
    batch_size: int
    steps: int
    search_steps: int
    rates: tuple[float, ...]
    every: int = 1
    source: Source = "bsds500"
    milestones: tuple[int, ...] = ()
    urban: bool = False
    autocast: bool = False


class PhotographTask:
    """Batches, a validation score and test sets of one task.

    Args:
        task: "denoise" (σ = 50) or "sr" (×2, MATLAB bicubic).
        size: of the scale.
        scale: smoke uses the images of scikit-image, the others BSDS500.
        seed: of the claim.

    Raises:
        DataNotFoundError: if a data set is missing (not at smoke).
    """

    def __init__(self, task: Task, size: Size, scale: Scale, seed: int):
        self.task, self.size, self.scale, self.seed = task, size, scale, seed
        self.factor = 2 if task == "sr" else 1
        builtin = size.source == "builtin"
        train, validation = clean_source(size.source, n_val=2 if builtin else 10, scale=self.factor)
        tests = {"scikit-image": validation} if builtin else _test_sets(task, size)
        restoration.require_disjoint(
            _files(train + validation), [f for items in tests.values() for f in _files(items)]
        )
        self.patches = RandomPatches(
            self._images(train, as_it_is),
            size.patch_size * self.factor,
            augment=("hflip", "vflip", "transpose") if task == "sr" else (),
            degrade=functools.partial(fresh_noise, sigma=SIGMA) if task == "denoise" else None,
            seed=derive(seed, 0),
        )
        degrade = functools.partial(noisy, sigma=SIGMA, first_seed=TEST_SEED)
        self.validation = self._images(validation, degrade)
        self.tests = {name: self._images(items, degrade) for name, items in tests.items()}

    def batches(self, step: int) -> tuple[Tensor, Tensor]:
        first = step * self.size.batch_size
        return self.patches.batch(range(first, first + self.size.batch_size))

    def judge(self, model: nn.Module) -> float:
        """RGB PSNR on the centres of the validation images."""
        scores = []
        for i in range(len(self.validation)):
            degraded, clean = _centres(*self.validation[i], 96, self.factor)
            scores.append(self.psnr(restore(model, degraded), clean, protocol="plain"))
        return sum(scores) / len(scores)

    def psnr(
        self, restored: Tensor, clean: Tensor, protocol: Literal["benchmark", "plain"] = "benchmark"
    ) -> float:
        """Of one 8-bit result."""
        value = restoration_psnr(
            restored[None] / 255, clean[None] / 255, scale=self.factor, protocol=protocol
        )
        return float(value[0])

    def test(self, model: nn.Module) -> dict[str, float]:
        """Mean PSNR of each test set."""
        result = {}
        for name, images in self.tests.items():
            values = [self.psnr(restore(model, images[i][0]), images[i][1]) for i in range(len(images))]
            result[name] = sum(values) / len(values)
        return result

    def degraded(self) -> dict[str, float]:
        """Mean PSNR of the noisy images, or of bicubic interpolation (8-bit)."""
        result = {}
        for name, images in self.tests.items():
            values = [
                self.psnr(bicubic(images.bytes_at(i)[0], self.factor), images[i][1])
                for i in range(len(images))
            ]
            result[name] = sum(values) / len(values)
        return result

    def school(self, contenders: Sequence[Contender]) -> dict[str, Trained]:
        """Train every contender on the same patches after the same search of the learning rate."""
        size = self.size
        recipe = Recipe(
            size.steps, size.rates, size.search_steps, l1_loss, size.milestones, autocast=size.autocast
        )
        device, seed = device_for(self.scale), derive(self.seed, 1)
        return {c.name: school(c, self.batches, self.judge, recipe, seed, device) for c in contenders}

    def _images(self, items: Sequence[Item], degrade: object) -> PairedImages:
        chosen = degrade if self.task == "denoise" else None
        return PairedImages(items, chosen, scale=self.factor)  # type: ignore[arg-type]


@torch.no_grad()
def restore(model: nn.Module, degraded: Tensor) -> Tensor:
    """One whole image (c, h, w) in 0…255 → the 8-bit result, as floating point on the CPU."""
    device = next(model.parameters()).device
    return model.eval()(degraded[None].to(device))[0].float().cpu().clamp(0, 255).round()


def bicubic(image: Tensor, factor: int) -> Tensor:
    """MATLAB's bicubic interpolation of an 8-bit image; the image itself at factor 1."""
    return (imresize(image, float(factor)) if factor > 1 else image).float()


def _test_sets(task: Task, size: Size) -> dict[str, list[Item]]:
    # the ×2 packaging: its clean images serve denoising too
    every = size.every
    suffix = f" (every {every}th)" if every > 1 else ""
    sets: dict[str, list[Item]] = {name: list(restoration.benchmark(name, 2)) for name in ("Set5", "Set14")}
    sets["BSD100" + suffix] = [*restoration.benchmark("B100", 2)[::every]]
    if size.urban:
        sets["Urban100"] = list(restoration.benchmark("Urban100", 2))
    if task == "denoise":
        files = restoration.denoising_benchmark("BSD68")[::every]
        sets["BSD68" + suffix] = [ImagePair(file.stem, file) for file in files]
    return sets


def _centres(degraded: Tensor, clean: Tensor, side: int, factor: int) -> tuple[Tensor, Tensor]:
    """The middle of both images, `side` pixels of the degraded one."""
    height, width = degraded.shape[1:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    low = degraded[:, top : top + side, left : left + side]
    top, left, side = factor * top, factor * left, factor * side
    return low, clean[:, top : top + side, left : left + side]


def _files(items: Sequence[Item]) -> list[Path]:
    return [item.clean for item in items if isinstance(item, ImagePair)]
