"""Optimal transport of codes: exact without labels (i), with class penalties (ii), guided by keypoints (iii).

A plan says where the training codes go: to the mean of the target codes that get their mass (barycentric projection).
Other codes follow the nearest training code. With `extension="nearest"` they go where it goes; with "displacement" they
keep their distance to it, the rule of POT (Ferradans et al.). The first is the default, because the axes of two
autoencoders trained apart have nothing to do with each other, and a difference of codes means nothing on the other side.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from .interface import Baseline, Problem, subsample

Codes = Float[np.ndarray, "n d"]
Labels = Shaped[np.ndarray, "n"]
Extension = Literal["nearest", "displacement"]


@dataclass(frozen=True)
class PlainOT(Baseline):
    """(i) Exact optimal transport of the raw codes, squared distance, no labels; then the barycentric projection.

    Args:
        extension: to codes that are not in the plan, "nearest" or "displacement".
        max_points: random codes of each domain in the plan; its cost grows with their square. None takes all.
        seed: of that subsample.

    Example:
        >>> source = np.array([[0.0], [1.0]])
        >>> PlainOT().translate(source, [0, 1], source + 5, [0, 1], [[0.1]]).tolist()
        [[5.0]]
    """

    extension: Extension = "nearest"
    max_points: int | None = 2_000
    seed: int = 0

    def solve(self, problem: Problem) -> Float[np.ndarray, "q d"]:
        """Labels are not used."""
        ot = _pot()
        problem.require_one_dimension("plain optimal transport")
        generator = np.random.default_rng(self.seed)
        source = problem.source[subsample(len(problem.source), self.max_points, generator)]
        target = problem.target[subsample(len(problem.target), self.max_points, generator)]
        cost = cdist(source, target, "sqeuclidean")
        plan = ot.emd(_uniform(source), _uniform(target), cost, numItermax=10_000_000)
        return _extended(source, _barycentric(plan, target), problem.query, self.extension)


@dataclass(frozen=True)
class SinkhornL1L2(Baseline):
    """(ii) Entropic transport with a group penalty that keeps source classes together; target labels are not used.

    POT's `SinkhornL1l2Transport` on costs divided by their largest.

    Args:
        reg: entropic regularisation.
        reg_classes: weight of the ℓ1ℓ2 penalty.
        iterations: of the outer loop, each of which is a Sinkhorn problem.
        extension, max_points, seed: as `PlainOT`.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(20, 2))
        >>> labels = np.repeat([0, 1], 10)
        >>> SinkhornL1L2().translate(codes, labels, codes + 1, labels, codes[:3]).shape
        (3, 2)
    """

    reg: float = 0.02
    reg_classes: float = 0.1
    iterations: int = 5
    extension: Extension = "nearest"
    max_points: int | None = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reg <= 0 or self.reg_classes < 0 or self.iterations < 1:
            raise ValueError(
                "reg must be above 0, reg_classes at least 0 and iterations at least 1, got "
                f"{self.reg}, {self.reg_classes} and {self.iterations}"
            )

    def solve(self, problem: Problem) -> Float[np.ndarray, "q d"]:
        """The target's labels are not used.

        Raises:
            ValueError: also if `reg` is so small that more than 1 % of the mass does not arrive.
        """
        ot = _pot()
        problem.require_one_dimension("class-regularised transport")
        generator = np.random.default_rng(self.seed)
        rows = subsample(len(problem.source), self.max_points, generator)
        source, labels = problem.source[rows], np.unique(problem.labels_src[rows], return_inverse=True)[1]
        target = problem.target[subsample(len(problem.target), self.max_points, generator)]
        solver = ot.da.SinkhornL1l2Transport(
            reg_e=self.reg, reg_cl=self.reg_classes, norm="max", max_iter=self.iterations, max_inner_iter=500
        )
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # POT asks for masses to 1e-9 and warns of less; what is wanted here is checked below.
            warnings.filterwarnings("ignore", "Sinkhorn did not converge|Warning: numerical errors")
            plan = solver.fit(Xs=source, ys=labels, Xt=target).coupling_
        off = float(np.abs(plan.sum(0) - 1 / len(target)).sum())
        if not off <= 0.01:  # written so that NaN fails
            raise ValueError(
                f"reg is {self.reg}, too small for these codes: {off:.2g} of the mass is off the target's; raise it"
            )
        return _extended(source, _barycentric(plan, target), problem.query, self.extension)


@dataclass(frozen=True)
class KeypointGuidedOT(Baseline):
    """(iii) Transport that must match K pairs of keypoints, and relations to them elsewhere (KPG-RL).

    The keypoints are the medoids of the clusters. With the costs C divided by their largest,

        r_i = softmax_u(-C(x_i, x_u) / τ) over the keypoints u,     G_ij = JS(r_i^src, r_j^tgt)
        minimise ⟨α C + (1 - α) G, M ⊙ π⟩,  M = 0 on the rows and columns of keypoints except at their pairs.

    Args:
        alpha: weight of the distance between codes; 0 needs no common dimension.
        temperature: τ, 0.1 in the related work.
        extension, max_points, seed: as `PlainOT`; the keypoints are always in the plan.

    Example:
        >>> source = np.array([[0.0], [0.2], [0.4], [5.0], [5.2], [5.4]])
        >>> moved = KeypointGuidedOT().translate(source, [0] * 3 + [1] * 3, -source, [0] * 3 + [1] * 3, source)
        >>> bool((np.abs(moved + source) < 0.5).all())
        True
    """

    alpha: float = 0.0
    temperature: float = 0.1
    extension: Extension = "nearest"
    max_points: int | None = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or self.temperature <= 0:
            raise ValueError(
                f"alpha must be in [0, 1] and temperature above 0, got {self.alpha} and {self.temperature}"
            )

    def solve(self, problem: Problem) -> Float[np.ndarray, "q d"]:
        """Of the labels, those that say where the keypoints are."""
        if self.alpha > 0:
            problem.require_one_dimension("keypoint-guided transport with alpha > 0")
        generator = np.random.default_rng(self.seed)
        source, keys_src = self._chosen(problem.source, problem.labels_src, generator)
        target, keys_tgt = self._chosen(problem.target, problem.labels_tgt, generator)
        plan = self.plan(source, keys_src, target, keys_tgt)
        return _extended(source, _barycentric(plan, target), problem.query, self.extension)

    def plan(
        self, source: Codes, keys_src: Int[np.ndarray, "k"], target: Codes, keys_tgt: Int[np.ndarray, "k"]
    ) -> Float[np.ndarray, "n m"]:
        """The transport plan; row keys_src[u] has mass in column keys_tgt[u] alone, and the other way round."""
        ot = _pot()
        first, second = (
            self._relations(codes, keys) for codes, keys in ((source, keys_src), (target, keys_tgt))
        )
        cost = (1 - self.alpha) * _jensen_shannon(first, second)
        if self.alpha > 0:
            distances = cdist(source, target, "sqeuclidean")
            cost += self.alpha * distances / max(distances.max(), np.finfo(float).tiny)
        # Keypoints get one mass in both domains, whatever the sizes: otherwise no plan could obey the mask.
        mass = 1 / max(len(source), len(target))
        plan = np.zeros(cost.shape)
        plan[keys_src, keys_tgt] = mass
        free_src = np.setdiff1d(np.arange(len(source)), keys_src)
        free_tgt = np.setdiff1d(np.arange(len(target)), keys_tgt)
        if len(free_src) and not len(free_tgt):
            raise ValueError(
                f"the target has no codes besides its {len(keys_tgt)} keypoints; give at least one more"
            )
        if len(free_src):
            left = 1 - mass * len(keys_src)
            weights = [np.full(len(free), left / len(free)) for free in (free_src, free_tgt)]
            block = ot.emd(*weights, cost[np.ix_(free_src, free_tgt)], numItermax=10_000_000)
            plan[np.ix_(free_src, free_tgt)] = block
        return plan

    def _chosen(
        self, codes: Codes, labels: Labels, generator: np.random.Generator
    ) -> tuple[Codes, Int[np.ndarray, "k"]]:
        """A subsample with the keypoints first."""
        keys = _medoids(codes, labels)
        others = np.setdiff1d(subsample(len(codes), self.max_points, generator), keys)
        return codes[np.concatenate([keys, others])], np.arange(len(keys))

    def _relations(self, codes: Codes, keys: Int[np.ndarray, "k"]) -> Float[np.ndarray, "n k"]:
        distances = cdist(codes, codes[keys], "sqeuclidean")
        scores = -distances / (max(distances.max(), np.finfo(float).tiny) * self.temperature)
        scores -= scores.max(1, keepdims=True)
        weights = np.exp(scores)
        return weights / weights.sum(1, keepdims=True)


def _pot() -> Any:
    try:
        with warnings.catch_warnings():
            # Docstrings of POT 0.9 have backslashes that Python warns about when it compiles them, the first time.
            warnings.filterwarnings("ignore", "invalid escape sequence")
            import ot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the transport baselines need POT: install gmaplatent[train]", name=error.name
        ) from error
    return ot


def _uniform(codes: Codes) -> Float[np.ndarray, "n"]:
    return np.full(len(codes), 1 / len(codes))


def _barycentric(plan: Float[np.ndarray, "n m"], target: Codes) -> Codes:
    """Where each source code's mass goes on average."""
    return plan @ target / plan.sum(1, keepdims=True)


