"""Products with the Jacobian and its transpose, sample by sample, through any module (§3.7).

A map takes batches (b, *shape) to batches (b, *out). Its Jacobian at a sample must not see the other samples, so the map
is applied to each sample alone (`torch.func.vmap`); the batch then has a block-diagonal Jacobian, and one product with
independent vectors is b products at once.

Fused attention kernels have no forward-mode derivative, on the CPU neither; everything here runs with the mathematical
kernel of `scaled_dot_product_attention` and without the fast path of `nn.TransformerEncoderLayer`.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..arguments import check_choice, check_finite, check_points

Map: TypeAlias = Callable[[Tensor], Tensor]
PRODUCTS = ("forward", "double_backward", "central")


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """Attention by kernels that every mode of differentiation knows; the former choice is restored."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            # torch warns about itself when forward-mode differentiation is first used
            warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def check_map(fn: Map, x: Tensor) -> None:
    """Raise if `x` cannot be a batch of samples, or `fn` is a module whose answers are random, mixed or too coarse.

    Raises:
        ValueError: for dropout or batch normalisation in training mode, NaN in x, a wrong shape.
        TypeError: for half precision, or different precisions of x and the module.
    """
    check_points("x", x)
    if not isinstance(fn, nn.Module):
        return
    for name, module in fn.named_modules():
        label = f"{type(module).__name__} '{name}'" if name else type(module).__name__
        drops = getattr(module, "p", getattr(module, "dropout", 0))
        random = isinstance(module, nn.modules.dropout._DropoutNd | nn.MultiheadAttention | nn.RNNBase)
        if module.training and random and drops:
            raise ValueError(f"{label} drops at random in training mode; call eval() on the module first")
        if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(f"{label} mixes the samples in training mode; call eval() on the module first")
    for name, parameter in fn.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != x.dtype:
            raise TypeError(
                f"x is {x.dtype} and parameter '{name}' is {parameter.dtype}; "
                "use module.double() and x.double(), or float() on both"
            )


