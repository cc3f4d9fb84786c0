"""MetaKAN's layers against pykan and against the KANs they replace. A step is zero_grad, forward, loss, backward, Adam.

    uv run pytest benchmarks/speed/test_metakan.py -n0 --benchmark-enable

Both sides of an entry run the same step on the same data with torch's default Adam, on one thread.
"""

import contextlib
import io
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metakan import KAN, MetaKAN, cuda_peak, saved_bytes, state_bytes, to_pykan

WIDE = [3072, 1024, 100]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def training_step(
    model: nn.Module, inputs: int, outputs: int, batch: int, device: str = "cpu"
) -> Callable[[], None]:
    """One step of classification on fixed random data in the range of the grid."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(batch, inputs, generator=generator) * 2 - 1).to(device)
    y = torch.randint(outputs, (batch,), generator=generator).to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize(
    ("variant", "factor"),
    [
        ("as it comes", 60),
        pytest.param(
            "after .speed()",
            15,
            marks=pytest.mark.xfail(
                reason="does not hold: 5 to 11 times were measured; the matrix products alone take a quarter of our step"
            ),
        ),
    ],
)
def test_spline_layer_against_pykan(versus, variant, factor, tmp_path):
    """KAN [64, 64, 10], G = 5, k = 3, batch 256; equal outputs are asserted in float64 first."""
    pytest.importorskip("kan", reason="pykan is not installed")
    torch.manual_seed(0)
    model = KAN([64, 64, 10])
    double = KAN.from_pretrained(saved(model, tmp_path)).double()
    exported = to_pykan(double, str(tmp_path / "double"))
    x = torch.rand(256, 64, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        assert (exported(x) - double(x)).abs().max() < 1e-10

    peer = to_pykan(model, str(tmp_path / "peer"))
    if variant == "after .speed()":
        with contextlib.redirect_stdout(io.StringIO()):
            peer = peer.speed()
    rounds = 15 if factor == 15 else 5
    ratio = versus(
        training_step(model, 64, 10, 256), training_step(peer, 64, 10, 256),
        rounds=rounds, peer=f"pykan 0.2.8 {variant}", widths="64-64-10", batch=256, threads=1, limit=1 / factor,
    )  # fmt: skip
    assert ratio.ratio <= 1 / factor


def saved(model: KAN, folder):
    model.save_pretrained(folder / "model")
    return folder / "model"


def opened(model: MetaKAN) -> MetaKAN:
    """Kinks spread as in training; at initialisation all lie at zero and generation is cheaper."""
    with torch.no_grad():
        for learner in model.bank.learners:
            learner.first.bias.normal_(0, 0.02)
    return model


@pytest.mark.parametrize(("memory", "limit"), [("recompute", 2.0), ("materialize", 1.3)])
def test_step_of_metakan_against_kan(versus, memory, limit):
    """[3072, 1024, 100], h = 64, batch 64."""
    torch.manual_seed(0)
    ours, peer = opened(MetaKAN(WIDE, hidden=64, memory=memory)), KAN(WIDE)
    ratio = versus(
        training_step(ours, 3072, 100, 64), training_step(peer, 3072, 100, 64),
        rounds=8, warmup=2, peer="our KAN", widths="3072-1024-100", batch=64, hidden=64, memory=memory, threads=1, limit=limit,
    )  # fmt: skip
    assert ratio.ratio <= limit


def training_bytes(model: nn.Module, x: torch.Tensor) -> int:
    """Weights, gradients, Adam moments, and what is kept for the backward pass."""
    return state_bytes(model) + saved_bytes(model, lambda: model(x))


def test_memory_of_metakan_against_kan():
    """[3072, 1024, 100], batch 64: at most a fifth of KAN's bytes, the same for every h to 5 %."""
    x = torch.rand(64, 3072)
    kan = training_bytes(KAN(WIDE), x)
    ours = {h: training_bytes(opened(MetaKAN(WIDE, hidden=h)), x) for h in (16, 64, 128)}
    print({"kan": kan, **ours})
    assert ours[64] <= 0.2 * kan
    assert max(ours.values()) <= 1.05 * min(ours.values())


@pytest.mark.gpu
def test_cuda_memory_of_metakan_against_kan():
    """Claim C3: [3072, 2048, 2048, 10], batch 64, h = 64, Adam: peak at most 0.45 of KAN's."""
    widths, peaks = [3072, 2048, 2048, 10], {}
    for name in ("kan", "metakan"):
        model = (KAN(widths) if name == "kan" else opened(MetaKAN(widths, hidden=64))).cuda()
        peaks[name] = cuda_peak(training_step(model, 3072, 10, 64, "cuda"))
        del model
        torch.cuda.empty_cache()
    print(peaks)
    assert peaks["metakan"] <= 0.45 * peaks["kan"]


@pytest.mark.gpu
@pytest.mark.parametrize(("memory", "limit"), [("recompute", 2.0), ("materialize", 1.3)])
def test_cuda_step_of_metakan_against_kan(versus, memory, limit):
    """[3072, 1024, 100], h = 64, batch 64 on the GPU."""
    ours, peer = opened(MetaKAN(WIDE, hidden=64, memory=memory)).cuda(), KAN(WIDE).cuda()
    ratio = versus(
        training_step(ours, 3072, 100, 64, "cuda"), training_step(peer, 3072, 100, 64, "cuda"),
        rounds=20, peer="our KAN", widths="3072-1024-100", batch=64, hidden=64, memory=memory, device="cuda", limit=limit,
    )  # fmt: skip
    assert ratio.ratio <= limit
