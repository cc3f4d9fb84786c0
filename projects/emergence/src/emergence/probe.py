"""Layer-wise probe: where do the blocks of a trained network turn into near-identities? (§3.6)

    relative_update    ‖h_{l+1} − h_l‖ / ‖h_l‖, Frobenius norms over a sequence, mean over the batch       (a)
    token_cosine       mean cosine of h_l and h_{l+1}, token by token                                      (b)
    sigma              largest singular value of the block's Jacobian at data points: max and median       (c)
    pair_ratio         ‖T x − T y‖ / ‖x − y‖ over pairs of tokens: max, median and min                     (d)
    covering           radius of m balls that cover the tokens, and what a block makes of it               (e)
    effective_rank     exp of the entropy of the squared singular values of the centred tokens             (f)
    block_distance     max ‖T_{l+1} x − T_l x‖ / ‖x‖ on the inputs of block l + 1                          (g)

A network *condenses to the critical point* if sigma tends to 1 from above and the relative update to 0 with depth.
(a), (b), (d), (e) and (f) need hidden states alone; (c) and (g) need the blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .covering import covering_radius
from .layer_calls import LayerCall, record_layers
from .lipschitz.local import local_lipschitz
from .lipschitz.pairs import pair_statistics

if TYPE_CHECKING:
    import pandas

    from tenfold.claims import Figure

Normalize = Literal["none", "rms"]
STATE_METRICS = ("relative_update", "token_cosine", "pair_ratio", "covering", "effective_rank")
METRICS = (*STATE_METRICS, "sigma", "block_distance")
BALLS = (8, 32, 128)
MOST_TOKENS = 4096
"""More tokens than this are thinned out at random for covers and ranks (10.14)."""
MOST_PAIRED = 1024
"""All pairs of so many tokens are looked at. Equal tokens at equal positions are skipped: their ratio is rounding error."""


@dataclass(frozen=True)
class LayerProfile:
    """One number a layer for every metric.

    Args:
        values: name -> one value for each of the L blocks; not a number where a metric is not defined.
        normalize: whether tokens were divided by their root mean square.
        skipped_pairs: pairs of tokens too close to each other for a ratio, over all layers.
    """

    values: Mapping[str, Float[Tensor, "layers"]]
    normalize: Normalize = "none"
    skipped_pairs: int = 0

    def __getitem__(self, name: str) -> Float[Tensor, "layers"]:
        if name not in self.values:
            raise KeyError(f"no metric {name!r} in this profile; it has {', '.join(self.values)}")
        return self.values[name]

    @property
    def n_layers(self) -> int:
        return len(next(iter(self.values.values())))

    def trend(self, name: str) -> float:
        """Spearman's rank correlation between layer and metric: −1 for a metric that falls from layer to layer."""
        from scipy.stats import spearmanr

        values = self[name]
        known = values.isfinite()
        return float(spearmanr(torch.arange(len(values))[known].numpy(), values[known].numpy()).statistic)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a layer, one column a metric."""
        import pandas

        table = pandas.DataFrame({name: values.tolist() for name, values in self.values.items()})
        return table.rename_axis("layer")

    def plot(self, names: Sequence[str] | None = None, title: str = "Layer by layer") -> "Figure":
        """The metrics over the layers, one panel each; every metric with one value a layer if None."""
        from tenfold.drawing import draw, sheet

        chosen = list(names or self.values)
        with sheet(max(7.2, 3.4 * len(chosen)), 4.2, columns=len(chosen)) as page:
            for axes, name in zip(page.axes, chosen):
                draw(axes, {name: (list(range(self.n_layers)), self[name].tolist())})
                axes.set(xlabel="layer", title=name)
            page.canvas.suptitle(title, x=0.01, ha="left", fontsize=14)
            return page.figure("layer-profile", f"{title}: {', '.join(chosen)} over the layers.")


@dataclass
class _Options:
    """What the metrics share."""

    metrics: Sequence[str]
    normalize: Normalize
    n_points: int
    dtype: torch.dtype
    generator: torch.Generator
    mask: Bool[Tensor, "b s"] | None
    balls: Sequence[int]
    skipped: int = 0
    columns: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float | Tensor) -> None:
        self.columns.setdefault(name, []).append(float(value))


def probe_layers(
    model_or_hidden_states: nn.Module | Float[Tensor, "layers b s d"],
    batch: Tensor | Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    normalize: Normalize = "none",
    *,
    blocks: str | Sequence[nn.Module] | None = None,
    mask: Bool[Tensor, "b s"] | None = None,
    n_points: int = 16,
    balls: Sequence[int] = BALLS,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> LayerProfile:
    """Measure every block of a network on a batch.

    Args:
        model_or_hidden_states: a module with a list of blocks, or its hidden states (L + 1, b, s, d).
        batch: what the module is called with: a tensor, or keyword arguments such as those of a Hugging Face tokenizer.
        metrics: of `METRICS`; all that can be measured if None.
        normalize: "rms" divides each token by its root mean square before anything is measured.
        blocks: the blocks, or the dotted name of their list, where it is not found by itself.
        mask: true for tokens that count; needed for padded batches. An `attention_mask` in the batch is taken as such.
        n_points: sequences at which Jacobians are looked at.
        balls: numbers m of balls of the covers; those not below the number of tokens are left out.
        dtype: in which it is measured; float32 halves the memory for large models, half precision is refused.
        seed: of the starts of the power iterations, and of the choice of tokens.

    Raises:
        ValueError: unknown metric or normalisation, blocks not found, values that are not finite, padding without mask.

    Example:
        >>> h = torch.randn(1, 2, 5, 8).repeat(4, 1, 1, 1)  # three blocks that change nothing
        >>> probe_layers(h, metrics=["relative_update"])["relative_update"].tolist()
        [0.0, 0.0, 0.0]
    """
    wanted = _checked_metrics(metrics, isinstance(model_or_hidden_states, Tensor))
    if normalize not in get_args(Normalize):
        raise ValueError(f"normalize must be one of {', '.join(get_args(Normalize))}, got {normalize!r}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}: half precision hides small updates")
    if n_points < 1:
        raise ValueError(f"n_points must be at least 1, got {n_points}")
    if isinstance(model_or_hidden_states, Tensor):
        states = model_or_hidden_states.detach()
        if states.ndim != 4 or len(states) < 2:
            raise ValueError(f"hidden states must have shape (L + 1, b, s, d), got {tuple(states.shape)}")
        calls = [LayerCall(x, y) for x, y in pairwise(states)]
    else:
        if batch is None:
            raise ValueError("batch is None: give what the module is to be called with")
        calls, mask = record_layers(model_or_hidden_states, batch, blocks, mask)
    generator = torch.Generator().manual_seed(seed)
    options = _Options(wanted, normalize, n_points, dtype, generator, mask, balls)
    return _profile([call.to(dtype) for call in calls], options)


def _checked_metrics(metrics: Sequence[str] | None, states_only: bool) -> Sequence[str]:
    wanted = (STATE_METRICS if states_only else METRICS) if metrics is None else metrics
    for name in wanted:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
        if states_only and name not in STATE_METRICS:
            raise ValueError(
                f"metric {name!r} needs the blocks: give the module instead of its hidden states"
            )
    return wanted


def _profile(calls: Sequence[LayerCall], options: _Options) -> LayerProfile:
    with torch.no_grad():
        for index, call in enumerate(calls):
            if not (call.x.isfinite().all() and call.y.isfinite().all()):
                raise ValueError(f"the hidden states at block {index} are not finite")
            _measure_states(call, options)
        if "block_distance" in options.metrics:
            for this, following in pairwise(calls):
                options.add("block_distance", block_distance(this, following, options.normalize))
            options.add("block_distance", torch.nan)
    if "sigma" in options.metrics:
        for call in calls:
            found = sigma_at_points(call, options.n_points, options.generator, options.normalize)
            options.add("sigma", found.max())
            options.add("sigma_median", found.median())
    columns = {name: torch.tensor(values, dtype=torch.float64) for name, values in options.columns.items()}
    return LayerProfile(columns, options.normalize, options.skipped)


def _measure_states(call: LayerCall, options: _Options) -> None:
    """Everything that needs hidden states alone."""
    x, y = call.x, call.y
    if options.normalize == "rms":
        x, y = per_token_rms(x), per_token_rms(y)
    mask = None if options.mask is None else options.mask.to(x.device)
    if mask is not None:
        x, y = x * mask[..., None], y * mask[..., None]
    if "relative_update" in options.metrics:
        norms = x.flatten(1).norm(dim=1)
        options.add("relative_update", ((y - x).flatten(1).norm(dim=1) / norms).mean())
    tokens, images = _tokens(x, mask), _tokens(y, mask)
    if "token_cosine" in options.metrics:
        options.add("token_cosine", nn.functional.cosine_similarity(tokens, images, dim=-1).mean())
    chosen = thin_out(len(tokens), options.generator).to(tokens.device)
    tokens, images = tokens[chosen], images[chosen]
    if "pair_ratio" in options.metrics:
        found = pair_statistics(tokens[:MOST_PAIRED], images[:MOST_PAIRED])
        options.skipped += found.n_skipped
        for name, value in (("max", found.max), ("median", found.median), ("min", found.min)):
            options.add(f"pair_ratio_{name}", value)
    if "covering" in options.metrics:
        for m in (m for m in options.balls if m < len(tokens)):
            before, after = float(covering_radius(tokens, m)), float(covering_radius(images, m))
            options.add(f"cover_{m}", before)
            options.add(f"condensing_{m}", after / before if before > 0 else torch.nan)
    if "effective_rank" in options.metrics:
        options.add("effective_rank", effective_rank(images))


def _tokens(x: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"] | None) -> Float[Tensor, "n d"]:
    return x.flatten(0, 1) if mask is None else x[mask]


def per_token_rms(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Each token divided by its root mean square."""
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-30)


