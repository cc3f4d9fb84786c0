"""One fitted domain: its codes on the canonical domain, and back (§3.6)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gmaplatent.geometry.mesh import Locator, TriMesh

from .interpolate import simplex_weights, vertex_codes


class ClusterLocator:
    """Point location among the triangles of one cluster, so that no answer ever names another.

    Args:
        mesh: whose vertices lie where points are looked for.
    """

    def __init__(self, mesh: TriMesh):
        self._of = {}
        for slot in np.unique(mesh.labels).tolist():
            triangles = mesh.triangles[mesh.labels == slot]
            self._of[slot] = triangles, Locator(mesh.vertices, triangles)

    def __call__(
        self, points: Float[np.ndarray, "q 2"], slots: Int[np.ndarray, "q"]
    ) -> tuple[Int[np.ndarray, "q 3"], Float[np.ndarray, "q 3"]]:
        """The three vertices around each point, and its barycentric coordinates; negative for a point outside."""
        vertices, weights = np.empty((len(points), 3), int), np.empty((len(points), 3))
        for slot in np.unique(slots).tolist():
            ask = slots == slot
            triangles, locator = self._of[slot]
            place = locator.locate(points[ask])
            vertices[ask], weights[ask] = triangles[place.triangle], place.barycentric
        return vertices, weights


class Registration:
    """The piecewise linear bijection between two canonical domains, and its exact inverse.

    Args:
        mesh: of the source, in canonical coordinates.
        image: where its vertices go in the target's canonical domain.
    """

    def __init__(self, mesh: TriMesh, image: Float[np.ndarray, "v 2"]):
        self.mesh, self.image = mesh, image
        self.identity = bool(np.array_equal(mesh.vertices, image))
        if not self.identity:
            self._here, self._there = ClusterLocator(mesh), ClusterLocator(mesh.moved(image))

    def forward(self, uv: Float[np.ndarray, "q 2"], slots: Int[np.ndarray, "q"]) -> Float[np.ndarray, "q 2"]:
        """From the source's canonical domain to the target's."""
        if self.identity:
            return uv
        vertices, weights = self._here(uv, slots)
        return (self.image[vertices] * weights[..., None]).sum(1)

    def backward(self, uv: Float[np.ndarray, "q 2"], slots: Int[np.ndarray, "q"]) -> Float[np.ndarray, "q 2"]:
        """From the target's canonical domain to the source's."""
        if self.identity:
            return uv
        vertices, weights = self._there(uv, slots)
        return (self.mesh.vertices[vertices] * weights[..., None]).sum(1)


@dataclass(frozen=True, eq=False)
class DomainMap:
    """Codes of one domain with their canonical coordinates, and a code for every canonical point.

    Args:
        codes: (n, d), those the mesh was made from.
        slots: (n,), the slot of each code's cluster.
        mesh: in canonical coordinates; `mesh.source` are rows of `codes`.
    """

    codes: Float[np.ndarray, "n d"]
    slots: Int[np.ndarray, "n"]
    mesh: TriMesh

    @cached_property
    def code_uv(self) -> Float[np.ndarray, "n 2"]:
        """Canonical coordinates of the codes."""
        found = np.full((len(self.codes), 2), np.nan)
        own = self.mesh.source >= 0
        found[self.mesh.source[own]] = self.mesh.vertices[own]
        return found

    @cached_property
    def locator(self) -> ClusterLocator:
        """Among canonical triangles."""
        return ClusterLocator(self.mesh)

    @cached_property
    def _everything(self) -> Locator:
        return Locator(self.mesh.vertices, self.mesh.triangles)

    @cached_property
    def _vertex_codes(self) -> dict[int, Float[np.ndarray, "v d"]]:
        return {k: vertex_codes(self.mesh, k, self.codes) for k in np.unique(self.mesh.labels).tolist()}

    def to_uv(
        self, query: Float[np.ndarray, "q d"], slots: Int[np.ndarray, "q"], k: int = 5
    ) -> Float[np.ndarray, "q 2"]:
        """Canonical coordinates of any codes, as convex combinations of the nearest codes of their cluster."""
        found = np.empty((len(query), 2))
        for slot in np.unique(slots):
            ask, own = slots == slot, np.flatnonzero(self.slots == slot)
            rows, weights = simplex_weights(query[ask], self.codes[own], k)
            found[ask] = (self.code_uv[own][rows] * weights[..., None]).sum(1)
        return found

    def to_codes(self, uv: Float[np.ndarray, "q 2"], slots: Int[np.ndarray, "q"]) -> Float[np.ndarray, "q d"]:
        """The code at each canonical point: a convex combination of codes of the given cluster, of no other.

        A point outside the cluster's cell gets the code of a point on its edge.
        """
        vertices, weights = self.locator(uv, slots)
        weights = np.clip(weights, 0, None)
        weights /= weights.sum(1, keepdims=True)
        found = np.empty((len(uv), self.codes.shape[1]))
        for slot in np.unique(slots).tolist():
            ask = slots == slot
            found[ask] = (self._vertex_codes[slot][vertices[ask]] * weights[ask][..., None]).sum(1)
        return found

    def slot_of(self, uv: Float[np.ndarray, "q 2"]) -> tuple[Int[np.ndarray, "q"], Float[np.ndarray, "q"]]:
        """The slot whose cell each canonical point lies in, and the least barycentric coordinate: negative outside."""
        place = self._everything.locate(uv)
        return self.mesh.labels[place.triangle], place.barycentric.min(1)

    def sample(
        self, n: int, slot: int | None, generator: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, "n"]]:
        """Uniform canonical points, in the whole domain or in one cell, with their slots."""
        labels = self.mesh.labels
        chosen = np.arange(len(labels)) if slot is None else np.flatnonzero(labels == slot)
        areas = self.mesh.areas[chosen]
        triangle = generator.choice(chosen, n, p=areas / areas.sum())
        a, b = np.sqrt(generator.uniform(size=n)), generator.uniform(size=n)
        weights = np.stack([1 - a, a * (1 - b), a * b], 1)
        corners = self.mesh.vertices[self.mesh.triangles[triangle]]
        return (corners * weights[..., None]).sum(1), labels[triangle]
