"""Convolutions whose kernel entries are edge functions, in one, two and three dimensions (notes section 3.8).

An edge joins an output channel, an input channel and a kernel offset; it carries q numbers. Every input channel is
expanded into its q features [basis | base], and one ordinary convolution over all features does the rest:

    y[o, p] = sum_{i, r, m} W[o, i, r, m] feature_m(x[i, p + r]),        kernel channel i * q + m.

Padding adds zeros to the features, so an edge that reaches outside the image contributes nothing. Behind the
convolution follow normalisation, activation and channel dropout.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_input, check_positive, check_probability
from .bases import Basis, BSplineBasis, WaveletBasis
from .edges import base_function, edge_features
from .generation import GeneratedWeights, generate, generated_call
from .layers import check_meta
from .meta import PROMPT_INITS, MetaLearner, prompt_init_

Size = int | Sequence[int]

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_NORMS: dict[str, dict[int, type[nn.Module]]] = {
    "batch": {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}
_DROPOUT = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}


def _tuple(name: str, value: Size, ndim: int, least: int) -> tuple[int, ...]:
    sizes = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(sizes) != ndim:
        raise ValueError(f"{name} must be an integer or {ndim} integers, got {value}")
    if any(not isinstance(s, int) or s < least for s in sizes):
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return sizes


class EdgeConv(nn.Module):
    """Common part of `KANConvNd` and `MetaKANConvNd`; see there for the arguments."""

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        groups: int,
        basis: Basis,
        base_activation: str | None,
        norm: str | None,
        norm_position: str,
        act: str | None,
        dropout: float,
    ):
        super().__init__()
        check_choice("ndim", ndim, (1, 2, 3))
        check_positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"groups must divide {name}={channels}, got {groups}")
        check_choice("norm", norm, (*_NORMS, None))
        check_choice("norm_position", norm_position, ("output", "input"))
        check_choice("act", act, ("prelu", "silu", None))
        check_probability("dropout", dropout)
        self.ndim, self.in_channels, self.out_channels, self.groups = ndim, in_channels, out_channels, groups
        self.kernel_size = _tuple("kernel_size", kernel_size, ndim, 1)
        self.stride = _tuple("stride", stride, ndim, 1)
        self.padding = _tuple("padding", padding, ndim, 0)
        self.dilation = _tuple("dilation", dilation, ndim, 1)
        self.basis = copy.deepcopy(basis)
        self.base_activation = base_activation
        self._base = base_function(base_activation, basis)
        self.n_weights = basis.n_weights(base_activation is not None)
        channels = in_channels if norm_position == "input" else out_channels
        options = {"affine": True}
        norm_layer = None if norm is None else _NORMS[norm][ndim](channels, **options)
        self.input_norm = norm_layer if norm_position == "input" else None
        self.output_norm = norm_layer if norm_position == "output" else None
        self.act = {"prelu": nn.PReLU, "silu": nn.SiLU, None: nn.Identity}[act]()
        self.dropout = _DROPOUT[ndim](dropout) if dropout else nn.Identity()

    @property
    def n_edges(self) -> int:
        """Edges, each with its own function: out * in / groups * kernel entries (pitfall P14)."""
        return self.out_channels * self.in_channels // self.groups * math.prod(self.kernel_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, *kernel, q)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size, self.n_weights)

    def product(self, x: Float[Tensor, "n i ..."], weight: Tensor) -> Float[Tensor, "n o ..."]:
        """The convolution with edge weights of shape `weight_shape`, before normalisation."""
        if isinstance(self.basis, WaveletBasis):
            return self._wavelet_product(x, weight)
        normed = None if self.input_norm is None else self.input_norm(x)
        features = edge_features(self.basis, self._base, x, normed)  # n i *space q
        features = features.movedim(-1, 2).flatten(1, 2).to(weight.dtype)  # n (i q) *space
        kernel = weight.movedim(-1, 2).flatten(1, 2)  # o (i q) *kernel
        return _CONV[self.ndim](features, kernel, None, self.stride, self.padding, self.dilation, self.groups)

    def _wavelet_product(self, x: Tensor, weight: Tensor) -> Tensor:
        # Every edge has its own scale and shift: nothing factorises, so patches meet edges one output at a time.
        if self.input_norm is not None:
            x = self.input_norm(x)
        patches, inside = self._patches(x), self._patches(torch.ones_like(x[:1]))  # n i *out *kernel
        space = patches.shape[2 : 2 + self.ndim]
        per_group = self.in_channels // self.groups
        outputs = []
        for o in range(self.out_channels):
            start = o // (self.out_channels // self.groups) * per_group
            mine = slice(start, start + per_group)
            edges = weight[o].reshape(per_group, *(1,) * self.ndim, *self.kernel_size, 3)
            values = self.basis.edges(patches[:, mine], edges) * inside[:, mine]  # type: ignore[operator]
            outputs.append(values.movedim(1, -1).flatten(1 + self.ndim).sum(-1))
        return torch.stack(outputs, dim=1).view(x.shape[0], self.out_channels, *space)

    def _patches(self, x: Tensor) -> Tensor:
        padding = [p for size in reversed(self.padding) for p in (size, size)]
        x = F.pad(x, padding)
        for axis in range(self.ndim):
            size = x.shape[2 + axis]
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
            starts = torch.arange(0, size - reach, self.stride[axis], device=x.device)
            taps = torch.arange(self.kernel_size[axis], device=x.device) * self.dilation[axis]
            index = (starts[:, None] + taps).flatten()
            x = x.index_select(2 + axis, index).unflatten(2 + axis, (-1, self.kernel_size[axis]))
            x = x.movedim(3 + axis, -1)
        return x

    def check(self, x: Tensor) -> None:
        """Raise unless x is (batch, in_channels, *space), floating point."""
        if x.dim() != self.ndim + 2:
            raise ValueError(
                f"x must have {self.ndim + 2} dimensions (batch, channels, *space), got {tuple(x.shape)}"
            )
        check_input(x, self.in_channels, 1, "channels")

    def finish(self, y: Float[Tensor, "n o ..."]) -> Float[Tensor, "n o ..."]:
        """Normalisation, activation, dropout."""
        if self.output_norm is not None:
            y = self.output_norm(y)
        return self.dropout(self.act(y))

    def extra_repr(self) -> str:
        """Shown by print."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, base_activation={self.base_activation!r}"
        )


