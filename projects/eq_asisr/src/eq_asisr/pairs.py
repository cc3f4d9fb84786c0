"""Models by the names of their encoder and decoder; every pair can be built."""

from collections.abc import Mapping
from typing import Any

from .model import ASISR
from .registry import decoder_from, encoder_from, has_group, require_name

# Where a published pair differs from the defaults of its decoder (§4).
PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    ("eq_swinir", "eq_lte"): {"kernel_size": 3, "coord_scale": 0.1},
}


def build(
    encoder: str = "eq_edsr",
    decoder: str = "eq_liif",
    group: int = 4,
    *,
    encoder_options: Mapping[str, Any] | None = None,
    decoder_options: Mapping[str, Any] | None = None,
    local_ensemble: bool = True,
    cell_clip: float | None = None,
) -> ASISR:
    """A model by the names of its parts, with the published sizes unless options change them.

    Args:
        encoder: "edsr", "rdn", "swinir", or one of these with "eq_" before it.
        decoder: "liif", "lte", "ope", or one of these with "eq_" before it. Ordinary and equivariant parts may be mixed;
            only two equivariant ones make an equivariant model.
        group: t, the orientations of the equivariant parts.
        encoder_options: arguments of the encoder's class.
        decoder_options: arguments of the decoder's class.
        local_ensemble: see `ASISR`.
        cell_clip: see `ASISR`.

    Raises:
        ValueError: if a name is unknown, or the options give the parts different groups or channels.

    Example:
        >>> model = build("eq_edsr", "eq_liif")
        >>> sum(p.numel() for p in model.parameters())
        1022291
    """
    require_name("encoder", encoder)
    require_name("decoder", decoder)
    symmetry = {True: {"t": group}, False: {}}
    read = encoder_from({"name": encoder, **symmetry[has_group(encoder)], **(encoder_options or {})})
    options = {
        "in_channels": read.out_dim,
        "out_channels": read.in_channels,
        **symmetry[has_group(decoder)],
        **PAIRS.get((encoder, decoder), {}),
    }
    answer = decoder_from({"name": decoder, **options, **(decoder_options or {})})
    return ASISR(read, answer, local_ensemble, cell_clip)
