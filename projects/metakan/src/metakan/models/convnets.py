"""Convolutional networks of the paper: four or eight 3x3 layers, global average pooling, linear head (notes section 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from ..arguments import check_choice, check_positive, check_probability
from ..conv import KANConvNd, MetaKANConvNd
from ..meta import MetaBank, assign_layers
from .families import FAMILIES, make_basis
from .networks import copy_layer, meta_param_groups

BACKBONES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    4: ((32, 64, 128, 256), (1, 2, 2, 1)),
    8: ((16, 32, 64, 128, 256, 256, 512, 512), (1, 2, 2, 1, 1, 2, 1, 1)),
}
"""Depth -> (channels, strides) of the two networks of the paper."""


class _Backbone(PretrainedMixin, nn.Module):
    """Common part: reads the configuration, holds the head."""

    config: dict[str, Any]
    layers: nn.ModuleList

    def _layer_options(self) -> list[dict[str, Any]]:
        """Arguments of every convolution layer, without ndim."""
        c = self.config
        check_choice("depth", c["depth"], (*BACKBONES, None))
        if c["depth"] is None and (c["channels"] is None or c["strides"] is None):
            raise ValueError("channels and strides must both be given where depth is None")
        if c["depth"] is not None:
            channels, strides = BACKBONES[c["depth"]]
            channels, strides = c["channels"] or channels, c["strides"] or strides
        else:
            channels, strides = c["channels"], c["strides"]
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"channels and strides must be equally long, got {list(channels)} and {list(strides)}"
            )
        check_positive(in_channels=c["in_channels"], n_classes=c["n_classes"], kernel_size=c["kernel_size"])
        check_probability("dropout", c["dropout"])
        check_choice("basis", c["basis"], tuple(FAMILIES))
        family = FAMILIES[c["basis"]]
        basis = make_basis(
            *(c[k] for k in ("basis", "grid_size", "spline_order", "grid_range", "basis_options"))
        )
        return [
            {
                "in_channels": a,
                "out_channels": b,
                "kernel_size": c["kernel_size"],
                "stride": stride,
                "padding": c["kernel_size"] // 2,
                "basis": basis,
                "base_activation": family.conv_base
                if c["base_activation"] == "auto"
                else c["base_activation"],
                "norm": family.conv_norm if c["norm"] == "auto" else c["norm"],
                "norm_position": family.conv_norm_position,
                "act": family.conv_act,
                "dropout": c["dropout"] if index else 0.0,
            }
            for index, (a, b, stride) in enumerate(zip((c["in_channels"], *channels), channels, strides))
        ]

    def _head(self, features: int) -> nn.Sequential:
        check_probability("head_dropout", self.config["head_dropout"])
        return nn.Sequential(
            nn.Dropout(self.config["head_dropout"]), nn.Linear(features, self.config["n_classes"])
        )

    def classify(self, x: Float[Tensor, "n c ..."]) -> Float[Tensor, "n k"]:
        """Global average pooling and the head."""
        return self.head(x.flatten(2).mean(-1))  # type: ignore[no-any-return, operator]


class ConvKANNet(_Backbone):
    """Image classifier of KAN convolutions.

    Args:
        in_channels, n_classes: of the images and labels.
        depth: 4 or 8, the networks of the paper; None with `channels` and `strides` of your own.
        basis ... base_activation: as in `KAN`; "auto" is the convolution base of the family (GELU for splines).
        channels, strides: replace those of `depth`.
        norm: "auto" is the family's, or "batch", "instance", None.
        dropout: of channels, behind every layer but the first; head_dropout: before the linear head.
        kernel_size: odd; padding keeps the size at stride 1. ndim: spatial dimensions.

    Example:
        >>> ConvKANNet(1, 10, depth=None, channels=[4, 8], strides=[2, 2])(torch.rand(2, 1, 12, 12)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        *,
        depth: int | None = 4,
        basis: str = "spline",
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        basis_options: Mapping[str, Any] | None = None,
        base_activation: str | None = "auto",
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        norm: str | None = "auto",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        kernel_size: int = 3,
        ndim: int = 2,
    ):
        super().__init__()
        self.config = {
            "in_channels": in_channels, "n_classes": n_classes, "depth": depth, "basis": basis,
            "grid_size": grid_size, "spline_order": spline_order, "grid_range": list(grid_range),
            "basis_options": dict(basis_options or {}), "base_activation": base_activation,
            "channels": channels and list(channels), "strides": strides and list(strides), "norm": norm,
            "dropout": dropout, "head_dropout": head_dropout, "kernel_size": kernel_size, "ndim": ndim,
        }  # fmt: skip
        options = self._layer_options()
        self.layers = nn.ModuleList(KANConvNd(ndim, **layer) for layer in options)
        self.head = self._head(options[-1]["out_channels"])

    def forward(self, x: Float[Tensor, "n c ..."]) -> Float[Tensor, "n k"]:
        """Images to class scores."""
        for layer in self.layers:
            x = layer(x)
        return self.classify(x)