def _extended(source: Codes, images: Codes, query: Codes, extension: Extension) -> Codes:
    """Where the query goes if the source codes go to `images`."""
    if extension not in ("nearest", "displacement"):
        raise ValueError(f"extension must be 'nearest' or 'displacement', got {extension!r}")
    nearest = cKDTree(source).query(query)[1]
    if extension == "nearest":
        return images[nearest]
    if source.shape[1] != images.shape[1]:
        raise ValueError(
            f"extension='displacement' needs codes of one dimension, got {source.shape[1]} and {images.shape[1]}"
        )
    return query + images[nearest] - source[nearest]


def _medoids(codes: Codes, labels: Labels) -> Int[np.ndarray, "k"]:
    """Row of the code nearest to the mean of each cluster, in the order of the labels."""
    found = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        found.append(rows[np.square(codes[rows] - codes[rows].mean(0)).sum(1).argmin()])
    return np.array(found)


def _jensen_shannon(p: Float[np.ndarray, "n k"], q: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "n m"]:
    """Jensen–Shannon divergence of every row of p with every row of q, in nats; cluster by cluster to save memory."""
    total = np.zeros((len(p), len(q)))
    for ours, theirs in zip(p.T, q.T, strict=True):
        a, b = ours[:, None], theirs[None, :]
        middle = (a + b) / 2
        total += rel_entr(a, middle) + rel_entr(b, middle)
    return total / 2
