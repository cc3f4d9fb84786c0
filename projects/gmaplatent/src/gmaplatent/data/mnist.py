"""MNIST, padded to 32 × 32: the 10,000 test images split by index, or all of it (§6)."""

import torch
import torch.nn.functional as F

from tenfold.data import load_idx_images

from .images import LabelledImages, Parts

N_VALIDATION = 800
N_TEST = 2_000


def load_mnist(root: str | None = None, *, full: bool = False) -> Parts:
    """The Arabic digits.

    The portion is the official *test* file: images [0, 7200) train, [7200, 8000) validate, [8000, 10000) test. All of
    MNIST is 55,000 training images, the last 5,000 of the training file for validation, and the test file.

    Args:
        root: the data folder; `tenfold.data.root()` if None.
        full: all 70,000 images.

    Raises:
        DataNotFoundError: if a file is missing; it shows the expected tree and where to get it.
        ValueError: if a file is damaged.
    """
    if full:
        known = _padded(True, root)
        return Parts(known[:55_000], known[55_000:], _padded(False, root))
    whole = _padded(False, root)
    first, second = len(whole) - N_TEST - N_VALIDATION, len(whole) - N_TEST
    return Parts(whole[:first], whole[first:second], whole[second:])


def _padded(train: bool, root: str | None) -> LabelledImages:
    grey, classes = load_idx_images("mnist", train, root)
    images = F.pad(torch.from_numpy(grey)[:, None].float() / 255, (2, 2, 2, 2))
    return LabelledImages(images, torch.from_numpy(classes))
