"""C2: rotations by other angles. The error falls with the mesh size and with the number of orientations (§3.6, §8)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from eq_asisr.claims.starts import derive, device_for, seeded, tf32
from eq_asisr.coords import make_cell
from eq_asisr.decoders import Decoder, EqINRAdapter, EqLIIF, EqLTE, EqOPE
from eq_asisr.equivariance import local_function_error, perturb
from eq_asisr.figures import error_against_angle
from eq_asisr.model import ASISR
from eq_asisr.pairs import build
from tenfold.claims import Figure, Measurement, Scale, Table, claim
from tenfold.equivariance import GaussianBlobs
from tenfold.groups import CyclicGroup

ORDERS = (4, 8, 16)
INR_ORDERS = (3, 4, 5, 6, 8, 12, 16)
SLOPE_AT, CURVE_AT = 45.0, 65  # degrees; pixels a side

Kind = str | int
KINDS: tuple[Kind, ...] = ("plain", *ORDERS)
"""Ordinary networks, and equivariant ones by their number of orientations."""

Measured = dict[tuple[Kind, int], list[float]]
"""Kind and pixels a side → medians, one per angle."""


@dataclass(frozen=True)
class Protocol:
    """How much is measured: EDSR with 4 blocks of 64 channels, 5×5, res_scale 0.1, drawn at random, with LIIF (§3.6).

    Args:
        networks: random networks of each kind.
        images: analytic images for each network.
        sizes: pixels a side that the images are sampled at.
        degrees: angles measured at every size, 30° first.
        curve: angles measured at 65 pixels a side, with half the images.
        n_feats: channels.
        n_blocks: residual blocks.
    """

    networks: int = 6
    images: int = 8
    sizes: tuple[int, ...] = (17, 33, 65, 129)
    degrees: tuple[float, ...] = (30.0, SLOPE_AT)
    curve: tuple[float, ...] = tuple(5.625 * i for i in range(17))
    n_feats: int = 64
    n_blocks: int = 4

    @property
    def receptive_field(self) -> int:
        """Pixels a side that the centre of the features depends on, with the 3×3 unfolding of LIIF."""
        return 1 + 2 * (2 * (2 * self.n_blocks + 2) + 1)


PROTOCOLS = {
    Scale.SMOKE: Protocol(networks=4, images=4, sizes=(33,), degrees=(30.0,), curve=()),
    Scale.CPU: Protocol(),
    Scale.GPU: Protocol(networks=16),
    Scale.PAPER: Protocol(networks=16, n_feats=256),
}


@claim(
    "C2",
    "At other angles the error falls with finer pixels and with more orientations",
    source="theoretical analysis, figures; criteria inferred",
)
def arbitrary_angles(scale: Scale, seed: int) -> Measurement:
    """At 33 pixels and 30°: EQ8 ≤ 0.5 × EQ4, EQ16 ≤ EQ8, EQ8 ≤ 0.35 × plain, medians over random networks and images.

    From cpu on, besides: the slope of log error over log n at 45° for t = 8 over n = 17, 33, 65, 129 is ≤ −0.7; at n = 65
    and 45°, t = 8 is ≤ 0.3 × plain; the curve over 0 … 90° of every t is at rounding (≤ 1e-3) at both ends. At every scale:
    the INR alone is exact (≤ 1e-6) at all group angles for t = 3, 4, 5, 6, 8, 12, 16.

    The notes took medians over 4 networks × 2 images; so few let the slope of one seed be anything between −0.4 and −1.1,
    so here it is 6 × 8 (16 × 8 on a GPU). Reported without a criterion: whether the curves dip at the group's own angles,
    and what giving all orientations of a filter the same sum changes ("equal gain", §10.8).
    """
    protocol, device = PROTOCOLS[scale], device_for(scale)
    with tf32(False):
        errors = {
            (name, n): _errors(name, n, protocol.degrees, protocol, seed, device)
            for n in protocol.sizes
            for name in KINDS
        }
        curves = {
            name: _errors(name, CURVE_AT, protocol.curve, _fewer_images(protocol), seed, device)
            for name in KINDS
            if protocol.curve
        }
        gained = _errors(8, CURVE_AT, (SLOPE_AT,), protocol, seed, device, equal_gain=True) if curves else []
    inr = max(_inr_error(t, derive(seed, 20 + t)) for t in INR_ORDERS)
    checks, values = _orders(errors), _values(errors, protocol)
    checks["INR alone <= 1e-6 at all group angles"] = inr <= 1e-6
    values["INR alone, worst relative error"] = inr
    figures, tables = [], [_error_table(errors, protocol)]
    if curves:
        checks |= _refinement(errors, protocol.sizes, values) | _ends(curves)
        values |= _dips(protocol.curve, curves)
        values["EQ8 with equal gain, 65 pixels, 45°"] = gained[0]
        figures.append(_figure(protocol.curve, curves))
        tables.append(_curve_table(protocol.curve, curves))
    return Measurement(
        "relative error of the function in a pixel at 30°, 33 pixels, t = 8",
        ours=errors[8, 33][0],
        baseline=errors["plain", 33][0],
        criterion="; ".join(checks),
        passed=all(checks.values()),
        values={**values, **checks},
        figures=figures,
        tables=tables,
    )


def _network(name: Kind, protocol: Protocol, seed: int, equal_gain: bool) -> ASISR:
    options = {
        "n_feats": protocol.n_feats,
        "n_blocks": protocol.n_blocks,
        "kernel_size": 5,
        "res_scale": 0.1,
    }
    if isinstance(name, int):
        options["equal_gain"] = equal_gain
        make = lambda: build("eq_edsr", "eq_liif", name, encoder_options=options, local_ensemble=False)  # noqa: E731
    else:
        make = lambda: build("edsr", "liif", encoder_options=options, local_ensemble=False)  # noqa: E731
    return seeded(seed, make)


def _errors(
    name: Kind,
    n: int,
    degrees: Sequence[float],
    protocol: Protocol,
    seed: int,
    device: torch.device,
    equal_gain: bool = False,
) -> list[float]:
    """Medians over networks and images, one per angle; the same images and network seeds for every name."""
    found = []
    for i in range(protocol.networks):
        model = _network(name, protocol, derive(seed, 100 + i), equal_gain).to(device)
        blobs = GaussianBlobs.random(protocol.images, 3, seed=derive(seed, 200 + i))
        window = min(n, protocol.receptive_field)
        found.append(
            local_function_error(model, blobs, n, degrees, window=window, seed=derive(seed, 300 + i))
        )
    return torch.cat(found, 1).median(1).values.tolist()


def _inr_error(t: int, seed: int) -> float:
    """The decoders alone, in float64: random features of one pixel, every element of the group applied by hand."""
    group, fields = CyclicGroup(t), 8
    sizes: dict[str, Any] = {"in_channels": fields * t, "t": t}
    decoders: tuple[Decoder, ...] = seeded(
        seed,
        lambda: (
            EqLIIF(**sizes, group_hidden=(8 * t, 8 * t), hidden=(32,)),
            EqLTE(**sizes, hidden_dim=8 * t, hidden=(32,), upinput=False),
            EqOPE(**sizes),
            EqINRAdapter(_AnyNetwork(fields), group),
        ),
    )
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(3, fields * t, 1, 1, generator=generator, dtype=torch.float64)
    coord = 0.7 * (2 * torch.rand(1, 50, 2, generator=generator, dtype=torch.float64) - 1)
    cell = make_cell((4, 4), dtype=torch.float64).view(1, 1, 2)
    worst = 0.0
    for decoder in decoders:
        perturb(decoder.double(), seed)
        with torch.no_grad():
            expected = decoder(features, coord, cell)
            for k in group.elements:
                turned = decoder(group.act_regular(k, features, 1), _turned(coord, group, k), cell)
                worst = max(worst, ((turned - expected).norm() / expected.norm()).item())
    return worst


class _AnyNetwork(nn.Module):
    """An ordinary function of features and coordinates, without any symmetry."""

    def __init__(self, n: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n + 2, 32), nn.Tanh(), nn.Linear(32, 3))

    def forward(self, features: Tensor, coord: Tensor) -> Tensor:
        return self.layers(torch.cat([features, coord], -1))


def _turned(coord: Tensor, group: CyclicGroup, k: int) -> Tensor:
    """Points (row, col) turned by 2πk/t; the disk of radius 0.7·√2 stays inside [−1, 1]²."""
    cos, sin = group.cos_sin(k)
    row, column = coord.unbind(-1)
    return torch.stack([cos * row - sin * column, sin * row + cos * column], -1)


def _orders(errors: Measured) -> dict[str, bool]:
    """The criteria on the number of orientations, at 33 pixels and 30°."""
    plain, four, eight, sixteen = (errors[name, 33][0] for name in KINDS)
    return {
        "EQ8 <= 0.5 EQ4 at 33 pixels, 30°": eight <= 0.5 * four,
        "EQ16 <= EQ8 at 33 pixels, 30°": sixteen <= eight,
        "EQ8 <= 0.35 plain at 33 pixels, 30°": eight <= 0.35 * plain,
    }


def _ends(curves: dict[Kind, list[float]]) -> dict[str, bool]:
    worst = max(max(curves[t][0], curves[t][-1]) for t in ORDERS)
    return {"curves <= 1e-3 at 0° and 90°": worst <= 1e-3}


def _refinement(errors: Measured, sizes: Sequence[int], values: dict[str, float]) -> dict[str, bool]:
    """The criteria on mesh sizes, at 45°; the slopes of all are added to `values`."""
    slopes = {
        name: _slope([math.log(n) for n in sizes], [math.log(errors[name, n][1]) for n in sizes])
        for name in KINDS
    }
    values.update({f"slope at 45°, {_label(name)}": slope for name, slope in slopes.items()})
    return {
        "slope of EQ8 over pixels <= -0.7 at 45°": slopes[8] <= -0.7,
        "EQ8 <= 0.3 plain at 65 pixels, 45°": errors[8, CURVE_AT][1] <= 0.3 * errors["plain", CURVE_AT][1],
    }


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)


def _dips(degrees: Sequence[float], curves: dict[Kind, list[float]]) -> dict[str, float]:
    """Error at the group's other angles over that half-way between them: below 1 where theory's dips are visible."""
    found = {}
    for t in (8, 16):
        step = 360 / t
        at = [e for d, e in zip(degrees, curves[t]) if d % step == 0 and d % 90]
        between = [e for d, e in zip(degrees, curves[t]) if d % step == step / 2]
        found[f"EQ{t}: error at its own angles over half-way between"] = (
            sum(at) / len(at) / (sum(between) / len(between))
        )
    return found


def _label(name: Kind) -> str:
    return f"EQ{name}" if isinstance(name, int) else name


def _values(errors: Measured, protocol: Protocol) -> dict[str, float]:
    return {
        f"{_label(name)}, {n} pixels, {angle:g}°": error
        for (name, n), row in errors.items()
        for angle, error in zip(protocol.degrees, row)
    }


def _error_table(errors: Measured, protocol: Protocol) -> Table:
    rows = [
        (n, angle, *(errors[name, n][i] for name in KINDS))
        for n in protocol.sizes
        for i, angle in enumerate(protocol.degrees)
    ]
    return Table("errors", ("pixels a side", "angle (°)", *map(_label, KINDS)), tuple(rows))


def _fewer_images(protocol: Protocol) -> Protocol:
    """Seventeen angles: half the images will do."""
    return replace(protocol, images=protocol.images // 2)


def _curve_table(degrees: Sequence[float], curves: dict[Kind, list[float]]) -> Table:
    rows = tuple((d, *(curves[name][i] for name in curves)) for i, d in enumerate(degrees))
    return Table("error against angle", ("angle (°)", *map(_label, curves)), rows)


def _figure(degrees: Sequence[float], curves: dict[Kind, list[float]]) -> Figure:
    return error_against_angle(
        "error-against-angle",
        {_label(name): (degrees, errors) for name, errors in curves.items()},
        "Four, eight, sixteen orientations",
        "Lines of the relative equivariance error over the angle from 0 to 90 degrees, logarithmic, for a plain network and "
        "for equivariant ones with 4, 8 and 16 orientations: these fall to rounding at 0 and 90 degrees, and in between lie "
        "lower the more orientations there are.",
    )
