"""C7: the evaluation itself. The reference values of bicubic interpolation, and of published images of RCAN (§6.4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from eq_asisr.claims.far_scales import div2k_0803
from eq_asisr.claims.zoom import bicubic_of, mean, psnr_of
from eq_asisr.data.evaluation import EvaluationPair, EvaluationSet
from eq_asisr.data.resize import pillow_pair
from eq_asisr.data.sources import TESTED, photographs
from tenfold.claims import Measurement, Scale, Table, claim
from tenfold.data import root as data_root
from tenfold.imaging import crop_to_multiple, imresize, luma
from tenfold.metrics import restoration_psnr, restoration_ssim
from tenfold.restoration import read_image

PHOTOGRAPHS = {
    ("astronaut", 2): (31.7075, 0.9456, 30.0724, 22532831),
    ("astronaut", 3): (28.6793, 0.8934, 27.0596, 9968532),
    ("astronaut", 4): (26.8385, 0.8427, 25.2470, 5633950),
    ("coffee", 2): (30.5927, 0.8859, 29.1252, 17751598),
    ("coffee", 3): (28.4061, 0.8134, 26.9153, 7872834),
    ("coffee", 4): (27.2915, 0.7648, 25.7689, 4437823),
    ("chelsea", 2): (35.2523, 0.9158, 33.6045, 11672709),
    ("chelsea", 3): (32.8901, 0.8542, 31.2680, 5187554),
    ("chelsea", 4): (31.4738, 0.8063, 29.8689, 2903728),
}
"""Image, scale: PSNR of Y, its SSIM, PSNR of RGB with a border of scale + 6, sum of the low-resolution bytes."""

BICUBIC = {
    ("Set5", 2): (33.6741, 31.7873, 33.6621, 0.9299),
    ("Set5", 3): (30.4047, 28.6566, 30.3936, 0.8682),
    ("Set5", 4): (28.4302, 26.7158, 28.4220, 0.8104),
    ("Set14", 2): (30.3263, None, 30.2335, 0.8687),
    ("Set14", 3): (27.6336, None, 27.5430, 0.7736),
    ("Set14", 4): (26.0914, None, 26.0030, 0.7019),
    ("B100", 2): (29.5605, 28.1530, 29.5585, 0.8431),
    ("B100", 3): (27.2097, 25.8030, 27.2079, 0.7384),
    ("B100", 4): (25.9620, 24.5474, 25.9613, 0.6674),
    ("Urban100", 4): (23.1406, None, 23.1415, 0.6570),
}
"""Set, scale: PSNR by `benchmark` and `div2k` on 8-bit RGB, PSNR and SSIM by `classic`."""

PILLOW = {
    "Set5": {2: 33.6733, 3: 30.4032, 4: 28.4292, 6: 25.9300, 8: 24.3987},
    "Set14": {2: 30.3247, 3: 27.6312, 4: 26.0906, 6: 24.3373, 8: 23.1867},
}
PILLOW_0803 = {
    2: 40.0047,
    3: 35.9333,
    4: 33.5455,
    6: 30.7023,
    12: 26.6421,
    18: 24.7113,
    24: 23.4561,
    30: 22.4755,
}
"""One image of DIV2K by `div2k`, Pillow both ways."""

RCAN = {2: (38.2742, 0.9614), 3: (34.7422, 0.9299), 4: (32.6336, 0.9002)}
"""RCAN's released Set5 images: PSNR of Y and SSIM."""

PSNR_BOUND, SSIM_BOUND = 2e-3, 2e-4


@dataclass(frozen=True)
class Check:
    """One reference value and what was found."""

    what: str
    kind: str
    expected: float
    found: float

    @property
    def holds(self) -> bool:
        """Within the tolerance of its kind; bytes exactly."""
        bound = {"PSNR": PSNR_BOUND, "SSIM": SSIM_BOUND, "bytes": 0.0}[self.kind]
        return abs(self.found - self.expected) <= bound


@claim(
    "C7",
    "The evaluation is the one that published numbers come from",
    source="evaluation protocol of the literature; published values of bicubic interpolation and RCAN",
)
def evaluation_protocol(scale: Scale, seed: int) -> Measurement:
    """Sums of low-resolution bytes exactly, PSNR within 0.002 dB, SSIM within 0.0002 of the reference values.

    Smoke: three photographs of scikit-image × ×2, ×3, ×4. From cpu on, besides: Set5, Set14 and BSD100 by three protocols,
    with Pillow both ways up to ×8 (Set5, Set14), one image of DIV2K up to ×30, and, where they lie beside Set5, RCAN's released
    images. Urban100 is checked where all of its 100 images are there. Nothing here is random, so seeds agree.
    """
    checks = list(_photographs())
    if scale is not Scale.SMOKE:
        checks += [*_sets(), *_pillow(), *_div2k(), *_rcan()]
    wrong = [check for check in checks if not check.holds]
    worst = {
        kind: max((abs(c.found - c.expected) for c in checks if c.kind == kind), default=0.0)
        for kind in ("PSNR", "SSIM", "bytes")
    }
    rows = tuple((c.what, c.kind, c.expected, round(c.found, 4), c.holds) for c in checks)
    return Measurement(
        "reference values that are reproduced",
        ours=len(checks) - len(wrong),
        baseline=len(checks),
        criterion=f"all {len(checks)} reference values: bytes exact, PSNR ± {PSNR_BOUND}, SSIM ± {SSIM_BOUND}",
        passed=not wrong,
        values={f"largest deviation, {kind}": float(value) for kind, value in worst.items()},
        tables=[Table("reference values", ("what", "kind", "expected", "found", "holds"), rows)],
    )


