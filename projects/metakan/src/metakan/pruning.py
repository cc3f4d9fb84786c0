"""Which edges of a network may go: the mean size of every edge function, and thresholds on edges and nodes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .bases import BSplineBasis, WaveletBasis
from .edges import EdgeLinear

if TYPE_CHECKING:
    from .models.networks import EdgeNetwork

_GRID_POINTS = 201


@torch.no_grad()
def edge_scores(model: "EdgeNetwork", x: Float[Tensor, "n i"] | None = None) -> list[Float[Tensor, "o i"]]:
    """Mean of |phi_ij| over the values node i takes for inputs `x`, or over the grid range, for every layer."""
    scores = []
    was_training = model.training
    model.eval()
    for layer, weight in model.edge_layers():
        if x is None:
            low, high = layer.basis.grid_range if isinstance(layer.basis, BSplineBasis) else (-1.0, 1.0)
            points = torch.linspace(low, high, _GRID_POINTS, dtype=weight.dtype, device=weight.device)
            scores.append(_mean_size(layer, points[:, None].expand(-1, layer.in_features), weight))
        else:
            scores.append(_mean_size(layer, x, weight))
            x = layer.finish(layer.product(x, weight), x)
    model.train(was_training)
    return scores


def _mean_size(
    layer: EdgeLinear, x: Float[Tensor, "n i"], weight: Float[Tensor, "o i q"]
) -> Float[Tensor, "o i"]:
    if isinstance(layer.basis, WaveletBasis):
        return torch.stack([layer.basis.edges(x, row).abs().mean(0) for row in weight])
    features = layer.features(x).to(weight.dtype)
    return torch.stack([torch.einsum("niq,iq->ni", features, row).abs().mean(0) for row in weight])


def keep_edges(
    scores: Sequence[Float[Tensor, "o i"]], node_th: float, edge_th: float
) -> list[Bool[Tensor, "o i"]]:
    """Masks of the edges to keep; raises if a layer would lose them all."""
    masks = [score >= edge_th for score in scores]
    for layer in range(len(scores) - 1):
        alive = (scores[layer].amax(1) >= node_th) & (scores[layer + 1].amax(0) >= node_th)
        masks[layer] = masks[layer] & alive[:, None]
        masks[layer + 1] = masks[layer + 1] & alive[None, :]
    for layer, mask in enumerate(masks):
        if not bool(mask.any()):
            raise ValueError(
                f"pruning with node_th={node_th}, edge_th={edge_th} would remove all edges of layer {layer}, "
                f"whose largest has size {scores[layer].max().item():.3g}; lower the thresholds"
            )
    return masks
