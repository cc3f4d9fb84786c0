"""Generated weights in a layer: recompute them in the backward pass, or keep them (pitfall P1).

Autograd would keep the h hidden units of the meta-learner for every edge, more than the q weights, gradients and
moments of the KAN they replace. Here a block of outputs is generated, used, forgotten, and generated again when
gradients are wanted.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .arguments import check_choice, check_positive
from .bases import Basis, BSplineBasis, WaveletBasis
from .meta import MetaLearner
from .piecewise import PiecewiseProduct, meta_tensors, piecewise_generate, piecewise_works

MEMORY_MODES = ("recompute", "materialize", "auto")
_AUTO_WEIGHTS = 4_000_000  # "auto" recomputes above this many generated numbers
_BLOCK_NUMBERS = 2_000_000  # numbers a block may hold while it is generated


class Layer(Protocol):
    """What a layer with generated weights offers."""

    generated: "GeneratedWeights"
    prompts: nn.Parameter
    n_weights: int
    training: bool

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """Outputs for given edge weights."""

    def edge_weights(self, meta: MetaLearner) -> Tensor:
        """The generated weights."""

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """As in nn.Module."""

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """As in nn.Module."""


class LinearLayer(Layer, Protocol):
    """What a linear layer offers besides."""

    in_features: int
    out_features: int
    basis: Basis
    edge_mask: Tensor | None

    def features(self, x: Tensor) -> Tensor:
        """(n, i) to (n, i, q)."""


class GeneratedWeights:
    """How a layer treats its generated weights, and those it kept for evaluation.

    Cached weights are valid for the very parameters, versions and storages they were made from. The parameters are
    held, not their ids, so that a new parameter at an old address is not mistaken for the old one.
    """

    def __init__(self, memory: str, block_size: int | None, cache_eval: bool):
        check_choice("memory", memory, MEMORY_MODES)
        if block_size is not None:
            check_positive(block_size=block_size)
        self.memory, self.block_size, self.cache_eval = memory, block_size, cache_eval
        self._key: list[tuple[Tensor, int, int]] | None = None
        self._weight: Tensor | None = None

    def recomputes(self, n_numbers: int) -> bool:
        """Whether a layer with so many generated numbers generates them again in the backward pass."""
        return self.memory == "recompute" or (self.memory == "auto" and n_numbers > _AUTO_WEIGHTS)

    def rows(self, out_features: int, numbers_per_output: int) -> list[slice]:
        """The blocks of outputs."""
        size = self.block_size or max(1, _BLOCK_NUMBERS // numbers_per_output)
        return [slice(start, min(start + size, out_features)) for start in range(0, out_features, size)]

    def clear(self) -> None:
        """Forget cached weights."""
        self._key = self._weight = None

    def cached(self, layer: Layer, meta: MetaLearner) -> Tensor:
        """The weights of `layer`, generated unless nothing they depend on has changed since the last call."""
        sources = [*layer.parameters(recurse=False), *layer.buffers(recurse=False), *meta.parameters()]
        if any(t.is_inference() for t in sources):  # these carry no version
            return layer.edge_weights(meta)
        key = [(t, t._version, t.data_ptr()) for t in sources]
        if self._key is None or self._weight is None or not _same(key, self._key):
            self._weight = layer.edge_weights(meta).detach()
            self._key = key
        return self._weight

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_key": None, "_weight": None}  # copies and pickles start without a cache


def _same(a: list[tuple[Tensor, int, int]], b: list[tuple[Tensor, int, int]]) -> bool:
    return len(a) == len(b) and all(s is t and (v, p) == (w, q) for (s, v, p), (t, w, q) in zip(a, b))


def generate(meta: MetaLearner, z: Float[Tensor, "e d"]) -> Float[Tensor, "e q"]:
    """meta(z), without keeping the hidden units for the backward pass."""
    if piecewise_works(meta, z):
        return piecewise_generate(meta, z)
    parts = z.split(max(1, _BLOCK_NUMBERS // meta.hidden))
    if not torch.is_grad_enabled():
        return torch.cat([meta(part) for part in parts])
    return torch.cat([checkpoint(meta, part, use_reentrant=False) for part in parts])


def generated_call(layer: Layer, x: Tensor, meta: MetaLearner) -> Tensor:
    """`layer.product(x, weights)` with generated weights, treated as `layer.generated` says."""
    generated = layer.generated
    if not torch.is_grad_enabled():
        if generated.cache_eval and not layer.training and not torch.compiler.is_compiling():
            return layer.product(x, generated.cached(layer, meta))
        return layer.product(x, layer.edge_weights(meta))
    if not generated.recomputes(layer.prompts.shape[0] * layer.n_weights):
        return layer.product(x, layer.edge_weights(meta))
    return checkpoint(lambda v: layer.product(v, layer.edge_weights(meta)), x, use_reentrant=False)  # type: ignore[no-any-return]


def generated_linear(layer: LinearLayer, x: Float[Tensor, "n i"], meta: MetaLearner) -> Float[Tensor, "n o"]:
    """As `generated_call`, for linear layers: where M is piecewise linear, generation and product go block by block.

    Blocks stay in the processor's cache, recomputing needs no second forward product, and no gradient of the
    generated weights is ever whole.
    """
    wavelets = isinstance(layer.basis, WaveletBasis)
    if not (torch.is_grad_enabled() and not wavelets and piecewise_works(meta, layer.prompts)):
        return generated_call(layer, x, meta)
    keep = not layer.generated.recomputes(layer.prompts.shape[0] * layer.n_weights)
    rows = layer.generated.rows(layer.out_features, layer.in_features * layer.n_weights)
    if isinstance(layer.basis, BSplineBasis):
        features = layer.features(x)  # keeps nothing but x by itself
    else:
        features = checkpoint(layer.features, x, use_reentrant=False)
    return PiecewiseProduct.apply(  # type: ignore[no-any-return]
        layer.features, rows, layer.edge_mask, keep, x, features, layer.prompts, *meta_tensors(meta)
    )
