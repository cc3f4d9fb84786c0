"""Parameter counts against every entry of the paper's tables, formulas against models, bytes against arithmetic."""

import random

import pytest
import torch
from torch import nn

from metakan import (
    KAN,
    MetaKAN,
    build_model,
    count_parameters,
    cuda_peak,
    expected_parameters,
    meta_parameters,
    saved_bytes,
    state_bytes,
)


def fc(widths, kan, h16, h32, h32_shared, mlp):
    yield {"name": "kan", "widths": widths, "scaler": True}, kan
    yield {"name": "metakan", "widths": widths, "hidden": 16}, h16
    yield {"name": "metakan", "widths": widths, "hidden": 32}, h32
    yield {"name": "metakan", "widths": widths, "hidden": 32, "n_meta": 1}, h32_shared
    yield {"name": "mlp", "widths": widths}, mlp


def conv(depth, inputs, classes, kan, meta, fast, metafast, gram, metagram):
    shared = {"depth": depth, "in_channels": inputs, "n_classes": classes}
    yield {"name": "conv_kan", **shared}, kan
    for h, count in zip((32, 64, 128), meta):
        yield {"name": "meta_conv_kan", "hidden": h, **shared}, count
    yield {"name": "conv_kan", "basis": "rbf", **shared}, fast
    for h, count in zip((64, 128), metafast):
        yield {"name": "meta_conv_kan", "basis": "rbf", "hidden": h, **shared}, count
    yield {"name": "conv_kan", "basis": "gram", **shared}, gram
    yield {"name": "meta_conv_kan", "basis": "gram", "hidden": 64, **shared}, metagram


def pde(dim, kan, h64, h32, mlp):
    widths = [dim, 128, 128, 128, 1]
    yield {"name": "kan", "widths": widths, "scaler": True}, kan
    yield {"name": "metakan", "widths": widths, "hidden": 64}, h64
    yield {"name": "metakan", "widths": widths, "hidden": 32}, h32
    yield {"name": "mlp", "widths": widths, "activation": "tanh"}, mlp


TABLE = [
    *fc([784, 32, 10], 254_080, 25_778, 26_130, 25_769, 25_450),
    *fc([2352, 32, 10], 755_840, 75_954, 76_306, 75_945, 75_626),
    *fc([2352, 32, 100], 784_640, 78_834, 79_186, 78_825, 78_596),
    ({"name": "metakan", "widths": [784, 32, 10], "hidden": 32, "prompt_dim": 3}, 77_074),
    *conv(4, 1, 10, 3_489_774, (391_255, 391_607, 392_311), 3_489_292, (391_125, 391_829), 1_940_346, 391_359),
    *conv(4, 3, 10, 3_494_958, (391_831, 392_183, 392_887), 3_494_480, (391_705, 392_409), 1_943_226, 391_935),
    *conv(4, 3, 100, 3_518_088, (414_961, 415_313, 416_017), 3_517_610, (414_835, 415_539), 1_966_356, 415_065),
    *conv(8, 3, 10, 40_696_610, (4_529_931, 4_530_283, 4_530_987), 40_695_648, (4_529_321, 4_530_025), 22_613_114, 4_530_047),
    *conv(8, 3, 100, 40_742_780, (4_576_101, 4_576_453, 4_577_157), 40_741_818, (4_575_491, 4_576_195), 22_659_284, 4_576_217),
    *pde(10, 341_760, 37_028, 35_620, 34_561),
    *pde(100, 456_960, 48_548, 47_140, 46_081),
    *(
        ({"name": "kan", "widths": widths, "bias": True}, count)
        for widths, count in (
            ([1, 3, 1], 58), ([2, 2, 1], 57), ([4, 3, 3, 1], 223), ([3, 5, 5, 5, 1], 646), ([6, 5, 5, 5, 1], 781),
        )
    ),
    ({"name": "kan", "widths": [3, 5, 5, 5, 1], "bias": True, "scaler": True}, 716),
    ({"name": "metakan", "widths": [3, 5, 5, 5, 1], "bias": True, "hidden": 16, "n_meta": 1}, 271),
]  # fmt: skip


@pytest.mark.parametrize(("cfg", "count"), TABLE)
def test_formula_equals_the_table(cfg, count):
    assert expected_parameters(cfg, frozen=True) == count


@pytest.mark.parametrize(("cfg", "count"), [row for row in TABLE if row[1] < 5_000_000])
def test_model_equals_the_table(cfg, count):
    with torch.device("meta"):  # shapes only
        model = build_model(cfg) if "conv" not in cfg["name"] else None
    model = build_model(cfg) if model is None else model
    assert count_parameters(model, frozen=True) == count
    assert count_parameters(model) == expected_parameters(cfg)


