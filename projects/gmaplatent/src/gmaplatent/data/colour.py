"""Colour: three classes of animals a domain. AFHQ's belong to its user; CIFAR-10's are a substitute (§6).

The substitute is *not* AFHQ and says nothing about it: cat, deer, horse (source) against dog, frog, ship (target) of
CIFAR-10, 32 × 32. It has what the method needs, K = 3 colour clusters in two domains, and nothing else of the original.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from tenfold.data import CIFAR10_CLASSES, DataNotFoundError, load_cifar10
from tenfold.data import root as data_root

from .images import LabelledImages, Parts, resized

Side = Literal["source", "target"]

CIFAR_CLASSES: dict[Side, tuple[str, ...]] = {
    "source": ("cat", "deer", "horse"),
    "target": ("dog", "frog", "ship"),
}
"""Label k of the source and label k of the target are partners: cat–dog, deer–frog, horse–ship."""

ANIMAL_CLASSES: dict[Side, tuple[str, ...]] = {
    "source": ("cat", "fox", "leopard"),
    "target": ("lion", "tiger", "wolf"),
}
"""As in the lists of the related work: cat–lion, fox–tiger, leopard–wolf."""

_VALIDATION = 10
"""One training image in ten is for validation."""
_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_cifar_animals(side: Side, root: str | None = None, *, size: int = 32) -> Parts:
    """Three classes of CIFAR-10: nine in ten training images, the tenth, and the test images.

    Args:
        side: "source" (cat, deer, horse) or "target" (dog, frog, ship).
        root: the data folder; `tenfold.data.root()` if None.
        size: height and width; other than 32 is interpolated.

    Raises:
        ValueError: for another side, or damaged files.
        DataNotFoundError: if CIFAR-10 is missing.
    """
    _require_side(side)
    train, test = (_chosen(part, side, root, size) for part in (True, False))
    held_out = torch.arange(len(train)) % _VALIDATION == 0
    return Parts(train[~held_out], train[held_out], test)


def load_animals(side: Side, root: str | None = None, *, size: int = 64) -> Parts:
    """The user's own `animals/{train,test}/<class>/*.png`, e.g. made from AFHQ; resized to `size`.

    Args:
        side: "source" (cat, fox, leopard) or "target" (lion, tiger, wolf).
        root: the data folder; `tenfold.data.root()` if None.
        size: height and width.

    Raises:
        ValueError: for another side, or an unreadable image.
        DataNotFoundError: if a folder is missing or empty; it shows the expected tree and where to get it.
    """
    _require_side(side)
    folder = (data_root() if root is None else Path(root)) / "animals"
    train, test = (_from_folders(folder / part, ANIMAL_CLASSES[side], size) for part in ("train", "test"))
    held_out = torch.arange(len(train)) % _VALIDATION == 0
    return Parts(train[~held_out], train[held_out], test)


def _require_side(side: str) -> None:
    if side not in ("source", "target"):
        raise ValueError(f"side must be 'source' or 'target', got {side!r}")


def _chosen(train: bool, side: Side, root: str | None, size: int) -> LabelledImages:
    pixels, classes = load_cifar10(train, root)
    numbers = [CIFAR10_CLASSES.index(name) for name in CIFAR_CLASSES[side]]
    wanted = np.isin(classes, numbers)
    images = torch.from_numpy(pixels[wanted]).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(np.array([numbers.index(k) for k in classes[wanted].tolist()]))
    return LabelledImages(resized(images, size).contiguous(), labels)


def _from_folders(part: Path, classes: tuple[str, ...], size: int) -> LabelledImages:
    images, labels = [], []
    for label, name in enumerate(classes):
        folder = part / name
        files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise _animals_not_found(folder)
        images += [_read(path, size) for path in files]
        labels += [label] * len(files)
    return LabelledImages(torch.stack(images), torch.tensor(labels))


def _read(path: Path, size: int) -> Float32[Tensor, "3 size size"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
    return resized(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, size)[0]


def _animals_not_found(folder: Path) -> DataNotFoundError:
    names = ",".join(ANIMAL_CLASSES["source"] + ANIMAL_CLASSES["target"])
    return DataNotFoundError(
        f"No images in {folder}.\nExpected below the data folder (TENFOLD_DATA, or ./data)\n"
        f"  animals/{{train,test}}/{{{names}}}/*.png\n"
        "Where to get it\n"
        "  AFHQ, https://github.com/clovaai/stargan-v2 (CC BY-NC 4.0): sort cat and wild into the six classes yourself"
    )
