"""Uniform B-splines in closed form, with derivatives of every order, laid out for one dense product.

Centred and in cells, the B-spline of order k is a function of the distance w = |x - centre| / h only,

    B(w) = 1/k! sum_j (-1)^j C(k+1, j) relu((k+1)/2 - j - w)^k,      j = 0 ... floor(k/2),

two terms for cubic splines: a dozen passes of plain arithmetic over the values, no recursion, nothing kept for the
backward pass but x. The derivative of order v is the same sum with relu^(k-v), k!/(k-v)! and the sign of x - centre,
so the backward pass is this function again, and may itself be differentiated.

Memory is laid out (n, q, features): the inner loop runs along the input features.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def closed_form_features(
    x: Float[Tensor, "n i"], grid_size: int, order: int, grid_range: tuple[float, float], silu: bool
) -> Float[Tensor, "n q i"]:
    """The G + k spline values and, with `silu`, SiLU(x) behind them. Differentiable any number of times; order >= 1."""
    return _Features.apply(x, grid_size, order, grid_range, silu, 0)  # type: ignore[no-any-return]


def closed_form_works(x: Tensor) -> bool:
    """Whether x is plain eager data; compilers, `torch.func` and forward-mode derivatives want ordinary operations."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        grid_size: int,
        order: int,
        grid_range: tuple[float, float],
        silu: bool,
        derivative: int,
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arguments = (grid_size, order, grid_range, silu)
        ctx.derivative = derivative
        m = grid_size + order
        out = x.new_empty(x.shape[0], m + int(silu), x.shape[1])
        _splines(x, grid_size, order, grid_range, derivative, out[:, :m])
        if silu:
            out[:, m] = silu_derivative(x, derivative)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        slope = _Features.apply(x, *ctx.arguments, ctx.derivative + 1)
        return (grads[0] * slope).sum(1), None, None, None, None, None


def _splines(
    x: Tensor, grid_size: int, order: int, grid_range: tuple[float, float], derivative: int, out: Tensor
) -> None:
    """Write the derivative of all splines into `out` (n, G + k, i)."""
    if derivative > order:
        out.copy_((0.0 * x)[:, None])  # zero, but NaN stays NaN
        return
    per_cell = grid_size / (grid_range[1] - grid_range[0])
    half, power = (order + 1) / 2, order - derivative
    # Units in which the leading term is relu(reach)^power without a factor: one pass less.
    unit = (per_cell**derivative / math.factorial(power)) ** (1 / power) if power else 1.0
    centres = torch.arange(grid_size + order, dtype=x.dtype, device=x.device).add_(half - order).mul_(unit)
    cells = torch.sub(x, grid_range[0]).mul_(per_cell * unit)
    distance = torch.sub(centres[:, None], cells[:, None])
    sign = distance.sign() if derivative % 2 else None
    distance.abs_()
    if power:
        reach = distance.neg_().add_(half * unit).relu_()
        scratch = torch.empty_like(reach)  # buffers are reused: these passes are bound by the cache
        torch.mul(_power(reach, power - 1, scratch), reach, out=out) if power > 1 else out.copy_(reach)
        for j in range(1, order // 2 + 1):
            shorter = F.softshrink(reach, unit)  # relu(reach - unit) in one pass, because reach >= 0
            factor = (-1) ** j * math.comb(order + 1, j)
            if power > 1:
                out.addcmul_(_power(shorter, power - 1, scratch), shorter, value=factor)
            else:
                out.add_(shorter, alpha=factor)
            reach = shorter
    else:
        out.copy_(0.0 * distance)
        for j in range(order // 2 + 1):
            out.add_(distance < half - j, alpha=per_cell**derivative * (-1) ** j * math.comb(order + 1, j))
    if sign is not None:
        out.mul_(sign)


def _power(base: Tensor, power: int, scratch: Tensor) -> Tensor:
    """base ** power by products, in `scratch` from the square on; torch.pow is several times slower."""
    if power == 1:
        return base
    torch.mul(base, base, out=scratch)
    for _ in range(power - 2):
        scratch.mul_(base)
    return scratch


def silu_derivative(x: Tensor, derivative: int) -> Tensor:
    """Derivative of any order of SiLU(x) = x s(x): x s^(v) + v s^(v-1), with s^(v) a polynomial in s."""
    if derivative == 0:
        return F.silu(x)
    s = torch.sigmoid(x)
    return x * _polynomial(_sigmoid_coefficients(derivative), s) + derivative * _polynomial(
        _sigmoid_coefficients(derivative - 1), s
    )


def _sigmoid_coefficients(derivative: int) -> list[int]:
    """Coefficients (ascending) of the polynomial P with s^(v) = P(s); s' = s - s^2 gives P_{v+1} = P_v' (s - s^2)."""
    p = [0, 1]
    for _ in range(derivative):
        slope = [n * c for n, c in enumerate(p)][1:]
        p = [0] * (len(slope) + 2)
        for n, c in enumerate(slope):
            p[n + 1] += c
            p[n + 2] -= c
    return p


def _polynomial(coefficients: list[int], s: Tensor) -> Tensor:
    result = torch.full_like(s, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * s + c
    return result
