"""The meta-learner that turns prompts into edge weights, and how layers share it (notes sections 3.2 and 3.3).

    M(z) = W2 act(W1 z + b1) + b2,     z in R^d  ->  w in R^q

The first outputs are the coefficients of the basis functions, the last one is the base weight (if there is one).
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_positive, check_probability

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "identity": lambda h: h,
}
PROMPT_INITS = ("xavier_edge", "xavier_table", "xavier_table_uniform")


class MetaLearner(nn.Module):
    """A two-layer perceptron from the prompt of an edge to the weights of that edge.

    Args:
        prompt_dim: d, length of a prompt.
        hidden: h, hidden width.
        out_dim: q, numbers an edge carries; the default fits cubic splines on five cells with a base function.
        activation: "relu" (the paper), "silu", "gelu", "tanh"; "identity" makes the family of edge functions affine
            in the prompt, which is a slip of the published image code (pitfall P3) and kept for comparison.
        dropout: probability of dropping hidden units while training.

    Example:
        >>> MetaLearner(prompt_dim=1, hidden=16, out_dim=9)(torch.randn(100, 1)).shape
        torch.Size([100, 9])
    """

    def __init__(
        self,
        prompt_dim: int = 1,
        hidden: int = 32,
        out_dim: int = 9,
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        check_positive(prompt_dim=prompt_dim, hidden=hidden, out_dim=out_dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_probability("dropout", dropout)
        self.prompt_dim, self.hidden, self.out_dim = prompt_dim, hidden, out_dim
        self.activation, self.dropout = activation, dropout
        self.first = nn.Linear(prompt_dim, hidden)
        self.second = nn.Linear(hidden, out_dim)
        for linear in (self.first, self.second):
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, z: Float[Tensor, "e d"]) -> Float[Tensor, "e q"]:
        """Weights of the edges with prompts z."""
        if z.shape[-1] != self.prompt_dim:
            raise ValueError(
                f"z has {z.shape[-1]} numbers a prompt, this meta-learner takes {self.prompt_dim}"
            )
        hidden = ACTIVATIONS[self.activation](self.first(z))
        return self.second(F.dropout(hidden, self.dropout, self.training))

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"activation={self.activation!r}, dropout={self.dropout}"


class MetaBank(nn.Module):
    """The C meta-learners of a network and which layer uses which.

    The assignment is part of the state dict, so weights cannot be loaded under another sharing pattern.

    Args:
        assignment: for every layer the index of its meta-learner, 0 ... C-1, none left out.
        prompt_dim, hidden, out_dim, activation, dropout: as in `MetaLearner`.

    Example:
        >>> bank = MetaBank([0, 0, 1], hidden=8)
        >>> bank[0] is bank[1], bank[1] is bank[2], len(bank.learners)
        (True, False, 2)
    """

    assignment: Tensor

    def __init__(
        self,
        assignment: Sequence[int],
        prompt_dim: int = 1,
        hidden: int = 32,
        out_dim: int = 9,
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        if not assignment or sorted(set(assignment)) != list(range(max(assignment) + 1)):
            raise ValueError(
                f"assignment must use every index 0 ... C-1 at least once, got {list(assignment)}"
            )
        self.layer_to_learner = tuple(int(c) for c in assignment)
        self.register_buffer("assignment", torch.tensor(self.layer_to_learner))
        self.learners = nn.ModuleList(
            MetaLearner(prompt_dim, hidden, out_dim, activation, dropout) for _ in range(max(assignment) + 1)
        )

    def __getitem__(self, layer: int) -> MetaLearner:
        learner = self.learners[self.layer_to_learner[layer]]
        assert isinstance(learner, MetaLearner)
        return learner

    def __len__(self) -> int:
        return len(self.layer_to_learner)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):  # type: ignore[no-untyped-def]
        loaded = state_dict.get(prefix + "assignment")
        if loaded is not None and tuple(loaded.tolist()) != self.layer_to_learner:
            errors.append(
                f"the layers of this network use meta-learners {list(self.layer_to_learner)}, "
                f"those of the loaded state {loaded.tolist()}; build the network with the same n_meta"
            )
        else:
            super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)


def assign_layers(out_features: Sequence[int], n_meta: int | str) -> list[int]:
    """Index of the meta-learner of every layer: "per_layer" gives each its own, an integer clusters by width."""
    if n_meta == "per_layer":
        return list(range(len(out_features)))
    if isinstance(n_meta, str):
        raise ValueError(f"n_meta must be 'per_layer' or an integer, got {n_meta!r}")
    check_positive(n_meta=n_meta)
    distinct = len(set(out_features))
    if n_meta > distinct:
        raise ValueError(
            f"n_meta must be at most {distinct}, the number of distinct layer widths, got {n_meta}; "
            "use n_meta='per_layer' to give every layer its own meta-learner"
        )
    return cluster_layers(out_features, n_meta)


def cluster_layers(out_features: Sequence[int], n_clusters: int, feature: str = "width") -> list[int]:
    """Group layers by their number of output channels: one-dimensional K-means, solved exactly.

    Optimal clusters of points on a line are intervals, so dynamic programming over the sorted distinct values finds
    the minimum of the within-cluster sum of squares. Labels ascend with the width; equal widths stay together; of
    several optima the one whose last intervals start latest is returned.

    Args:
        out_features: output channels of every layer.
        n_clusters: number of clusters C.
        feature: "width", or "log_width" to compare widths by their ratio.

    Example:
        >>> cluster_layers([16, 32, 64, 128, 256, 256, 512, 512], 3)
        [0, 0, 0, 0, 1, 1, 2, 2]
    """
    check_positive(n_clusters=n_clusters)
    check_choice("feature", feature, ("width", "log_width"))
    if not out_features:
        raise ValueError("out_features must name at least one layer, got an empty sequence")
    for width in out_features:
        check_positive(out_features=int(width))
    values = sorted(set(out_features))
    if n_clusters > len(values):
        raise ValueError(
            f"n_clusters must be at most {len(values)}, the number of distinct widths, got {n_clusters}"
        )
    points = [float(v) if feature == "width" else math.log(v) for v in values]
    weights = [list(out_features).count(v) for v in values]
    starts = _optimal_starts(points, weights, n_clusters)
    label = {v: sum(i >= s for s in starts) - 1 for i, v in enumerate(values)}
    return [label[w] for w in out_features]


def _optimal_starts(points: Sequence[float], weights: Sequence[int], n_clusters: int) -> list[int]:
    """First index of each cluster in the optimal partition of sorted weighted points into intervals."""
    n = len(points)

    def spread(i: int, j: int) -> float:  # weighted sum of squares of points[i:j] about their mean
        total = sum(weights[i:j])
        mean = sum(w * p for w, p in zip(weights[i:j], points[i:j])) / total
        return sum(w * (p - mean) ** 2 for w, p in zip(weights[i:j], points[i:j]))

    best = {j: (spread(0, j), [0]) for j in range(1, n + 1)}
    for c in range(2, n_clusters + 1):
        best = {
            j: min(
                ((best[i][0] + spread(i, j), [*best[i][1], i]) for i in range(c - 1, j) if i in best),
                key=lambda option: (option[0], [-s for s in reversed(option[1])]),
            )
            for j in range(c, n + 1)
        }
    return best[n][1]


@torch.no_grad()
def prompt_init_(
    z: Tensor,
    fan_in: int,
    fan_out: int,
    method: str = "xavier_edge",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill a prompt table (edges, d) in place (pitfall P5).

    Args:
        z: the table, one row an edge.
        fan_in, fan_out: of the layer; kernel size times channels for convolutions.
        method: "xavier_edge" normal with std sqrt(2 / ((fan_in + fan_out) d)), as for an ordinary weight matrix;
            "xavier_table" normal with std sqrt(2 / (edges + d)), the authors' fully connected image and PDE code;
            "xavier_table_uniform" uniform within sqrt(6 / (edges + d)), the authors' convolutions.
        generator: source of randomness; torch's default one if not given.

    Example:
        >>> z = prompt_init_(torch.empty(784 * 32, 1), 784, 32, "xavier_table")
        >>> 0.0085 < z.std().item() < 0.0093
        True
    """
    check_choice("prompt_init", method, PROMPT_INITS)
    edges, d = z.shape
    if method == "xavier_edge":
        return z.normal_(0.0, math.sqrt(2.0 / ((fan_in + fan_out) * d)), generator=generator)
    if method == "xavier_table":
        return z.normal_(0.0, math.sqrt(2.0 / (edges + d)), generator=generator)
    bound = math.sqrt(6.0 / (edges + d))
    return z.uniform_(-bound, bound, generator=generator)
