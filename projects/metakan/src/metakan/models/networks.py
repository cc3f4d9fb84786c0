"""Fully connected networks: MLP, KAN, and MetaKAN, in which all edges of a layer cluster share one meta-learner."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from ..arguments import check_choice, check_positive
from ..bases import Basis, WaveletBasis
from ..edges import EdgeLinear
from ..layers import KANLinear, MetaKANLinear
from ..meta import ACTIVATIONS, MetaBank, assign_layers
from ..pruning import edge_scores, keep_edges
from .families import FAMILIES, make_basis

EdgeFunction = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]


def check_widths(widths: Sequence[int]) -> list[int]:
    """`widths` as a list; raise unless there are at least two positive integers."""
    if len(widths) < 2:
        raise ValueError(f"widths must have at least 2 entries (inputs and outputs), got {list(widths)}")
    for width in widths:
        check_positive(widths=width)
    return list(widths)


class MLP(PretrainedMixin, nn.Module):
    """The ordinary network of the same widths.

    Args:
        widths: [inputs, hidden..., outputs].
        activation: "silu", "relu", "gelu", "tanh", between layers.
        bias: one bias per node.

    Example:
        >>> MLP([64, 32, 10])(torch.rand(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(self, widths: Sequence[int], *, activation: str = "silu", bias: bool = True):
        super().__init__()
        widths = check_widths(widths)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        self.config = {"widths": widths, "activation": activation, "bias": bias}
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(widths))
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Any number of leading dimensions."""
        for layer in self.layers[:-1]:
            x = self._activation(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class EdgeNetwork(PretrainedMixin, nn.Module):
    """Common part of `KAN` and `MetaKAN`: what can be asked of a network of edge functions."""

    config: dict[str, Any]
    layers: nn.ModuleList

    def edge_layers(self) -> Iterator[tuple[EdgeLinear, Float[Tensor, "o i q"]]]:
        """Every layer with the weights of its edges."""
        raise NotImplementedError

    def edge_function(self, layer: int, i: int, j: int) -> EdgeFunction:
        """The univariate function on the edge from input i to output j of a layer, t -> phi_ij(t), without gradients.

        Raises:
            IndexError: if there is no such edge.
            NotImplementedError: for FastKAN layers, whose edges see all inputs through the LayerNorm.
        """
        edge_layer, weight = list(self.edge_layers())[layer]
        if edge_layer.input_norm is not None:
            raise NotImplementedError(
                "edges behind a LayerNorm are no functions of one variable; use input_norm=None"
            )
        basis, row = edge_layer.basis, weight[j, i].detach()

        @torch.no_grad()
        def phi(t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
            if isinstance(basis, WaveletBasis):
                return basis.edges(t, row)
            return edge_layer.features(t.reshape(-1, 1)).reshape(*t.shape, len(row)).to(row.dtype) @ row

        return phi

    def prune(
        self, node_th: float = 1e-2, edge_th: float = 3e-2, x: Float[Tensor, "n i"] | None = None
    ) -> list[Bool[Tensor, "o i"]]:
        """Remove edges whose function is small, and hidden nodes that only small edges enter or leave.

        The size of an edge is the mean of |phi_ij|, over the inputs the layer sees when the network is given `x`, or
        over the grid range. Removed edges give exactly zero from then on.

        Args:
            node_th: a hidden node stays if its largest incoming and its largest outgoing edge reach this.
            edge_th: an edge stays if it reaches this.
            x: data to measure on.

        Returns:
            The masks of the edges kept, one per layer.

        Raises:
            ValueError: if a layer would lose all its edges; nothing is changed then.
        """
        scores = edge_scores(self, x)
        masks = keep_edges(scores, node_th, edge_th)
        for (layer, _), mask in zip(list(self.edge_layers()), masks):
            layer.set_edge_mask(mask if layer.edge_mask is None else mask & layer.edge_mask)
        self.config["masked"] = True
        return masks

    def _finish_layers(self, masked: bool) -> None:
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, EdgeLinear)
            layer.warn_outside = (
                layer.warn_outside and index == 0
            )  # hidden values are the network's own affair
            if masked:
                layer.set_edge_mask(torch.ones(layer.out_features, layer.in_features, dtype=torch.bool))


def _shared_options(config: Mapping[str, Any]) -> tuple[Basis, dict[str, Any]]:
    """The basis and the layer options that KAN and MetaKAN derive from their arguments alike."""
    basis = make_basis(
        *(config[k] for k in ("basis", "grid_size", "spline_order", "grid_range", "basis_options"))
    )
    family = FAMILIES[config["basis"]]
    base = family.base if config["base_activation"] == "auto" else config["base_activation"]
    return basis, {
        "basis": basis,
        "base_activation": base,
        "bias": config["bias"],
        "input_norm": family.input_norm,
        "output_norm": family.output_norm,
        "check_finite": config["check_finite"],
    }


class KAN(EdgeNetwork):
    """A Kolmogorov-Arnold network: layers of edge functions, nothing between them.

    Args:
        widths: [inputs, hidden..., outputs].
        basis: "spline", "rbf", "wavelet", "legendre", "gram" or "chebyshev".
        grid_size, spline_order, grid_range: of the splines.
        basis_options: of the other bases, see `make_basis`.
        base_activation: "auto" is the family's ("silu"; none for wavelets and Chebyshev), or see `KANLinear`.
        bias: one bias per node (the paper's symbolic regression).
        scaler: the authors' extra number per edge.
        check_finite: raise on NaN or infinite inputs of any layer.
        masked: layers have edge masks from the start, as they have after `prune`.

    Example:
        >>> model = KAN([64, 32, 10])
        >>> model(torch.rand(5, 64)).shape, sum(p.numel() for p in model.parameters()) == 9 * (64 * 32 + 32 * 10)
        (torch.Size([5, 10]), True)
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        basis: str = "spline",
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        basis_options: Mapping[str, Any] | None = None,
        base_activation: str | None = "auto",
        bias: bool = False,
        scaler: bool = False,
        check_finite: bool = False,
        masked: bool = False,
    ):
        super().__init__()
        widths = check_widths(widths)
        self.config = {
            "widths": widths, "basis": basis, "grid_size": grid_size, "spline_order": spline_order,
            "grid_range": list(grid_range), "basis_options": dict(basis_options or {}),
            "base_activation": base_activation, "bias": bias, "scaler": scaler, "check_finite": check_finite,
            "masked": masked,
        }  # fmt: skip
        _, options = _shared_options(self.config)
        self.layers = nn.ModuleList(
            KANLinear(a, b, scaler=scaler, **options) for a, b in itertools.pairwise(widths)
        )
        self._finish_layers(masked)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Any number of leading dimensions."""
        for layer in self.layers:
            x = layer(x)
        return x

    def edge_layers(self) -> Iterator[tuple[EdgeLinear, Float[Tensor, "o i q"]]]:
        """Every layer with the weights of its edges."""
        for layer in self.layers:
            assert isinstance(layer, KANLinear)
            yield layer, layer.edge_weights()

    def param_groups(self, lr: float = 1e-2, wd: float = 0.0) -> list[dict[str, Any]]:
        """One group for an optimiser, named "rest" as in `MetaKAN.param_groups`."""
        params = [p for p in self.parameters() if p.requires_grad]
        return [{"name": "rest", "params": params, "lr": lr, "weight_decay": wd}]


class MetaKAN(EdgeNetwork):
    """A KAN that trains one prompt per edge and small shared meta-learners instead of the edge weights.

    Args:
        widths ... base_activation, bias, check_finite, masked: as in `KAN`.
        hidden: h, hidden width of the meta-learners.
        prompt_dim: d, numbers per prompt.
        n_meta: "per_layer", or the number C of meta-learners: layers are clustered by their width (`cluster_layers`).
        activation, dropout: of the meta-learners.
        prompt_init, memory, block_size, cache_eval: as in `MetaKANLinear`.

    Example:
        >>> model = MetaKAN([784, 32, 10], hidden=16)
        >>> sum(p.numel() for p in model.parameters())  # KAN: 228672
        25778
        >>> kan = model.materialize()  # an ordinary KAN, the same function
        >>> x = torch.rand(5, 784)
        >>> torch.allclose(kan(x), model(x), atol=1e-6)
        True
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        basis: str = "spline",
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        basis_options: Mapping[str, Any] | None = None,
        base_activation: str | None = "auto",
        hidden: int = 32,
        prompt_dim: int = 1,
        n_meta: int | str = "per_layer",
        activation: str = "relu",
        dropout: float = 0.0,
        bias: bool = False,
        prompt_init: str = "xavier_edge",
        memory: str = "recompute",
        block_size: int | None = None,
        cache_eval: bool = True,
        check_finite: bool = False,
        masked: bool = False,
    ):
        super().__init__()
        widths = check_widths(widths)
        self.config = {
            "widths": widths, "basis": basis, "grid_size": grid_size, "spline_order": spline_order,
            "grid_range": list(grid_range), "basis_options": dict(basis_options or {}),
            "base_activation": base_activation, "hidden": hidden, "prompt_dim": prompt_dim, "n_meta": n_meta,
            "activation": activation, "dropout": dropout, "bias": bias, "prompt_init": prompt_init,
            "memory": memory, "block_size": block_size, "cache_eval": cache_eval, "check_finite": check_finite,
            "masked": masked,
        }  # fmt: skip
        kan_basis, options = _shared_options(self.config)
        options |= {
            "prompt_dim": prompt_dim, "prompt_init": prompt_init, "memory": memory, "block_size": block_size,
            "cache_eval": cache_eval,
        }  # fmt: skip
        q = kan_basis.n_weights(options["base_activation"] is not None)
        assignment = assign_layers(widths[1:], n_meta)
        self.bank = MetaBank(assignment, prompt_dim, hidden, q, activation, dropout)
        self.layers = nn.ModuleList(MetaKANLinear(a, b, **options) for a, b in itertools.pairwise(widths))
        self._finish_layers(masked)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Any number of leading dimensions."""
        for index, layer in enumerate(self.layers):
            x = layer(x, self.bank[index])
        return x

    def edge_layers(self) -> Iterator[tuple[EdgeLinear, Float[Tensor, "o i q"]]]:
        """Every layer with the weights of its edges."""
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, MetaKANLinear)
            yield layer, layer.edge_weights(self.bank[index])

    def param_groups(
        self,
        lr_prompt: float = 1e-2,
        lr_meta: float = 1e-3,
        lr_rest: float = 1e-3,
        wd: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> list[dict[str, Any]]:
        """Groups "prompts", "meta" and "rest" for one optimiser; empty groups are left out.

        Args:
            lr_prompt, lr_meta, lr_rest: learning rates. Prompts want ten times that of other weights (pitfall P18).
            wd: weight decay of (prompts, meta, rest).
        """
        return meta_param_groups(self, (lr_prompt, lr_meta, lr_rest), wd)

    @torch.no_grad()
    def materialize(self) -> KAN:
        """An ordinary KAN with the generated weights: the same function, q numbers an edge."""
        keys = (
            "widths", "basis", "grid_size", "spline_order", "grid_range", "basis_options", "base_activation", "bias",
            "check_finite", "masked",
        )  # fmt: skip
        with torch.random.fork_rng(
            devices=[]
        ):  # the initial weights are overwritten: they should cost no draws
            kan = KAN(**{key: self.config[key] for key in keys})
        kan.to(self.layers[0].prompts)  # type: ignore[call-overload, arg-type]
        for ours, (layer, weight) in zip(kan.layers, list(self.edge_layers())):
            copy_layer(layer, ours, {"packed_weight": weight.transpose(1, 2)})  # type: ignore[arg-type]
        return kan.train(self.training)

    def update_grid(self, *args: object, **kwargs: object) -> None:
        """Not possible: the coefficients are generated, so no least-squares fit can be written back (pitfall P13)."""
        raise NotImplementedError(
            "the coefficients of a MetaKAN are generated and cannot be refitted to another grid; "
            "use materialize() or to_pykan() first"
        )

    refine = update_grid


@torch.no_grad()
def copy_layer(source: nn.Module, target: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy everything but the prompts from a layer with generated weights to one with its own, and `weights`."""
    state = {name: value for name, value in source.state_dict().items() if name != "prompts"}
    target.load_state_dict({**state, **weights})


def meta_param_groups(
    model: nn.Module, rates: tuple[float, float, float], wd: tuple[float, float, float]
) -> list[dict[str, Any]]:
    """Trainable parameters of a network with a `bank`, in the groups "prompts", "meta" and "rest"."""
    groups: dict[str, list[Tensor]] = {"prompts": [], "meta": [], "rest": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "prompts" if name.endswith(".prompts") else "meta" if name.startswith("bank.") else "rest"
            groups[kind].append(parameter)
    return [
        {"name": name, "params": params, "lr": lr, "weight_decay": decay}
        for (name, params), lr, decay in zip(groups.items(), rates, wd)
        if params
    ]
