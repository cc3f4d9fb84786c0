"""The handwritten digits bundled with scikit-learn: real data that need no download."""

import numpy as np
from jaxtyping import Float32, Int64


def load_digits() -> tuple[Float32[np.ndarray, "1797 8 8"], Int64[np.ndarray, "1797"]]:
    """Grey values 0–16 (0 is the background) and classes 0–9.

    Raises:
        ModuleNotFoundError: if scikit-learn is not installed (it comes with the extra `train`).

    Example:
        >>> images, labels = load_digits()
        >>> images.shape, float(images.max()), int(labels[0])
        ((1797, 8, 8), 16.0, 0)
    """
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the digits are part of scikit-learn: install tenfold[train]") from error
    bunch = sklearn_digits()
    images, labels = bunch.images.astype(np.float32), bunch.target.astype(np.int64)
    if images.shape != (1797, 8, 8):
        raise ValueError(f"scikit-learn's digits have shape {images.shape}; expected (1797, 8, 8)")
    return images, labels