class KANConvNd(EdgeConv):
    """Convolution of edge functions with weights of its own.

    Args:
        ndim: 1, 2 or 3 spatial dimensions.
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as in `torch.nn.Conv2d`.
        basis: family of functions; base_activation: "gelu" (the paper's convolutions), another one, or None.
        norm: "batch", "instance" (both affine) or None; norm_position: "output", or "input" of the basis (FastKAN).
        act: "prelu" (one slope a layer), "silu" or None.
        dropout: probability of dropping a channel.

    Example:
        >>> KANConvNd(2, 3, 8, 3, padding=1)(torch.rand(4, 3, 10, 10)).shape
        torch.Size([4, 8, 10, 10])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        *,
        basis: Basis = BSplineBasis(5, 3, (-1.0, 1.0)),  # noqa: B008  (copied, never changed)
        base_activation: str | None = "gelu",
        norm: str | None = "batch",
        norm_position: str = "output",
        act: str | None = "prelu",
        dropout: float = 0.0,
    ):
        super().__init__(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            basis, base_activation, norm, norm_position, act, dropout,
        )  # fmt: skip
        self.weight = nn.Parameter(torch.empty(self.weight_shape))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in `KANLinear`, with in / groups * kernel entries as the fan-in."""
        fan_in = self.in_channels // self.groups * math.prod(self.kernel_size)
        root = math.sqrt(fan_in)
        if isinstance(self.basis, WaveletBasis):
            self.weight.zero_()
            self.weight[..., 2].uniform_(-1.0 / root, 1.0 / root)
            return
        m = self.basis.n_basis
        scale = 0.01 if isinstance(self.basis, BSplineBasis) else 1.0
        self.weight[..., :m].normal_(0.0, scale / root / math.sqrt(m))
        if self.base_activation is not None:
            self.weight[..., m].uniform_(-1.0 / root, 1.0 / root)

    def forward(self, x: Float[Tensor, "n i ..."]) -> Float[Tensor, "n o ..."]:
        """(batch, in_channels, *space) to (batch, out_channels, *space)."""
        self.check(x)
        return self.finish(self.product(x, self.weight))


