"""Encoders and decoders by name, so that models can be built from a configuration and found again in a checkpoint."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from .decoders import LIIF, LTE, OPE, Decoder, EqLIIF, EqLTE, EqOPE
from .encoders import EDSR, RDN, Encoder, EqEDSR, EqRDN, EqSwinIR, SwinIR

Part = TypeVar("Part", bound=nn.Module)

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


def encoder_from(spec: Mapping[str, Any]) -> Encoder:
    """The encoder {"name": …, **arguments}.

    Raises:
        ValueError: if there is no such name.
        TypeError: if an argument is unknown; it is named.

    Example:
        >>> encoder_from({"name": "eq_edsr", "n_blocks": 1, "n_feats": 8}).out_dim
        8
    """
    arguments = dict(spec)
    name = arguments.pop("name", None)
    require_name("encoder", name)
    return _call(f"encoder {name}", ENCODERS[name], arguments)


def decoder_from(spec: Mapping[str, Any]) -> Decoder:
    """The decoder {"name": …, **arguments}; errors as `encoder_from`."""
    arguments = dict(spec)
    name = arguments.pop("name", None)
    require_name("decoder", name)
    return _call(f"decoder {name}", DECODERS[name], arguments)


def spec_of(part: nn.Module) -> dict[str, Any] | None:
    """{"name": …, **arguments} of a registered encoder or decoder; None for one that is the user's own."""
    for name, kind in (*ENCODERS.items(), *DECODERS.items()):
        if type(part) is kind:
            return {"name": name, **part.config}  # type: ignore[dict-item]
    return None


def require_name(role: str, name: str) -> None:
    """Raise ValueError unless an "encoder" or "decoder" of this name is registered."""
    known = list(ENCODERS if role == "encoder" else DECODERS)
    if name not in known:
        raise ValueError(f"{role} must be one of {', '.join(known)}, got {name!r}")


def has_group(name: str) -> bool:
    """Whether a registered name is one of an equivariant version."""
    return name.startswith("eq_")


def _call(what: str, kind: type[Part], arguments: Mapping[str, Any]) -> Part:
    try:
        return kind(**arguments)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error
