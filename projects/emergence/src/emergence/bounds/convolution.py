"""Operator norms of convolutions, not of reshaped kernels (§3.7).

On a torus a convolution is diagonal in frequency, its norm the largest singular value of the symbol K̂(ω), an out × in
matrix per frequency. Padding with zeros, cropping and strides are compressions of the convolution on a torus large enough
that nothing wraps around, so that norm bounds theirs. For images of any size the supremum over all ω is needed: |u*K̂v|² is a
trigonometric polynomial of degree k − 1 in each variable, whose supremum is at most 1/cos(π(k−1)/M) times its maximum
on M equidistant points (Ehlich and Zeller).
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..arguments import check_positive
from ..lipschitz.estimates import LipEstimate
from ..lipschitz.local import local_lipschitz
from .calculus import Domain, LipBound, register_rule

Convolution: TypeAlias = nn.modules.conv._ConvNd
Pool: TypeAlias = Any  # torch's pooling layers have no type in common that knows kernel_size and stride
_STRAIGHT = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
OVERSAMPLING = 16
_SLACK = 1 + 1e-12


def circular_norm(
    weight: Float[Tensor, "o i ..."],
    size: Sequence[int],
    *,
    groups: int = 1,
    dilation: Sequence[int] | int = 1,
) -> float:
    """The norm of the convolution of stride 1 on a torus: exact.

    Args:
        weight: kernel, out × in/groups × taps.
        size: of the torus, one number a spatial axis.
        groups: of channels.
        dilation: distance of the taps.

    Example:
        >>> circular_norm(torch.ones(1, 1, 3, 3), (8, 8))
        9.0
    """
    taps = weight.shape[2:]
    if len(size) != len(taps):
        raise ValueError(f"size must have {len(taps)} numbers for this kernel, got {tuple(size)}")
    check_positive(groups=groups, **{f"size[{i}]": n for i, n in enumerate(size)})
    steps = [dilation] * len(taps) if isinstance(dilation, int) else list(dilation)
    kernel = weight.detach().double().unflatten(0, (groups, -1))  # g o i taps
    placed = kernel.new_zeros(*kernel.shape[:3], *size)
    for tap in torch.cartesian_prod(*[torch.arange(k) for k in taps]).reshape(-1, len(taps)).tolist():
        place = tuple(t * d % n for t, d, n in zip(tap, steps, size, strict=True))
        placed[(..., *place)] += kernel[(..., *tap)]  # taps that wrap around add up
    axes = tuple(range(3, placed.dim()))
    symbol = torch.fft.rfftn(placed, dim=axes).movedim((1, 2), (-2, -1))
    return float(torch.linalg.matrix_norm(symbol, 2).max())


def symbol_supremum(weight: Float[Tensor, "o i ..."], *, groups: int = 1) -> float:
    """An upper bound of the norm for inputs of every size, stride, dilation and zero padding.

    At most 2 % above the supremum of the symbol for kernels in the plane.
    """
    taps = weight.shape[2:]
    sizes = [max(OVERSAMPLING * (k - 1), 1) for k in taps]
    margin = math.prod(math.cos(math.pi * (k - 1) / n) for k, n in zip(taps, sizes, strict=True))
    by_grid = circular_norm(weight, sizes, groups=groups) / math.sqrt(margin)
    flat = weight.detach().double().unflatten(0, (groups, -1)).flatten(3).movedim(3, 1)  # g taps o i
    by_taps = float(torch.linalg.matrix_norm(flat, 2).sum(1).max())  # every tap alone is a shift
    return min(by_grid, by_taps)


def convolution_bound(conv: Convolution, size: Sequence[int] | None = None) -> float:
    """An upper bound of the norm of a convolution layer on inputs of a size, or of every size.

    Args:
        conv: `nn.Conv1d` … `nn.ConvTranspose3d`, any stride, padding, dilation and groups.
        size: of the input, spatial axes only; None for any.

    Example:
        >>> conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        >>> _ = conv.weight.data.fill_(1.0)
        >>> 8.9 < convolution_bound(conv, (32, 32)) <= convolution_bound(conv) + 1e-9
        True
    """
    if not isinstance(conv, _STRAIGHT + _TRANSPOSED):
        raise TypeError(f"conv must be a convolution layer of torch, got {type(conv).__name__}")
    weight, groups = conv.weight, conv.groups
    if size is None or isinstance(conv, _TRANSPOSED):  # the adjoint of a convolution has its norm
        return symbol_supremum(weight, groups=groups) * _copies(conv) * _SLACK
    taps = weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(conv.dilation, taps, strict=True)]
    if conv.padding_mode == "circular" and _total_padding(conv) == [(r // 2, r - r // 2) for r in reach]:
        return circular_norm(weight, size, groups=groups, dilation=conv.dilation) * _SLACK
    torus = [n + r for n, r in zip(size, reach, strict=True)]
    # With other padding than zeros the padded image is the input, each pixel copied a few times.
    if conv.padding_mode != "zeros":
        torus = [n + sum(p) for n, p in zip(torus, _total_padding(conv), strict=True)]
    bound = circular_norm(weight, torus, groups=groups, dilation=conv.dilation)
    return min(bound, symbol_supremum(weight, groups=groups)) * _copies(conv) * _SLACK


def convolution_norm(
    conv: Convolution, size: Sequence[int], *, n_iter: int = 50, generator: torch.Generator | None = None
) -> LipEstimate:
    """Both sides: Lanczos iteration on the operator itself from below, `convolution_bound` from above.

    Args:
        conv: a convolution layer.
        size: of the input, spatial axes only.
        n_iter: Lanczos steps.
        generator: draws the start.

    Example:
        >>> estimate = convolution_norm(nn.Conv2d(2, 3, 3, padding=1), (8, 8))
        >>> bool(estimate.upper / estimate.lower < 1.2)
        True
    """
    upper = convolution_bound(conv, size)
    weight = conv.weight
    channels = weight.shape[0] if isinstance(conv, _TRANSPOSED) else weight.shape[1] * conv.groups
    at = weight.new_zeros(1, int(channels), *size)
    found = local_lipschitz(conv, at, method="lanczos", n_iter=n_iter, tol=1e-7, generator=generator)
    top = torch.full_like(found.lower, upper)
    return LipEstimate(found.lower, top, "lanczos | symbol", found.n_evals, found.converged)


@register_rule(*_STRAIGHT, *_TRANSPOSED)
def convolution(module: Convolution, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The bound for images of every size; the radius of tokens is lost."""
    return LipBound.of(name, convolution_bound(module)), domain.with_radius(None)


