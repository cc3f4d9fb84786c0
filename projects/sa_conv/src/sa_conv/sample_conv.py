"""Convolution of every image with its own filters: three ways to do it and the rule that picks one (section 3.4, P12).

    grouped    one convolution with groups = B on the batch folded into channels
    unfolded   im2col, then a batched matrix product
    looped     one convolution per image

All give the same result up to rounding; which is fastest depends on device and sizes. `sa_conv.recompute` builds on this.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Strategy = Literal["auto", "grouped", "unfolded", "looped"]
Filters = Float[Tensor, "b out in p q"]


@dataclass(frozen=True)
class Sampling:
    """Stride, zero padding and dilation of a convolution, the same in both directions."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def size(self, pixels: int, taps: int) -> int:
        """Output pixels along one direction."""
        return (pixels + 2 * self.padding - self.dilation * (taps - 1) - 1) // self.stride + 1


def sample_conv2d(
    x: Float[Tensor, "b in h w"],
    filters: Filters,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    strategy: Strategy = "auto",
) -> Float[Tensor, "b out new_h new_w"]:
    """Cross-correlate image i with filters i.

    Args:
        x: images or feature maps.
        filters: one bank of filters per image.
        strategy: "grouped", "unfolded", "looped", or "auto" for the measured rule `fastest`.

    Raises:
        ValueError: if the batch sizes or channels do not match, or the strategy is unknown.

    Example:
        >>> x, filters = torch.randn(3, 4, 9, 9), torch.randn(3, 6, 4, 5, 5)
        >>> y = sample_conv2d(x, filters, padding=2)
        >>> torch.allclose(y[1], F.conv2d(x[1], filters[1], padding=2), atol=1e-4)
        True
    """
    if len(x) != len(filters):
        raise ValueError(f"x has {len(x)} images, but there are filters for {len(filters)}")
    if x.shape[1] != filters.shape[2]:
        raise ValueError(f"x has {x.shape[1]} channels, the filters take {filters.shape[2]}")
    return convolve(x, filters, Sampling(stride, padding, dilation), strategy)


def fastest(x: Float[Tensor, "b in h w"], filters: Filters) -> Literal["grouped", "looped"]:
    """The strategy to use for these sizes on this device; a fixed rule, so that runs can be repeated bit by bit.

    CPU (oneDNN, forward and backward, 31 shapes of the four networks): grouped costs what one convolution with shared
    filters costs where channels come in eights; where they do not it falls back to a slow kernel, 1.2 to 2.6 times
    slower than looped, except for the few channels of an image. Unfolded never won by more than a fifth and was up
    to ten times slower. Other devices: grouped, not measured; `benchmarks/speed/test_sa_conv.py` measures all three.
    """
    if x.device.type != "cpu":
        return "grouped"
    inputs, outputs = filters.shape[2], filters.shape[1]
    odd = outputs % 8 or (inputs % 8 and inputs > 4)
    return "looped" if odd else "grouped"


def _chosen(x: Tensor, filters: Tensor, strategy: Strategy) -> Strategy:
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy must be one of {', '.join(get_args(Strategy))}, got {strategy!r}")
    return fastest(x, filters) if strategy == "auto" else strategy


def convolve(x: Tensor, filters: Tensor, sampling: Sampling, strategy: Strategy) -> Tensor:
    """`sample_conv2d` without its checks."""
    strategy = _chosen(x, filters, strategy)
    if len(x) == 0:
        sizes = (sampling.size(n, p) for n, p in zip(x.shape[-2:], filters.shape[-2:]))
        return x.new_zeros(0, filters.shape[1], *sizes) + 0 * (x.sum() + filters.sum())  # stays in the graph
    steps = (sampling.stride, sampling.padding, sampling.dilation)
    if strategy == "grouped":
        y = F.conv2d(x.reshape(1, -1, *x.shape[-2:]), filters.flatten(0, 1), None, *steps, groups=len(x))
        return y.unflatten(1, filters.shape[:2]).squeeze(0)
    if strategy == "unfolded":
        y = torch.bmm(filters.flatten(2), _columns(x, filters, sampling))
        return y.unflatten(-1, [sampling.size(n, p) for n, p in zip(x.shape[-2:], filters.shape[-2:])])
    pairs = zip(x.split(1), filters.unbind())
    return torch.cat([F.conv2d(image, bank, None, *steps) for image, bank in pairs])


def convolve_backward(
    grad: Tensor, x: Tensor, filters: Tensor, sampling: Sampling, strategy: Strategy, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients with respect to x and filters, without convolving forward again."""
    strategy = _chosen(x, filters, strategy)
    if len(x) == 0:
        return torch.zeros_like(x), torch.zeros_like(filters)
    if strategy == "unfolded":
        return _unfolded_backward(grad, x, filters, sampling, needs)
    s, p, d = ([n, n] for n in (sampling.stride, sampling.padding, sampling.dilation))

    def gradients(g: Tensor, image: Tensor, bank: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        mask = [*needs, False]
        return torch.ops.aten.convolution_backward(
            g, image, bank, None, s, p, d, False, [0, 0], groups, mask
        )[:2]

    if strategy == "grouped":
        g, image = (t.reshape(1, -1, *t.shape[-2:]) for t in (grad, x))
        grad_x, grad_filters = gradients(g, image, filters.flatten(0, 1), len(x))
        return (
            grad_x.view(x.shape) if needs[0] else None,
            grad_filters.view(filters.shape) if needs[1] else None,
        )
    pairs = [gradients(g, i, f, 1) for g, i, f in zip(grad.split(1), x.split(1), filters.unbind())]
    grad_xs, grad_banks = zip(*pairs)
    return (torch.cat(grad_xs) if needs[0] else None, torch.stack(grad_banks) if needs[1] else None)


def _unfolded_backward(
    grad: Tensor, x: Tensor, filters: Tensor, sampling: Sampling, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    flat = grad.flatten(2)  # b out pixels
    grad_x = grad_filters = None
    if needs[0]:
        columns = torch.bmm(filters.flatten(2).mT, flat)
        grad_x = F.fold(
            columns, x.shape[-2:], filters.shape[-2:], sampling.dilation, sampling.padding, sampling.stride
        )
    if needs[1]:
        grad_filters = torch.bmm(flat, _columns(x, filters, sampling).mT).view(filters.shape)
    return grad_x, grad_filters


def _columns(x: Tensor, filters: Tensor, sampling: Sampling) -> Float[Tensor, "b inpq pixels"]:
    return F.unfold(x, filters.shape[-2:], sampling.dilation, sampling.padding, sampling.stride)