class JacobianProducts:
    """J v and Jᵀ u for every sample of a batch; vectors are flat, several at a time.

    Args:
        fn: the map.
        x: samples (b, *shape).
        products: how J v is found: "forward" (forward-mode AD), "double_backward" (∂/∂u ⟨Jᵀu, v⟩, for modules
            without forward-mode AD), "central" (differences of step 1e-3 ‖x‖ in float64, relative error about 1e-6
            times the third derivative).
        isolate: apply `fn` to each sample alone. False trusts `fn` not to mix samples; for modules vmap cannot run.

    Raises:
        ValueError: if fn(x) is not finite, or not a batch of b outputs, or cannot be differentiated as asked.

    Example:
        >>> jacobian = JacobianProducts(lambda x: x**2, torch.tensor([[1.0, 2.0]]))
        >>> jacobian.jvp(torch.ones(1, 1, 2))
        tensor([[[2., 4.]]])
    """

    def __init__(
        self, fn: Map, x: Float[Tensor, "b ..."], *, products: str = "forward", isolate: bool = True
    ):
        check_choice("products", products, PRODUCTS)
        check_map(fn, x)
        if products == "central" and x.dtype != torch.float64:
            raise TypeError(f"central differences need float64, x is {x.dtype}; use x.double()")
        self.x = x.detach()
        self.map = one_by_one(fn) if isolate else fn
        self.products = products
        self.n_evals = 0
        self._linear: tuple[Tensor, Tensor] | None = None
        # torch.func.vjp would do, but its first call imports the whole compiler
        self._leaf = self.x.clone().requires_grad_()
        with explained(), torch.enable_grad():
            self._graph = self.map(self._leaf)
        self.y = self._graph.detach()
        if self.y.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"fn(x) has shape {tuple(self.y.shape)}, expected one output for each of {len(x)} samples"
            )
        check_finite("fn(x)", self.y)
        self.d_in, self.d_out = self.x[0].numel(), self.y[0].numel()

    def jvp(self, v: Float[Tensor, "k b d"]) -> Float[Tensor, "k b m"]:
        """J v for k vectors a sample."""
        self.n_evals += len(v)
        tangents = v.reshape(len(v), *self.x.shape)
        product = {
            "forward": self._forward,
            "double_backward": self._double_backward,
            "central": self._central,
        }
        with explained(), torch.no_grad():
            return product[self.products](tangents).flatten(2)

    def vjp(self, u: Float[Tensor, "k b m"]) -> Float[Tensor, "k b d"]:
        """Jᵀ u for k vectors a sample."""
        self.n_evals += len(u)
        cotangents = u.reshape(len(u), *self.y.shape)
        if not self._graph.requires_grad:  # fn is constant
            return u.new_zeros(len(u), len(self.x), self.d_in)
        with explained(), torch.enable_grad():
            if len(u) == 1:
                # a scalar, because torch imports its symbolic algebra to look at a vector's shape
                product = (self._graph * cotangents[0]).sum()
                pulled = torch.autograd.grad(product, self._leaf, retain_graph=True, allow_unused=True)[0]
                pulled = None if pulled is None else pulled.unsqueeze(0)
            else:
                pulled = torch.autograd.grad(
                    self._graph,
                    self._leaf,
                    cotangents,
                    retain_graph=True,
                    allow_unused=True,
                    is_grads_batched=True,
                )[0]
        return u.new_zeros(len(u), len(self.x), self.d_in) if pulled is None else pulled.flatten(2)

    def dense(self) -> Float[Tensor, "b m d"]:
        """The Jacobians themselves, by min(m, d) products."""
        by_rows = self.d_out <= self.d_in
        size = self.d_out if by_rows else self.d_in
        basis = torch.eye(size, dtype=self.x.dtype, device=self.x.device)
        basis = basis.unsqueeze(1).expand(size, len(self.x), size)
        if by_rows:
            return self.vjp(basis).transpose(0, 1)  # m b d -> b m d
        return self.jvp(basis).permute(1, 2, 0)

    def _forward(self, v: Tensor) -> Tensor:
        return torch.stack([push_forward(self.map, self.x, t)[1] for t in v])

    def _double_backward(self, v: Tensor) -> Tensor:
        with torch.enable_grad():
            if self._linear is None:  # u ↦ Jᵀ u is linear: one graph serves all v
                u = torch.zeros_like(self.y).requires_grad_()
                (pulled,) = torch.autograd.grad(self._graph, self._leaf, u, create_graph=True)
                self._linear = (u, pulled)
            u, pulled = self._linear
            columns = [torch.autograd.grad(pulled, u, t, retain_graph=True, allow_unused=True)[0] for t in v]
        return torch.stack([torch.zeros_like(self.y) if c is None else c for c in columns])

    def _central(self, v: Tensor) -> Tensor:
        length = _norm(self.x)
        length = torch.where(length > 0, length, 1.0)
        columns = []
        for t in v:
            size = _norm(t).clamp_min(torch.finfo(t.dtype).tiny)
            h = 1e-3 * length / size
            difference = self.map(self.x + _each(h, t)) - self.map(self.x - _each(h, t))
            columns.append(difference / (2 * h).reshape(-1, *[1] * (difference.dim() - 1)))
        return torch.stack(columns)


def push_forward(fn: Map, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """fn(x) and J tangent, by dual numbers."""
    with forward_ad.dual_level():
        y, moved = forward_ad.unpack_dual(fn(forward_ad.make_dual(x, tangent)))
        return y, torch.zeros_like(y) if moved is None else moved


def one_by_one(fn: Map) -> Map:
    """The map that applies `fn` to every sample alone, as a batch of one."""
    return torch.func.vmap(lambda sample: fn(sample.unsqueeze(0)).squeeze(0))


@contextmanager
def explained() -> Iterator[None]:
    """Differentiable attention, and torch's refusals in words that name the mend."""
    try:
        with differentiable_attention():
            yield
    except NotImplementedError as error:
        if "forward AD" in str(error) or "forward mode AD" in str(error):
            raise ValueError(
                f"fn has an operation without forward-mode derivative; use products='double_backward' ({error})"
            ) from error
        raise
    except RuntimeError as error:
        if "randomness" in str(error) or "random operation" in str(error):
            raise ValueError(
                "fn draws random numbers; call eval() on its modules, or freeze the draw"
            ) from error
        raise


def _norm(x: Tensor) -> Float[Tensor, "b"]:
    return x.flatten(1).norm(dim=1)


def _each(scale: Float[Tensor, "b"], x: Tensor) -> Tensor:
    """x with each sample multiplied by its own number."""
    return x * scale.reshape(-1, *[1] * (x.dim() - 1))
