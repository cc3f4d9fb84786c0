"""C1 and C8: parameter counts to the unit, and layers grouped into clusters that share a meta-learner."""

import random
from typing import Any

import torch

from tenfold.claims import Measurement, Scale, Table, claim

from ..account import count_parameters, expected_parameters
from ..models.build import build_model


def dense(name: str, widths: list[int], **options: Any) -> dict[str, Any]:
    return {"name": name, "widths": widths, **options}


def conv(name: str, classes: int, depth: int, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in_channels": options.pop("in_channels", 3),
        "n_classes": classes,
        "depth": depth,
        **options,
    }


_GRAM = {"basis": "gram", "basis_options": {"degree": 3}}

RECORDED: list[tuple[dict[str, Any], int]] = [
    # Fully connected image models: KAN as in the authors' code, ten numbers an edge (§4).
    (dense("kan", [784, 32, 10], scaler=True), 254_080),
    (dense("metakan", [784, 32, 10], hidden=16), 25_778),
    (dense("metakan", [784, 32, 10], hidden=32), 26_130),
    (dense("metakan", [784, 32, 10], hidden=32, n_meta=1), 25_769),
    (dense("metakan", [784, 32, 10], hidden=32, prompt_dim=3), 77_074),
    (dense("mlp", [784, 32, 10]), 25_450),
    (dense("kan", [2352, 32, 10], scaler=True), 755_840),
    (dense("metakan", [2352, 32, 10], hidden=16), 75_954),
    (dense("metakan", [2352, 32, 100], hidden=32), 79_186),
    (dense("mlp", [2352, 32, 100]), 78_596),
    # Convolutional models; FastKAN's eight frozen centres a layer are counted in the record.
    (conv("conv_kan", 10, 4, in_channels=1), 3_489_774),
    (conv("meta_conv_kan", 10, 4, in_channels=1, hidden=32), 391_255),
    (conv("meta_conv_kan", 10, 4, in_channels=1, hidden=64), 391_607),
    (conv("meta_conv_kan", 10, 4, in_channels=1, hidden=128), 392_311),
    (conv("conv_kan", 10, 4, in_channels=1, basis="rbf"), 3_489_292),
    (conv("meta_conv_kan", 10, 4, in_channels=1, basis="rbf", hidden=64), 391_125),
    (conv("conv_kan", 10, 4, in_channels=1, **_GRAM), 1_940_346),
    (conv("meta_conv_kan", 10, 4, in_channels=1, hidden=64, **_GRAM), 391_359),
    (conv("conv_kan", 10, 4), 3_494_958),
    (conv("meta_conv_kan", 10, 4, hidden=128), 392_887),
    (conv("meta_conv_kan", 100, 4, hidden=64), 415_313),
    (conv("conv_kan", 10, 8), 40_696_610),
    (conv("meta_conv_kan", 10, 8, hidden=64), 4_530_283),
    (conv("conv_kan", 10, 8, basis="rbf"), 40_695_648),
    (conv("meta_conv_kan", 100, 8, basis="rbf", hidden=128), 4_576_195),
    (conv("conv_kan", 10, 8, **_GRAM), 22_613_114),
    (conv("meta_conv_kan", 100, 8, hidden=64, **_GRAM), 4_576_217),
    # Equations and symbolic regression (node biases).
    (dense("kan", [10, 128, 128, 128, 1], scaler=True), 341_760),
    (dense("metakan", [10, 128, 128, 128, 1], hidden=64), 37_028),
    (dense("metakan", [100, 128, 128, 128, 1], hidden=64), 48_548),
    (dense("mlp", [10, 128, 128, 128, 1]), 34_561),
    (dense("kan", [1, 3, 1], bias=True), 58),
    (dense("kan", [2, 2, 1], bias=True), 57),
    (dense("kan", [4, 3, 3, 1], bias=True), 223),
    (dense("kan", [3, 5, 5, 5, 1], bias=True), 646),
    (dense("kan", [6, 5, 5, 5, 1], bias=True), 781),
    (dense("metakan", [3, 5, 5, 5, 1], hidden=16, n_meta=1, bias=True), 271),
]
"""Configurations and their counts in the paper, the authors' logs, or by the formula of §3.5 (notes §4)."""


def random_configuration(source: random.Random) -> dict[str, Any]:
    """A MetaKAN or KAN with random widths, grid, order, prompt dimension, hidden width and number of meta-learners."""
    widths = [source.randint(1, 40) for _ in range(source.randint(2, 6))]
    shared = {
        "grid_size": source.randint(1, 12),
        "spline_order": source.randint(1, 4),
        "bias": source.random() < 0.5,
    }
    if source.random() < 0.3:
        return dense("kan", widths, scaler=source.random() < 0.5, **shared)
    distinct = len(set(widths[1:]))
    n_meta = source.choice(["per_layer", source.randint(1, distinct)])
    return dense(
        "metakan",
        widths,
        hidden=source.randint(1, 64),
        prompt_dim=source.randint(1, 4),
        n_meta=n_meta,
        **shared,
    )


def built_count(cfg: dict[str, Any]) -> int:
    """Parameters of the network itself, built without memory; the record counts FastKAN's frozen centres."""
    with torch.device("meta"):
        return count_parameters(build_model(cfg), frozen=cfg.get("basis") == "rbf")


def describe(cfg: dict[str, Any]) -> str:
    keep = {k: v for k, v in cfg.items() if k != "name"}
    return f"{cfg['name']} " + " ".join(f"{k}={v}" for k, v in keep.items())


@claim("C1", "Parameters fall to those of an MLP, exactly as the formula says", source="section 4; tables")
def parameter_counts(scale: Scale, seed: int) -> Measurement:
    """For every recorded configuration the network has the recorded number of parameters, to the unit; for random
    configurations the formula dE + C·p_M equals the network's count. The same at all scales."""
    rows = [(describe(cfg), recorded, built_count(cfg), expected_parameters(cfg, frozen=cfg.get("basis") == "rbf"))
            for cfg, recorded in RECORDED]  # fmt: skip
    right = sum(recorded == built == formula for _, recorded, built, formula in rows)
    source = random.Random(seed)
    drawn = [random_configuration(source) for _ in range(50)]
    agreeing = sum(built_count(cfg) == expected_parameters(cfg) for cfg in drawn)
    example = {"name": "metakan", "widths": [784, 32, 10], "hidden": 16}
    return Measurement(
        quantity="trainable parameters of [784, 32, 10]",
        ours=built_count(example),
        baseline=built_count({"name": "kan", "widths": [784, 32, 10]}),
        criterion=f"{len(rows)} recorded counts and 50 random formulas exact to the unit",
        passed=bool(right == len(rows) and agreeing == len(drawn)),
        values={
            "recorded_counts_right": right,
            "random_formulas_right": agreeing,
            "printed_formula_of_the_paper": expected_parameters(example, formula="paper"),
        },
        tables=[Table("counts", ("network", "on record", "built", "formula"), tuple(rows))],
    )
