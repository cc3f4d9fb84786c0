"""The bounds of section 3.6 as functions of the smoothness constants they are made of.

Theorem 3.3:  (1/N) Σ ‖Φ[π r̂_n] − π Φ[r̂_n]‖² ≤ 2ε/μ
Theorem 3.6:  the discrete operator adds [C₁(D_r+D_R)² + C₂(D_r+D_k)²]·h², with

    C₁ = (4/μ)(H₃F₁ + 2G₁G₃ + 2F₃H₁)                  C₂ = (4/μ)C̄ + 8G₁² + 8F₁H₁
    C̄ = 2(1+4D_k²F₂)[4C₀D_k²F₁ + (G₁²+F₁H₁)(1+4D_k²F₂)]    C₀ = F₁H₂ + F₂H₁ + 2G₁G₂

Indices: 1 image, 2 blur kernel, 3 regulariser kernel. h is the pixel mesh size, ε the dataset symmetry error, μ the
constant of quadratic growth of the restoration objective.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Smoothness:
    """Bounds of a compactly supported function on the plane.

    Args:
        value: F ≥ |f|.
        gradient: G ≥ |∇f|.
        hessian: H ≥ second derivatives.
        support: D, with f = 0 for ‖x‖ > D.
    """

    value: float
    gradient: float
    hessian: float
    support: float

    def __post_init__(self) -> None:
        for name in ("value", "gradient", "hessian", "support"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class DiscreteBound:
    """Theorem 3.6 with its parts.

    Args:
        total: the bound, with the constant 2F₃H₁ that the proof derives.
        total_as_stated: the same with F₃H₁, as one statement of the supplement has it.
        c1: C₁, the regulariser's discretisation.
        c2: C₂, the data term's discretisation and the interpolation.
        mesh_term: the part ∝ h².
        symmetry_term: (2/μ)ε.
    """

    total: float
    total_as_stated: float
    c1: float
    c2: float
    mesh_term: float
    symmetry_term: float


def continuous_bound(eps: float, mu: float) -> float:
    """Theorem 3.3: the equivariance error of the optimal restoration is at most 2ε/μ.

    Example:
        >>> continuous_bound(eps=0.5, mu=2.0)
        0.5
    """
    _check(eps=eps)
    _check_positive(mu=mu)
    return 2 * eps / mu


def quadrature_bound(second_derivative: float, support: float, h: float) -> float:
    """Lemma 3.4: |∫f − Σ f(x_ij)h²| ≤ D²C·h² for |∂²f/∂x_i²| ≤ C and support ‖x‖ ≤ D.

    Example:
        >>> quadrature_bound(second_derivative=2.0, support=3.0, h=0.5)
        4.5
    """
    _check(second_derivative=second_derivative, support=support)
    _check_positive(h=h)
    return support**2 * second_derivative * h**2


def convolution_bound(image: Smoothness, kernel: Smoothness, kernel_size: int, h: float) -> float:
    """Lemma SM3.3: |∫k(x)r(y−x)dx − Σ k r h²| ≤ ((p+1)²C/4)·h⁴, C = F₁H₂ + F₂H₁ + 2G₁G₂.

    The kernel vanishes for ‖x‖ ≥ (p+½)h; `kernel_size` is p.

    Example:
        >>> one = Smoothness(1, 1, 1, 1)
        >>> convolution_bound(one, one, kernel_size=5, h=0.5)
        2.25
    """
    if kernel_size < 1:
        raise ValueError(f"kernel_size must be at least 1, got {kernel_size}")
    _check_positive(h=h)
    return (kernel_size + 1) ** 2 * _product_curvature(image, kernel) / 4 * h**4


def regulariser_bound(image: Smoothness, kernel: Smoothness, h: float) -> float:
    """Lemma 3.5: |R − R̃| ≤ (H_kF_r + 2G_rG_k + 2F_kH_r)(D_r+D_R)²·h².

    Example:
        >>> one = Smoothness(1, 1, 1, 1)
        >>> regulariser_bound(one, one, h=0.5)
        5.0
    """
    _check_positive(h=h)
    return _regulariser_curvature(image, kernel) * (image.support + kernel.support) ** 2 * h**2


def discrete_bound(
    image: Smoothness,
    blur: Smoothness,
    regulariser: Smoothness,
    *,
    h: float,
    eps: float,
    mu: float,
    safe: bool = False,
) -> DiscreteBound:
    """Theorem 3.6, for ‖·‖_F² that includes the cell area h².

    Args:
        safe: multiply by 3, which the supplement's split ‖a+b+c‖² ≤ ‖a‖²+‖b‖²+‖c‖² needs to hold in general (P6).

    Example:
        >>> one = Smoothness(1, 1, 1, 1)
        >>> round(discrete_bound(one, one, one, h=0.1, eps=0.3, mu=2.0).total, 6)
        22.14
    """
    _check(eps=eps)
    _check_positive(h=h, mu=mu)
    factor = 3.0 if safe else 1.0
    c1 = 4 / mu * _regulariser_curvature(image, regulariser)
    c1_as_stated = c1 - 4 / mu * regulariser.value * image.hessian
    c2 = 4 / mu * _data_constant(image, blur) + 8 * image.gradient**2 + 8 * image.value * image.hessian
    prior_area = (image.support + regulariser.support) ** 2
    data_area = (image.support + blur.support) ** 2
    mesh = factor * (c1 * prior_area + c2 * data_area) * h**2
    mesh_as_stated = factor * (c1_as_stated * prior_area + c2 * data_area) * h**2
    symmetry = factor * 2 / mu * eps
    return DiscreteBound(mesh + symmetry, mesh_as_stated + symmetry, c1, c2, mesh, symmetry)


def _product_curvature(image: Smoothness, kernel: Smoothness) -> float:
    """C₀ = F₁H₂ + F₂H₁ + 2G₁G₂: bounds the second derivative of the product of the two functions."""
    return image.value * kernel.hessian + kernel.value * image.hessian + 2 * image.gradient * kernel.gradient


def _regulariser_curvature(image: Smoothness, kernel: Smoothness) -> float:
    return (
        kernel.hessian * image.value + 2 * image.gradient * kernel.gradient + 2 * kernel.value * image.hessian
    )


def _data_constant(image: Smoothness, blur: Smoothness) -> float:
    """C̄ of Theorem 3.6."""
    gain = 1 + 4 * blur.support**2 * blur.value
    quadrature = 4 * _product_curvature(image, blur) * blur.support**2 * image.value
    interpolation = (image.gradient**2 + image.value * image.hessian) * gain
    return 2 * gain * (quadrature + interpolation)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
