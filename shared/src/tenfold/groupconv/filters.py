"""From coefficients to the dense kernels that `F.conv2d` takes: one matrix product and one gather (sa_conv §3.2).

    lifting      K[(m,t), n]     = Σ_k B[t,k] W[m,n,0,k]
    group        K[(m,t), (n,s)] = Σ_k B[t,k] W[m,n,t⁻¹s,k]
    projection   K[m, (n,s)]     = Σ_k B[s,k] W[m,n,0,k]

Here B is a *bank*: a basis in the layout (K, |G|, p, p), with leading batch axes if every sample has its own filters;
the kernels then have the same leading axes.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tenfold.groups import Group


def bank_from_basis(basis: Float[Tensor, "*batch p p order K"]) -> Float[Tensor, "*batch K order p p"]:
    """Reorder a basis of `tenfold.groupconv.basis` for the functions of this module."""
    return basis.movedim((-1, -2), (-4, -3)).contiguous()


def lifting_filter(
    bank: Float[Tensor, "*batch K order p p"], weight: Float[Tensor, "m n 1 K"]
) -> Float[Tensor, "*batch m_order n p p"]:
    """Kernels from scalars to regular fields."""
    out, order = weight.shape[0], bank.shape[-3]
    expanded = _expand(bank, weight)  # … m n t p p
    return expanded.transpose(-4, -3).reshape(
        *bank.shape[:-4], out * order, weight.shape[1], *bank.shape[-2:]
    )


def projection_filter(
    bank: Float[Tensor, "*batch K order p p"], weight: Float[Tensor, "m n 1 K"]
) -> Float[Tensor, "*batch m n_order p p"]:
    """Kernels from regular fields to scalars."""
    return _expand(bank, weight).flatten(-4, -3)  # … m (n s) p p


def group_filter(
    bank: Float[Tensor, "*batch K order p p"],
    weight: Float[Tensor, "m n order K"],
    arrangement: Int[Tensor, "2 n_order_order"],
) -> Float[Tensor, "*batch m_order n_order p p"]:
    """Kernels from regular fields to regular fields.

    Args:
        bank: the filter functions.
        weight: coefficients, one p×p filter per pair of fields and relative orientation.
        arrangement: `group_arrangement(group, n)`.
    """
    out, fields, order, _ = weight.shape
    pixels = bank.shape[-2:]
    products = _expand(bank, weight)  # … m (n e t) p p, e the relative orientation
    products = products.reshape(*bank.shape[:-4], out, fields * order * order, pixels.numel())
    rows = Permute.apply(products, arrangement[0], arrangement[1])  # … m (t n s) pp
    return rows.reshape(*bank.shape[:-4], out * order, fields * order, *pixels)


def group_arrangement(group: Group, in_fields: int) -> Int[Tensor, "2 n_order_order"]:
    """For output position (t, n, s) the row (n, t⁻¹s, t) of the products; and the inverse of that permutation.

    >>> from tenfold.groups import CyclicGroup
    >>> group_arrangement(CyclicGroup(2), 1)
    tensor([[0, 2, 3, 1],
            [0, 3, 1, 2]])
    """
    order = group.order
    t = torch.arange(order).view(order, 1, 1)
    n = torch.arange(in_fields).view(1, in_fields, 1)
    rows = ((n * order + group.left_division[:, None, :]) * order + t).flatten()
    return torch.stack([rows, rows.argsort()])


class Permute(torch.autograd.Function):
    """`index_select` on the last axis but one by a permutation, whose gradient is a gather too, not a scattered sum."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, permutation: Tensor, inverse: Tensor) -> Tensor:
        return x.index_select(-2, permutation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        permutation, inverse = ctx.saved_tensors
        return Permute.apply(gradients[0], inverse, permutation), None, None


def _expand(
    bank: Float[Tensor, "*batch K order p p"], weight: Float[Tensor, "m n e K"]
) -> Float[Tensor, "*batch m n_e order p p"]:
    """The filters of every weight at every element: Σ_k W[m,n,e,k] B[k,t]."""
    if weight.shape[-1] != bank.shape[-4]:
        raise ValueError(
            f"weight has {weight.shape[-1]} coefficients per filter, the bank {bank.shape[-4]} functions"
        )
    flat = weight.reshape(-1, weight.shape[-1]) @ bank.flatten(-3)  # … (m n e) (t p p)
    out, fields, relative, _ = weight.shape
    return flat.reshape(*bank.shape[:-4], out, fields * relative, *bank.shape[-3:])
