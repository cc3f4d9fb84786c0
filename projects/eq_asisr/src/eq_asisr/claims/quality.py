"""C4: quality per parameter. The equivariant network against its plain counterpart on photographs, and what explains the gap."""

import torch

from eq_asisr.claims.networks import EQ, PLAIN
from eq_asisr.claims.starts import tf32
from eq_asisr.claims.training import Trained
from eq_asisr.claims.zoom import LONG, SIZES, ZoomTask, mean
from eq_asisr.data.evaluation import EvaluationSet
from eq_asisr.equivariance import rotation_spread
from eq_asisr.figures import turned_photograph, zoom_sweep
from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

SPREAD_BOUND = 1e-4
LIIF_ON_DIV2K = {2: 34.67, 3: 30.96, 4: 29.00}
"""PSNR on DIV2K as published for EDSR-LIIF and found again by an independent training (§7)."""


@claim(
    "C4",
    "Equal quality or better with fewer parameters, at equal steps",
    source="abstract; criteria inferred",
    known_gaps={
        "cpu": "after 2,000 steps EQ (66,315 parameters) is 0.45, 0.16 and 0.22 dB below plain (111,395) with seeds 0, 1, 2, and "
        "0.18, 0.13, 0.27 dB below a plain model of equal parameters; against the plain model with the same 5×5 kernels and "
        "features (244,003 parameters) it is +0.12, +0.15 and −0.03 dB. It beats bicubic by 0.72 to 0.88 dB, and its PSNR does "
        "not depend on the orientation"
    },
)
def quality_per_parameter(scale: Scale, seed: int) -> Measurement:
    """EDSR-LIIF-EQ against plain, and the two controls of `networks`, on the same samples for equally many steps.

    Smoke, trained on the three photographs it is tested on: the loss of the EQ model falls by at least 40 %. (The notes also
    ask to beat bicubic there, after a minute of training; all smoke claims together have less than that, and 600 steps of
    the tiny model were measured 0.7 dB below bicubic, so the lead over bicubic is reported without a criterion.)
    Cpu, T91, 2,000 steps, Set5 ×2, ×3, ×4: mean of EQ − plain ≥ −0.10 dB, both ≥ bicubic + 0.4 dB. Gpu, published widths,
    BSDS500, Set5, Set14, B100 × ×2, ×3, ×4: mean of EQ ≥ mean of plain, both ≥ bicubic + 2.0 dB on Set5 ×4. Paper, DIV2K,
    a million steps: plain within 0.05 dB of 34.67, 30.96, 29.00 on DIV2K, EQ ≥ plain in 80 % of the cells. At every scale
    the PSNR of an image in its four orientations differs by at most 1e-4 dB with EQ.

    The published pair differs in more than the symmetry. How much of the gap is left against the plain model with the
    same kernels, residual scale and features, and against the plain one with equal parameters, is reported without a
    criterion, whichever way it falls. The learning rate of each model is searched among the same candidates.
    """
    sets = {
        Scale.SMOKE: (("builtin",), (2,)),
        Scale.CPU: (("Set5",), (2, 3, 4)),
        Scale.GPU: (("Set5", "Set14", "B100"), (2, 3, 4)),
        Scale.PAPER: (("Set5", "Set14", "B100", "Urban100", "DIV2K"), (2, 3, 4)),
    }
    names, scales = sets[scale]
    task = ZoomTask(SIZES[scale], scale, seed, [EvaluationSet(n, s) for n in names for s in scales])
    trained = task.school(controls=scale is not Scale.SMOKE)
    scores = {name: task.scores(t.model) for name, t in trained.items()}
    reference = task.bicubic()
    spread = spreads(task, trained, side=32 if scale is Scale.SMOKE else None)
    gaps = [scores[EQ][where] - scores[PLAIN][where] for where in reference]
    checks = {f"EQ's PSNR over orientations differs by <= {SPREAD_BOUND:g} dB": spread[EQ] <= SPREAD_BOUND}
    if scale is Scale.SMOKE:
        fallen = 1 - task.validation_loss(trained[EQ].model) / task.validation_loss(task.untrained(EQ))
        checks["EQ's loss falls by >= 40 %"] = fallen >= 0.4
    elif scale is Scale.CPU:
        checks["mean of EQ − plain >= −0.10 dB"] = mean(gaps) >= -0.10
        checks["both >= bicubic + 0.4 dB"] = margin(scores, reference) >= 0.4
    elif scale is Scale.GPU:
        checks["mean of EQ >= mean of plain"] = mean(gaps) >= 0
        checks["both >= bicubic + 2.0 dB on Set5 ×4"] = all(
            scores[name]["Set5 ×4"] >= reference["Set5 ×4"] + 2.0 for name in (EQ, PLAIN)
        )
    else:
        checks["plain within 0.05 dB of 34.67, 30.96, 29.00 on DIV2K"] = all(
            abs(scores[PLAIN][f"DIV2K ×{s}"] - published) <= 0.05 for s, published in LIIF_ON_DIV2K.items()
        )
        checks["EQ >= plain in 80 % of the cells"] = mean([float(gap >= 0) for gap in gaps]) >= 0.8
    return measurement(trained, scores, reference, spread, checks, figures(task, trained))


