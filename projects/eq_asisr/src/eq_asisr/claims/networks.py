"""The networks of C3, C4 and C6: EDSR-LIIF plain and equivariant, and two plain controls.

The published pair differs in more than its symmetry: plain has 3×3 kernels, residuals × 1 and unfolds the features, the
equivariant one has 5×5 kernels, residuals × 0.1 and does not unfold (§10.10). Two controls tell the causes apart:

- "plain, 5×5": the equivariant recipe without the symmetry: 5×5, residuals × 0.1, no unfolding, equal channels;
- "plain, equal parameters": the plain recipe with as many channels as give the parameters of the equivariant model.
"""

from dataclasses import dataclass

from eq_asisr.claims.starts import seeded
from eq_asisr.claims.training import Contender, parameters
from eq_asisr.model import ASISR
from eq_asisr.pairs import build

PLAIN, EQ, LIKE_EQ, EQUAL = "plain", "EQ", "plain, 5×5", "plain, equal parameters"


@dataclass(frozen=True)
class Width:
    """Sizes of a pair of networks.

    Args:
        n_feats: channels of the encoders.
        n_blocks: residual blocks.
        hidden: of the plain decoder.
        group_hidden: of the equivariant decoder, before the sum over the group.
        eq_hidden: of the equivariant decoder, behind it.
    """

    n_feats: int
    n_blocks: int
    hidden: tuple[int, ...]
    group_hidden: tuple[int, ...]
    eq_hidden: tuple[int, ...]


TINY = Width(16, 2, (64, 64, 64), (128,), (64, 64))
"""C3: 30,099 and 15,847 parameters."""

SMALL = Width(32, 4, (64, 64, 64), (128,), (64, 64))
"""C4 on a CPU: 111,395 and 66,315 parameters."""

PUBLISHED = Width(64, 16, (256, 256, 256, 256), (512,), (256, 256, 256))
"""1,567,299 and 1,022,291 parameters (§4)."""


def plain(width: Width, n_feats: int | None = None) -> ASISR:
    """EDSR-LIIF as published, with other channels if `n_feats` is given."""
    channels = width.n_feats if n_feats is None else n_feats
    encoder = {"n_feats": channels, "n_blocks": width.n_blocks}
    return build("edsr", "liif", encoder_options=encoder, decoder_options={"hidden": width.hidden})


def equivariant(width: Width) -> ASISR:
    """EDSR-LIIF-EQ, t = 4, 5×5, residuals × 0.1."""
    encoder = {"n_feats": width.n_feats, "n_blocks": width.n_blocks, "kernel_size": 5, "res_scale": 0.1}
    decoder = {"group_hidden": width.group_hidden, "hidden": width.eq_hidden}
    return build("eq_edsr", "eq_liif", 4, encoder_options=encoder, decoder_options=decoder)


def plain_like_equivariant(width: Width) -> ASISR:
    """Plain with the kernels, the residuals and the features of the equivariant recipe."""
    encoder = {"n_feats": width.n_feats, "n_blocks": width.n_blocks, "kernel_size": 5, "res_scale": 0.1}
    decoder = {"hidden": width.hidden, "feat_unfold": False}
    return build("edsr", "liif", encoder_options=encoder, decoder_options=decoder)


def channels_of_equal_parameters(width: Width) -> int:
    """Channels with which the plain model comes closest to the parameters of the equivariant one."""

    def count(n_feats: int) -> int:
        return parameters(seeded(0, lambda: plain(width, n_feats)))

    wanted = parameters(seeded(0, lambda: equivariant(width)))
    low, high = 1, 2 * width.n_feats  # counts grow with the channels
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda n: abs(count(n) - wanted))


def contenders(width: Width, controls: bool = True) -> list[Contender]:
    """Plain and equivariant, and the two controls."""
    found = [Contender(PLAIN, lambda: plain(width)), Contender(EQ, lambda: equivariant(width))]
    if controls:
        channels = channels_of_equal_parameters(width)
        found.append(Contender(LIKE_EQ, lambda: plain_like_equivariant(width)))
        found.append(Contender(EQUAL, lambda: plain(width, channels)))
    return found
