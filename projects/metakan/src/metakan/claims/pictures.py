"""The image data of the claims, as tensors in [−1, 1], split for the search of rates."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..augment import AUGMENTATIONS
from ..images import load_cifar10, load_digits, load_idx, normalise_images, split_indices
from .training import Labelled, Splits, make_splits


def digits_splits(seed: int) -> Splits:
    """scikit-learn's digits as vectors of 64, 70/30, drawn with `seed`."""
    images, labels = load_digits()
    fit, held_out = split_indices(len(labels), 0.3, seed)
    data = Labelled(normalise_images(images, "digits").flatten(1), labels)
    return make_splits(data.take(fit), data.take(held_out), seed)


def small_images(seed: int, n_train: int, n_test: int) -> Splits:
    """A random part of MNIST, averaged over 2×2 pixels to 14×14, for the small convolutional networks.

    Raises:
        DataNotFoundError: if MNIST is not in the data folder.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [load_idx("mnist", train) for train in (True, False)]
    train, test = (
        Labelled(F.avg_pool2d(normalise_images(images[chosen], "mnist"), 2), labels[chosen])
        for (images, labels), n in zip(parts, (n_train, n_test))
        for chosen in (torch.randperm(len(labels), generator=generator)[:n],)
    )
    return make_splits(train, test, seed)


def full_images(name: str, seed: int, device: torch.device, flatten: bool = False) -> Splits:
    """A complete data set: "mnist", "fashion_mnist", "kmnist" or "cifar10".

    Raises:
        DataNotFoundError: if its files are not in the data folder.
    """
    parts = []
    for train in (True, False):
        images, labels = load_cifar10(train) if name == "cifar10" else load_idx(name, train)
        x = normalise_images(images, name)
        parts.append(Labelled(x.flatten(1) if flatten else x, labels).to(device))
    return make_splits(parts[0], parts[1], seed)


class ReferenceAugmentation:
    """The augmentation of §5.2 on a batch in [−1, 1], image by image: slow, for the full recipe only."""

    def __init__(self, name: str):
        self.one = AUGMENTATIONS[name]()

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        pixels = ((x + 1) * 127.5).round().byte().cpu()
        return torch.stack([self.one(image) for image in pixels]).to(x.device).float() / 127.5 - 1