def thin_out(n: int, generator: torch.Generator, most: int = MOST_TOKENS) -> Tensor:
    """Indices of all of n tokens, or of `most` of them drawn at random."""
    return torch.arange(n) if n <= most else torch.randperm(n, generator=generator)[:most]


def effective_rank(x: Float[Tensor, "n d"]) -> float:
    """exp(−Σ p log p) with p_i = s_i² / Σ s² of the centred tokens; between 1 and d.

    Example:
        >>> round(effective_rank(torch.eye(4)[[0, 1, 2, 3]]), 6)  # three equal singular values after centring
        3.0
    """
    squares = torch.linalg.svdvals(x - x.mean(0)).square()
    total = squares.sum()
    if not total > 0:
        return 1.0
    p = squares / total
    return float(torch.exp(-torch.xlogy(p, p).sum()))


def block_distance(this: LayerCall, following: LayerCall, normalize: Normalize = "none") -> float:
    """max over sequences of ‖T_{l+1} x − T_l x‖ / ‖x‖, on the inputs x of block l + 1 (T3's ε between neighbours)."""
    x = following.x
    with torch.no_grad():
        a, b = following.call(x), this.call(x)
    if normalize == "rms":
        a, b, x = per_token_rms(a), per_token_rms(b), per_token_rms(x)
    return float(((a - b).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).max())


def sigma_at_points(
    call: LayerCall, n_points: int, generator: torch.Generator | None = None, normalize: Normalize = "none"
) -> Float[Tensor, "points"]:
    """Largest singular value of the block's Jacobian at the first `n_points` sequences, each on its own.

    With "rms" the map is u -> rms(T(r u)) at u = x / r, with the root mean squares r of the tokens held fixed.
    """
    x = call.x[:n_points]
    if normalize == "rms":
        return torch.cat([_sigma_of_tokens(call.sample(i), generator) for i in range(len(x))])
    if call.depends_on_sample:
        return torch.cat([_sigma(call.sample(i).call, x[i : i + 1], generator) for i in range(len(x))])
    return _sigma(call.call, x, generator)


def _sigma_of_tokens(call: LayerCall, generator: torch.Generator | None) -> Float[Tensor, "1"]:
    scale = call.x.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-30)
    return _sigma(lambda u: per_token_rms(call.call(scale * u)), call.x / scale, generator)


def _sigma(
    fn: Callable[[Tensor], Tensor], x: Float[Tensor, "n s d"], generator: torch.Generator | None
) -> Float[Tensor, "n"]:
    return local_lipschitz(fn, x, generator=generator).lower.detach()
