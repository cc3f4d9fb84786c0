"""Checks of codes and labels, and which clusters belong together."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike


def validated_codes(codes: ArrayLike, name: str, dim: int | None = None) -> Float[np.ndarray, "n d"]:
    """Codes as float64.

    Raises:
        ValueError: for another shape, no rows, numbers that are not finite, or another number of dimensions than `dim`.
    """
    found = np.asarray(codes, dtype=np.float64)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"{name} must have shape (n, d) with n, d >= 1, got {found.shape}")
    finite = np.isfinite(found).all(1)
    if not finite.all():
        raise ValueError(f"{name} must be finite; row {int(finite.argmin())} is not")
    if dim is not None and found.shape[1] != dim:
        raise ValueError(
            f"{name} must have the {dim} dimensions of the codes that were fitted, got {found.shape[1]}"
        )
    return found


def validated_labels(labels: ArrayLike, n: int, name: str) -> Shaped[np.ndarray, "n"]:
    """One label a code.

    Raises:
        ValueError: for another shape.
    """
    found = np.asarray(labels)
    if found.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one label a code, got {found.shape}")
    return found


def matched_classes(
    source: Shaped[np.ndarray, "n"], target: Shaped[np.ndarray, "m"], correspondence: dict[Any, Any] | None
) -> tuple[Shaped[np.ndarray, "k"], Shaped[np.ndarray, "k"]]:
    """Labels of both domains, partners in the same place.

    Raises:
        ValueError: if a label has no partner, or two have the same.

    Example:
        >>> ours, theirs = matched_classes(np.array([0, 1]), np.array(["a", "b"]), {0: "b", 1: "a"})
        >>> theirs.tolist()
        ['b', 'a']
    """
    ours, theirs = np.unique(source), np.unique(target)
    if correspondence is None:
        if not np.array_equal(ours, theirs):
            only = sorted(set(ours.tolist()) ^ set(theirs.tolist()), key=str)
            raise ValueError(
                f"labels {only} occur in one domain only; give correspondence={{source: target, …}}"
            )
        return ours, theirs
    missing = [label for label in ours.tolist() if label not in correspondence]
    if missing:
        raise ValueError(f"correspondence has no partner for the source labels {missing}")
    partners = [correspondence[label] for label in ours.tolist()]
    known = set(theirs.tolist())
    unknown = [label for label in partners if label not in known]
    left = sorted(known - set(partners), key=str)
    if unknown or left or len(set(partners)) != len(partners):
        raise ValueError(
            "correspondence must pair the labels one to one: "
            f"not in the target {unknown}, without a partner {left}, named twice {_twice(partners)}"
        )
    return ours, np.array(partners, dtype=theirs.dtype)


def _twice(labels: list[Any]) -> list[Any]:
    return sorted({label for label in labels if labels.count(label) > 1}, key=str)


def numbered(
    labels: Shaped[np.ndarray, "n"], classes: Shaped[np.ndarray, "k"], name: str
) -> Int[np.ndarray, "n"]:
    """Place of each label among the classes.

    Raises:
        ValueError: for a label that is not one of them.
    """
    order = np.argsort(classes, kind="stable")
    at = np.searchsorted(classes[order], labels).clip(max=len(classes) - 1)
    found = order[at]
    strange = classes[found] != labels
    if strange.any():
        raise ValueError(f"{name} has labels that were not fitted: {np.unique(labels[strange]).tolist()}")
    return found
