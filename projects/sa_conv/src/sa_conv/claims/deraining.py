"""K5: deraining with an unfolded network whose background operators are plain, equivariant or sample-adaptive."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.claims.photographs import restore
from sa_conv.claims.training import Contender, Recipe, Trained, derive, device_for, school
from sa_conv.data.degradations import rainy
from sa_conv.data.pairs import PairedImages, RandomPatches
from sa_conv.data.sources import Item, clean_source, hold_out
from sa_conv.figures import Crop, restored_crops
from sa_conv.losses import deraining_loss
from sa_conv.models.rcdnet import RCDNet
from tenfold import restoration
from tenfold.claims import Figure, Measurement, Scale, Table, claim
from tenfold.metrics import restoration_psnr

VARIANTS = {"RCDNet": "cnn", "EQ-RCDNet": "fconv", "SA-RCDNet": "saconv"}
DENSITY, INTENSITY = 0.008, 120.0
FIRST_TEST, FIRST_TRAIN = 10_000, 100_000


@dataclass(frozen=True)
class Size:
    """Networks, data and training of a scale.

    Args:
        stages, maps, dual, fields, blocks: of the RCDNets.
        source: "builtin" and "bsds500" get synthetic rain, one direction per image; "rain100l" is real data.
        patch_size, batch_size, steps, search_steps, rates: of the training.
        n_test, crop: test images, and the side of their centres that is tested (0: whole).
        milestones, gamma: of the paper's schedule; none: one-cycle.
    """

    stages: int
    maps: int
    dual: int
    fields: int
    blocks: int
    source: Literal["builtin", "bsds500", "rain100l"]
    patch_size: int
    batch_size: int
    steps: int
    search_steps: int
    rates: tuple[float, ...]
    n_test: int
    crop: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5


SIZES = {
    Scale.SMOKE: Size(
        2, 4, 4, 1, 1, "builtin", patch_size=24, batch_size=2, steps=30, search_steps=0, rates=(2e-3,), n_test=2, crop=96
    ),
    Scale.CPU: Size(
        3,
        16,
        16,
        2,
        2,
        "bsds500",
        patch_size=32,
        batch_size=4,
        steps=400,
        search_steps=60,
        rates=(1e-3, 2e-3, 4e-3),
        n_test=20,
        crop=160,
    ),
    Scale.GPU: Size(
        5, 32, 32, 5, 4, "rain100l", patch_size=64, batch_size=16, steps=4000, search_steps=200, rates=(2.5e-4, 5e-4, 1e-3), n_test=100
    ),
    Scale.PAPER: Size(
        17,
        32,
        32,
        5,
        4,
        "rain100l",
        patch_size=64,
        batch_size=16,
        steps=104_000,
        search_steps=0,
        rates=(4e-4,),
        n_test=100,
        milestones=(46_800, 93_600),  # StepLR(45 epochs of 1040 steps, 0.2)
        gamma=0.2,
    ),
}  # fmt: skip


@claim(
    "K5",
    "Deraining: SA-RCDNet ≥ EQ-RCDNet ≥ RCDNet",
    source="section 5; predecessor log",
    published="SA-RCDNet: not published; predecessor RCDNet with F-Conv on Rain100L: 39.023 dB (RGB, 8-pixel border)",
    known_gaps={
        "cpu": "all networks gain 7.0 to 7.3 dB over the rainy input, but SA − EQ is −0.27, −0.24 and +0.06 dB (seeds 0, 1, 2) where "
        "−0.05 are allowed; 400 steps are a hundredth of the paper's training"
    },
)
def derain_photographs(scale: Scale, seed: int) -> Measurement:
    """RGB PSNR without a border of 8 pixels, of networks trained on the same patches after the same search.

    smoke: the machinery runs; every result is finite. cpu (3 stages, synthetic oriented rain, 400 steps): SA gains ≥ 4 dB over
    the rainy input and SA ≥ EQ − 0.05 dB. gpu (5 stages, Rain100L, 4000 steps): SA ≥ 33 dB. paper (17 stages, 100 epochs):
    SA ≥ 39.0 dB. Rain100L may be a portion; the number of pairs is reported.
    """
    size = SIZES[scale]
    task = _Rain(size, seed)
    recipe = Recipe(
        size.steps, size.rates, size.search_steps, _loss, milestones=size.milestones, gamma=size.gamma
    )
    device = device_for(scale)
    trained = {
        name: school(_contender(name, size), task.batches, task.judge, recipe, derive(seed, 1), device)
        for name in VARIANTS
    }
    psnr = {name: task.psnr(t.model, task.tests) for name, t in trained.items()}
    rain = task.psnr(None, task.tests)
    gain, over_eq = psnr["SA-RCDNet"] - rain, psnr["SA-RCDNet"] - psnr["EQ-RCDNet"]
    if scale is Scale.SMOKE:
        criterion, passed = (
            "every result is finite",
            all(torch.isfinite(torch.tensor(list(psnr.values()))).tolist()),
        )
    elif scale is Scale.CPU:
        criterion = "SA >= rainy input + 4 dB and SA >= EQ - 0.05 dB"
        passed = gain >= 4 and over_eq >= -0.05
    else:
        wanted = 33.0 if scale is Scale.GPU else 39.0
        criterion, passed = f"SA >= {wanted} dB on Rain100L", psnr["SA-RCDNet"] >= wanted
    return Measurement(
        "RGB PSNR of derained test images (dB, 8-pixel border)",
        ours=psnr["SA-RCDNet"],
        baseline=psnr["EQ-RCDNet"],
        criterion=criterion,
        passed=bool(passed),
        values={
            "rainy input": rain,
            "gain over input": gain,
            "sa_minus_eq": over_eq,
            "eq_minus_plain": psnr["EQ-RCDNet"] - psnr["RCDNet"],
            "training images": len(task.patches.pairs),
            "test images": len(task.tests),
            **{f"psnr {name}": value for name, value in psnr.items()},
        },
        figures=[_crops(task, trained)],
        tables=[_table(trained, psnr)],
    )


class _Rain:
    """Patches, validation and test pairs."""

    def __init__(self, size: Size, seed: int):
        self.size = size
        if size.source == "rain100l":
            train, validation = hold_out(list(restoration.rain100l("train", partial=True)), 2, "rain100l")
            tests: list[Item] = [*restoration.rain100l("test", partial=True)[: size.n_test]]
        else:
            train, validation = clean_source(size.source, n_val=2 if size.source == "builtin" else 6)
            tests = (
                validation if size.source == "builtin" else [*restoration.benchmark("B100", 2)[: size.n_test]]
            )
        self.patches = RandomPatches(
            self._images(train, FIRST_TRAIN), size.patch_size, augment=("hflip",), seed=derive(seed, 0)
        )
        self.validation, self.tests = self._images(validation, FIRST_TEST), self._images(tests, FIRST_TEST)

    def batches(self, step: int) -> tuple[Tensor, Tensor]:
        first = step * self.size.batch_size
        return self.patches.batch(range(first, first + self.size.batch_size))

    def judge(self, model: nn.Module) -> float:
        return self.psnr(model, self.validation)

    def psnr(self, model: nn.Module | None, images: PairedImages) -> float:
        """Mean PSNR of the derained images, or of the rainy ones without a model."""
        values = []
        for i in range(len(images)):
            rain, clean = self.pair(images, i)
            restored = rain if model is None else restore(model, rain)
            values.append(
                float(restoration_psnr(restored[None] / 255, clean[None] / 255, scale=2, protocol="div2k"))
            )
        return sum(values) / len(values)

    def pair(self, images: PairedImages, index: int) -> tuple[Tensor, Tensor]:
        """The part of a pair that is tested."""
        rain, clean = images[index]
        side = self.size.crop
        if not side:
            return rain, clean
        top, left = (rain.shape[1] - side) // 2, (rain.shape[2] - side) // 2
        return rain[:, top : top + side, left : left + side], clean[:, top : top + side, left : left + side]

    def _images(self, items: list[Item], first_seed: int) -> PairedImages:
        if self.size.source == "rain100l":
            return PairedImages(items)
        return PairedImages(
            items, functools.partial(rainy, first_seed=first_seed, density=DENSITY, intensity=INTENSITY)
        )


def _loss(model: nn.Module, degraded: Tensor, clean: Tensor) -> Float[Tensor, ""]:
    assert isinstance(model, RCDNet)
    return deraining_loss(model.stages(degraded), degraded, clean)


def _contender(name: str, size: Size) -> Contender:
    def build() -> RCDNet:
        return RCDNet(
            VARIANTS[name],
            n_stages=size.stages,
            n_maps=size.maps,
            n_dual=size.dual,
            fields=size.fields,
            n_blocks=size.blocks,
        )

    return Contender(name, build)


def _crops(task: _Rain, trained: dict[str, Trained]) -> Figure:
    rows = []
    for index in range(min(3, len(task.tests))):
        rain, clean = task.pair(task.tests, index)
        images = {
            "rainy": rain,
            **{name: restore(t.model, rain) for name, t in trained.items()},
            "clean": clean,
        }
        rows.append([Crop(label, _middle(image)) for label, image in images.items()])
    return restored_crops(
        "derained-crops",
        rows,
        "Deraining",
        "Crops of test images. From left to right: rainy, RCDNet, EQ-RCDNet, SA-RCDNet, clean.",
    )


def _middle(image: Tensor, side: int = 96) -> Tensor:
    top, left = max(0, (image.shape[1] - side) // 2), max(0, (image.shape[2] - side) // 2)
    return image[:, top : top + side, left : left + side] / 255


def _table(trained: dict[str, Trained], psnr: dict[str, float]) -> Table:
    columns = ("model", "trainable parameters", "learning rate", "seconds per step", "PSNR (dB)")
    rows = tuple(
        (name, t.parameters, t.rate, round(t.seconds_per_step, 4), round(psnr[name], 3))
        for name, t in trained.items()
    )
    return Table("models", columns, rows)
