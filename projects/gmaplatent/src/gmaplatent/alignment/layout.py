"""Planar layouts of codes: proxies that say which codes are neighbours (§3.0)."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Layout = Literal["auto", "identity", "umap", "tsne", "pca"]
LayoutFunction = Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n 2"]]


def planar_layout(
    codes: Float[np.ndarray, "n d"], layout: Layout | LayoutFunction, random_state: int
) -> Float[np.ndarray, "n 2"]:
    """Two coordinates for every code.

    Args:
        codes: (n, d).
        layout: "identity" for d = 2; "umap" (extra `umap`), "tsne" and "pca" (scikit-learn); a function of your own;
            "auto" is the identity for d = 2 and UMAP otherwise.
        random_state: of UMAP and t-SNE.

    Raises:
        ValueError: for an unknown word, the identity of codes that are not planar, or a function of another shape.
        ModuleNotFoundError: if UMAP is not installed.
    """
    if callable(layout):
        found = np.asarray(layout(codes), dtype=np.float64)
        if found.shape != (len(codes), 2):
            raise ValueError(f"layout must return an array of shape ({len(codes)}, 2), got {found.shape}")
        return found
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))} or a function, got {layout!r}")
    if layout == "auto":
        layout = "identity" if codes.shape[1] == 2 else "umap"
    if layout == "identity":
        if codes.shape[1] != 2:
            raise ValueError(
                f"layout='identity' needs codes with 2 dimensions, got {codes.shape[1]}; use 'umap'"
            )
        return codes.astype(np.float64)
    if layout == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=random_state).fit_transform(codes).astype(np.float64)
    if layout == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(codes) - 1) / 3)
        found = TSNE(2, perplexity=perplexity, init="pca", random_state=random_state).fit_transform(codes)
        return found.astype(np.float64)
    return _umap(codes, random_state)


def _umap(codes: Float[np.ndarray, "n d"], random_state: int) -> Float[np.ndarray, "n 2"]:
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "codes with more than two dimensions are laid out by UMAP: install gmaplatent[umap], or give "
            "layout='tsne', layout='pca' or a function",
            name=error.name,
        ) from error
    neighbours = min(30, len(codes) - 1)
    # One job: with several, the result depends on the number of threads.
    reducer = UMAP(n_neighbors=neighbours, min_dist=0.1, random_state=random_state, n_jobs=1)
    return np.asarray(reducer.fit_transform(codes), dtype=np.float64)
