"""Images, and pairs of low- and high-resolution images, in folders; kept as 8-bit tensors (§10.14)."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from tenfold.restoration import ImagePair, read_image, read_pair

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


class ImageFolder(Dataset[Tensor]):
    """8-bit RGB images of a folder, of a list of files, or of tensors.

    Grey files are read as RGB, which is logged once.

    Args:
        source: a folder, or files and uint8 tensors (3, h, w) in any mixture.
        min_side: images with a shorter side are left out; the number is logged.
        cache: keep decoded images in memory.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if no image is left; on access, if a file is damaged, has transparency, a palette or more than 8 bits.

    Example:
        >>> images = ImageFolder([torch.zeros(3, 20, 30, dtype=torch.uint8)])
        >>> len(images), tuple(images[0].shape)
        (1, (3, 20, 30))
    """

    def __init__(
        self, source: str | Path | Sequence[Path | Tensor], *, min_side: int = 1, cache: bool = True
    ):
        if isinstance(source, str | Path):
            self.items: list[Path | Tensor] = list(image_files(source))
        else:
            self.items = list(source)
        for i, item in enumerate(self.items):
            if isinstance(item, Tensor) and (
                item.dtype != torch.uint8 or item.ndim != 3 or len(item) != 3 or 0 in item.shape
            ):
                raise ValueError(
                    f"source[{i}] must be a uint8 tensor of shape (3, h, w), got {item.dtype} {tuple(item.shape)}"
                )
        found = len(self.items)
        if min_side > 1:
            self.items = [item for item in self.items if min(_size(item)) >= min_side]
        if not self.items:
            reason = f"none of {found} images has sides of at least {min_side}" if found else "it is empty"
            raise ValueError(f"source holds no image: {reason}")
        if len(self.items) < found:
            logger.info("%d of %d images are smaller than %d", found - len(self.items), found, min_side)
        self._cache: dict[int, Tensor] | None = {} if cache else None
        self._said_grey = False

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        item = self.items[index]
        if isinstance(item, Tensor):
            return item
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image = read_image(item)
        self._say_grey(image, item)
        if self._cache is not None:
            self._cache[index] = image
        return image

    @property
    def files(self) -> list[Path]:
        """The images that are files."""
        return [item for item in self.items if isinstance(item, Path)]

    def name(self, index: int) -> str:
        """How errors call an image."""
        item = self.items[index]
        return str(item) if isinstance(item, Path) else f"image {index}"

    def _say_grey(self, image: Tensor, file: Path) -> None:
        grey = not self._said_grey and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
        if grey:
            self._said_grey = True
            logger.warning("%s is grey; grey images are read as RGB with three equal channels", file)


class PairedImageFolders(Dataset[tuple[Tensor, Tensor]]):
    """Low- and high-resolution images of two folders, matched by name: `0801x2.png` belongs to `0801.png`.

    Args:
        lr: folder of the low-resolution images.
        hr: folder of the high-resolution images.
        scale: whole factor between them; high-resolution images are cropped to a multiple of it.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a folder is empty, or an image has no partner; on access, if the sizes do not belong together.

    Example:
        >>> PairedImageFolders("nowhere/LR", "nowhere/HR", 2)
        Traceback (most recent call last):
        FileNotFoundError: no folder nowhere/HR
    """

    def __init__(self, lr: str | Path, hr: str | Path, scale: int):
        if scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        high = {file.stem: file for file in image_files(hr)}
        low = {_stem(file, scale): file for file in image_files(lr)}
        if high.keys() != low.keys():
            lonely = sorted(high.keys() ^ low.keys())
            shown = ", ".join(lonely[:5]) + (" …" if len(lonely) > 5 else "")
            raise ValueError(
                f"{lr} has {len(low)} images and {hr} has {len(high)}; without a partner: {shown}"
            )
        self.scale = scale
        self.pairs = [ImagePair(name, file, low[name]) for name, file in high.items()]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "3 sh sw"]]:
        return read_pair(self.pairs[index], self.scale)


def image_files(folder: str | Path) -> list[Path]:
    """PNG, JPEG and BMP files of a folder in natural order.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return sorted(files, key=lambda f: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", f.stem)])


def _stem(file: Path, scale: int) -> str:
    return file.stem.removesuffix(f"x{scale}")


def _size(item: Path | Tensor) -> tuple[int, int]:
    if isinstance(item, Tensor):
        return item.shape[1], item.shape[2]
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(item) as image:
            return image.size[1], image.size[0]
    except UnidentifiedImageError as error:
        raise ValueError(f"{item} is not an image") from error