def _photographs() -> Iterator[Check]:
    images = photographs(TESTED)
    for (name, scale), (y, similarity, rgb, total) in PHOTOGRAPHS.items():
        high = crop_to_multiple(images[name], scale)
        low = imresize(high, 1 / scale)
        large, true = _unit(imresize(low, scale)), _unit(high)
        what = f"{name} ×{scale}"
        yield Check(what, "bytes", total, low.long().sum().item())
        yield Check(what, "PSNR", y, restoration_psnr(large, true, scale=scale).item())
        yield Check(what, "SSIM", similarity, restoration_ssim(large, true, scale=scale).item())
        found = restoration_psnr(large, true, scale=scale, protocol="div2k").item()
        yield Check(f"{what}, RGB", "PSNR", rgb, found)


def _sets() -> Iterator[Check]:
    for (name, scale), (benchmark, div2k, classic, similarity) in BICUBIC.items():
        if name == "Urban100" and len(EvaluationSet(name, scale, partial=True)) < 100:
            continue
        images = EvaluationSet(name, scale)
        rows = [
            _by_protocols(images[i], scale, _is_grey(images.files[i]), div2k is not None)
            for i in range(len(images))
        ]
        columns = [mean(list(column)) for column in zip(*rows)]
        expected = [(benchmark, "PSNR"), (classic, "PSNR"), (similarity, "SSIM")]
        labels = ["benchmark", "classic", "classic"]
        if div2k is not None:
            expected.append((div2k, "PSNR"))
            labels.append("div2k")
        for label, (value, kind), found in zip(labels, expected, columns):
            yield Check(f"{name} ×{scale}, {label}", kind, value, found)


def _is_grey(file: Path) -> bool:
    """Whether a file has one channel. A grey image in three equal channels counts as colour (Set14 has one of each)."""
    with Image.open(file) as image:
        return len(image.getbands()) == 1


def _by_protocols(pair: EvaluationPair, scale: int, grey: bool, rgb: bool) -> list[float]:
    """PSNR by `benchmark`; PSNR and SSIM by `classic`; PSNR by `div2k`."""
    large, true = bicubic_of(pair, "matlab").double(), pair.hr[None].double()
    found = [restoration_psnr(large, true, scale=scale).item()]
    y = (255 * (true[:, :1] if grey else luma(true))).round() / 255  # classic keeps grey images as they are
    up = (imresize(imresize(255 * y, 1 / scale), scale) / 255).clamp(0, 1)
    found.append(restoration_psnr(up, y, scale=scale, protocol="classic").item())
    found.append(restoration_ssim(up, y, scale=scale, protocol="classic").item())
    if rgb:
        found.append(restoration_psnr(large, true, scale=scale, protocol="div2k").item())
    return found


def _pillow() -> Iterator[Check]:
    for name, expected in PILLOW.items():
        for scale, value in expected.items():
            images = EvaluationSet(name, scale, lowres="pillow")
            scores = [
                psnr_of(bicubic_of(images[i], "pillow"), images[i], scale, "benchmark")
                for i in range(len(images))
            ]
            yield Check(f"{name} ×{scale}, Pillow both ways", "PSNR", value, mean(scores))


def _div2k() -> Iterator[Check]:
    image = read_image(div2k_0803())
    for scale, value in PILLOW_0803.items():
        low, high = pillow_pair(image, scale)
        pair = EvaluationPair("0803", low / 255, high / 255)
        found = psnr_of(bicubic_of(pair, "pillow"), pair, scale, "div2k")
        yield Check(f"DIV2K 0803 ×{scale}, Pillow both ways", "PSNR", value, found)


def _rcan() -> Iterator[Check]:
    names = ("baby", "bird", "butterfly", "head", "woman")
    folder: Path = data_root() / "sr" / "Set5" / "rcan_outputs"
    if not folder.is_dir():  # these images belong to no data set that is distributed
        return
    for scale, (decibels, similarity) in RCAN.items():
        images = EvaluationSet("Set5", scale)
        scores, likeness = [], []
        for i, name in enumerate(names):
            large = _unit(read_image(folder / f"x{scale}" / f"{name}_RCAN_x{scale}.png"))
            true = images[i].hr[None].double()
            scores.append(restoration_psnr(large, true, scale=scale).item())
            likeness.append(restoration_ssim(large, true, scale=scale).item())
        yield Check(f"RCAN, Set5 ×{scale}", "PSNR", decibels, mean(scores))
        yield Check(f"RCAN, Set5 ×{scale}", "SSIM", similarity, mean(likeness))


def _unit(image: Tensor) -> Tensor:
    return image[None].double() / 255
