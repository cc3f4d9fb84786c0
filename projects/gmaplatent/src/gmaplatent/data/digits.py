"""scikit-learn's digits as two domains: one half as it is, the other transposed and inverted (§6, substitute a)."""

from typing import Literal

import torch

from tenfold.data import load_digits

from .images import LabelledImages, Parts, resized

Half = Literal["a", "b"]


def load_digits_half(half: Half, size: int = 8) -> Parts:
    """One half of the 1,797 digits: 60 % training, 20 % validation, 20 % test.

    Half "a" has the images of even index; half "b" those of odd index, transposed and inverted, so that the two have
    the same ten classes and look different. No image is in both.

    Args:
        half: "a" or "b".
        size: height and width; 8 is the data's own.

    Raises:
        ValueError: for another half.

    Example:
        >>> parts = load_digits_half("b", 32)
        >>> [len(part) for part in parts], parts.train.shape
        ([538, 180, 180], (1, 32, 32))
    """
    if half not in ("a", "b"):
        raise ValueError(f"half must be 'a' or 'b', got {half!r}")
    grey, classes = load_digits()
    images = torch.from_numpy(grey)[:, None] / 16
    labels = torch.from_numpy(classes)
    images, labels = (images[0::2], labels[0::2]) if half == "a" else (images[1::2], labels[1::2])
    if half == "b":
        images = 1 - images.transpose(-1, -2)
    whole = LabelledImages(resized(images, size).contiguous(), labels)
    fold = torch.arange(len(whole)) % 5
    return Parts(whole[fold > 1], whole[fold == 0], whole[fold == 1])
