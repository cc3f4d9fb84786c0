"""Encoders and decoders by name, so that models can be built from a configuration and found again in a checkpoint."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from .decoders import LIIF, LTE, OPE, Decoder, EqLIIF, EqLTE, EqOPE
from .encoders import EDSR, RDN, Encoder, EqEDSR, EqRDN, EqSwinIR, SwinIR

ENCODERS: dict[str, type[Encoder]] = {
    "edsr": EDSR,
    "eq_edsr": EqEDSR,
    "rdn": RDN,
    "eq_rdn": EqRDN,
    "swinir": SwinIR,
    "eq_swinir": EqSwinIR,
}
DECODERS: dict[str, type[Decoder]] = {
    "liif": LIIF,
    "eq_liif": EqLIIF,
    "lte": LTE,
    "eq_lte": EqLTE,
    "ope": OPE,
    "eq_ope": EqOPE,
}

# Where a published pair differs from the defaults of its decoder (§4).
PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    ("eq_swinir", "eq_lte"): {"kernel_size": 3, "coord_scale": 0.1},
}


def encoder_from(spec: Mapping[str, Any]) -> Encoder:
    """The encoder {"name": …, **arguments}.

    Raises:
        ValueError: if there is no such name.
        TypeError: if an argument is unknown; it is named.

    Example:
        >>> encoder_from({"name": "eq_edsr", "n_blocks": 1, "n_feats": 8}).out_dim
        8
    """
    return _build("encoder", ENCODERS, spec)


def decoder_from(spec: Mapping[str, Any]) -> Decoder:
    """The decoder {"name": …, **arguments}; errors as `encoder_from`."""
    return _build("decoder", DECODERS, spec)


def spec_of(part: nn.Module) -> dict[str, Any] | None:
    """{"name": …, **arguments} of a registered encoder or decoder; None for one that is the user's own."""
    for known in (ENCODERS, DECODERS):
        for name, kind in known.items():
            if type(part) is kind:
                return {"name": name, **part.config}
    return None


def has_group(name: str) -> bool:
    """Whether a registered name is one of an equivariant version."""
    return name.startswith("eq_")


def _build(role: str, known: Mapping[str, type[Any]], spec: Mapping[str, Any]) -> Any:
    arguments = dict(spec)
    name = arguments.pop("name", None)
    if name not in known:
        raise ValueError(f"{role} must be one of {', '.join(known)}, got {name!r}")
    try:
        return known[name](**arguments)
    except TypeError as error:
        raise TypeError(f"{role} {name}: {error}") from error
