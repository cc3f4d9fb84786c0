"""A group convolution against a plain convolution of the same width: C8, 16 → 16 fields (128 channels), 5×5.

The large map shows the cost of the arithmetic, the small one the overhead of assembling the filters. e2cnn 0.2.3
measured 1.08 and 1.31 on the two training steps (issue 3 §3).
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tenfold.groupconv import GroupConv2d, to_e2cnn_type
from tenfold.groups import CyclicGroup
from tenfold_benchmarks.timing import Ratio

FIELDS, GROUP, KERNEL = 16, CyclicGroup(8), 5
CHANNELS = FIELDS * GROUP.order


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def repeated(function: Callable[[], object], times: int) -> Callable[[], None]:
    """Calls that take a few milliseconds are timed in bundles, or the scheduler decides the ratio."""

    def bundle() -> None:
        for _ in range(times):
            function()

    return bundle


def training_step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x).sum().backward()

    return step


def plain_convolution() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=KERNEL // 2)


@pytest.mark.parametrize(
    ("size", "batch", "rounds", "bundle", "limit"),
    [
        (48, 16, 8, 1, 1.04),
        # Writing, arranging and reading back 1.6 MB of filters costs a quarter of so small a convolution.
        pytest.param(8, 4, 30, 10, 1.10, marks=pytest.mark.xfail(reason="about 1.3 measured", strict=False)),
    ],
    ids=["48x48-batch16", "8x8-batch4"],
)
def test_training_step(
    versus: Callable[..., Ratio], size: int, batch: int, rounds: int, bundle: int, limit: float
) -> None:
    x = torch.randn(batch, CHANNELS, size, size, requires_grad=True)
    ours, peer = GroupConv2d(FIELDS, FIELDS, KERNEL, GROUP), plain_convolution()
    ratio = versus(
        repeated(training_step(ours, x), bundle),
        repeated(training_step(peer, x), bundle),
        rounds=rounds,
        warmup=2,
        peer="torch.nn.Conv2d",
        size=size,
        batch=batch,
        threads=1,
        limit=limit,
    )
    assert ratio.ratio <= limit, str(ratio)


@pytest.mark.parametrize(
    ("size", "batch", "rounds", "bundle", "limit"),
    [(48, 16, 10, 1, 1.01), (8, 4, 30, 30, 1.10)],
    ids=["48x48-batch16", "8x8-batch4"],
)
def test_evaluation(
    versus: Callable[..., Ratio], size: int, batch: int, rounds: int, bundle: int, limit: float
) -> None:
    """The remembered filter: ≤ 1.01 on the large map; the small one also shows the check that it is not stale."""
    x = torch.randn(batch, CHANNELS, size, size)
    ours, peer = GroupConv2d(FIELDS, FIELDS, KERNEL, GROUP).eval(), plain_convolution().eval()
    with torch.no_grad():
        ratio = versus(
            repeated(lambda: ours(x), bundle),
            repeated(lambda: peer(x), bundle),
            rounds=rounds,
            warmup=2,
            peer="torch.nn.Conv2d",
            size=size,
            batch=batch,
            threads=1,
            limit=limit,
        )
    assert ratio.ratio <= limit, str(ratio)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.filterwarnings("ignore:.*uint8.*deprecated")
def test_training_step_against_e2cnn(versus: Callable[..., Ratio]) -> None:
    """The steerable library at the same width, on the small map where its overhead shows."""
    from e2cnn.nn import GeometricTensor, R2Conv

    fields = to_e2cnn_type(FIELDS, GROUP)
    theirs = R2Conv(fields, fields, KERNEL, padding=KERNEL // 2)
    x = torch.randn(4, CHANNELS, 8, 8, requires_grad=True)
    ours = GroupConv2d(FIELDS, FIELDS, KERNEL, GROUP)

    def their_step() -> None:
        theirs.zero_grad(set_to_none=True)
        x.grad = None
        theirs(GeometricTensor(x, fields)).tensor.sum().backward()

    ratio = versus(
        training_step(ours, x),
        their_step,
        rounds=60,
        warmup=2,
        peer="e2cnn 0.2.3 R2Conv",
        size=8,
        batch=4,
        threads=1,
        limit=1.0,
    )
    assert ratio.ratio <= 1.0, str(ratio)
