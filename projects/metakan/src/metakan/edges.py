"""What linear layers made of edge functions share: y_j = sum_i phi_ij(x_i) + bias_j (notes section 3.1).

The q numbers of an edge are ordered [coefficients of the basis functions | base weight]; wavelet edges carry
[raw scale, translation, weight]. Whether they are parameters (`KANLinear`) or generated (`MetaKANLinear`) is up to
the subclass; here is how they meet the input.
"""

import copy
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .arguments import check_choice, check_input, check_positive
from .bases import Basis, BSplineBasis, WaveletBasis

BASE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


def base_function(name: str | None, basis: Basis) -> Callable[[Tensor], Tensor] | None:
    """The base activation called `name`; None for edges without one. Wavelet edges never have one."""
    if name is None:
        return None
    check_choice("base_activation", name, (*BASE_ACTIVATIONS, None))
    basis.n_weights(base=True)  # raises for wavelets
    return BASE_ACTIVATIONS[name]


def edge_features(
    basis: Basis,
    base: Callable[[Tensor], Tensor] | None,
    x: Float[Tensor, "... n"],
    normed: Tensor | None = None,
) -> Float[Tensor, "... n q"]:
    """[basis(x) | base(x)], one row of q features per entry of x; the basis sees `normed` where it is given."""
    if normed is None and base is F.silu and isinstance(basis, BSplineBasis):
        return basis.features(x, silu=True)
    values = basis(x if normed is None else normed)
    if base is None:
        return values
    return torch.cat([values, base(x)[..., None]], dim=-1)


class EdgeLinear(nn.Module):
    """Common part of `KANLinear` and `MetaKANLinear`; see there for the arguments."""

    edge_mask: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: Basis,
        base_activation: str | None,
        bias: bool,
        input_norm: str | None,
        output_norm: str | None,
        check_finite: bool,
    ):
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        check_choice("input_norm", input_norm, (None, "layer"))
        check_choice("output_norm", output_norm, (None, "batch"))
        if input_norm == "layer" and in_features == 1:
            raise ValueError(
                "in_features must be at least 2 with a LayerNorm on the inputs, which would erase one feature"
            )
        self.in_features, self.out_features = in_features, out_features
        self.basis = copy.deepcopy(basis)
        self.base_activation = base_activation
        self._base = base_function(base_activation, basis)
        self.n_weights = basis.n_weights(base_activation is not None)
        self.check_finite = check_finite
        self.warn_outside = isinstance(basis, BSplineBasis)
        self._calls = 0
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.input_norm = nn.LayerNorm(in_features) if input_norm == "layer" else None
        self.output_norm = nn.BatchNorm1d(out_features) if output_norm == "batch" else None
        self.register_buffer("edge_mask", None)

    def features(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n i q"]:
        """The q features every entry of x offers to the edges that leave it."""
        return edge_features(
            self.basis, self._base, x, None if self.input_norm is None else self.input_norm(x)
        )

    def product(self, x: Float[Tensor, "n i"], weight: Float[Tensor, "o i q"]) -> Float[Tensor, "n o"]:
        """sum_i phi_ji(x_i) for the edge weights given, without bias."""
        if isinstance(self.basis, WaveletBasis):
            return self.basis.edges(x[:, None, :], weight).sum(dim=-1)
        features = self.features(x).to(weight.dtype)
        if weight.transpose(1, 2).is_contiguous():  # weights of a KANLinear lie as the splines do: no copies
            return F.linear(features.transpose(1, 2).flatten(1), weight.transpose(1, 2).flatten(1))
        return F.linear(features.flatten(1), weight.flatten(1))

    def prepare(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "n i"]:
        """Check the input and flatten its leading dimensions."""
        check_input(x, self.in_features, -1, "features", self.check_finite)
        flat = x.reshape(-1, self.in_features)
        if self.warn_outside and not torch.compiler.is_compiling():
            self._look_outside(flat)
        return flat

    def finish(self, y: Float[Tensor, "n o"], x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Add the bias, normalise, restore the leading dimensions of x."""
        if self.bias is not None:
            y = y + self.bias
        if self.output_norm is not None:
            y = self.output_norm(y)
        return y.reshape(*x.shape[:-1], self.out_features)

    @torch.no_grad()
    def _look_outside(self, x: Float[Tensor, "n i"]) -> None:
        """Warn once if more than 5 % of a batch lies where every spline is zero (pitfall P12)."""
        self._calls += 1
        if (
            self._calls & (self._calls - 1) or x.numel() < 20
        ):  # calls 1, 2, 4, 8, ...: the look costs a reduction
            return
        assert isinstance(self.basis, BSplineBasis)
        low, high = self.basis.support
        share = ((x < low) | (x > high)).float().mean().item()
        if share > 0.05:
            self.warn_outside = False
            warnings.warn(
                f"{share:.0%} of the inputs lie outside [{low:g}, {high:g}], where all splines are zero and only the "
                "base function is left; scale the inputs or widen grid_range",
                stacklevel=4,
            )

    def set_edge_mask(self, mask: Bool[Tensor, "o i"]) -> None:
        """Keep only the edges where `mask` is true. At least one must remain."""
        if mask.shape != (self.out_features, self.in_features) or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be boolean of shape {(self.out_features, self.in_features)}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        if not bool(mask.any()):
            raise ValueError("mask removes all edges of the layer; lower the thresholds")
        self.edge_mask = mask.clone()

    def masked(self, weight: Float[Tensor, "o i q"], rows: slice = slice(None)) -> Float[Tensor, "o i q"]:
        """`weight` with the numbers of pruned edges set to zero; for wavelets their amplitude."""
        if self.edge_mask is None:
            return weight
        return weight * self.edge_mask[rows, :, None].to(weight.dtype)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):  # type: ignore[no-untyped-def]
        # the mask exists only in pruned layers: take over its presence or absence
        loaded = state_dict.get(prefix + "edge_mask")
        self.edge_mask = None if loaded is None else torch.ones_like(loaded, device=self._device())
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    def _device(self) -> torch.device:
        return next(self.parameters()).device
