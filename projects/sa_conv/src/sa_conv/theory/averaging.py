"""Group averaging (Lemma 4.1) and what it does to the risk (section 4, self-contained version).

    Ψ̄ = (1/|G|) Σ_A π_A ∘ Ψ ∘ π_A⁻¹        is exactly equivariant. With Ψ = Ψ̄ + Ψ^⊥, squared loss and a G-invariant input law
    risk(Ψ) − risk(Ψ̄) = ‖Ψ^⊥‖² − 2⟨Ψ*^⊥, Ψ^⊥⟩ ≥ ‖Ψ^⊥‖ (‖Ψ^⊥‖ − 2‖Ψ*^⊥‖),

Ψ* being the optimal operator: symmetry helps as soon as the estimator's non-equivariant part exceeds twice the data's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.groups import Group
from tenfold.imaging import Interpolation

Operator = Callable[[Tensor], Tensor]


def reynolds(op: Operator, group: Group, interpolation: Interpolation | None = None) -> Operator:
    """The Reynolds operator Ψ̄ of an image-to-image map: average over the group, |G| evaluations.

    Equivariant to rounding for groups that map pixels to pixels; for others up to the interpolation that must be named.

    Args:
        op: maps images (…, h, w) to images; called on turned images, so it must take both w×h and h×w.
        group: rotations and reflections.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> shift = lambda x: x.roll(1, -1)
        >>> x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
        >>> averaged, turn = reynolds(shift, CyclicGroup(4)), lambda x: x.rot90(1, (-2, -1))
        >>> torch.allclose(averaged(turn(x)), turn(averaged(x))), torch.allclose(shift(turn(x)), turn(shift(x)))
        (True, False)
    """
    if not group.is_lattice_group and interpolation is None:
        raise ValueError(
            f"{group} does not map pixels to pixels; name an interpolation ('bicubic' or 'fourier')"
        )

    def averaged(x: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
        answers = [
            group.act(t, op(group.act(group.inverse(t), x, interpolation)), interpolation)
            for t in group.elements
        ]
        return torch.stack(answers).mean(0)

    return averaged


@dataclass(frozen=True)
class RiskGap:
    """Both sides of the risk statement.

    Args:
        gap: risk(Ψ) − risk(Ψ̄), measured.
        identity: ‖Ψ^⊥‖² − 2⟨Ψ*^⊥, Ψ^⊥⟩; equal to `gap`.
        lower_bound: ‖Ψ^⊥‖(‖Ψ^⊥‖ − 2‖Ψ*^⊥‖); at most `gap`.
        variance: ‖Ψ^⊥‖, what averaging removes.
        bias: ‖Ψ*^⊥‖, what averaging cannot fit.
    """

    gap: float
    identity: float
    lower_bound: float
    variance: float
    bias: float


def risk_gap(op: Operator, optimum: Operator, images: Float[Tensor, "n c h w"], group: Group) -> RiskGap:
    """Evaluate the risk statement on the orbit of `images` (which makes the input law G-invariant).

    Norms are root mean squares over pixels and images; the risk is the mean squared distance to the optimum, which
    differs from the squared loss by a constant.

    Args:
        op: the estimator Ψ.
        optimum: the optimal operator Ψ*.
        images: sample of the input law; its orbit under the group is used.
        group: a group that maps pixels to pixels; images must be square.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
        >>> gap = risk_gap(lambda x: x.roll(1, -1), lambda x: x, x, CyclicGroup(4))
        >>> gap.bias, abs(gap.gap - gap.identity) < 1e-12, gap.gap > 0
        (0.0, True, True)
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images must be square, got {tuple(images.shape)}")
    orbit = torch.cat([group.act(t, images) for t in group.elements])
    mean_of_op, mean_of_optimum = reynolds(op, group)(orbit), reynolds(optimum, group)(orbit)
    estimate, best = op(orbit), optimum(orbit)
    excess, missed = estimate - mean_of_op, best - mean_of_optimum
    variance, bias = float(excess.square().mean().sqrt()), float(missed.square().mean().sqrt())
    return RiskGap(
        gap=float((estimate - best).square().mean() - (mean_of_op - best).square().mean()),
        identity=variance**2 - 2 * float((missed * excess).mean()),
        lower_bound=variance * (variance - 2 * bias),
        variance=variance,
        bias=bias,
    )
