"""C6: depth limits at initialisation — how residual branches must be scaled for the depth to have a limit (T8, §7.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels

from ..figures import depth_limits
from ..models.block import TransformerBlock
from ..models.config import GPTConfig, Norm, ResidualScale
from .scales import derive, device_for, in_words
from .training import seeded

FROM_LAYER = 8
"""Exponents are fitted from this layer on: before it the stream still remembers the input."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a scale.

    Args:
        d: width.
        tokens: tokens of a sequence.
        n_blocks: depth at which relative updates are measured.
        depths: depths whose outputs are compared, each twice the one before.
        draws: random networks.
    """

    d: int = 64
    tokens: int = 16
    n_blocks: int = 64
    depths: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    draws: int = 4


SETTINGS = {
    Scale.SMOKE: Setting(draws=3),
    Scale.CPU: Setting(draws=12),
    Scale.GPU: Setting(512, 64, 128, (8, 16, 32, 64, 128, 256, 512), 8),
    Scale.PAPER: Setting(1792, 128, 256, (8, 16, 32, 64, 128, 256, 512), 8),
}


@claim(
    "C6",
    "Tied blocks need branches scaled by 1/L for a depth limit; Post-LN does not condense",
    source="inferred: residual scaling of tied and untied depth",
)
def depth_scaling(scale: Scale, seed: int) -> Measurement:
    """Random blocks of unit gain in float64 on Gaussian tokens, mean over networks; no training.

    Exponent of the relative update over the layer, from layer 8 on: pre-LN with independent blocks −0.5 ± 0.1, pre-LN with
    one tied block −1 ± 0.15, post-LN |exponent| < 0.15. Distance of the outputs at depths L and 2L: with tied blocks and
    branches scaled by 1/L it falls by 2.0 ± 0.15 at every doubling; scaled by 1/√(2L) it must not fall. The same at all
    scales, with more and wider networks.
    """
    setting, device = SETTINGS[scale], device_for(scale)
    seeds = derive(seed, setting.draws)
    slopes = {
        name: exponent(mean([relative_updates(setting, kind, s, device) for s in seeds]))
        for name, kind in UPDATES.items()
    }
    distances = {
        name: mean([doubling_distances(setting, kind, s, device) for s in seeds])
        for name, kind in DOUBLINGS.items()
    }
    falls = (distances["tied, 1/L"][:-1] / distances["tied, 1/L"][1:]).tolist()
    tied_root = distances["tied, 1/√(2L)"]
    conditions = {
        "pre-LN_independent_exponent_-0.5_within_0.1": abs(slopes["pre-LN, independent"] + 0.5) <= 0.1,
        "pre-LN_tied_exponent_-1_within_0.15": abs(slopes["pre-LN, tied"] + 1) <= 0.15,
        "post-LN_exponent_below_0.15": abs(slopes["post-LN, independent"]) < 0.15,
        "tied_1/L_distance_falls_by_2.0_within_0.15": all(abs(fall - 2) <= 0.15 for fall in falls),
        "tied_1/√(2L)_distance_does_not_fall": bool(tied_root[-1] >= tied_root[0]),
    }
    values: dict[str, Value] = {**conditions, **{f"exponent, {k}": v for k, v in slopes.items()}}
    return Measurement(
        quantity="relative distance of the outputs at the last two depths, tied blocks: branches scaled by 1/L; "
        "baseline 1/√(2L)",
        ours=float(distances["tied, 1/L"][-1]),
        baseline=float(tied_root[-1]),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[distance_table(setting.depths, distances)],
        figures=[picture(setting.depths, distances)],
    )


Kind = tuple[Norm, bool, ResidualScale]
"""Place of the norm, whether the blocks are tied, and the scale of the branches."""

UPDATES: dict[str, Kind] = {
    "pre-LN, independent": ("pre", False, "1"),
    "pre-LN, tied": ("pre", True, "1"),
    "post-LN, independent": ("post", False, "1"),
}
DOUBLINGS: dict[str, Kind] = {
    "tied, 1/L": ("pre", True, "1/L"),
    "tied, 1/√(2L)": ("pre", True, "1/sqrt(2L)"),
    "independent, 1/√(2L)": ("pre", False, "1/sqrt(2L)"),
}


def mean(found: Sequence[Float[Tensor, "n"]]) -> Float[Tensor, "n"]:
    """Over networks."""
    return torch.stack(list(found)).mean(0)


def make_blocks(setting: Setting, kind: Kind, n_blocks: int, seed: int) -> list[nn.Module]:
    """Blocks of unit gain; tied ones are one block, the same for every depth but for the scale of its branches."""
    norm, tied, scale = kind
    config = GPTConfig(
        d=setting.d, heads=4, n_blocks=n_blocks, norm=norm, residual_scale=scale, init_std=None
    )
    if tied:
        return [seeded(seed, lambda: TransformerBlock(config)).double()] * n_blocks
    return list(
        seeded(seed, lambda: nn.ModuleList(TransformerBlock(config) for _ in range(n_blocks)).double())
    )


def tokens_for(setting: Setting, seed: int, device: torch.device) -> Float[Tensor, "1 s d"]:
    generator = torch.Generator().manual_seed(seed + 500)
    return torch.randn(1, setting.tokens, setting.d, dtype=torch.float64, generator=generator).to(device)


@torch.no_grad()
def relative_updates(
    setting: Setting, kind: Kind, seed: int, device: torch.device
) -> Float[Tensor, "layers"]:
    """‖h_{l+1} − h_l‖ / ‖h_l‖ for l = 0 … L − 1."""
    h, updates = tokens_for(setting, seed, device), []
    for block in make_blocks(setting, kind, setting.n_blocks, seed):
        after = block.to(device)(h)
        updates.append((after - h).norm() / h.norm())
        h = after
    return torch.stack(updates).cpu()


@torch.no_grad()
def doubling_distances(
    setting: Setting, kind: Kind, seed: int, device: torch.device
) -> Float[Tensor, "depths-1"]:
    """‖out_2L − out_L‖ / ‖out_L‖ for every depth but the last."""
    outputs = []
    for depth in setting.depths:
        h = tokens_for(setting, seed, device)
        for block in make_blocks(setting, kind, depth, seed):
            h = block.to(device)(h)
        outputs.append(h)
    pairs = pairwise(outputs)
    return torch.stack([(deep - shallow).norm() / shallow.norm() for shallow, deep in pairs]).cpu()


def exponent(updates: Float[Tensor, "layers"]) -> float:
    """Slope of log update over log layer, layers counted from 1."""
    layer = torch.arange(1, len(updates) + 1, dtype=torch.float64)[FROM_LAYER - 1 :].log()
    value = updates[FROM_LAYER - 1 :].log()
    layer, value = layer - layer.mean(), value - value.mean()
    return float((layer * value).sum() / layer.square().sum())


def distance_table(depths: Sequence[int], distances: dict[str, Tensor]) -> Table:
    rows = tuple(
        (depth, *(float(found[i]) for found in distances.values())) for i, depth in enumerate(depths[:-1])
    )
    return Table("distance of the outputs at depths L and 2L", ("L", *distances), rows)


def picture(depths: Sequence[int], distances: dict[str, Tensor]) -> Figure:
    lines = {name: (list(map(float, depths[:-1])), found.tolist()) for name, found in distances.items()}
    last = "; ".join(f"{name} {float(found[-1]):.2g}" for name, found in distances.items())
    ideal = math.log2(float(distances["tied, 1/L"][0] / distances["tied, 1/L"][-1]))
    return depth_limits(
        "depth-limits",
        lines,
        Labels(
            "Does the output settle when the depth doubles?",
            "number of blocks L",
            "‖out₂L − outL‖ / ‖outL‖",
            f"Relative distance of the outputs at depths L and 2L; at the last: {last}. With tied blocks scaled by 1/L it "
            f"halves {ideal:.1f} times over {len(depths) - 2} doublings.",
        ),
    )
