"""What a deep stack keeps of its input, and why Lip(T) = 1 is the critical value (T6 of §3.2, §7.4).

    z ← tanh(λ Q_l z + b_l),  l = 1 … P,      b_l ~ N(0, σ_b²),   Q_l orthogonal, or with entries N(0, 1/d)

Below the edge every input ends at one point, above it neighbours are torn apart. Two measures: the mean distance of states
over that of the inputs, and the accuracy of a linear probe that sees the states through noise. The noise floor is needed:
a shrunken copy of the input is invertible, and a probe without noise would not notice that anything is lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .arguments import check_above_zero, check_choice, check_finite, check_positive
from .blocks import GroupSort2

NOISE = 0.02
"""Standard deviation of the noise that the probe sees the states through."""

BIAS_STD = 0.05

Weights = Literal["orthogonal", "iid"]


def random_weights(
    count: int, d: int, weights: Weights = "orthogonal", generator: torch.Generator | None = None
) -> Float[Tensor, "count d d"]:
    """Independent square matrices of unit gain, in float64.

    Args:
        count: how many.
        d: width.
        weights: "orthogonal" draws from the Haar measure, "iid" entries from N(0, 1/d). A product of many of the latter
            keeps few directions, whatever their gain: their singular values spread exponentially.
        generator: of the draws.

    Example:
        >>> q = random_weights(3, 4)
        >>> torch.allclose(q @ q.mT, torch.eye(4, dtype=q.dtype).expand(3, 4, 4))
        True
    """
    check_positive(count=count, d=d)
    check_choice("weights", weights, ("orthogonal", "iid"))
    gaussian = torch.randn(count, d, d, generator=generator, dtype=torch.float64)
    if weights == "iid":
        return gaussian / d**0.5
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]


def tanh_states(
    x: Float[Tensor, "n d"],
    gain: float,
    depths: Sequence[int],
    *,
    bias_std: float = BIAS_STD,
    weights: Weights = "orthogonal",
    generator: torch.Generator | None = None,
) -> dict[int, Float[Tensor, "n d"]]:
    """States of a random tanh network at some depths.

    Args:
        x: inputs, of the dtype everything is computed in.
        gain: λ, above 0.
        depths: numbers of blocks, each at least 1.
        bias_std: σ_b.
        weights: see `random_weights`.
        generator: draws weights and biases.

    Example:
        >>> states = tanh_states(torch.randn(5, 8), gain=0.5, depths=(1, 20), bias_std=0.0)
        >>> bool(states[20].norm() < 1e-4 * states[1].norm())
        True
    """
    check_above_zero(gain=gain)
    check_finite("x", x)
    if not depths:
        raise ValueError("depths is empty: give at least one number of blocks")
    check_positive(**{f"depths[{i}]": depth for i, depth in enumerate(depths)})
    d, n_blocks = x.shape[-1], max(depths)
    matrices = (gain * random_weights(n_blocks, d, weights, generator)).to(x)
    biases = (bias_std * torch.randn(n_blocks, d, generator=generator, dtype=torch.float64)).to(x)
    kept = dict[int, Tensor]()
    for p in range(n_blocks):
        x = torch.tanh(torch.addmm(biases[p], x, matrices[p].mT))
        if p + 1 in depths:
            kept[p + 1] = x
    return kept


def pair_retention(x: Float[Tensor, "n ..."], states: Float[Tensor, "n ..."]) -> float:
    """Mean distance of the states over the mean distance of the inputs, over all pairs (T6).

    Example:
        >>> x = torch.randn(5, 3)
        >>> round(pair_retention(x, 0.5 * x), 6)
        0.5
    """
    before = torch.pdist(x.flatten(1)).mean()
    if not before > 0:
        raise ValueError("all samples of x coincide: retention compares different samples")
    return float(torch.pdist(states.flatten(1)).mean() / before)


def probe_accuracy(
    states: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    noise: float = NOISE,
    ridge: float = 1.0,
    generator: torch.Generator | None = None,
) -> float:
    """Accuracy on every fifth sample of a ridge classifier trained on the others, all states seen through noise.

    Args:
        states: what is probed.
        labels: classes, from 0 on.
        noise: standard deviation of what is added to every entry.
        ridge: penalty of the squared weights, against the summed squared errors; the intercept is free.
        generator: draws the noise.

    Example:
        >>> labels = torch.arange(100) % 2
        >>> probe_accuracy(F.one_hot(labels).float(), labels)
        1.0
    """
    check_above_zero(ridge=ridge)
    check_finite("states", states)
    noisy = states.double()
    noisy = noisy + noise * torch.randn(noisy.shape, generator=generator, dtype=torch.float64)
    test = torch.arange(len(noisy)) % 5 == 0
    targets = F.one_hot(labels).double()
    centre, mean = noisy[~test].mean(0), targets[~test].mean(0)
    a, b = noisy[~test] - centre, targets[~test] - mean
    gram = a.mT @ a + ridge * torch.eye(a.shape[1], dtype=torch.float64)
    scores = (noisy[test] - centre) @ torch.linalg.solve(gram, a.mT @ b) + mean
    return float((scores.argmax(1) == labels[test]).double().mean())


@dataclass(frozen=True)
class RetentionTable:
    """Probe accuracy and pair retention of random networks, mean over several draws.

    Args:
        gains: λ of the rows.
        depths: numbers of blocks of the columns.
        accuracy: of the probe on the digits.
        spread: standard deviation of the accuracy over the draws.
        retention: mean distance of states over that of inputs.
    """

    gains: tuple[float, ...]
    depths: tuple[int, ...]
    accuracy: Float[Tensor, "gains depths"]
    spread: Float[Tensor, "gains depths"]
    retention: Float[Tensor, "gains depths"]

    def at(self, gain: float, depth: int) -> float:
        """Mean accuracy of one cell."""
        return float(self.accuracy[self.gains.index(gain), self.depths.index(depth)])

    def best_gain(self, depth: int) -> float:
        """Gain of the highest mean accuracy at a depth."""
        return self.gains[int(self.accuracy[:, self.depths.index(depth)].argmax())]


def digits_retention(
    gains: Sequence[float],
    depths: Sequence[int],
    seeds: Sequence[int] = (0, 1, 2),
    *,
    bias_std: float = BIAS_STD,
    weights: Weights = "orthogonal",
    noise: float = NOISE,
) -> RetentionTable:
    """The experiment on scikit-learn's digits: 64 pixels, standardised one by one, through random tanh networks.

    Networks of one seed share weights and biases up to their gain, so that gains are compared on the same draw.

    Args:
        gains: λ.
        depths: numbers of blocks at which the states are probed.
        seeds: one draw of all networks each.
        bias_std, weights: of the networks, see `tanh_states`.
        noise: of the probe.
    """
    if not gains or not seeds:
        raise ValueError("gains and seeds must hold at least one value each")
    x, labels = digits()
    found = torch.tensor(
        [
            list(_row(x, labels, gain, depths, seed, bias_std, weights, noise))
            for gain in gains
            for seed in seeds
        ],
        dtype=torch.float64,
    ).reshape(len(gains), len(seeds), len(depths), 2)
    accuracy, retention = found.unbind(-1)
    spread = accuracy.std(1) if len(seeds) > 1 else torch.zeros_like(accuracy[:, 0])
    return RetentionTable(tuple(gains), tuple(depths), accuracy.mean(1), spread, retention.mean(1))


def _row(
    x: Tensor,
    labels: Tensor,
    gain: float,
    depths: Sequence[int],
    seed: int,
    bias_std: float,
    weights: Weights,
    noise: float,
) -> Iterator[tuple[float, float]]:
    generator = torch.Generator().manual_seed(seed)
    states = tanh_states(x, gain, depths, bias_std=bias_std, weights=weights, generator=generator)
    for depth in depths:
        accuracy = probe_accuracy(states[depth], labels, noise=noise, generator=generator)
        yield accuracy, pair_retention(x[:256], states[depth][:256])


def digits() -> tuple[Float[Tensor, "1797 64"], Int[Tensor, "1797"]]:
    """The digits, each pixel with mean 0 and variance 1 (constant ones are 0), in float32."""
    from tenfold.data import load_digits

    images, labels = load_digits()
    x = torch.from_numpy(images).flatten(1)
    return (x - x.mean(0)) / x.std(0).clamp(min=1e-6), torch.from_numpy(labels)


@dataclass(frozen=True)
class Isometry:
    """A stack whose Jacobian is orthogonal: what it does locally, and to pairs.

    Args:
        n_blocks: depth.
        largest_deviation: of the singular values of the Jacobian from 1.
        pair_max, pair_mean: ratios ‖A x − A y‖ / ‖x − y‖ over pairs.
    """

    n_blocks: int
    largest_deviation: float
    pair_max: float
    pair_mean: float


def groupsort_isometry(
    d: int = 64, depths: Sequence[int] = (1, 8, 64, 512), n: int = 64, n_jacobians: int = 4, seed: int = 0
) -> list[Isometry]:
    """Orthogonal matrices with GroupSort2 between them: an isometry almost everywhere, yet distant points meet (§7.4).

    Args:
        d: width, even.
        depths: numbers of blocks.
        n: standard normal inputs.
        n_jacobians: of them at which the Jacobian is formed.
        seed: of weights and inputs.

    Example:
        >>> shallow, deep = groupsort_isometry(8, depths=(1, 64), n=16)
        >>> deep.largest_deviation < 1e-10, deep.pair_mean < shallow.pair_mean
        (True, True)
    """
    check_positive(d=d, n=n, n_jacobians=n_jacobians)
    generator = torch.Generator().manual_seed(seed)
    matrices = random_weights(max(depths), d, generator=generator)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    sort = GroupSort2()
    state, before = x, torch.pdist(x)
    jacobian = torch.eye(d, dtype=torch.float64).expand(n_jacobians, d, d)
    found = []
    for p, matrix in enumerate(matrices):
        pre = state @ matrix.mT
        swapped = (pre[:n_jacobians, 0::2] > pre[:n_jacobians, 1::2]).repeat_interleave(2, 1)
        rows = matrix @ jacobian
        exchanged = rows.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)
        jacobian = torch.where(swapped[..., None], exchanged, rows)
        state = sort(pre)
        if p + 1 in depths:
            ratios = torch.pdist(state) / before
            deviation = float((torch.linalg.svdvals(jacobian) - 1).abs().max())
            found.append(Isometry(p + 1, deviation, float(ratios.max()), float(ratios.mean())))
    return found
