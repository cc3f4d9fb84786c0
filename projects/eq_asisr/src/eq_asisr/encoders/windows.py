"""Attention inside shifted windows, and what makes it turn with the image (§3.5).

A map of h×w pixels, both multiples of the window's side s, is cut into s×s windows; every second block first rolls the map
by s/2 and forbids attention between pixels that the roll made neighbours. Both partitions, and the mask, are mapped to
themselves by quarter turns. With regular fields, heads hold whole fields, so that q·k sums over the orientations and does
not change when the image turns; a position bias may only depend on the offset up to quarter turns.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .families import Layers


class PositionBias(nn.Module):
    """A learned number per head and offset between two pixels of a window.

    Args:
        window_size: side s of the window.
        n_heads: heads.
        averaged: average the table over the four quarter turns, so that turned windows see the same bias.

    Example:
        >>> PositionBias(4, 2)().shape
        torch.Size([2, 16, 16])
    """

    index: Tensor

    def __init__(self, window_size: int, n_heads: int, averaged: bool = False):
        super().__init__()
        side = 2 * window_size - 1
        self.averaged = averaged
        self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(n_heads, side, side), std=0.02))
        axis = torch.arange(window_size)
        rows, columns = (a.flatten() for a in torch.meshgrid(axis, axis, indexing="ij"))
        offsets = (a[:, None] - a[None, :] + window_size - 1 for a in (rows, columns))
        row, column = offsets
        self.register_buffer("index", row * side + column, persistent=False)

    def forward(self) -> Float[Tensor, "heads pixels pixels"]:
        table: Tensor = self.table
        if self.averaged:
            table = torch.stack([torch.rot90(table, k, (1, 2)) for k in range(4)]).mean(0)
        return table.flatten(1)[:, self.index]


class WindowAttention(nn.Module):
    """Multi-head attention among the pixels of each window.

    Args:
        layers: the family of the linear maps.
        dim: channels.
        n_heads: heads, each of dim/n_heads consecutive channels; of whole fields, if these are regular fields.
        bias: the position bias, or None.

    Raises:
        ValueError: if dim is no multiple of n_heads (times the group's order).

    Example:
        >>> from eq_asisr.encoders import EquivariantLayers
        >>> WindowAttention(EquivariantLayers(4), 16, 2, None)(torch.randn(3, 25, 16), None).shape
        torch.Size([3, 25, 16])
    """

    def __init__(self, layers: Layers, dim: int, n_heads: int, bias: PositionBias | None):
        super().__init__()
        order = 1 if layers.group is None else layers.group.order
        if dim % (n_heads * order):
            fields = "" if layers.group is None else f" times t = {n_heads * order}"
            raise ValueError(f"embed_dim must be a multiple of n_heads={n_heads}{fields}, got {dim}")
        self.n_heads, self.bias = n_heads, bias
        self.qkv = layers.linear(dim, 3 * dim)
        self.proj = layers.linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch_windows pixels dim"],
        allowed: Bool[Tensor, "windows pixels pixels"] | None,
    ) -> Float[Tensor, "batch_windows pixels dim"]:
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )  # each n h p d
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask(allowed, len(x)))
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _mask(self, allowed: Tensor | None, batch_windows: int) -> Tensor | None:
        mask = None if allowed is None else allowed.unsqueeze(1)  # n 1 p p
        if self.bias is not None:
            bias = self.bias().unsqueeze(0)  # 1 h p p
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        if mask is None or len(mask) == 1:
            return mask
        return mask.repeat(batch_windows // len(mask), 1, 1, 1)


class WindowBlock(nn.Module):
    """A Swin block on maps with channels last: attention inside windows, then a perceptron, each behind a norm.

    Args:
        layers: the family of the layers.
        dim: channels.
        attention: the attention.
        window_size: side of the windows.
        shift: how far the map is rolled before it is cut, 0 or window_size // 2.
        hidden: channels inside the perceptron.
        drop_path: probability that a residual is left out, per image, in training.
    """

    def __init__(
        self,
        layers: Layers,
        dim: int,
        attention: WindowAttention,
        *,
        window_size: int,
        shift: int,
        hidden: int,
        drop_path: float,
    ):
        super().__init__()
        self.window_size, self.shift = window_size, shift
        self.norm1, self.norm2 = layers.norm(dim), layers.norm(dim)
        self.attention = attention
        self.mlp = nn.Sequential(layers.linear(dim, hidden), nn.GELU(), layers.linear(hidden, dim))
        self.drop_path = StochasticDepth(drop_path)

    def forward(
        self, x: Float[Tensor, "b h w dim"], allowed: Bool[Tensor, "windows pixels pixels"]
    ) -> Float[Tensor, "b h w dim"]:
        x = x + self.drop_path(self._attend(self.norm1(x), allowed))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, allowed: Tensor) -> Tensor:
        size, shift = (x.shape[1], x.shape[2]), self.shift
        if not shift:
            return join_windows(self.attention(cut_windows(x, self.window_size), None), size)
        windows = cut_windows(x.roll((-shift, -shift), (1, 2)), self.window_size)
        return join_windows(self.attention(windows, allowed), size).roll((shift, shift), (1, 2))


class StochasticDepth(nn.Module):
    """Leaves out a residual of whole images at random in training, and scales the others to keep the mean.

    Args:
        p: probability of leaving out, in [0, 1).

    Example:
        >>> StochasticDepth(0.5).eval()(torch.ones(2, 3)).mean().item()
        1.0
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"drop_path must lie in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "b *shape"]:
        if not self.training or self.p == 0:
            return x
        kept = F.dropout(x.new_ones(len(x), *[1] * (x.ndim - 1)), self.p)
        return x * kept


def cut_windows(x: Float[Tensor, "b h w c"], side: int) -> Float[Tensor, "b_windows pixels c"]:
    """The windows of every image, row by row; h and w are multiples of the side."""
    b, h, w, c = x.shape
    windows = x.reshape(b, h // side, side, w // side, side, c).transpose(2, 3)
    return windows.reshape(-1, side * side, c)


def join_windows(
    windows: Float[Tensor, "b_windows pixels c"], size: tuple[int, int]
) -> Float[Tensor, "b h w c"]:
    """The inverse of `cut_windows`."""
    (h, w), side, c = size, round(windows.shape[1] ** 0.5), windows.shape[2]
    tiles = windows.reshape(-1, h // side, w // side, side, side, c).transpose(2, 3)
    return tiles.reshape(-1, h, w, c)


def shifted_neighbours(
    size: tuple[int, int], side: int, shift: int, device: torch.device
) -> Bool[Tensor, "windows pixels pixels"]:
    """Which pixels of the rolled map's windows are in one piece in the map itself, and so may attend to each other.

    >>> shifted_neighbours((4, 4), 2, 1, torch.device("cpu"))[0].all().item()  # away from the seam
    True
    """
    pieces = []
    for length in size:
        position = torch.arange(length, device=device)
        pieces.append((position >= length - side).long() + (position >= length - shift).long())
    labels = (3 * pieces[0][:, None] + pieces[1]).view(1, *size, 1)
    labels = cut_windows(labels, side).squeeze(-1)  # n p
    return labels.unsqueeze(1) == labels.unsqueeze(2)