@register_rule(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def average_pool(module: nn.AvgPool2d, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Windows that do not overlap average k pixels: 1/√k; a convolution with weights that sum to 1 otherwise."""
    kernel, stride = _window(module)
    apart = all(s >= k for k, s in zip(kernel, stride, strict=True))
    whole = getattr(module, "divisor_override", None) is None and not module.ceil_mode
    padded = any(p for p in _tuple(module.padding, len(kernel)))
    if not whole:
        raise ValueError(f"no rule for '{name}': AvgPool with divisor_override or ceil_mode")
    exact = apart and (not padded or module.count_include_pad)
    value = math.prod(kernel) ** -0.5 if exact else math.sqrt(_overlap(kernel, stride))
    return LipBound.of(name, value), domain.with_radius(None)


@register_rule(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def max_pool(module: nn.MaxPool2d, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """√(number of windows a pixel can be the maximum of)."""
    if any(d != 1 for d in _tuple(module.dilation, _axes(module))):
        raise ValueError(f"no rule for '{name}': MaxPool with dilation")
    return LipBound.of(name, math.sqrt(_overlap(*_window(module)))), domain.with_radius(None)


def _axes(module: Pool) -> int:
    return int(type(module).__name__[-2])


def _tuple(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _window(module: Pool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    n = _axes(module)
    return _tuple(module.kernel_size, n), _tuple(module.stride, n)


def _overlap(kernel: Sequence[int], stride: Sequence[int]) -> int:
    """Windows that can hold one pixel."""
    return math.prod(-(-k // s) for k, s in zip(kernel, stride, strict=True))


def _total_padding(conv: Convolution) -> list[tuple[int, int]]:
    """Pixels added before and after, for each spatial axis."""
    taps = conv.weight.shape[2:]
    if isinstance(conv.padding, str):
        reach = [
            d * (k - 1) if conv.padding == "same" else 0 for d, k in zip(conv.dilation, taps, strict=True)
        ]
        return [(r // 2, r - r // 2) for r in reach]
    return [(p, p) for p in conv.padding]


def _copies(conv: Convolution) -> float:
    """√(how often one input pixel can appear in the padded image), which is the norm of the padding."""
    if conv.padding_mode == "zeros" or isinstance(conv, _TRANSPOSED):
        return 1.0
    if conv.padding_mode == "replicate":
        return math.sqrt(math.prod(1 + before + after for before, after in _total_padding(conv)))
    return math.sqrt(math.prod(3 if before + after else 1 for before, after in _total_padding(conv)))
