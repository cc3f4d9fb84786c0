"""C3: less memory for training, the title of the paper. Generating weights naively needs more memory than a KAN (P1)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..account import cuda_peak, saved_bytes, state_bytes
from ..figures import memory_over_width
from ..layers import MetaKANLinear
from ..models.networks import KAN, MetaKAN
from . import networks
from .convolutions import CONV8
from .training import device_for, in_words, seeded

MB = 1e6


@dataclass(frozen=True)
class Cost:
    """Bytes of one training step: weights, gradients and Adam's moments; kept for the backward pass; CUDA peak."""

    state: int
    saved: int
    step_seconds: float
    peak: int | None = None

    @property
    def total(self) -> int:
        return self.state + self.saved


Row = tuple[str, int | None, int | None, Cost]
"""Model, h, block size, cost."""


def measure_cost(model: nn.Module, x: Tensor, labels: Tensor, rounds: int) -> Cost:
    """The cost of an Adam step with cross-entropy; the median time of `rounds` steps."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters())

    def loss() -> Tensor:
        return F.cross_entropy(model(x), labels)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    step()
    state = state_bytes(model, optimizer)
    saved = saved_bytes(model, loss)
    peak = cuda_peak(step) if x.is_cuda else None
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return Cost(state, saved, sorted(seconds)[rounds // 2], peak)


class NaiveMetaKAN(MetaKAN):
    """Weights generated as the formula reads, W = M(Z), and left to autograd, which keeps h hidden units an edge (P1)."""

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, MetaKANLinear)
            weight = self.bank[index](layer.prompts).view(layer.out_features, layer.in_features, -1)
            flat = layer.prepare(x)
            x = layer.finish(layer.product(flat, layer.masked(weight)), x)
        return x


def gradient_difference(seed: int, widths: Sequence[int] = (12, 9, 4), block_size: int = 2) -> float:
    """Largest difference, relative to the largest gradient, between recomputing and plain autograd, in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(16, widths[0], dtype=torch.float64, generator=generator) * 2 - 1
    labels = torch.randint(widths[-1], (16,), generator=generator)
    gradients = []
    for build in (partial(MetaKAN, memory="recompute", block_size=block_size), NaiveMetaKAN):
        model = seeded(seed, partial(build, widths, hidden=8)).double()
        F.cross_entropy(model(x), labels).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    return float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max())


@dataclass(frozen=True)
class Sizes:
    """Networks and grids of h and block size that are measured."""

    widths: tuple[int, ...]
    batch: int
    hidden: int
    table_hidden: tuple[int, ...]
    table_blocks: tuple[int | None, ...]
    rounds: int


SIZES = {
    Scale.SMOKE: Sizes((784, 1024, 10), 128, 64, (64,), (None,), 1),
    Scale.CPU: Sizes((784, 1024, 10), 128, 64, (16, 32, 64, 128), (16, 64, 256), 3),
    Scale.GPU: Sizes((3072, 2048, 2048, 10), 64, 64, (16, 32, 64, 128), (16, 64, 256, None), 10),
    Scale.PAPER: Sizes((3072, 2048, 2048, 10), 64, 64, (8, 16, 32, 64, 128), (16, 64, 256, None), 20),
}


@claim("C3", "Training needs less memory than a KAN", source="title; section 5, peak memory")
def training_memory(scale: Scale, seed: int) -> Measurement:
    """smoke, cpu: [784, 1024, 10], batch 128, h = 64: weights, gradients and moments <= 0.12x KAN's; with what autograd
    keeps <= 0.5x; recomputed gradients equal to kept ones to 1e-12 in float64. gpu, paper: [3072, 2048, 2048, 10], batch
    64: CUDA peak <= 0.45x KAN's, and less than KANConv's for conv-8. Tables over h and block size, time included."""
    device = device_for(scale)
    on_gpu = scale in (Scale.GPU, Scale.PAPER)
    extra = conv_peaks(seed, device, CONV8, 64) if on_gpu else None
    return measure(SIZES[scale], seed, device, extra)


