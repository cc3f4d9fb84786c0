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
    _require_fit(bank, weight)
    rows = _ExpandAndArrange.apply(weight, bank.flatten(-3), arrangement[0], arrangement[1])
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


class _ExpandAndArrange(torch.autograd.Function):
    """weight (m, n, e, K), bank (…, K, t·pp) -> rows (…, m, t·n·s, pp), the products gathered by the arrangement.

    Training runs this at every step, so the gradient is written out: the gather's is a gather by the inverse, not a
    scattered sum, and the product's multiplies the transposed matrices, which BLAS does in two thirds of the time.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, bank: Tensor, permutation: Tensor, inverse: Tensor) -> Tensor:
        out, fields, order, functions = weight.shape
        products = weight.reshape(-1, functions) @ bank  # … (m n e) (t pp)
        rows = products.reshape(*bank.shape[:-2], out, fields * order * order, -1)  # … m (n e t) pp
        return rows.index_select(-2, permutation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight, bank, _, inverse = inputs
        ctx.save_for_backward(weight, bank, inverse)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weight, bank, inverse = ctx.saved_tensors
        rows = gradients[0].index_select(-2, inverse)
        products = rows.reshape(*bank.shape[:-2], -1, bank.shape[-1])  # … (m n e) (t pp)
        for_weight = for_bank = None
        if ctx.needs_input_grad[0]:
            transposed = bank @ products.mT
            transposed = (
                transposed.sum(tuple(range(transposed.ndim - 2))) if transposed.ndim > 2 else transposed
            )
            for_weight = transposed.T.reshape(weight.shape)
        if ctx.needs_input_grad[1]:
            for_bank = weight.reshape(-1, weight.shape[-1]).T @ products
        return for_weight, for_bank, None, None


def _expand(
    bank: Float[Tensor, "*batch K order p p"], weight: Float[Tensor, "m n e K"]
) -> Float[Tensor, "*batch m n_e order p p"]:
    """The filters of every weight at every element: Σ_k W[m,n,e,k] B[k,t]."""
    _require_fit(bank, weight)
    flat = weight.reshape(-1, weight.shape[-1]) @ bank.flatten(-3)  # … (m n e) (t p p)
    out, fields, relative, _ = weight.shape
    return flat.reshape(*bank.shape[:-4], out, fields * relative, *bank.shape[-3:])


def _require_fit(bank: Tensor, weight: Tensor) -> None:
    if weight.shape[-1] != bank.shape[-4]:
        raise ValueError(
            f"weight has {weight.shape[-1]} coefficients per filter, the bank {bank.shape[-4]} functions"
        )
