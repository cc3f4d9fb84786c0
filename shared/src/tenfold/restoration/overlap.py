"""Is an image of the test set in the training set? Found by content, so that names, crops and file types do not hide it.

The fingerprint is 256 bits: the image averaged to 16×17 pixels, each compared with its right neighbour. JPEG, 8-bit
noise, an edge cut off or MATLAB's mod-crop change at most about 30 bits of photographs; different photographs of
BSDS500, Set5, Set14, BSD68 and Rain100L differ in 62 or more.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

SAME_IMAGE = 40
"""Fingerprints that differ in at most this many of the 256 bits are of the same image."""


def fingerprint(path: str | Path) -> Bool[np.ndarray, "256"]:
    """The difference hash of an image file."""
    from PIL import Image

    with Image.open(path) as image:
        image.draft("L", (64, 64))  # JPEG files are decoded at a fraction of their size
        small = image.convert("L").resize((17, 16), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def find_overlap(train: Iterable[Path], test: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs (training file, test file) that show the same image."""
    train, test = sorted(set(train)), sorted(set(test))
    if not train or not test:
        return []
    ours = np.stack([fingerprint(path) for path in train])
    theirs = np.stack([fingerprint(path) for path in test])
    bits = (ours[:, None] != theirs[None]).sum(-1)
    return [(train[i], test[j]) for i, j in np.argwhere(bits <= SAME_IMAGE)]


def require_disjoint(train: Iterable[Path], test: Iterable[Path]) -> None:
    """Refuse to train on what is tested.

    Raises:
        ValueError: if an image is in both sets; the files are named.
    """
    overlap = find_overlap(train, test)
    if overlap:
        shown = "\n".join(f"  {ours} is {theirs}" for ours, theirs in overlap[:5])
        more = f"\n  and {len(overlap) - 5} more" if len(overlap) > 5 else ""
        raise ValueError(
            f"{len(overlap)} training images are also tested on; leave them out of training "
            f"(BSD100 is the val split of BSDS500: train on train and test only)\n{shown}{more}"
        )
