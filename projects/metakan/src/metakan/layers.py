"""Linear layers of edge functions: with their own weights (KAN) and with generated ones (MetaKAN).

    y_j = sum_i w_ji . [B_1(x_i) ... B_m(x_i), base(x_i)] (+ bias_j)              KANLinear: w are parameters
                                                                w_ji = M(z_ji)    MetaKANLinear: z are parameters

(notes sections 3.1, 3.2, 3.7). Generated weights would cost more memory than they save if autograd kept them and the
hidden units of the meta-learner (pitfall P1), so `memory="recompute"` generates them again in the backward pass.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_positive
from .bases import Basis, BSplineBasis, RBFBasis, WaveletBasis
from .edges import EdgeLinear
from .generation import GeneratedWeights, generate, generated_linear
from .meta import PROMPT_INITS, MetaLearner, prompt_init_


class KANLinear(EdgeLinear):
    """A KAN layer: every edge has its own univariate function.

    Args:
        in_features, out_features: sizes of the last dimension.
        basis: family of functions; the layer keeps its own copy.
        base_activation: "silu", "gelu", "relu", "tanh", "identity", or None for no base function.
        bias: one bias per output.
        scaler: one extra multiplicative weight per edge on the spline part (the authors' baseline, 10 numbers an edge).
        input_norm: "layer" normalises what the basis sees; output_norm: "batch" normalises the outputs.
        check_finite: raise on NaN or infinite inputs instead of passing them on.

    The parameter is `packed_weight` (out, q, in), the layout of the fast product; `weight` is a view of it.

    Example:
        >>> KANLinear(64, 10)(torch.rand(32, 64)).shape
        torch.Size([32, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        basis: Basis = BSplineBasis(5, 3, (-1.0, 1.0)),  # noqa: B008  (copied, never changed)
        base_activation: str | None = "silu",
        bias: bool = False,
        scaler: bool = False,
        input_norm: str | None = None,
        output_norm: str | None = None,
        check_finite: bool = False,
    ):
        super().__init__(
            in_features, out_features, basis, base_activation, bias, input_norm, output_norm, check_finite
        )
        if scaler and isinstance(basis, WaveletBasis):
            raise ValueError(
                "scaler must be False for wavelets, whose edges have a weight of their own already"
            )
        self.packed_weight = nn.Parameter(torch.empty(out_features, self.n_weights, in_features))
        self.scaler = nn.Parameter(torch.empty(out_features, in_features)) if scaler else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Base U(-1, 1)/sqrt(in); coefficients N(0, (s / sqrt(in m))^2), s = 0.01 for splines, else 1; scaler N(1, 0.1^2)."""
        root = math.sqrt(self.in_features)
        if isinstance(self.basis, WaveletBasis):
            self.packed_weight.zero_()
            self.packed_weight[:, 2].uniform_(-1.0 / root, 1.0 / root)
            return
        m = self.basis.n_basis
        scale = 0.01 if isinstance(self.basis, BSplineBasis) else 1.0
        self.packed_weight[:, :m].normal_(0.0, scale / root / math.sqrt(m))
        if self.base_activation is not None:
            self.packed_weight[:, m].uniform_(-1.0 / root, 1.0 / root)
        if self.scaler is not None:
            self.scaler.normal_(1.0, 0.1)

    @property
    def weight(self) -> Float[Tensor, "o i q"]:
        """The trained numbers of every edge, [coefficients | base weight]; writing to it writes the parameter."""
        return self.packed_weight.transpose(1, 2)

    def edge_weights(self) -> Float[Tensor, "o i q"]:
        """The weights of all edges, with scaler and pruning applied."""
        weight: Tensor = self.packed_weight
        if self.scaler is not None:
            m = self.basis.n_basis
            weight = torch.cat([weight[:, :m] * self.scaler[:, None], weight[:, m:]], dim=1)
        return self.masked(weight.transpose(1, 2))

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Any number of leading dimensions."""
        return self.finish(self.product(self.prepare(x), self.edge_weights()), x)

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.in_features}, {self.out_features}, base_activation={self.base_activation!r}"


class MetaKANLinear(EdgeLinear):
    """A KAN layer whose edge weights are generated from one prompt an edge: W = M(Z).view(out, in, q).

    Args:
        in_features, out_features, basis, base_activation, bias, input_norm, output_norm, check_finite: as `KANLinear`.
        prompt_dim: d, numbers per edge. Row j * in_features + i of `prompts` belongs to the edge from i to j.
        prompt_init: see `prompt_init_`.
        memory: "recompute" keeps neither generated weights nor hidden units for the backward pass and generates them
            again, in blocks of outputs; "materialize" generates once a step and keeps the
            weights where a gradient of the input needs them; "auto" recomputes
            where a layer's generated weights outnumber four million and materialises otherwise.
            Where second derivatives are wanted (PINNs), "materialize" is the faster one: recomputing falls back to
            the plain meta-learner there.
        block_size: outputs generated at a time when recomputing; None chooses by size. Results do not depend on it.
        cache_eval: keep the generated weights between calls while evaluating without gradients. They are generated
            anew after any change of parameters, of the mask, of device or dtype, and after `train()`. (Writes through
            `parameter.data` cannot be seen; call `train()` or `clear_cache()` after them.)

    Example:
        >>> layer, meta = MetaKANLinear(64, 10), MetaLearner(hidden=16)
        >>> layer(torch.rand(32, 64), meta).shape, layer.prompts.shape
        (torch.Size([32, 10]), torch.Size([640, 1]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        basis: Basis = BSplineBasis(5, 3, (-1.0, 1.0)),  # noqa: B008  (copied, never changed)
        base_activation: str | None = "silu",
        prompt_dim: int = 1,
        bias: bool = False,
        prompt_init: str = "xavier_edge",
        memory: str = "recompute",
        block_size: int | None = None,
        cache_eval: bool = True,
        input_norm: str | None = None,
        output_norm: str | None = None,
        check_finite: bool = False,
    ):
        super().__init__(
            in_features, out_features, basis, base_activation, bias, input_norm, output_norm, check_finite
        )
        check_positive(prompt_dim=prompt_dim)
        check_choice("prompt_init", prompt_init, PROMPT_INITS)
        self.prompt_dim, self.prompt_init = prompt_dim, prompt_init
        self.prompts = nn.Parameter(torch.empty(out_features * in_features, prompt_dim))
        self.generated = GeneratedWeights(memory, block_size, cache_eval)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the prompts by `prompt_init`."""
        prompt_init_(self.prompts, self.in_features, self.out_features, self.prompt_init)

    def edge_weights(self, meta: MetaLearner) -> Float[Tensor, "o i q"]:
        """The generated weights of all edges, with pruning applied."""
        check_meta(meta, self.n_weights, self.prompt_dim)
        return self.masked(generate(meta, self.prompts).view(self.out_features, self.in_features, -1))

    def weights(self, meta: MetaLearner) -> tuple[Float[Tensor, "o i"] | None, Float[Tensor, "o i m"]]:
        """(base weights, basis coefficients); base is None without a base function."""
        weight = self.edge_weights(meta)
        if self.base_activation is None:
            return None, weight
        return weight[..., -1], weight[..., :-1]

    def forward(self, x: Float[Tensor, "... i"], meta: MetaLearner) -> Float[Tensor, "... o"]:
        """Any number of leading dimensions; `meta` must give the q numbers of this layer's edges."""
        check_meta(meta, self.n_weights, self.prompt_dim)
        return self.finish(generated_linear(self, self.prepare(x), meta), x)

    def clear_cache(self) -> None:
        """Forget weights generated for evaluation."""
        self.generated.clear()

    def train(self, mode: bool = True) -> "MetaKANLinear":
        """Switch between training and evaluation; forgets cached weights."""
        self.clear_cache()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.clear_cache()
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Shown by print."""
        return (
            f"{self.in_features}, {self.out_features}, prompt_dim={self.prompt_dim}, "
            f"base_activation={self.base_activation!r}, memory={self.generated.memory!r}"
        )


def check_meta(meta: MetaLearner, n_weights: int, prompt_dim: int) -> None:
    """Raise unless `meta` maps prompts of this layer to weights of this layer."""
    if meta.out_dim != n_weights or meta.prompt_dim != prompt_dim:
        raise ValueError(
            f"meta maps {meta.prompt_dim} prompt numbers to {meta.out_dim} weights; "
            f"this layer needs prompt_dim={prompt_dim}, out_dim={n_weights}"
        )


class FastKANLinear(KANLinear):
    """FastKAN: Gaussian radial functions of the layer-normalised input, plus a SiLU base of the input itself.

    Args:
        in_features, out_features: sizes of the last dimension; at least two inputs, because of the LayerNorm.
        n_centers, value_range: of `RBFBasis`. Further keywords as in `KANLinear`.

    Example:
        >>> FastKANLinear(64, 10)(torch.rand(32, 64)).shape
        torch.Size([32, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        n_centers: int = 8,
        value_range: tuple[float, float] = (-2.0, 2.0),
        **options: Any,
    ):
        options = {"input_norm": "layer", **options}
        super().__init__(in_features, out_features, basis=RBFBasis(n_centers, value_range), **options)


class MetaFastKANLinear(MetaKANLinear):
    """FastKAN with generated weights; arguments as `FastKANLinear` and `MetaKANLinear`.

    Example:
        >>> MetaFastKANLinear(64, 10)(torch.rand(32, 64), MetaLearner(out_dim=9)).shape
        torch.Size([32, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        n_centers: int = 8,
        value_range: tuple[float, float] = (-2.0, 2.0),
        **options: Any,
    ):
        options = {"input_norm": "layer", **options}
        super().__init__(in_features, out_features, basis=RBFBasis(n_centers, value_range), **options)


class WavKANLinear(KANLinear):
    """WavKAN: one scaled and shifted wavelet per edge, BatchNorm1d on the outputs.

    Args:
        in_features, out_features: sizes of the last dimension.
        wavelet: kind of `WaveletBasis`. Further keywords as in `KANLinear`; there is no base function.

    Example:
        >>> WavKANLinear(64, 10)(torch.rand(32, 64)).shape
        torch.Size([32, 10])
    """

    def __init__(self, in_features: int, out_features: int, *, wavelet: str = "mexican_hat", **options: Any):
        options = {"output_norm": "batch", "base_activation": None, **options}
        super().__init__(in_features, out_features, basis=WaveletBasis(wavelet), **options)


class MetaWavKANLinear(MetaKANLinear):
    """WavKAN with generated scale, translation and weight; arguments as `WavKANLinear` and `MetaKANLinear`.

    Example:
        >>> MetaWavKANLinear(64, 10)(torch.rand(32, 64), MetaLearner(out_dim=3)).shape
        torch.Size([32, 10])
    """

    def __init__(self, in_features: int, out_features: int, *, wavelet: str = "mexican_hat", **options: Any):
        options = {"output_norm": "batch", "base_activation": None, **options}
        super().__init__(in_features, out_features, basis=WaveletBasis(wavelet), **options)
