"""Codes outside the training set: weights of nearest codes, and codes of mesh vertices that have none (§3.6, §A.8)."""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from gmaplatent.geometry.laplacian import laplacian
from gmaplatent.geometry.mesh import TriMesh


def simplex_weights(
    query: Float[np.ndarray, "q d"], codes: Float[np.ndarray, "n d"], k: int = 5, ridge: float = 1e-3
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """Convex combinations of the nearest codes that come nearest to the queries.

    Minimises |z − Σ w_j z_j|² + ridge · trace(G)/k · |w|² over w ≥ 0, Σ w = 1, with G the Gram matrix of z_j − z: exactly,
    by looking at every support. A query that is a code gets that code alone.

    Args:
        query: z.
        codes: candidates.
        k: neighbours, at most 8.
        ridge: keeps the weights unique.

    Example:
        >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> rows, weights = simplex_weights(np.array([[0.0, 1.0]]), corners, k=3)
        >>> rows[0, weights[0].argmax()].item(), weights.max().item()
        (2, 1.0)
    """
    k = min(k, len(codes))
    if k > 8:
        raise ValueError(f"k must be at most 8 neighbours, got {k}")
    distance, rows = cKDTree(codes).query(query, k)
    distance, rows = distance.reshape(len(query), k), rows.reshape(len(query), k)
    to = codes[rows] - query[:, None]
    gram = to @ to.transpose(0, 2, 1)
    trace = np.trace(gram, axis1=1, axis2=2)
    gram += (ridge * trace / k)[:, None, None] * np.eye(k)
    gram += 1e-300 * np.eye(k)
    best = np.full(len(query), np.inf)
    weights = np.zeros((len(query), k))
    for size in range(1, k + 1):
        for support in combinations(range(k), size):
            part = gram[:, list(support)][:, :, list(support)]
            w = np.linalg.solve(part / part.max((1, 2), keepdims=True), np.ones((len(query), size, 1)))[
                ..., 0
            ]
            w /= w.sum(1, keepdims=True)
            value = np.einsum("qi,qij,qj->q", w, part, w)
            better = (w >= 0).all(1) & (value < best)
            best[better] = value[better]
            weights[better] = 0
            weights[np.ix_(better, list(support))] = w[better]
    exact = distance[:, 0] <= 1e-12 * max(1.0, float(np.abs(codes).max()))
    weights[exact] = np.eye(k)[0]
    return rows, weights


def vertex_codes(mesh: TriMesh, cluster: int, codes: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "v d"]:
    """A code for every vertex of a cluster's triangles, from codes of that cluster alone.

    Vertices made from a point keep its code; the others, on the outline, take the mean of their neighbours in the
    cluster. So the interpolation is continuous inside a cluster, and never mixes two.

    Args:
        mesh: of the domain.
        cluster: its number.
        codes: of the points the mesh was made from.

    Returns:
        One row for each mesh vertex; NaN for those outside the cluster.
    """
    own = mesh.triangles[mesh.labels == cluster]
    used = np.unique(own)
    known = mesh.source[used] >= 0
    matrix = laplacian(mesh.vertices, own, "uniform")[used][:, used]
    values = np.zeros((len(used), codes.shape[1]))
    values[known] = codes[mesh.source[used][known]]
    if not known.all():
        rows = sparse.csr_array(matrix)[~known]
        solved = splu(rows[:, ~known].tocsc()).solve(-(rows[:, known] @ values[known]))
        values[~known] = solved
    result = np.full((len(mesh.vertices), codes.shape[1]), np.nan)
    result[used] = values
    return result
