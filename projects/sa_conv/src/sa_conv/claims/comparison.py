"""The five EDSRs of K3 and K4 side by side: B, TL, SA, and the CNNs at equal parameters and at equal channels."""

from dataclasses import dataclass, field

from torch import Tensor

from sa_conv.claims.networks import edsr, edsr_cnn_like
from sa_conv.claims.orbits import photograph_orbits
from sa_conv.claims.photographs import PhotographTask, bicubic, restore
from sa_conv.claims.training import Contender, Trained
from sa_conv.figures import Crop, restored_crops
from tenfold.claims import Figure, Measurement, Table

FAMILY = ("B-Conv", "TL-Conv", "SA-Conv")
CROP = 80


@dataclass(frozen=True)
class Comparison:
    """Trained models, their PSNR by test set, and that of the degraded images."""

    task: PhotographTask = field(repr=False)
    trained: dict[str, Trained]
    psnr: dict[str, dict[str, float]]
    degraded: dict[str, float]
    figures: list[Figure] = field(repr=False)

    def on(self, test_set: str) -> dict[str, float]:
        """PSNR of each model on one set."""
        return {name: sets[test_set] for name, sets in self.psnr.items()}

    def measurement(self, test_set: str, criterion: str, passed: bool) -> Measurement:
        """Headline: SA against the CNN with equal parameters on `test_set`."""
        trained = self.trained
        values: dict[str, float] = {f"input, {where}": value for where, value in self.degraded.items()}
        for name, sets in self.psnr.items():
            values |= {f"{name}, {where}": value for where, value in sets.items()}
        psnr = self.on(test_set)
        values["sa_minus_tl"] = psnr["SA-Conv"] - psnr["TL-Conv"]
        values["tl_minus_b"] = psnr["TL-Conv"] - psnr["B-Conv"]
        values["b_minus_cnn_equal_parameters"] = psnr["B-Conv"] - psnr["CNN, equal parameters"]
        values["b_minus_cnn_equal_channels"] = psnr["B-Conv"] - psnr["CNN, equal channels"]
        columns = ("model", "trainable parameters", "learning rate", "seconds per step", *self.degraded)
        rows: list[tuple] = [
            (
                "degraded" if self.task.factor == 1 else "bicubic",
                0,
                None,
                None,
                *(round(v, 3) for v in self.degraded.values()),
            )
        ]
        for name, t in trained.items():
            scores = (round(v, 3) for v in self.psnr[name].values())
            rows.append((name, t.parameters, t.rate, round(t.seconds_per_step, 4), *scores))
        return Measurement(
            f"Y-PSNR on {test_set} (dB)",
            ours=psnr["SA-Conv"],
            baseline=psnr["CNN, equal parameters"],
            criterion=criterion,
            passed=passed,
            values=values,
            figures=self.figures,
            tables=[Table("psnr", columns, tuple(rows))],
        )


def compare(task: PhotographTask, figure: str, title: str) -> Comparison:
    """Train the five networks and test them."""
    size = task.size

    def network(label: str, name: str, blocks: int, channels: int | None = None) -> Contender:
        return Contender(
            label, lambda: edsr(name, size.fields, blocks, task.factor, channels, normalize_input=True)
        )

    channels, blocks = edsr_cnn_like(size.fields, size.blocks, task.factor)
    contenders = [network(name, name, size.blocks) for name in FAMILY]
    contenders.append(network("CNN, equal parameters", "CNN", blocks, channels))
    contenders.append(network("CNN, equal channels", "CNN", size.blocks, 8 * size.fields))
    trained = task.school(contenders)
    psnr = {name: task.test(t.model) for name, t in trained.items()}
    figures = [
        _crops(task, trained, figure, title),
        photograph_orbits("learned-orbits", trained["SA-Conv"].model, task),
    ]
    return Comparison(task, trained, psnr, task.degraded(), figures)


def _crops(task: PhotographTask, trained: dict[str, Trained], name: str, title: str) -> Figure:
    """One crop of the first image of two test sets, degraded, restored by every model, and clean."""
    shown = ("CNN, equal parameters", *FAMILY)
    rows = []
    for images in list(task.tests.values())[:3]:
        index = min(2, len(images) - 1)  # butterfly in Set5
        degraded, clean = images[index]
        start = bicubic(images.bytes_at(index)[0], task.factor)
        results = {"noisy" if task.factor == 1 else "bicubic": start}
        results |= {label: restore(trained[label].model, degraded) for label in shown}
        row = [
            Crop(f"{label.replace(', equal parameters', '')}\n{task.psnr(x, clean):.2f} dB", _cut(x))
            for label, x in results.items()
        ]
        rows.append([*row, Crop("clean\n", _cut(clean))])
    alt = f"{title}: crops of {len(rows)} test images. From left to right: degraded, CNN with equal parameters, B-Conv, TL-Conv, SA-Conv, clean; PSNR of the whole image above each."
    return restored_crops(name, rows, title, alt)


def _cut(image: Tensor) -> Tensor:
    height, width = image.shape[1:]
    top, left = (height - CROP) // 2, (width - CROP) // 2
    return image[:, top : top + CROP, left : left + CROP] / 255