class MetaKANConvNd(EdgeConv):
    """Convolution of edge functions with generated weights: one prompt per (output, input, kernel offset).

    Args:
        ndim ... dropout: as in `KANConvNd`.
        layout: "edge": the q numbers generated from a prompt are the coefficients of its edge. "spatial": they are
            the kernel entries of one (output, feature map) pair, which the published code does (pitfall P2); only
            where q equals the number of kernel entries.
        prompt_dim, prompt_init, memory, cache_eval: as in `MetaKANLinear`.

    Example:
        >>> layer = MetaKANConvNd(2, 3, 8, 3, padding=1)
        >>> layer(torch.rand(4, 3, 10, 10), MetaLearner(out_dim=9)).shape
        torch.Size([4, 8, 10, 10])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        *,
        basis: Basis = BSplineBasis(5, 3, (-1.0, 1.0)),  # noqa: B008  (copied, never changed)
        base_activation: str | None = "gelu",
        layout: str = "edge",
        norm: str | None = "batch",
        norm_position: str = "output",
        act: str | None = "prelu",
        dropout: float = 0.0,
        prompt_dim: int = 1,
        prompt_init: str = "xavier_edge",
        memory: str = "recompute",
        cache_eval: bool = True,
    ):
        super().__init__(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            basis, base_activation, norm, norm_position, act, dropout,
        )  # fmt: skip
        check_choice("layout", layout, ("edge", "spatial"))
        entries = math.prod(self.kernel_size)
        if layout == "spatial" and self.n_weights != entries:
            raise ValueError(
                f"layout='spatial' needs as many numbers an edge as kernel entries; "
                f"q={self.n_weights}, kernel {self.kernel_size} has {entries}. Use layout='edge'"
            )
        check_positive(prompt_dim=prompt_dim)
        check_choice("prompt_init", prompt_init, PROMPT_INITS)
        self.layout, self.prompt_dim, self.prompt_init = layout, prompt_dim, prompt_init
        self.prompts = nn.Parameter(torch.empty(self.n_edges, prompt_dim))
        self.generated = GeneratedWeights(memory, None, cache_eval)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the prompts by `prompt_init`."""
        entries = math.prod(self.kernel_size)
        fans = self.in_channels // self.groups * entries, self.out_channels // self.groups * entries
        prompt_init_(self.prompts, *fans, self.prompt_init)

    def edge_weights(self, meta: MetaLearner) -> Float[Tensor, "o i ... q"]:
        """The generated weights, shape `weight_shape`."""
        check_meta(meta, self.n_weights, self.prompt_dim)
        weight = generate(meta, self.prompts)
        if self.layout == "edge":
            return weight.view(self.weight_shape)
        per_map = weight.view(
            self.out_channels, self.in_channels // self.groups, self.n_weights, *self.kernel_size
        )
        return per_map.movedim(2, -1)

    def forward(self, x: Float[Tensor, "n i ..."], meta: MetaLearner) -> Float[Tensor, "n o ..."]:
        """(batch, in_channels, *space) to (batch, out_channels, *space)."""
        self.check(x)
        check_meta(meta, self.n_weights, self.prompt_dim)
        return self.finish(generated_call(self, x, meta))

    def clear_cache(self) -> None:
        """Forget weights generated for evaluation."""
        self.generated.clear()

    def train(self, mode: bool = True) -> "MetaKANConvNd":
        """Switch between training and evaluation; forgets cached weights."""
        self.clear_cache()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.clear_cache()
        return super()._apply(fn, recurse)


class KANConv1d(KANConvNd):
    """`KANConvNd` over sequences (batch, channels, length)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(1, in_channels, out_channels, kernel_size, *args, **options)


class KANConv2d(KANConvNd):
    """`KANConvNd` over images (batch, channels, height, width)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(2, in_channels, out_channels, kernel_size, *args, **options)


class KANConv3d(KANConvNd):
    """`KANConvNd` over volumes (batch, channels, depth, height, width)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(3, in_channels, out_channels, kernel_size, *args, **options)


class MetaKANConv1d(MetaKANConvNd):
    """`MetaKANConvNd` over sequences (batch, channels, length).

    Example:
        >>> MetaKANConv1d(3, 8, 5)(torch.rand(4, 3, 20), MetaLearner(out_dim=9)).shape
        torch.Size([4, 8, 16])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(1, in_channels, out_channels, kernel_size, *args, **options)


class MetaKANConv2d(MetaKANConvNd):
    """`MetaKANConvNd` over images (batch, channels, height, width).

    Example:
        >>> MetaKANConv2d(3, 8, 3, stride=2)(torch.rand(4, 3, 9, 9), MetaLearner(out_dim=9)).shape
        torch.Size([4, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(2, in_channels, out_channels, kernel_size, *args, **options)


class MetaKANConv3d(MetaKANConvNd):
    """`MetaKANConvNd` over volumes (batch, channels, depth, height, width).

    Example:
        >>> MetaKANConv3d(1, 2, 3)(torch.rand(2, 1, 5, 5, 5), MetaLearner(out_dim=9)).shape
        torch.Size([2, 2, 3, 3, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, *args: Any, **options: Any):
        super().__init__(3, in_channels, out_channels, kernel_size, *args, **options)