@claim(
    "C4b",
    "With more steps the equivariant network leads",
    source="abstract; criteria inferred",
    scales=("gpu", "paper"),
)
def longer_training(scale: Scale, seed: int) -> Measurement:
    """The small pair of C4 at cpu scale, 6,000 steps on T91, Set5 ×2, ×3, ×4, with both controls.

    Mean of EQ − plain ≥ +0.10 dB, both ≥ bicubic + 0.8 dB, the PSNR over orientations ≤ 1e-4 dB apart with EQ. The preset
    `edsr_liif_eq_cpu` trains the same network without the search, in a quarter of an hour on one core.
    """
    task = ZoomTask(LONG, scale, seed, [EvaluationSet("Set5", s) for s in (2, 3, 4)])
    trained = task.school()
    scores = {name: task.scores(t.model) for name, t in trained.items()}
    reference, spread = task.bicubic(), spreads(task, trained)
    gap = mean([scores[EQ][where] - scores[PLAIN][where] for where in reference])
    checks = {
        "mean of EQ − plain >= +0.10 dB": gap >= 0.10,
        "both >= bicubic + 0.8 dB": margin(scores, reference) >= 0.8,
        f"EQ's PSNR over orientations differs by <= {SPREAD_BOUND:g} dB": spread[EQ] <= SPREAD_BOUND,
    }
    return measurement(trained, scores, reference, spread, checks, figures(task, trained))


def spreads(task: ZoomTask, trained: dict[str, Trained], side: int | None = None) -> dict[str, float]:
    """Largest minus smallest PSNR of an image over its four orientations, the worst of the coarsest scale of the first set.

    With `side`, of a low-resolution corner of so many pixels.
    """
    images = max((t for t in task.tests if t.name == task.tests[0].name), key=lambda images: images.scale)
    found = {}
    for name, t in trained.items():
        worst = 0.0
        for i in range(len(images)):
            pair = images[i]
            lr, hr = pair.lr[None, :, :side, :side], pair.hr[None]
            hr = hr[..., : lr.shape[-2] * int(images.scale), : lr.shape[-1] * int(images.scale)]
            lr, hr = lr.to(task.device), hr.to(task.device)
            with tf32(False):
                differ = rotation_spread(
                    t.model.upscale, lr, hr, scale=int(images.scale), protocol=images.protocol
                )
            worst = max(worst, differ.item())
        found[name] = worst
    return found


def margin(scores: dict[str, dict[str, float]], reference: dict[str, float]) -> float:
    """Smallest lead over bicubic of plain and EQ, in the mean over the test sets, in decibels."""
    return min(mean([scores[name][where] - reference[where] for where in reference]) for name in (PLAIN, EQ))


def measurement(
    trained: dict[str, Trained],
    scores: dict[str, dict[str, float]],
    reference: dict[str, float],
    spread: dict[str, float],
    checks: dict[str, bool],
    pictures: list[Figure],
) -> Measurement:
    """Headline: mean PSNR of EQ against plain; every model, set and gap in the values and a table."""
    means = {name: mean(list(cells.values())) for name, cells in scores.items()}
    means["bicubic"] = mean(list(reference.values()))
    values: dict[str, Value] = {f"bicubic, {where}": psnr for where, psnr in reference.items()}
    for name, cells in scores.items():
        values |= {f"{name}, {where}": psnr for where, psnr in cells.items()}
        values[f"{name}, spread over orientations (dB)"] = spread[name]
        values[f"{name}, parameters"] = trained[name].parameters
    values |= {f"EQ − {name}": means[EQ] - value for name, value in means.items() if name != EQ}
    rows: list[tuple] = [("bicubic", None, None, None, None, *(round(v, 3) for v in reference.values()))]
    for name, t in trained.items():
        rounded = (round(v, 3) for v in scores[name].values())
        rows.append((name, t.parameters, t.rate, round(t.seconds_per_step, 4), spread[name], *rounded))
    columns = ("model", "parameters", "learning rate", "seconds per step", "spread (dB)", *reference)
    return Measurement(
        "mean PSNR over sets and scales (dB)",
        ours=means[EQ],
        baseline=means[PLAIN],
        criterion="; ".join(checks),
        passed=all(checks.values()),
        values={**values, **checks},
        figures=pictures,
        tables=[Table("psnr", columns, tuple(rows))],
    )


def figures(task: ZoomTask, trained: dict[str, Trained]) -> list[Figure]:
    """A zoom sweep of one test image, and the same image turned by 90° through plain and EQ."""
    images = max(task.tests, key=lambda images: (images.name == task.tests[0].name, images.scale))
    pair = images[min(2, len(images) - 1)]  # butterfly in Set5
    models = {name: trained[name].model.cpu() for name in (PLAIN, EQ)}
    lr = pair.lr[:, :64, :64].contiguous()
    with torch.no_grad():
        sweep = zoom_sweep(
            "zoom-sweep",
            models,
            pair.lr,
            "From ×1 to ×8",
            "A photograph at six scales from 1 to 8, enlarged by bicubic interpolation, by the plain network and by the "
            "equivariant one; each window shows less of it.",
            side=min(48, *pair.lr.shape[1:]),
        )
        around = turned_photograph(
            "turned-photograph",
            {name: model.upscale for name, model in models.items()},
            lr,
            4,
            "Upright, and turned by 90°",
            "The same photograph enlarged four times upright and turned by 90 degrees, by the plain and the equivariant "
            "network, with maps of the difference between the two orientations.",
        )
    return [sweep, around]
