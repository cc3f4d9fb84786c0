"""`GMapLatent`: two latent spaces with the same clusters, aligned cluster by cluster (§3)."""

import os
import time
import warnings
from dataclasses import fields
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.validation import check_is_fitted

from gmaplatent.geometry.harmonic import BijectivityError
from gmaplatent.geometry.laplacian import Weights
from gmaplatent.geometry.mesh import DisconnectedClusterError
from gmaplatent.geometry.semidiscrete import NotConvergedError

from .canonical import Interface
from .correspondence import matched_classes, numbered, validated_codes, validated_labels
from .domain import DomainMap, Registration
from .fitting import (
    CanonicalShape,
    Fitted,
    Options,
    Prepared,
    figures_of,
    lay_out,
    map_domain,
    merge_domain,
    require_planar,
)
from .layout import Layout, LayoutFunction
from .merge import Mass, Method
from .register import ClusterGraphMismatch, register, require_same_graph
from .saving import read, write
from .translate import slot_order

Domain = Literal["src", "tgt"]
Merge = Literal["auto", "global", "hierarchical", "assignment"]
Direction = Literal["src->tgt", "tgt->src"]


class GMapLatent(BaseEstimator):
    """Align two latent spaces by geometric mapping; nothing is trained.

    Every domain's codes are laid out in the plane, their clusters moved apart, the gaps closed by optimal transport, and
    the clusters mapped to convex cells by a constrained harmonic map. Cells with the same slot are registered by a
    bijection, so that no code is ever translated into another cluster, nor into a mixture of two.

    Args:
        layout: of codes with more than two dimensions: "umap", "tsne", "pca", "identity", a function; "auto" is the
            identity in two dimensions, else UMAP.
        merge: "global" is one transport problem and needs clusters that meet alike in both domains; "hierarchical"
            always works; "assignment" is a fast approximation up to 5,000 points; "auto" tries "global" first.
        canonical: "disk", "polygon" (regular, a side for every cluster), or "own": each domain keeps its merged cells,
            and the registration does the work.
        weights: of the harmonic maps: "cotan", "delaunay", "mean_value", "uniform".
        mass: "equal" gives every cluster the same area, "sample" every point.
        interface: "pinned", or "sliding" along the straight interfaces.
        margin: free space between the slots, as a share of their size.
        n_arc: boundary vertices of each cluster.
        max_per_cluster: codes of each cluster that make the mesh; None takes all.
        n_neighbors: of a code that is not in the mesh, at most 8.
        n_votes: neighbours that vote on the cluster of a code without a label.
        random_state: of the subsample, the layout and `sample`.

    Attributes:
        classes_src_, classes_tgt_: labels in the order of the slots.
        merge_: the method that was used.
        merge_reason_: why "auto" did not use "global"; empty if it did, or was not asked to.
        src_, tgt_: the fitted domains.
        registration_: between their canonical domains.
        stages_: both domains after every step, for pictures; not saved.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = np.repeat([0, 1, 2], 40)
        >>> source = 4 * np.eye(3)[y][:, :2] + 0.3 * rng.normal(size=(120, 2))
        >>> target = -3 * np.eye(3)[y][:, 1:] + 0.3 * rng.normal(size=(120, 2))
        >>> model = GMapLatent().fit(source, y, target, y)
        >>> model.report()["src"]["flips"]
        0
        >>> model.transform(source, y).shape
        (120, 2)
    """

    classes_src_: Shaped[np.ndarray, "k"]
    classes_tgt_: Shaped[np.ndarray, "k"]
    src_: DomainMap
    tgt_: DomainMap
    registration_: Registration
    stages_: tuple[Fitted, Fitted]

    def __init__(
        self,
        *,
        layout: Layout | LayoutFunction = "auto",
        merge: Merge = "auto",
        canonical: CanonicalShape = "disk",
        weights: Weights = "cotan",
        mass: Mass = "equal",
        interface: Interface = "pinned",
        margin: float = 0.1,
        n_arc: int = 24,
        max_per_cluster: int | None = 300,
        n_neighbors: int = 5,
        n_votes: int = 15,
        random_state: int = 0,
    ):
        self.layout = layout
        self.merge = merge
        self.canonical = canonical
        self.weights = weights
        self.mass = mass
        self.interface = interface
        self.margin = margin
        self.n_arc = n_arc
        self.max_per_cluster = max_per_cluster
        self.n_neighbors = n_neighbors
        self.n_votes = n_votes
        self.random_state = random_state

    # --- fitting -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        codes_src: ArrayLike,
        labels_src: ArrayLike,
        codes_tgt: ArrayLike,
        labels_tgt: ArrayLike,
        correspondence: dict[Any, Any] | None = None,
        landmarks: ArrayLike | None = None,
    ) -> Self:
        """Align two sets of labelled codes.

        Args:
            codes_src: (n, d), finite.
            labels_src: (n,), anything that sorts.
            codes_tgt: (m, d'), finite; the dimensions may differ.
            labels_tgt: (m,).
            correspondence: source label -> target label; the same label by default.
            landmarks: (l, 2), pairs of a source row and a target row of the same cluster that must meet exactly; both
                must be in the mesh (max_per_cluster=None takes all rows).

        Raises:
            ValueError: for shapes that do not fit, numbers that are not finite, labels without a partner, fewer than
                three points in a cluster, clusters on a line, or landmarks that cannot be.
            ClusterGraphMismatch: with merge="global" or "assignment", if the clusters meet differently.
            DisconnectedClusterError: with these, if a merged region is in pieces.
            NotConvergedError: if the masses of the transport stay off.
            BijectivityError: if a triangle stays flipped.
        """
        options = self._options()
        source, target = validated_codes(codes_src, "codes_src"), validated_codes(codes_tgt, "codes_tgt")
        names_src = validated_labels(labels_src, len(source), "labels_src")
        names_tgt = validated_labels(labels_tgt, len(target), "labels_tgt")
        ours, theirs = matched_classes(names_src, names_tgt, correspondence)
        clusters = numbered(names_src, ours, "labels_src"), numbered(names_tgt, theirs, "labels_tgt")
        laid = lay_out(source, clusters[0], options)
        order = slot_order(np.stack([laid.layout[laid.slots == k].mean(0) for k in range(len(ours))]))
        slot = np.argsort(order)
        self.classes_src_, self.classes_tgt_ = ours[order], theirs[order]
        prepared = laid.renumbered(slot), lay_out(target, slot[clusters[1]], options)
        for domain, classes in zip(prepared, (self.classes_src_, self.classes_tgt_), strict=True):
            require_planar(domain, [repr(label) for label in classes.tolist()])
        self.stages_ = self._merge(prepared, options)
        first, second = self.stages_
        self.src_, self.tgt_ = (
            DomainMap(stage.prepared.codes, stage.prepared.slots, stage.canonical.image)
            for stage in self.stages_
        )
        started = time.perf_counter()
        pairs = None if landmarks is None else self._landmarks(landmarks, prepared)
        image = register(first.canonical, second.canonical, pairs, self.weights)
        self.registration_ = Registration(self.src_.mesh, image)
        self._register_seconds = time.perf_counter() - started
        self._voters = tuple(
            _voter(codes, slot[k], self.n_votes) for codes, k in zip((source, target), clusters, strict=True)
        )
        self._report = self._figures()
        return self

    def _options(self) -> Options:
        if self.merge not in ("auto", "global", "hierarchical", "assignment"):
            raise ValueError(
                f"merge must be one of auto, global, hierarchical, assignment, got {self.merge!r}"
            )
        if self.canonical not in ("disk", "polygon", "own"):
            raise ValueError(f"canonical must be one of disk, polygon, own, got {self.canonical!r}")
        for name, least in (("n_arc", 3), ("n_neighbors", 1), ("n_votes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.margin < 0:
            raise ValueError(f"margin must be at least 0, got {self.margin}")
        shared = {field.name for field in fields(Options)} & set(self.get_params(deep=False))
        return Options(**{name: getattr(self, name) for name in shared})

    def _merge(self, prepared: tuple[Prepared, Prepared], options: Options) -> tuple[Fitted, Fitted]:
        """Both domains by the method that was asked for; "auto" says why it does not take "global"."""
        self.merge_reason_ = ""
        if self.merge != "auto":
            return self._by(self.merge, prepared, options)
        if self.canonical == "own":
            self.merge_reason_ = "canonical='own' needs convex cells"
            return self._by("hierarchical", prepared, options)
        try:
            return self._by("global", prepared, options)
        except (DisconnectedClusterError, ClusterGraphMismatch, NotConvergedError, BijectivityError) as error:
            self.merge_reason_ = str(error)
            return self._by("hierarchical", prepared, options)

    def _by(
        self, method: Method, prepared: tuple[Prepared, Prepared], options: Options
    ) -> tuple[Fitted, Fitted]:
        n_clusters = len(self.classes_src_)
        source, target = (merge_domain(domain, n_clusters, method, options) for domain in prepared)
        require_same_graph(source.graph, target.graph)
        self.merge_ = method
        return map_domain(source, options), map_domain(target, options)

    def _landmarks(
        self, landmarks: ArrayLike, prepared: tuple[Prepared, Prepared]
    ) -> tuple[Int[np.ndarray, "l"], Float[np.ndarray, "l 2"]]:
        """Vertices of the source mesh and where they have to go."""
        pairs = np.asarray(landmarks, dtype=np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise ValueError(f"landmarks must have shape (l, 2), got {pairs.shape}")
        found = []
        for column, (domain, name) in enumerate(zip(prepared, ("source", "target"), strict=True)):
            lost = np.setdiff1d(pairs[:, column], domain.rows)
            if len(lost):
                raise ValueError(
                    f"landmarks name {name} rows that are not in the mesh: {lost[:5].tolist()}; raise max_per_cluster"
                )
            found.append(np.searchsorted(domain.rows, pairs[:, column]))
        (ours, theirs), (source, target) = found, prepared
        apart = source.slots[ours] != target.slots[theirs]
        if apart.any():
            raise ValueError(f"landmarks must pair codes of one cluster; pair {int(apart.argmax())} does not")
        vertex = {row: v for v, row in enumerate(self.src_.mesh.source.tolist()) if row >= 0}
        return np.array([vertex[row] for row in ours.tolist()]), self.tgt_.code_uv[theirs]

    def _figures(self) -> dict[str, Any]:
        source, target = (figures_of(stage) for stage in self.stages_)
        graphs = [stage.canonical.graph.signature for stage in self.stages_]
        return {
            "merge": self.merge_,
            "merge_reason": self.merge_reason_,
            "same_graph": graphs[0] == graphs[1],
            "registration": "identity" if self.registration_.identity else "harmonic",
            "seconds_registration": self._register_seconds,
            "src": source,
            "tgt": target,
        }

    # --- use -----------------------------------------------------------------------------------------------------------

    def transform(
        self, codes: ArrayLike, labels: ArrayLike | None = None, direction: Direction = "src->tgt"
    ) -> Float[np.ndarray, "q d"]:
        """Translate codes into the other domain, each into its own cluster.

        Args:
            codes: (q, d).
            labels: of their domain; None lets the `n_votes` nearest training codes vote.
            direction: "src->tgt" or "tgt->src".

        Raises:
            ValueError: for another dimension than fitted, numbers that are not finite, labels that were not fitted.
        """
        if direction not in ("src->tgt", "tgt->src"):
            raise ValueError(f"direction must be 'src->tgt' or 'tgt->src', got {direction!r}")
        start, end = ("src", "tgt") if direction == "src->tgt" else ("tgt", "src")
        uv, slots = self._placed(codes, labels, start)  # type: ignore[arg-type]
        moved = (
            self.registration_.forward(uv, slots)
            if start == "src"
            else self.registration_.backward(uv, slots)
        )
        return self._side(end).to_codes(moved, slots)  # type: ignore[arg-type]

    def to_canonical(
        self, codes: ArrayLike, labels: ArrayLike | None = None, domain: Domain = "src"
    ) -> Float[np.ndarray, "q 2"]:
        """Canonical coordinates of codes, in the cell of their cluster."""
        return self._placed(codes, labels, domain)[0]

    def from_canonical(self, uv: ArrayLike, domain: Domain = "tgt") -> Float[np.ndarray, "q d"]:
        """Codes at canonical points; points outside are moved to the edge, with a warning."""
        side = self._side(domain)
        points = validated_codes(uv, "uv", 2)
        slots, least = side.slot_of(points)
        # The rim is a polygon; points on the circle it stands for are not called outside.
        outside = int((least < -0.05).sum())
        if outside:
            warnings.warn(
                f"{outside} points lie outside the canonical domain; they were moved to its edge",
                stacklevel=2,
            )
        return side.to_codes(points, slots)

    def predict(self, codes: ArrayLike, domain: Domain = "src") -> Shaped[np.ndarray, "q"]:
        """Labels of codes by the vote of the nearest training codes."""
        side = self._side(domain)
        found = self._voters[domain == "tgt"].predict(validated_codes(codes, "codes", side.codes.shape[1]))
        return self._classes(domain)[found]

    def sample(
        self, n: int, domain: Domain = "tgt", cluster: Any = None, random_state: int | None = None
    ) -> tuple[Float[np.ndarray, "n d"], Shaped[np.ndarray, "n"]]:
        """New codes from uniform canonical points, with their labels.

        Args:
            n: how many.
            domain: of the codes.
            cluster: a label of that domain; None samples all.
            random_state: of the points; the estimator's by default.
        """
        side, classes = self._side(domain), self._classes(domain)
        slot = None if cluster is None else int(numbered(np.array([cluster]), classes, "cluster")[0])
        generator = np.random.default_rng(self.random_state if random_state is None else random_state)
        uv, slots = side.sample(n, slot, generator)
        return side.to_codes(uv, slots), classes[slots]

    def map_curve(
        self, path: ArrayLike
    ) -> tuple[Float[np.ndarray, "t d"], Float[np.ndarray, "t e"], Shaped[np.ndarray, "t"]]:
        """A curve in the source's canonical domain as a curve of codes in both domains.

        Args:
            path: (t, 2), canonical points of the source.

        Returns:
            Source codes, target codes, source labels.
        """
        check_is_fitted(self, "src_")
        points = validated_codes(path, "path", 2)
        slots = self.src_.slot_of(points)[0]
        there = self.registration_.forward(points, slots)
        return self.src_.to_codes(points, slots), self.tgt_.to_codes(there, slots), self.classes_src_[slots]

    def report(self) -> dict[str, Any]:
        """Flips, areas, mass errors, distortion, method and timings of the fit."""
        check_is_fitted(self, "src_")
        return self._report

    # --- files ---------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `transform` needs into one .npz file, without pickle.

        Raises:
            ValueError: if `layout` is a function, or labels are neither numbers nor strings.
        """
        check_is_fitted(self, "src_")
        write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GMapLatent":
        """Read a file of `save`.

        Raises:
            ValueError: if it is no such file.
        """
        return read(cls, path)

    # --- inside --------------------------------------------------------------------------------------------------------

    def _side(self, domain: Domain) -> DomainMap:
        check_is_fitted(self, "src_")
        if domain not in ("src", "tgt"):
            raise ValueError(f"domain must be 'src' or 'tgt', got {domain!r}")
        return self.src_ if domain == "src" else self.tgt_

    def _classes(self, domain: Domain) -> Shaped[np.ndarray, "k"]:
        return self.classes_src_ if domain == "src" else self.classes_tgt_

    def _placed(
        self, codes: ArrayLike, labels: ArrayLike | None, domain: Domain
    ) -> tuple[Float[np.ndarray, "q 2"], Int[np.ndarray, "q"]]:
        side = self._side(domain)
        query = validated_codes(codes, "codes", side.codes.shape[1])
        if labels is None:
            slots = self._voters[domain == "tgt"].predict(query)
        else:
            names = validated_labels(labels, len(query), "labels")
            slots = numbered(names, self._classes(domain), "labels")
        return side.to_uv(query, slots, self.n_neighbors), slots


def _voter(codes: Float[np.ndarray, "n d"], slots: Int[np.ndarray, "n"], k: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(min(k, len(codes))).fit(codes, slots)
