"""Per-sample convolution that does not keep the filters: built for a few images at a time, and again in the backward pass.

The filters of a whole batch weigh B·C_out·N·C_in·N·p² numbers per layer (P12). Building, using and forgetting them in portions
bounds the memory by the portion, and on a CPU the portion stays in the cache, which makes building them cheaper than
writing them all to memory once.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sa_conv.sample_conv import Sampling, Strategy, convolve, convolve_backward

Bank = Float[Tensor, "b K order p p"]
BankOf = Callable[[Tensor], Bank]
Assemble = Callable[[Tensor, Bank], Float[Tensor, "b out in p p"]]

_PORTION_BYTES = {"cpu": 4 * 2**20}
_PORTION_BYTES_ELSEWHERE = 256 * 2**20


def recomputed_conv2d(
    x: Float[Tensor, "b in h w"],
    weight: Tensor,
    geometry: Float[Tensor, "b 2 2"],
    bank_of: BankOf,
    assemble: Assemble,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    strategy: Strategy = "auto",
) -> Float[Tensor, "b out new_h new_w"]:
    """`sample_conv2d(x, assemble(weight, bank_of(geometry)))` that keeps x, weight and geometry for the backward pass only.

    Differentiable once with respect to x, weight and geometry.

    Args:
        bank_of: geometry of images to filter functions; works image by image.
        assemble: coefficients and filter functions to filters; works image by image.
    """
    sampling = Sampling(stride, padding, dilation)
    return _Recomputed.apply(x, weight, geometry, bank_of, assemble, sampling, strategy)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        geometry: Tensor,
        bank_of: BankOf,
        assemble: Assemble,
        sampling: Sampling,
        strategy: Strategy,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, geometry)
        ctx.bank_of, ctx.assemble, ctx.sampling, ctx.strategy = bank_of, assemble, sampling, strategy
        bank = bank_of(geometry)
        n = _portion(x, weight, bank)
        parts = [
            convolve(part, assemble(weight, functions).to(x.dtype), sampling, strategy)
            for part, functions in zip(x.split(n), bank.split(n))
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, geometry = ctx.saved_tensors
        needs_x, needs_weight, needs_geometry = ctx.needs_input_grad[:3]
        geometry = geometry.detach().requires_grad_(needs_geometry)
        weight = weight.detach().requires_grad_(needs_weight)
        with torch.enable_grad():
            bank = ctx.bank_of(geometry)
        n = _portion(x, weight, bank)
        grad_x: list[Tensor] = []
        grad_bank: list[Tensor] = []
        grad_weight = None
        for grad, part, functions in zip(gradients[0].split(n), x.split(n), bank.detach().split(n)):
            functions = functions.requires_grad_(needs_geometry)
            with torch.enable_grad():
                filters = ctx.assemble(weight, functions).to(x.dtype)
            needs = (needs_x, needs_weight or needs_geometry)
            into_x, into_filters = convolve_backward(
                grad, part, filters.detach(), ctx.sampling, ctx.strategy, needs
            )
            into_weight, into_bank = _pull_back(filters, into_filters, weight, functions)
            grad_x += [] if into_x is None else [into_x]
            grad_bank += [] if into_bank is None else [into_bank]
            if into_weight is not None:
                grad_weight = into_weight if grad_weight is None else grad_weight.add_(into_weight)
        (grad_geometry,) = _pull_back(bank, torch.cat(grad_bank) if needs_geometry else None, geometry)
        return (torch.cat(grad_x) if needs_x else None, grad_weight, grad_geometry, None, None, None, None)


def _portion(x: Tensor, weight: Tensor, bank: Tensor) -> int:
    """How many images' filters to hold at a time."""
    order, taps = bank.shape[-3], bank.shape[-1] * bank.shape[-2]
    filters = weight.shape[:3].numel() * order * taps * x.element_size()  # bytes per image
    budget = _PORTION_BYTES.get(x.device.type, _PORTION_BYTES_ELSEWHERE)
    return max(1, min(budget // filters, len(x)))


def _pull_back(y: Tensor, gradient: Tensor | None, *sources: Tensor) -> list[Tensor | None]:
    """Gradients with respect to the sources that want one, given the gradient with respect to y."""
    wanted = [source for source in sources if source.requires_grad]
    if gradient is None or not wanted:
        return [None] * len(sources)
    with torch.enable_grad():
        pulled = _Pull.apply(y, gradient)
    answers = iter(torch.autograd.grad(pulled, wanted))
    return [next(answers) if source.requires_grad else None for source in sources]


class _Pull(torch.autograd.Function):
    """A scalar whose gradient with respect to x is the given one.

    `torch.autograd.grad(x, sources, gradient)` does the same, but its first call imports sympy, which takes seconds.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return x.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0], None