def inputs(shape: Sequence[int], seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(*shape, generator=generator) * 2 - 1
    return x.to(device), torch.randint(10, (shape[0],), generator=generator).to(device)


def conv_peaks(seed: int, device: torch.device, channels: Sequence[int], batch: int) -> tuple[Cost, Cost]:
    """Costs of (MetaKANConv, KANConv) on 32×32 colour images."""
    strides = networks.strides_of(channels)
    x, labels = inputs((batch, 3, 32, 32), seed, device)
    costs = []
    for hidden in (64, None):
        model = seeded(
            seed, lambda h=hidden: networks.conv("spline", 3, channels, strides, hidden=h, memory="recompute")  # type: ignore[misc]
        ).to(device)  # fmt: skip
        costs.append(measure_cost(model, x, labels, 3))
        del model
    return costs[0], costs[1]


def measure(sizes: Sizes, seed: int, device: torch.device, conv: tuple[Cost, Cost] | None) -> Measurement:
    x, labels = inputs((sizes.batch, sizes.widths[0]), seed, device)

    def cost(build: Callable[[], nn.Module]) -> Cost:
        return measure_cost(seeded(seed, build).to(device), x, labels, sizes.rounds)

    def meta(h: int, memory: str, block: int | None = None) -> Cost:
        return cost(lambda: MetaKAN(sizes.widths, hidden=h, memory=memory, block_size=block))

    kan = cost(lambda: KAN(sizes.widths))
    ours = {h: meta(h, "recompute") for h in sorted({sizes.hidden, *sizes.table_hidden})}
    kept = {h: meta(h, "materialize") for h in ours}
    naive = {h: cost(lambda h=h: NaiveMetaKAN(sizes.widths, hidden=h)) for h in ours}  # type: ignore[misc]
    blocks = {b: meta(sizes.hidden, "recompute", b) for b in sizes.table_blocks if b is not None}
    head = ours[sizes.hidden]
    difference = gradient_difference(seed)
    if conv is None:
        conditions = {
            "state_at_most_0.12_of_KAN": head.state <= 0.12 * kan.state,
            "state_and_saved_at_most_0.5_of_KAN": head.total <= 0.5 * kan.total,
        }
        quantity, mine, theirs = "state + bytes kept for backward (MB)", head.total, kan.total
    else:
        conditions = {
            "peak_at_most_0.45_of_KAN": _peak(head) <= 0.45 * _peak(kan),
            "conv8_peak_below_KANConv": _peak(conv[0]) < _peak(conv[1]),
        }
        quantity, mine, theirs = "CUDA peak of a training step (MB)", _peak(head), _peak(kan)
    conditions["recomputed_gradients_equal_to_1e-12"] = difference <= 1e-12
    values: dict[str, Value] = {
        "state_ratio": head.state / kan.state,
        "total_ratio": head.total / kan.total,
        "total_ratio_materialize": kept[sizes.hidden].total / kan.total,
        "total_ratio_naive": naive[sizes.hidden].total / kan.total,
        "time_ratio_recompute": head.step_seconds / kan.step_seconds,
        "time_ratio_materialize": kept[sizes.hidden].step_seconds / kan.step_seconds,
        "time_ratio_naive": naive[sizes.hidden].step_seconds / kan.step_seconds,
        "gradient_difference": difference,
    }
    rows: list[Row] = [("KAN", None, None, kan)]
    rows += [("MetaKAN, recompute", h, None, c) for h, c in ours.items()]
    rows += [("MetaKAN, materialize", h, None, c) for h, c in kept.items()]
    rows += [("MetaKAN, naive", h, None, c) for h, c in naive.items()]
    rows += [("MetaKAN, recompute", sizes.hidden, b, c) for b, c in blocks.items()]
    rows += (
        []
        if conv is None
        else [("MetaKANConv, conv-8", 64, None, conv[0]), ("KANConv, conv-8", None, None, conv[1])]
    )
    return Measurement(
        quantity=f"{quantity}, {list(sizes.widths)}, h = {sizes.hidden}",
        ours=mine / MB,
        baseline=theirs / MB,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**values, **conditions},
        tables=[_table(rows)],
        figures=[_figure(sizes, kan, ours, naive)] if len(ours) > 1 else [],
    )


def _peak(cost: Cost) -> int:
    """The CUDA peak, or state and saved bytes where there is no device (tests of the gpu path)."""
    return cost.total if cost.peak is None else cost.peak


def _table(rows: Sequence[Row]) -> Table:
    columns = ("model", "h", "block size", "state MB", "saved MB", "CUDA peak MB", "ms a step")
    return Table(
        "memory",
        columns,
        tuple(
            (
                name,
                h,
                block,
                c.state / MB,
                c.saved / MB,
                None if c.peak is None else c.peak / MB,
                1000 * c.step_seconds,
            )
            for name, h, block, c in rows
        ),
    )


def _figure(sizes: Sizes, kan: Cost, ours: dict[int, Cost], naive: dict[int, Cost]) -> Figure:
    curves = {
        "KAN": ([float(sizes.hidden)], [_peak(kan) / MB]),
        "MetaKAN, naive": ([float(h) for h in naive], [_peak(c) / MB for c in naive.values()]),
        "MetaKAN, recompute": ([float(h) for h in ours], [_peak(c) / MB for c in ours.values()]),
    }
    return memory_over_width(
        "training-memory",
        curves,
        f"Training memory of {list(sizes.widths)}, batch {sizes.batch}",
        ("hidden width h of the meta-learner", "MB a training step"),
        "Memory of a training step over the hidden width of the meta-learner. KAN is a level line; MetaKAN grows with h "
        "when autograd keeps its hidden units, and stays low and flat when weights are computed again.",
    )
