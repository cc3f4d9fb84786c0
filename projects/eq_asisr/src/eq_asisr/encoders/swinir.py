"""SwinIR without upsampler, ordinary and equivariant (§3.5, §4).

    lifting convolution → groups of window blocks, each closed by a convolution and a skip → norm → convolution
    → skip over all of it → convolution to `n_feats` channels → leaky ReLU

Sides that are no multiple of the window are mirrored before and cropped behind. That only commutes with quarter turns if
as much is added on both sides (§10.7); an odd side has no such extension, so both places of the odd pixel are averaged.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv import Basis, GroupLinear
from tenfold.groupconv.checks import require_positive

from .encoder import Encoder
from .families import EquivariantLayers, Layers, PlainLayers, require_kernel
from .windows import PositionBias, WindowAttention, WindowBlock, shifted_neighbours

Padding = Literal["symmetric", "bottom_right", "none"]
Bias = Literal["none", "averaged"]


class _BlockGroup(nn.Module):
    """Blocks with alternating windows, a convolution, a skip."""

    def __init__(self, blocks: Sequence[WindowBlock], conv: nn.Module):
        super().__init__()
        self.blocks, self.conv = nn.ModuleList(blocks), conv

    def forward(self, x: Float[Tensor, "b h w dim"], allowed: Tensor) -> Float[Tensor, "b h w dim"]:
        y = x
        for block in self.blocks:
            y = block(y, allowed)
        return x + self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class _SwinNetwork(Encoder):
    def __init__(
        self,
        layers: Layers,
        config: dict[str, Any],
        *,
        bias: Literal["none", "averaged", "free"],
        linear_std: float,
        embed_dim: int,
        depths: Sequence[int],
        n_heads: int,
        window_size: int,
        mlp_ratio: float,
        drop_path: float,
        n_feats: int,
        kernel_size: int,
        padding: Padding,
        in_channels: int,
    ):
        hidden = int(embed_dim * mlp_ratio)
        layers.require_sizes(embed_dim=embed_dim, n_feats=n_feats)
        layers.require_sizes(**{"int(embed_dim * mlp_ratio)": hidden})
        require_positive(n_heads=n_heads, window_size=window_size, in_channels=in_channels)
        require_positive(**{f"depths[{i}]": depth for i, depth in enumerate(depths)})
        require_kernel(layers, kernel_size)
        if window_size % 2:
            raise ValueError(
                f"window_size must be even, so that shifting by half of it is symmetric, got {window_size}"
            )
        if not depths:
            raise ValueError("depths must name at least one group of blocks, got none")
        if padding not in get_args(Padding):
            raise ValueError(f"padding must be one of {', '.join(get_args(Padding))}, got {padding!r}")
        super().__init__(config, in_channels=in_channels, out_dim=n_feats, group=layers.group)
        self.window_size, self.padding = window_size, padding
        self.head = layers.lift(in_channels, embed_dim, kernel_size)
        self.embed_norm, self.norm = layers.norm(embed_dim), layers.norm(embed_dim)
        n_blocks = sum(depths)
        drops = iter([drop_path * i / max(n_blocks - 1, 1) for i in range(n_blocks)])

        def block(index: int) -> WindowBlock:
            table = None if bias == "none" else PositionBias(window_size, n_heads, bias == "averaged")
            attention = WindowAttention(layers, embed_dim, n_heads, table)
            shift = window_size // 2 if index % 2 else 0
            return WindowBlock(
                layers,
                embed_dim,
                attention,
                window_size=window_size,
                shift=shift,
                hidden=hidden,
                drop_path=next(drops),
            )

        self.groups = nn.ModuleList(
            _BlockGroup(
                [block(index) for index in range(depth)], layers.conv(embed_dim, embed_dim, kernel_size)
            )
            for depth in depths
        )
        self.closing = layers.conv(embed_dim, embed_dim, kernel_size)
        self.tail = layers.conv(embed_dim, n_feats, kernel_size)
        self._reset_linear(linear_std)

    def _reset_linear(self, std: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | GroupLinear):
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        placements = list(itertools.product(self._added(h, "height"), self._added(w, "width")))
        encoded = [
            self._encode_windows(mirrored(x, rows, columns))[
                ..., rows[0] : rows[0] + h, columns[0] : columns[0] + w
            ]
            for rows, columns in placements
        ]
        return encoded[0] if len(encoded) == 1 else torch.stack(encoded).mean(0)

    def _added(self, length: int, side: str) -> list[tuple[int, int]]:
        """Pixels to add before and behind; two choices where an odd pixel must go to either end."""
        missing = -length % self.window_size
        if missing and self.padding == "none":
            raise ValueError(
                f"the image's {side} {length} is not a multiple of window_size={self.window_size}; crop it or use "
                "padding='symmetric'"
            )
        if self.padding == "bottom_right":
            return [(0, missing)]
        half = missing // 2
        return sorted({(half, missing - half), (missing - half, half)})

    def _encode_windows(self, x: Tensor) -> Tensor:
        head = self.head(x)
        shift = self.window_size // 2
        allowed = shifted_neighbours((x.shape[-2], x.shape[-1]), self.window_size, shift, x.device)
        y = self.embed_norm(head.permute(0, 2, 3, 1))
        for group in self.groups:
            y = group(y, allowed)
        body = self.closing(self.norm(y).permute(0, 3, 1, 2))
        return F.leaky_relu(self.tail(body + head))


class SwinIR(_SwinNetwork):
    """SwinIR; 11,603,044 parameters with the defaults.

    Args:
        embed_dim: channels of the body.
        depths: blocks of each group.
        n_heads: heads of every attention.
        window_size: side of the windows, even.
        mlp_ratio: hidden channels of the perceptrons over embed_dim.
        drop_path: probability of leaving out the last residual in training; earlier ones less, linearly from 0.
        n_feats: channels of the features.
        kernel_size: of all convolutions, odd.
        padding: what is done with sides that are no multiple of window_size: "bottom_right" mirrors there, "symmetric"
            mirrors on both sides (odd sides cost two runs, two odd sides four), "none" refuses them.
        in_channels: channels of the image.

    Raises:
        ValueError: if embed_dim is no multiple of n_heads, the window or kernel does not fit; in the call for images that
            padding="none" refuses.

    Example:
        >>> SwinIR(embed_dim=12, depths=(2,), n_heads=2, window_size=4, n_feats=8)(torch.randn(1, 3, 6, 7)).shape
        torch.Size([1, 8, 6, 7])
    """

    def __init__(
        self,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        n_heads: int = 6,
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        drop_path: float = 0.1,
        n_feats: int = 64,
        kernel_size: int = 3,
        padding: Padding = "bottom_right",
        in_channels: int = 3,
    ):
        config: dict[str, Any] = {
            "embed_dim": embed_dim,
            "depths": list(depths),
            "n_heads": n_heads,
            "window_size": window_size,
            "mlp_ratio": mlp_ratio,
            "drop_path": drop_path,
            "n_feats": n_feats,
            "kernel_size": kernel_size,
            "padding": padding,
            "in_channels": in_channels,
        }
        super().__init__(PlainLayers(), config, bias="free", linear_std=0.02, **config)


class EqSwinIR(_SwinNetwork):
    """SwinIR that turns with the image; 3,283,360 parameters with the defaults.

    The published network gives each orientation its own scale and shift behind the norms and loses its symmetry in
    training (§3.5); here they are tied. Attention is exact at multiples of 90°, and nowhere else, whatever t is.

    Args:
        t: orientations, a multiple of 4 for exact quarter turns.
        embed_dim: channels of the body in all, a multiple of n_heads · t.
        depths: blocks of each group.
        n_heads: heads of every attention.
        window_size: side of the windows, even.
        mlp_ratio: hidden channels of the perceptrons over embed_dim.
        drop_path: probability of leaving out the last residual in training; earlier ones less, linearly from 0.
        n_feats: channels of the features in all.
        kernel_size: of all convolutions, odd, at least 3.
        position_bias: "none", or "averaged" over the quarter turns of the window.
        padding: see `SwinIR`; only "symmetric" keeps the symmetry at sides that are no multiple of window_size.
        basis: "bicubic" (B-Conv, published) or "fourier" (F-Conv).
        equal_gain: the same filter sum for all orientations, see `EquivariantLayers`.
        in_channels: channels of the image.

    Raises:
        ValueError: as `SwinIR`, and if embed_dim, n_feats or the hidden channels are no multiple of t.

    Example:
        >>> encoder = EqSwinIR(t=4, embed_dim=16, depths=(2,), n_heads=2, window_size=4, n_feats=8)
        >>> image = torch.randn(1, 3, 6, 7)
        >>> turned = encoder.group.act_field(1, encoder(image))
        >>> torch.allclose(encoder(image.rot90(1, (2, 3))), turned, atol=1e-5)
        True
    """

    def __init__(
        self,
        t: int = 4,
        embed_dim: int = 192,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        n_heads: int = 6,
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        drop_path: float = 0.1,
        n_feats: int = 64,
        kernel_size: int = 3,
        position_bias: Bias = "none",
        padding: Padding = "symmetric",
        basis: Basis = "bicubic",
        equal_gain: bool = False,
        in_channels: int = 3,
    ):
        if position_bias not in get_args(Bias):
            raise ValueError(
                f"position_bias must be one of {', '.join(get_args(Bias))}, got {position_bias!r}"
            )
        sizes: dict[str, Any] = {
            "embed_dim": embed_dim,
            "depths": list(depths),
            "n_heads": n_heads,
            "window_size": window_size,
            "mlp_ratio": mlp_ratio,
            "drop_path": drop_path,
            "n_feats": n_feats,
            "kernel_size": kernel_size,
            "padding": padding,
            "in_channels": in_channels,
        }
        own = {"t": t, "position_bias": position_bias, "basis": basis, "equal_gain": equal_gain}
        layers = EquivariantLayers(t, basis, equal_gain)
        std = 0.002 if position_bias == "none" else 0.0005
        super().__init__(layers, own | sizes, bias=position_bias, linear_std=std, **sizes)


def mirrored(
    x: Float[Tensor, "b c h w"], rows: tuple[int, int], columns: tuple[int, int]
) -> Float[Tensor, "b c new_h new_w"]:
    """Extend an image by reflection, border pixels included: so many rows above and below, columns left and right.

    >>> mirrored(torch.tensor([1.0, 2, 3]).view(1, 1, 1, 3), (0, 0), (2, 4)).flatten().tolist()
    [2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 1.0]
    """
    for axis, (before, behind) in ((-2, rows), (-1, columns)):
        if before or behind:
            length = x.shape[axis]
            place = torch.arange(-before, length + behind, device=x.device) % (2 * length)
            x = x.index_select(axis, torch.where(place < length, place, 2 * length - 1 - place))
    return x