def random_configuration(generator):
    choose = generator.choice
    shared = {
        "basis": choose(["spline", "rbf", "wavelet", "legendre", "gram", "chebyshev"]),
        "grid_size": generator.randint(1, 7),
        "spline_order": generator.randint(1, 4),
    }
    meta = {"hidden": generator.randint(1, 20), "prompt_dim": generator.randint(1, 4)}
    name = choose(["mlp", "kan", "metakan", "conv_kan", "meta_conv_kan"])
    widths = [generator.randint(2, 9) for _ in range(generator.randint(2, 5))]
    if name == "mlp":
        return {"name": name, "widths": widths, "bias": choose([True, False])}
    if name in ("kan", "metakan"):
        cfg = {"name": name, "widths": widths, "bias": choose([True, False]), **shared}
        if name == "kan":
            return {**cfg, "scaler": shared["basis"] != "wavelet" and choose([True, False])}
        return {**cfg, **meta, "n_meta": choose(["per_layer", generator.randint(1, len(set(widths[1:])))])}
    cfg = {
        "name": name, "in_channels": 2, "n_classes": 3, "depth": None, "channels": widths, "strides": [1] * len(widths),
        "norm": choose(["auto", None]), "kernel_size": choose([1, 3]), "ndim": choose([1, 2]), **shared,
    }  # fmt: skip
    return (
        {**cfg, **meta, "n_meta": generator.randint(1, len(set(widths)))} if name == "meta_conv_kan" else cfg
    )


@pytest.mark.parametrize("seed", range(40))
def test_formula_equals_random_models(seed):
    cfg = random_configuration(random.Random(seed))
    model = build_model(cfg)
    for frozen in (False, True):
        assert expected_parameters(cfg, frozen=frozen) == count_parameters(model, frozen=frozen)


def test_the_papers_formula_leaves_out_the_first_layer():
    assert [meta_parameters(1, h, 9) for h in (8, 16, 32, 64, 128)] == [97, 185, 361, 713, 1417]
    cfg = {"name": "metakan", "widths": [784, 32, 10], "hidden": 16}
    assert expected_parameters(cfg) - expected_parameters(cfg, "paper") == 2 * 16 * 2
    with pytest.raises(ValueError, match="formula must be one of"):
        expected_parameters(cfg, "rounded")
    with pytest.raises(ValueError, match="name must be one of"):
        expected_parameters({"widths": [2, 1]})


def test_frozen_tensors_are_counted_on_request_only():
    model = KAN([4, 3], basis="rbf")
    assert count_parameters(model, frozen=True) - count_parameters(model) == 8


def test_state_bytes():
    model = MetaKAN([8, 4, 2], hidden=3).double()
    n = count_parameters(model)
    assert state_bytes(model) == 4 * 8 * n
    assert state_bytes(model, moments=0) == 2 * 8 * n
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(3, 8).double()).sum().backward()
    optimizer.step()
    steps = len(list(model.parameters())) * 4  # Adam's step counters, float32
    assert state_bytes(model, optimizer) == 4 * 8 * n + steps


def test_saved_bytes_counts_storages_once_and_no_parameters():
    linear, x = nn.Linear(3, 2), torch.zeros(5, 3)
    assert saved_bytes(linear, lambda: linear(x)) == 5 * 3 * 4
    assert saved_bytes(linear, lambda: linear(x) + linear(x.view(5, 3))) == 5 * 3 * 4
    assert saved_bytes(linear, lambda: linear(x).sigmoid()) == (5 * 3 + 5 * 2) * 4


def test_memory_claim_in_small():
    x = torch.rand(64, 300)
    total = {}
    for name, model in (
        ("kan", KAN([300, 100, 10])),
        ("h16", MetaKAN([300, 100, 10], hidden=16)),
        ("h64", MetaKAN([300, 100, 10], hidden=64)),
    ):
        total[name] = state_bytes(model) + saved_bytes(model, lambda model=model: model(x))
    assert total["h64"] < 0.2 * total["kan"]
    assert total["h64"] < 1.05 * total["h16"]


def test_cuda_peak_needs_cuda():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        cuda_peak(lambda: None)


@pytest.mark.gpu
def test_cuda_peak_of_metakan_is_below_kan():
    """Claim C3 at gpu scale: at most 0.45 of KAN's peak at [3072, 2048, 2048, 10], batch 64, Adam."""
    x = torch.rand(64, 3072, device="cuda") * 2 - 1
    peaks = {}
    for name, make in (("kan", KAN), ("metakan", lambda widths: MetaKAN(widths, hidden=64))):
        model = make([3072, 2048, 2048, 10]).cuda()
        optimizer = torch.optim.Adam(model.parameters())

        def step(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

        peaks[name] = cuda_peak(step)
        del model, optimizer, step
        torch.cuda.empty_cache()
    assert peaks["metakan"] <= 0.45 * peaks["kan"]