class MetaConvKANNet(_Backbone):
    """Image classifier of KAN convolutions with generated weights.

    Args:
        in_channels ... ndim: as in `ConvKANNet`.
        hidden, prompt_dim, activation, dropout_meta: of the meta-learners.
        n_meta: number of meta-learners; layers are clustered by their output channels; or "per_layer".
        layout, prompt_init, memory, cache_eval: as in `MetaKANConvNd`.

    Example:
        >>> model = MetaConvKANNet(1, 10, depth=4, hidden=64)
        >>> sum(p.numel() for p in model.parameters())  # KAN convolutions: 3489774
        391607
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        *,
        depth: int | None = 4,
        basis: str = "spline",
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        basis_options: Mapping[str, Any] | None = None,
        base_activation: str | None = "auto",
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        norm: str | None = "auto",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        kernel_size: int = 3,
        ndim: int = 2,
        hidden: int = 64,
        prompt_dim: int = 1,
        n_meta: int | str = 1,
        activation: str = "relu",
        dropout_meta: float = 0.0,
        layout: str = "edge",
        prompt_init: str = "xavier_edge",
        memory: str = "recompute",
        cache_eval: bool = True,
    ):
        super().__init__()
        self.config = {
            "in_channels": in_channels, "n_classes": n_classes, "depth": depth, "basis": basis,
            "grid_size": grid_size, "spline_order": spline_order, "grid_range": list(grid_range),
            "basis_options": dict(basis_options or {}), "base_activation": base_activation,
            "channels": channels and list(channels), "strides": strides and list(strides), "norm": norm,
            "dropout": dropout, "head_dropout": head_dropout, "kernel_size": kernel_size, "ndim": ndim,
            "hidden": hidden, "prompt_dim": prompt_dim, "n_meta": n_meta, "activation": activation,
            "dropout_meta": dropout_meta, "layout": layout, "prompt_init": prompt_init, "memory": memory,
            "cache_eval": cache_eval,
        }  # fmt: skip
        options = self._layer_options()
        own: dict[str, Any] = {
            "layout": layout, "prompt_dim": prompt_dim, "prompt_init": prompt_init, "memory": memory,
            "cache_eval": cache_eval,
        }  # fmt: skip
        self.layers = nn.ModuleList(MetaKANConvNd(ndim, **layer, **own) for layer in options)
        assignment = assign_layers([layer["out_channels"] for layer in options], n_meta)
        q = self.layers[0].n_weights
        self.bank = MetaBank(assignment, prompt_dim, hidden, q, activation, dropout_meta)  # type: ignore[arg-type]
        self.head = self._head(options[-1]["out_channels"])

    def forward(self, x: Float[Tensor, "n c ..."]) -> Float[Tensor, "n k"]:
        """Images to class scores."""
        for index, layer in enumerate(self.layers):
            x = layer(x, self.bank[index])
        return self.classify(x)

    def param_groups(
        self,
        lr_prompt: float = 1e-2,
        lr_meta: float = 1e-3,
        lr_rest: float = 1e-4,
        wd: tuple[float, float, float] = (1e-5, 1e-5, 1e-5),
    ) -> list[dict[str, Any]]:
        """Groups "prompts", "meta" and "rest" for one optimiser, with the paper's rates for convolutions."""
        return meta_param_groups(self, (lr_prompt, lr_meta, lr_rest), wd)

    @torch.no_grad()
    def materialize(self) -> ConvKANNet:
        """An ordinary network of KAN convolutions with the generated weights: the same function."""
        own = ("hidden", "prompt_dim", "n_meta", "activation", "dropout_meta", "layout", "prompt_init", "memory",
               "cache_eval")  # fmt: skip
        with torch.random.fork_rng(
            devices=[]
        ):  # the initial weights are overwritten: they should cost no draws
            net = ConvKANNet(**{key: value for key, value in self.config.items() if key not in own})
        net.to(self.layers[0].prompts)  # type: ignore[call-overload, arg-type]
        for index, (layer, ours) in enumerate(zip(self.layers, net.layers)):
            copy_layer(layer, ours, {"weight": layer.edge_weights(self.bank[index])})  # type: ignore[operator]
        net.head.load_state_dict(self.head.state_dict())
        return net.train(self.training)
