"""C3: parameters and training memory do not grow with the number of iterations."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tenfold.claims import Measurement, Scale, Table, claim

from ..estimators.base import NetworkEstimator
from ..estimators.icenet import ICENet
from ..estimators.stacked import TiedUnroll
from ..figures import memory_over_depth
from ..implicit.solvers import SolverConfig
from ..metrics import nmse, saved_tensor_bytes
from ..ofdm.channel import Slots
from .budget import BUDGETS
from .setting import Setting, Stream, setting_for
from .training import count_parameters, derive, device_for, in_words, seeded

MIB = 2**20


@dataclass(frozen=True)
class Effort:
    """Numbers of evaluations, the shallowest and the deepest at the ends, and slots of the step."""

    depths: tuple[int, ...]
    batch: int


EFFORTS = {
    Scale.SMOKE: Effort((5, 50), 4),
    Scale.CPU: Effort((5, 10, 20, 50), 16),
    Scale.GPU: Effort((5, 10, 20, 40), 256),
    Scale.PAPER: Effort((5, 10, 20, 40), 256),
}


@claim(
    "C3",
    "Constant memory: parameters and training memory do not depend on the depth",
    source="abstract: one implicit layer in place of stacked layers",
)
def constant_memory(scale: Scale, seed: int) -> Measurement:
    """One training step at ε = 0, so that all τ evaluations are made.

    smoke, cpu: parameters identical for all τ; bytes saved for the backward pass at τ = 5 and τ = 50 differ by less than 1 %, by
    implicit and by one-step gradients; TiedUnroll(50) / TiedUnroll(5) > 5.
    gpu, paper: the peak of the allocated memory over what was there before, τ = 40 over τ = 5, below 1.1, and above 4 for TiedUnroll."""
    effort, setting, device = EFFORTS[scale], setting_for(scale), device_for(scale)
    run = derive(seed, 1)[0]
    rows = [
        measure_depth(depth, effort.batch, BUDGETS[scale].size, setting, run, device)
        for depth in effort.depths
    ]
    return report(rows, on_device=device.type == "cuda")


@dataclass(frozen=True)
class Depth:
    """At one depth: parameters of ICENet and of TiedUnroll, and bytes of a training step of each."""

    tau: int
    parameters: int
    implicit: int
    one_step: int
    unrolled: int
    unrolled_parameters: int


def measure_depth(
    tau: int, batch: int, size: str, setting: Setting, seed: int, device: torch.device
) -> Depth:
    """Bytes of one training step on the same slots."""
    solver = SolverConfig(eps=0.0, tau=tau)
    slots = Stream(setting, batch, seed, device)()
    implicit, one_step = (
        seeded(seed, lambda: ICENet.of_size(size, setting.config, solver=solver, grad=grad)).to(device)  # noqa: B023
        for grad in ("ift", "jfb")
    )
    channels, convs = implicit.config["channels"], implicit.config["input_convs"]
    unrolled = seeded(seed, lambda: TiedUnroll(setting.config, tau, channels, input_convs=convs)).to(device)
    first, second, third = (training_bytes(model, slots) for model in (implicit, one_step, unrolled))
    return Depth(tau, count_parameters(implicit), first, second, third, count_parameters(unrolled))


def training_bytes(model: NetworkEstimator, slots: Slots) -> int:
    """On the CPU the bytes that autograd keeps, deterministic; on CUDA the peak of the allocator above the start."""
    model.train()

    def step() -> Tensor:
        return nmse(model(slots.ls, slots.noise_var), slots.h)

    if slots.h.device.type != "cuda":
        return saved_tensor_bytes(step, list(model.parameters()))
    step().backward()  # buffers of the libraries, gradients: not part of a step
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step().backward()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def report(rows: Sequence[Depth], on_device: bool) -> Measurement:
    conditions = verdict(rows[0], rows[-1], {row.parameters for row in rows}, on_device)
    what = "peak of the allocated memory" if on_device else "bytes saved for the backward pass"
    values = {f"τ = {row.tau}/{kind} (bytes)": getattr(row, kind) for row in rows for kind in ("implicit", "one_step", "unrolled")}  # fmt: skip
    columns = ("τ", "parameters", "implicit (MiB)", "one-step (MiB)", "TiedUnroll (MiB)", "its parameters")
    lines = {
        "ICENet, implicit gradient": [row.implicit / MIB for row in rows],
        "TiedUnroll": [row.unrolled / MIB for row in rows],
    }
    depths = [float(row.tau) for row in rows]
    first, last = rows[0], rows[-1]
    return Measurement(
        quantity=f"{what}, τ = {last.tau} over τ = {first.tau}; baseline: TiedUnroll",
        ours=last.implicit / first.implicit,
        baseline=last.unrolled / first.unrolled,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
        tables=[
            Table(
                "memory",
                columns,
                tuple(
                    (
                        r.tau,
                        r.parameters,
                        r.implicit / MIB,
                        r.one_step / MIB,
                        r.unrolled / MIB,
                        r.unrolled_parameters,
                    )
                    for r in rows
                ),
            )
        ],
        figures=[
            memory_over_depth(
                "memory-depth",
                {label: (depths, line) for label, line in lines.items()},
                "Training memory against depth",
                f"{what.capitalize()} over the number of evaluations: ICENet stays at {lines['ICENet, implicit gradient'][-1]:.2f} MiB, "
                f"the unrolled network grows from {lines['TiedUnroll'][0]:.2f} to {lines['TiedUnroll'][-1]:.2f} MiB.",
            )
        ],
    )


def verdict(first: Depth, last: Depth, parameters: set[int], on_device: bool) -> dict[str, bool]:
    """The conditions, from the shallowest and the deepest."""
    unrolled = last.unrolled / first.unrolled
    same = {"parameters_identical_for_all_depths": len(parameters) == 1}
    if on_device:
        return same | {
            "memory_ratio_below_1.1": last.implicit / first.implicit < 1.1,
            "memory_ratio_of_TiedUnroll_above_4": unrolled > 4,
        }
    return same | {
        "saved_bytes_differ_by_less_than_1_percent": abs(last.implicit / first.implicit - 1) < 0.01,
        "saved_bytes_of_one-step_gradients_differ_by_less_than_1_percent": abs(last.one_step / first.one_step - 1) < 0.01,
        "saved_bytes_of_TiedUnroll_grow_more_than_fivefold": unrolled > 5,
    }  # fmt: skip
