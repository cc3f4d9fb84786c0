"""What `eq_asisr check` prints: the equivariance of one model under quarter turns, and under other angles (§8, C1 and C2)."""

import copy
import re
from typing import Any

import torch

from tenfold.equivariance import GaussianBlobs

from .equivariance import local_function_error, perturb, rot90_error
from .model import ASISR
from .pairs import build

EXACT = 1e-11
"""Bound of claim C1 for the relative error in float64."""

SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 7.3)
LR_SIZE = (16, 24)
ANGLES = (0.0, 11.25, 22.5, 30.0, 45.0, 90.0)
SIZES = (17, 33)
"""Pixels a side of the analytic images that are turned by any angle."""

_NAME = re.compile(r"(edsr|rdn|swinir)_(liif|lte|ope)(_eq)?")

Row = tuple[Any, ...]


def parts(name: str) -> tuple[str, str]:
    """Encoder and decoder of a model's name.

    Raises:
        ValueError: if it is not one.

    >>> parts("swinir_lte_eq"), parts("edsr_ope")
    (('eq_swinir', 'eq_lte'), ('edsr', 'ope'))
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"model must be edsr, rdn or swinir, _, liif, lte or ope, with _eq behind it or without, got {name!r}"
        )
    prefix = "eq_" if match[3] else ""
    return prefix + match[1], prefix + match[2]


def random_model(name: str, t: int = 4, published: bool = False, seed: int = 0) -> ASISR:
    """A model whose every parameter is random, so that nothing is symmetric by chance; see `perturb`.

    Args:
        name: as "edsr_liif_eq".
        t: orientations of an equivariant model.
        published: the sizes of the paper instead of ones that are measured in seconds.
        seed: of the parameters; the global random state is left alone.

    Raises:
        ValueError: if the name is none, or t does not divide the sizes.
    """
    encoder, decoder = parts(name)
    options = {} if published else _small(encoder, decoder, t)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(encoder, decoder, t, **options)
    perturb(model, seed)
    return model.eval()


def quarter_turn_table(model: ASISR, seed: int = 0) -> list[Row]:
    """Largest relative L2 errors over the three turns: scale, float64, float64 without the local ensemble, float32.

    The first row names the columns. The model is left as it is.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    lr = torch.rand(1, 3, *LR_SIZE, generator=generator, dtype=torch.float64).to(device)
    single, double, nearest = (
        copy.deepcopy(model).float(),
        copy.deepcopy(model).double(),
        copy.deepcopy(model),
    )
    nearest.double().local_ensemble = False
    targets: list[tuple[str, dict[str, Any]]] = [(f"×{scale:g}", {"scale": scale}) for scale in SCALES]
    targets.append(("×2/×3", {"size": (2 * LR_SIZE[0], 3 * LR_SIZE[1])}))
    rows: list[Row] = [("scale", "float64", "without ensemble", "float32")]
    for label, to in targets:
        errors = (rot90_error(variant, lr, **to) for variant in (double, nearest))
        low = rot90_error(single, lr.float(), **to)
        rows.append((label, *(max(e.relative_l2) for e in errors), max(low.relative_l2)))
    return rows


def angle_table(model: ASISR, seed: int = 0) -> list[Row]:
    """Relative errors of the function inside the centre pixel (§3.6): angle, and the mean over two images for each size.

    The first row names the columns. Measured without the local ensemble, in float64; the model is left as it is.
    """
    variant = copy.deepcopy(model).double()
    variant.local_ensemble = False
    images = GaussianBlobs.random(2, 3, seed=seed)
    columns = [local_function_error(variant, images, n, ANGLES, seed=seed).mean(1).tolist() for n in SIZES]
    rows: list[Row] = [("angle", *(f"{n} pixels" for n in SIZES))]
    rows += [(f"{angle:g}°", *errors) for angle, errors in zip(ANGLES, zip(*columns))]
    return rows


def _small(encoder: str, decoder: str, t: int) -> dict[str, Any]:
    """Sizes with two fields of t channels or more everywhere."""
    if t < 1:
        raise ValueError(f"t must be at least 1, got {t}")
    n_feats, wide = t * max(2, -(-16 // t)), t * max(4, -(-32 // t))
    encoders: dict[str, dict[str, Any]] = {
        "edsr": {"n_feats": n_feats, "n_blocks": 2},
        "rdn": {"n_feats": n_feats, "growth": n_feats, "n_blocks": 1, "n_layers": 2},
        "swinir": {"embed_dim": wide, "depths": [2], "n_heads": 2, "n_feats": n_feats},
    }
    decoders: dict[str, dict[str, Any]] = {
        "liif": {"hidden": [32]},
        "eq_liif": {"group_hidden": [8 * t], "hidden": [32]},
        "lte": {"hidden_dim": 32, "hidden": [16]},
        "eq_lte": {"hidden_dim": wide, "hidden": [16]},
        "ope": {"max_freq": 1},
        "eq_ope": {"max_freq": 1},
    }
    return {
        "encoder_options": encoders[encoder.removeprefix("eq_")],
        "decoder_options": decoders[decoder],
    }
