"""C5: a plug-in. Every encoder works with every decoder, and any function of a pixel becomes equivariant by the adapter."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eq_asisr.claims.starts import derive, device_for, seeded
from eq_asisr.decoders import EqINRAdapter
from eq_asisr.decoders.decoder import Decoder
from eq_asisr.encoders import EqEDSR
from eq_asisr.equivariance import perturb, rot90_error
from eq_asisr.model import ASISR
from eq_asisr.pairs import build
from eq_asisr.registry import DECODERS, ENCODERS
from tenfold.claims import Measurement, Scale, Table, claim

ORDERS = (4, 8, 16)
FIELDS = 4
SCALES = (1.0, 1.5, 3.0, 7.3)
SMALL: dict[str, dict[str, Any]] = {
    "edsr": {"n_feats": 16, "n_blocks": 1},
    "rdn": {"n_feats": 16, "growth": 16, "n_blocks": 1, "n_layers": 2},
    "swinir": {"embed_dim": 16, "depths": [2], "n_heads": 2, "n_feats": 16},
    "liif": {"hidden": [16]},
    "eq_liif": {"group_hidden": [16], "hidden": [16]},
    "lte": {"hidden_dim": 16, "hidden": [16]},
    "eq_lte": {"hidden_dim": 16, "hidden": [16]},
    "ope": {"max_freq": 1},
    "eq_ope": {"max_freq": 1},
}
"""Small sizes for the pairs at smoke and cpu scale."""


@claim(
    "C5",
    "Any encoder, any decoder, and any function of a pixel",
    source="abstract: plug-and-play; criteria inferred",
)
def plugs_in(scale: Scale, seed: int) -> Measurement:
    """All 36 pairs of the registry answer with finite images of the right size; the adapter makes anything equivariant.

    Three functions without any symmetry (an MLP, a sine network, Fourier features with the cell), behind EqEDSR with
    t = 4, 8, 16: the error under quarter turns is ≤ 1e-11 in float64 at ×1, 1.5, 3, 7.3 and at ×2/×3, after every parameter
    was changed at random. The same functions without the adapter must exceed 1e-3. Pairs of two equivariant parts are
    exact too (≤ 1e-11); all others must not be (> 1e-6), or the measurement would see nothing.
    """
    device, small = device_for(scale), scale in (Scale.SMOKE, Scale.CPU)
    lr = torch.rand(
        1, 3, 9, 12, generator=torch.Generator().manual_seed(derive(seed, 1)), dtype=torch.float64
    )
    lr = lr.to(device)
    pairs = {(e, d): _pair_error(e, d, small, lr, derive(seed, 2)) for e in ENCODERS for d in DECODERS}
    both = {pair: error for pair, error in pairs.items() if all(part.startswith("eq_") for part in pair)}
    other = {pair: error for pair, error in pairs.items() if pair not in both}
    adapted, bare = {}, {}
    for name, make in FUNCTIONS.items():
        for t in ORDERS:
            adapted[name, t] = _function_error(make, t, True, lr, derive(seed, 3))
        bare[name] = _function_error(make, 4, False, lr, derive(seed, 3))
    worst, least = max(adapted.values()), min(bare.values())
    checks = {
        "all 36 pairs answer with finite images of the right size": len(pairs) == 36,
        "adapter <= 1e-11": worst <= 1e-11,
        "without it > 1e-3": least > 1e-3,
        "equivariant pairs <= 1e-11": max(both.values()) <= 1e-11,
        "other pairs > 1e-6": min(other.values()) > 1e-6,
    }
    rows = tuple((name, t, error) for (name, t), error in adapted.items())
    rows += tuple((f"{name}, without the adapter", 4, error) for name, error in bare.items())
    return Measurement(
        "worst relative error of adapted functions under quarter turns, float64",
        ours=worst,
        baseline=least,
        criterion="; ".join(checks),
        passed=all(checks.values()),
        values={
            "pairs": len(pairs),
            "equivariant pairs, worst": max(both.values()),
            "other pairs, smallest": min(other.values()),
            **checks,
        },
        tables=[
            Table("functions of a pixel", ("function", "t", "error"), rows),
            Table("pairs", ("encoder", "decoder", "error"), tuple((*p, error) for p, error in pairs.items())),
        ],
    )


def _pair_error(encoder: str, decoder: str, small: bool, lr: Tensor, seed: int) -> float:
    """Of a pair at ×2, after its parameters were changed.

    Raises:
        RuntimeError: if the image is not finite or not of the size that was asked for.
    """
    options: dict[str, Any] = {}
    if small:
        options = {
            "encoder_options": SMALL[encoder.removeprefix("eq_")],
            "decoder_options": SMALL[decoder],
        }
    model = seeded(seed, lambda: build(encoder, decoder, **options)).to(lr.device)
    perturb(model, seed)
    model.double()
    large = model.render(lr, scale=2.0)
    if tuple(large.shape) != (1, 3, 18, 24) or not bool(large.isfinite().all()):
        raise RuntimeError(
            f"{encoder} with {decoder} gave {tuple(large.shape)}, finite: {large.isfinite().all()}"
        )
    return rot90_error(model, lr, scale=2.0).worst


def _function_error(make: Callable[[], nn.Module], t: int, adapt: bool, lr: Tensor, seed: int) -> float:
    """Worst over scales and turns of EqEDSR with a function as its decoder."""

    def network() -> ASISR:
        encoder = EqEDSR(t=t, n_feats=FIELDS * t, n_blocks=1)
        decoder: Decoder
        if adapt:
            decoder = EqINRAdapter(make(), t, cell_decode=True)
        else:
            # one orientation: the function sees the features as they are
            decoder = EqINRAdapter(_FirstOrientation(make(), t), 1, cell_decode=True)
        return ASISR(encoder if adapt else _WithoutGroup(encoder), decoder)

    model = seeded(seed, network).to(lr.device)
    perturb(model, seed)
    model.double()
    errors = [rot90_error(model, lr, scale=s).worst for s in SCALES]
    return max(*errors, rot90_error(model, lr, size=(18, 36)).worst)


class _WithoutGroup(nn.Module):
    """An encoder whose features are taken for ordinary channels."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder, self.group = encoder, None
        self.out_dim, self.in_channels = encoder.out_dim, encoder.in_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class _FirstOrientation(nn.Module):
    """A function that looks at one orientation of a regular field only."""

    def __init__(self, function: nn.Module, t: int):
        super().__init__()
        self.function, self.t = function, t

    def forward(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        return self.function(features[..., :: self.t], coord, cell)


class _Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FIELDS + 4, 24), nn.GELU(), nn.Linear(24, 3))

    def forward(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        return self.layers(torch.cat([features, coord, cell], -1))


class _Sines(nn.Module):
    """sin(30 · …) of coordinates, modulated by the features."""

    def __init__(self) -> None:
        super().__init__()
        self.coord, self.features, self.out = nn.Linear(2, 24), nn.Linear(FIELDS, 24), nn.Linear(24, 3)

    def forward(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        return self.out(torch.sin(30 * self.coord(coord)) * self.features(features))


class _FourierFeatures(nn.Module):
    """Random frequencies, scaled by the cell."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies, self.out = nn.Linear(2, 12), nn.Linear(24 + FIELDS, 3)

    def forward(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        angle = 3 * self.frequencies(coord * (1 + cell))
        return self.out(torch.cat([angle.cos(), angle.sin(), features.expand(*angle.shape[:-1], -1)], -1))


FUNCTIONS: dict[str, Callable[[], nn.Module]] = {
    "MLP": _Perceptron,
    "sine network": _Sines,
    "Fourier features": _FourierFeatures,
}
