"""SA-Conv against TL-Conv, the strategies for per-sample filters against each other, filters against the step (sa_conv §8, K7).

.venv/bin/pytest benchmarks/speed/test_sa_conv.py -n0 --benchmark-enable [--record benchmarks/results/speed]
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sa_conv import EDSR
from sa_conv.layers import SAGroupConv2d, SALiftingConv2d
from sa_conv.sample_conv import Strategy, fastest, sample_conv2d
from tenfold_benchmarks.timing import Ratio

Versus = Callable[..., Ratio]

devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def training_step(model: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (model(x) - target).abs().mean().backward()
        optimizer.step()

    return step


@devices
@pytest.mark.parametrize(("fields", "limit"), [(2, 2.2), (16, 1.6)])
def test_sa_step_against_tl_step(versus: Versus, device: str, fields: int, limit: float) -> None:
    """K7: an adaptive step costs at most 1.6 learned steps at C = 16, batch 16 (2.2 on the tiny network of section 7)."""
    torch.manual_seed(0)
    size, blocks = (48, 1) if fields == 16 else (32, 1)
    x = 255 * torch.rand(16, 3, size, size, device=device)
    sizes = {"scale": 1, "fields": fields, "n_blocks": blocks}
    steps = [
        training_step(EDSR(variant, **sizes).to(device), x, torch.zeros_like(x))
        for variant in ("saconv", "tlconv")
    ]
    ratio = versus(
        *steps,
        rounds=5 if fields == 16 else 20,
        warmup=1,
        peer="TL-Conv",
        fields=fields,
        batch=16,
        size=size,
        blocks=blocks,
        device=device,
        threads=1,
        limit=limit,
    )
    assert ratio.ratio <= limit


@pytest.mark.gpu
def test_sa_memory_against_tl_on_the_gpu() -> None:
    """With recomputed filters the peak is at most 1.5 × TL-Conv's (P12)."""
    peaks = {}
    for variant in ("tlconv", "saconv"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        model = EDSR(variant, scale=1, fields=16, n_blocks=8).cuda()
        x = 255 * torch.rand(16, 3, 48, 48, device="cuda")
        training_step(model, x, torch.zeros_like(x))()
        peaks[variant] = torch.cuda.max_memory_allocated()
        del model
    assert peaks["saconv"] <= 1.5 * peaks["tlconv"]


@pytest.mark.parametrize("variant", ["bconv", "tlconv"])
def test_building_the_filters_against_the_training_step(versus: Versus, variant: str) -> None:
    """All filters of an EDSR with 16 blocks, forward and backward, cost at most 5 % of its training step.

    At batch 4, a quarter of the paper's: the filters are built once, whatever the batch. What per-sample filters cost is
    in `test_sa_step_against_tl_step`.
    """
    torch.manual_seed(0)
    model = EDSR(variant, scale=2, fields=8, n_blocks=16)
    x = 255 * torch.rand(4, 3, 48, 48)
    layers = [m for m in model.modules() if isinstance(m, SALiftingConv2d | SAGroupConv2d)]
    assert len(layers) == 33
    gradients = [torch.randn_like(layer.dense_weight()) for layer in layers]

    def build() -> None:
        for layer, gradient in zip(layers, gradients):
            layer.dense_weight().backward(gradient)
        model.zero_grad(set_to_none=True)

    step = training_step(model, x, torch.zeros(4, 3, 96, 96))
    ratio = versus(
        build,
        step,
        rounds=5,
        warmup=1,
        peer="the whole training step",
        variant=variant,
        fields=8,
        batch=4,
        size=48,
        threads=1,
        limit=0.05,
    )
    assert ratio.ratio <= 0.05


@devices
@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "batch"),
    [
        (128, 128, 48, 4),
        (128, 128, 8, 16),
        (16, 16, 32, 16),
        (3, 128, 48, 4),
        (128, 3, 48, 4),
        (35, 40, 64, 4),
    ],
)
@pytest.mark.parametrize("strategy", ["grouped", "unfolded", "looped"])
def test_the_rule_picks_a_fast_strategy(
    versus: Versus, device: str, inputs: int, outputs: int, size: int, batch: int, strategy: Strategy
) -> None:
    """The automatic choice, forward and backward, is at most 1.35 × as slow as any of the three."""
    torch.manual_seed(0)
    x = torch.randn(batch, inputs, size, size, device=device, requires_grad=inputs > 3)
    weight = torch.randn(batch, outputs, inputs, 5, 5, device=device, requires_grad=True)
    gradient = torch.randn(batch, outputs, size, size, device=device)
    chosen = fastest(x, weight)
    if chosen == strategy:
        pytest.skip(f"{strategy} is what the rule picks")

    def convolve(by: Strategy) -> Callable[[], None]:
        def run() -> None:
            sample_conv2d(x, weight, padding=2, strategy=by).backward(gradient)
            x.grad = weight.grad = None

        return run

    ratio = versus(
        convolve("auto"),
        convolve(strategy),
        rounds=25 if size == 8 else 7,  # 26 MB of filters: a few rounds say more about the allocator
        warmup=3,
        peer=strategy,
        chosen=chosen,
        device=device,
        limit=1.35,
    )
    assert ratio.ratio <= 1.35
