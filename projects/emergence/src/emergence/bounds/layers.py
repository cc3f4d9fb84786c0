"""Bounds of linear, elementwise and normalising layers (§3.7), in ℓ₂ over everything but the batch.

LayerNorm has the derivative diag(γ)/σ · C (I − x̂x̂ᵀ/d) C with C = I − 11ᵀ/d and σ² = var + ε, hence

    Lip ≤ ‖diag(γ) C‖₂ / √(v + ε)   where var ≥ v,   attained at constant tokens for v = 0 (hundreds, for ε = 1e-5)
"""

import math

import torch
from torch import Tensor, nn

from ..blocks import (
    AveragedBlock,
    ConvexPotentialBlock,
    ExactRateBlock,
    GroupSort2,
    TanhBlock,
)
from ..operators import MatrixBlock, NegIdentity
from .calculus import Domain, LipBound, UnboundedLipschitzError, bound_of, register_rule
from .matrices import spectral_norm

# max |φ'|: the first is Φ(√2) + √2 φ(√2); the others are maxima found to 1e-9 and rounded up
GELU_SLOPE = 0.5 * (1 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi)
GELU_TANH_SLOPE = 1.12899347
SILU_SLOPE = 1.09983934
MISH_SLOPE = 1.08850000
SELU_SLOPE = 1.0507009873554805 * 1.6732632423543772

# φ(0) = 0 and |φ(x)| ≤ slope · |x| for all of these, so the radius grows by the slope at most
_SLOPES: dict[type[nn.Module], float] = {
    nn.Identity: 1.0,
    nn.ReLU: 1.0,
    nn.ReLU6: 1.0,
    nn.Tanh: 1.0,
    nn.Hardtanh: 1.0,
    nn.Softsign: 1.0,
    nn.Tanhshrink: 1.0,
    nn.SiLU: SILU_SLOPE,
    nn.SELU: SELU_SLOPE,
    nn.Mish: MISH_SLOPE,
    GroupSort2: 1.0,
    NegIdentity: 1.0,
}
# φ(0) ≠ 0: the radius is lost
_SHIFTED_SLOPES: dict[type[nn.Module], float] = {nn.Sigmoid: 0.25, nn.Softplus: 1.0, nn.LogSigmoid: 1.0}


def _grown(domain: Domain, factor: float, offset: float = 0.0) -> Domain:
    return domain.with_radius(None if domain.radius is None else domain.radius * factor + offset)


