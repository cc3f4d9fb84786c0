"""The paper's schedules on DIV2K (section 5): TL from scratch, SA from the TL checkpoint, and the control "TL continued".

Days of one GPU: 150,000 steps of TL and of the baselines, 100,000 more of SA and of TL continued, 32 fields, 16 blocks.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from sa_conv.claims.networks import edsr
from sa_conv.claims.photographs import PhotographTask, Size, Task
from sa_conv.claims.training import Recipe, derive, device_for, l1_loss, seeded, train, trainable
from sa_conv.convert import warm_start
from tenfold.claims import Measurement, Scale, Table, Value


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a task and the steps at which they are halved (1000 steps an epoch).

    Args:
        patch_size: of the network's input.
        tl, tl_halved: TL from scratch, 150 epochs.
        sa, sa_halved: SA from TL, 100 epochs.
        b, b_halved: B from scratch, 150 epochs.
        fields, blocks, batch_size: of the networks; tests shrink them.
        steps, more_steps: of the trainings from scratch and of those that go on.
    """

    patch_size: int
    tl: float
    tl_halved: int
    sa: float
    sa_halved: int
    b: float
    b_halved: int
    fields: int = 32
    blocks: int = 16
    batch_size: int = 16
    steps: int = 150_000
    more_steps: int = 100_000


SCHEDULES: dict[Task, Schedule] = {
    "denoise": Schedule(
        48, tl=1.3e-4, tl_halved=100_000, sa=6.5e-5, sa_halved=50_000, b=1.3e-4, b_halved=80_000
    ),
    "sr": Schedule(48, tl=1e-4, tl_halved=100_000, sa=5e-5, sa_halved=50_000, b=1e-4, b_halved=100_000),
}
CNN_RATE, CNN_HALVED = 1e-4, 100_000
TOLERANCE = 0.05


def measure(task: Task, published: Mapping[str, float], seed: int) -> Measurement:
    """TL within 0.05 dB of the published PSNR of every test set, SA ≥ TL on BSD100; "TL continued" beside SA."""
    device = device_for(Scale.PAPER)
    schedule = SCHEDULES[task]
    size = Size(
        schedule.fields,
        schedule.blocks,
        schedule.patch_size,
        schedule.batch_size,
        schedule.steps,
        search_steps=0,
        rates=(schedule.tl,),
        source="div2k",
        urban=True,
    )
    photographs = PhotographTask(task, size, Scale.PAPER, seed)

    def fit(model: nn.Module, steps: int, rate: float, halved: int, first_step: int = 0) -> nn.Module:
        recipe = Recipe(steps, loss=l1_loss, milestones=(halved,))
        train(model, photographs.batches, recipe, rate, device, first_step)
        return model.eval()

    def fresh(name: str) -> nn.Module:
        return seeded(
            derive(seed, 1), lambda: edsr(name, schedule.fields, schedule.blocks, photographs.factor)
        )

    models = {
        "CNN": fit(fresh("CNN"), schedule.steps, CNN_RATE, CNN_HALVED),
        "B-Conv": fit(fresh("B-Conv"), schedule.steps, schedule.b, schedule.b_halved),
        "TL-Conv": fit(fresh("TL-Conv"), schedule.steps, schedule.tl, schedule.tl_halved),
    }
    adaptive = fresh("SA-Conv")
    adaptive.load_state_dict(warm_start(models["TL-Conv"].state_dict(), adaptive))
    continued = copy.deepcopy(models["TL-Conv"])
    models["TL-Conv continued"] = fit(
        continued, schedule.more_steps, schedule.sa, schedule.sa_halved, schedule.steps
    )
    models["SA-Conv"] = fit(adaptive, schedule.more_steps, schedule.sa, schedule.sa_halved, schedule.steps)
    psnr = {name: photographs.test(model) for name, model in models.items()}
    return _measurement(models, psnr, published)


def _measurement(
    models: Mapping[str, nn.Module], psnr: Mapping[str, dict[str, float]], published: Mapping[str, float]
) -> Measurement:
    off = max(abs(psnr["TL-Conv"][where] - value) for where, value in published.items())
    sets = tuple(psnr["TL-Conv"])
    rows: list[tuple[Value, ...]] = [
        (name, trainable(model), *(psnr[name][where] for where in sets)) for name, model in models.items()
    ]
    return Measurement(
        "Y-PSNR on BSD100 (dB)",
        ours=psnr["SA-Conv"]["BSD100"],
        baseline=psnr["TL-Conv continued"]["BSD100"],
        criterion=f"TL within {TOLERANCE} dB of the published numbers; BSD100: SA >= TL",
        passed=off <= TOLERANCE and psnr["SA-Conv"]["BSD100"] >= psnr["TL-Conv"]["BSD100"],
        values={
            f"{name}, {where}": value for name, results in psnr.items() for where, value in results.items()
        },
        tables=[Table("psnr", ("model", "trainable parameters", *sets), tuple(rows))],
    )