@register_rule(*_SLOPES)
def zero_at_zero(module: nn.Module, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Elementwise functions with φ(0) = 0, the identity, and maps that keep norms."""
    slope = next(value for kind, value in _SLOPES.items() if isinstance(module, kind))
    return LipBound.of(name, slope), _grown(domain, slope)


@register_rule(*_SHIFTED_SLOPES)
def shifted(module: nn.Module, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """Elementwise functions with φ(0) ≠ 0."""
    return LipBound.of(name, _SHIFTED_SLOPES[type(module)]), domain.with_radius(None)


@register_rule(nn.GELU)
def gelu(module: nn.GELU, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """1.1289, a little more for the tanh form."""
    slope = GELU_TANH_SLOPE if module.approximate == "tanh" else GELU_SLOPE
    return LipBound.of(name, slope), _grown(domain, slope)


@register_rule(nn.LeakyReLU)
def leaky_relu(module: nn.LeakyReLU, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The steeper of both sides."""
    slope = max(1.0, abs(module.negative_slope))
    return LipBound.of(name, slope), _grown(domain, slope)


@register_rule(nn.ELU)
def elu(module: nn.ELU, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The slope at 0⁻ is α."""
    slope = max(1.0, abs(module.alpha))
    return LipBound.of(name, slope), _grown(domain, slope)


@register_rule(nn.Softmax)
def softmax(module: nn.Softmax, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖diag(p) − ppᵀ‖₂ ≤ 1/2; probabilities have norm at most 1."""
    return LipBound.of(name, 0.5), domain.with_radius(1.0 if module.dim == -1 else None)


@register_rule(nn.Flatten, nn.Unflatten)
def reshaped(module: nn.Module, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """An isometry that makes other tokens."""
    return LipBound.of(name, 1.0), domain.with_radius(None)


@register_rule(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
def dropout(module: nn.Dropout, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """The identity in eval mode."""
    if module.training and module.p:
        raise ValueError(f"'{name}' drops at random in training mode; call eval() on the module first")
    return LipBound.of(name, 1.0), domain


@register_rule(nn.Linear)
def linear(module: nn.Linear, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖W‖₂, applied to each token; sequences do not change it."""
    norm = spectral_norm(module.weight)
    return LipBound.of(name, norm), _grown(domain, norm, _length(module.bias))


@register_rule(nn.LayerNorm)
def layer_norm(module: nn.LayerNorm, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖diag(γ) C‖₂ / √(min_var + ε); the outputs have norm at most √d ‖γ‖_∞ + ‖β‖."""
    d = math.prod(module.normalized_shape)
    gamma = torch.ones(d) if module.weight is None else module.weight.detach().flatten()
    centred = torch.diag(gamma.double()) - gamma.double().unsqueeze(1) / d
    scale = _scale(module.eps, domain, name)
    radius = math.sqrt(d) * float(gamma.abs().max()) + _length(module.bias)
    return LipBound.of(name, spectral_norm(centred) / scale), domain.with_radius(radius)


@register_rule(nn.RMSNorm)
def rms_norm(module: nn.RMSNorm, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖γ‖_∞ / √(mean square + ε)."""
    d = math.prod(module.normalized_shape)
    largest = 1.0 if module.weight is None else float(module.weight.detach().abs().max())
    dtype = torch.get_default_dtype() if module.weight is None else module.weight.dtype
    eps = torch.finfo(dtype).eps if module.eps is None else module.eps
    return LipBound.of(name, largest / _scale(eps, domain, name)), domain.with_radius(math.sqrt(d) * largest)


@register_rule(nn.GroupNorm)
def group_norm(module: nn.GroupNorm, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖γ‖_∞ / √(min_var + ε), every group being a token of its own."""
    largest = 1.0 if module.weight is None else float(module.weight.detach().abs().max())
    return LipBound.of(name, largest / _scale(module.eps, domain, name)), domain.with_radius(None)


@register_rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def batch_norm(module: nn.BatchNorm2d, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """In eval mode an affine map: max |γ| / √(running variance + ε)."""
    if module.training or module.running_var is None:
        raise ValueError(f"'{name}' mixes the samples (training mode or no running statistics); call eval()")
    scale = (module.running_var + module.eps).rsqrt()
    gain = scale if module.weight is None else module.weight.detach().abs() * scale
    return LipBound.of(name, float(gain.max())), domain.with_radius(None)


@register_rule(MatrixBlock)
def matrix(module: MatrixBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖A‖₂."""
    norm = spectral_norm(module.matrix)
    return LipBound.of(name, norm), _grown(domain, norm)


@register_rule(ExactRateBlock)
def exact_rate(module: ExactRateBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """λ."""
    return LipBound.of(name, module.lam), _grown(domain, module.lam, _length(module.c))


@register_rule(TanhBlock)
def tanh_block(module: TanhBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """‖λW‖₂; the outputs lie in a cube."""
    return LipBound.of(name, spectral_norm(module.weight)), domain.with_radius(math.sqrt(module.dim))


@register_rule(ConvexPotentialBlock)
def convex_potential(module: ConvexPotentialBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """1, by the choice of the step."""
    return LipBound.of(name, 1.0), domain.with_radius(None)


@register_rule(AveragedBlock)
def averaged(module: AveragedBlock, domain: Domain, name: str) -> tuple[LipBound, Domain]:
    """(1 − α) + α Lip(T)."""
    inner, reached = bound_of(module.block, domain, f"{name}.block" if name else "block")
    radius = None
    if domain.radius is not None and reached.radius is not None:
        radius = (1 - module.alpha) * domain.radius + module.alpha * reached.radius
    value = 1 - module.alpha + module.alpha * inner.value
    return LipBound(value, inner.parts), domain.with_radius(radius)


def _length(vector: Tensor | None) -> float:
    return 0.0 if vector is None else float(vector.detach().double().norm())


def _scale(eps: float, domain: Domain, name: str) -> float:
    scale = math.sqrt((domain.min_var or 0.0) + eps)
    if scale == 0:
        raise UnboundedLipschitzError(
            f"normalisation '{name}' has ε = 0: without a least variance of its inputs it is not Lipschitz; pass min_var"
        )
    return scale
