"""Photographs from PNG, JPEG and BMP files and back; what would be misread is refused (§12).

    in the file                read as                              written as
    RGB, 8 bit                 itself                               RGB, 8 bit
    grey, 1 to 8 bit           RGB with equal channels              grey, 8 bit
    grey, 16 bit               RGB with equal channels              grey, 16 bit (PNG)
    RGB, 16 bit                RGB of the upper 8 bits              RGB, 8 bit
    palette                    RGB                                  RGB, 8 bit
    transparency in any way    as `alpha` says, refused if it       with its alpha channel if that is kept (PNG, 8 bit)
                               does not and some is used
    CMYK and other modes       refused                              –

Whatever is not kept as it was is said in `Photo.notes`. A camera's note of how it was held (EXIF) is applied, a colour profile
is handed on.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.checkpoint import write_atomically

if TYPE_CHECKING:
    from PIL import Image

Alpha = Literal["keep", "drop", "white", "black"]
READ = ("PNG", "JPEG", "BMP")
WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
MAX_PIXELS = 178_956_970
"""Pillow takes larger images for an attack and refuses to read them; so nothing larger is written."""

_JPEG_SIDE = 65_535
_SIXTEEN = ("I;16", "I;16B", "I;16L", "I")
_MENDS = {
    "CMYK": "is in CMYK, made for a printer; convert it to RGB with its colour profile first",
    "YCbCr": "is in YCbCr; convert it to RGB first",
    "LAB": "is in Lab; convert it to RGB first",
    "F": "holds floating-point numbers, whose range is not known; convert it to 8 bit first",
    "I": "holds 32-bit numbers; convert it to 8 or 16 bit first",
}


@dataclass(frozen=True)
class Photo:
    """An image, and what is needed to write one of the same kind.

    Args:
        colour: RGB in [0, 1].
        alpha: opacity in [0, 1] if it is kept.
        grey: written with one channel.
        bits: 8 or 16, per channel.
        profile: ICC colour profile.
        notes: what was changed on reading, as sentences for the user.
    """

    colour: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"] | None = None
    grey: bool = False
    bits: Literal[8, 16] = 8
    profile: bytes | None = None
    notes: tuple[str, ...] = ()


def read_photo(path: str | Path, alpha: Alpha | None = None) -> Photo:
    """Read an image file; the table at the top of this module says how.

    Args:
        path: PNG, JPEG or BMP, of one frame.
        alpha: what to do with transparency: "keep" it as a channel, "drop" it and show the colours that were under it, or
            put "white" or "black" behind the image. None: refused where anything is transparent.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image of these kinds, is damaged, has several frames or more than `MAX_PIXELS`, has a
            colour mode that is refused, or is transparent and `alpha` does not say what to do.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_photo(Path(folder, "a.png"), Photo(torch.full((3, 4, 6), 0.2), grey=True))
        ...     photo = read_photo(Path(folder, "a.png"))
        >>> tuple(photo.colour.shape), photo.grey, round(photo.colour.max().item(), 4)
        ((3, 4, 6), True, 0.2)
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if alpha is not None and alpha not in get_args(Alpha):
        raise ValueError(f"alpha must be one of {', '.join(get_args(Alpha))}, got {alpha!r}")
    if not path.is_file():
        raise FileNotFoundError(f"no image {path}")
    try:
        with Image.open(path, formats=READ) as image:
            _require_plain(image, path)
            depth = _png_depth(path)
            profile = image.info.get("icc_profile")
            return _photo(ImageOps.exif_transpose(image), depth, alpha, profile, path)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image in one of the formats {', '.join(READ)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} has more than {MAX_PIXELS:,} pixels") from error
    except (OSError, SyntaxError, EOFError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise ValueError(f"{path} is damaged: {error}") from error


def write_photo(path: str | Path, photo: Photo) -> None:
    """Write a PNG or JPEG file (quality 95, full colour resolution) such that it is there as a whole or not at all.

    Raises:
        ValueError: as `require_writable`.
    """
    from PIL import Image

    path = Path(path)
    require_writable(path, photo, (photo.colour.shape[-2], photo.colour.shape[-1]))
    planes = photo.colour.mean(0, keepdim=True) if photo.grey else photo.colour
    if photo.alpha is not None:
        planes = torch.cat([planes, photo.alpha.to(planes)])
    top, dtype = (65_535, np.uint16) if photo.bits == 16 else (255, np.uint8)
    levels = (planes.detach().cpu().double().clamp(0, 1) * top).round().permute(1, 2, 0).numpy().astype(dtype)
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    kind = WRITTEN[path.suffix.lower()]
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=photo.profile, **options)
    write_atomically(path, buffer.getvalue())


def require_writable(path: str | Path, photo: Photo, size: tuple[int, int]) -> None:
    """Check before hours of work whether an image of this kind and size can be written to `path`.

    Raises:
        ValueError: if the name does not end in .png, .jpg or .jpeg; a JPEG file would have to hold transparency, 16 bits or
            a side above 65,535; the image has more than `MAX_PIXELS`; or the folder does not exist.
    """
    path = Path(path)
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path} must end in {', '.join(WRITTEN)}, got {path.suffix or 'no suffix'!r}")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} to")
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"the image would have {size[0]}×{size[1]} pixels, more than the {MAX_PIXELS:,} that are read back"
        )
    if photo.alpha is not None and photo.bits == 16:
        raise ValueError("an image with transparency is written with 8 bits, this one has 16")
    if kind == "JPEG":
        if photo.alpha is not None:
            raise ValueError(
                f"{path}: JPEG holds no transparency; write a .png file, or drop the alpha channel"
            )
        if photo.bits == 16:
            raise ValueError(f"{path}: JPEG holds 8 bits and the image has 16; write a .png file")
        if max(size) > _JPEG_SIDE:
            raise ValueError(
                f"{path}: JPEG holds at most {_JPEG_SIDE:,} pixels a side, the image would have {size[0]}×{size[1]}"
            )


def _require_plain(image: "Image.Image", path: Path) -> None:
    frames = getattr(image, "n_frames", 1)
    if image.format == "PNG" and frames > 1:
        raise ValueError(f"{path} is an animation of {frames} frames; save the one you mean on its own")
    known = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
    sixteen = image.mode in _SIXTEEN and _png_depth(path) == 16
    if image.mode not in known and not sixteen:
        raise ValueError(
            f"{path} {_MENDS.get(image.mode, f'has the colour mode {image.mode}; convert it to RGB first')}"
        )


def _png_depth(path: Path) -> int | None:
    """Bits per channel that the header of a PNG file declares; Pillow hides them for colours."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[24] if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" else None


def _photo(
    image: "Image.Image", depth: int | None, wanted: Alpha | None, profile: bytes | None, path: Path
) -> Photo:
    notes = []
    if image.mode in _SIXTEEN:
        if "transparency" in image.info:
            raise ValueError(
                f"{path} has 16 bits and a transparent grey level, which is not supported; remove the transparency"
            )
        colour = torch.from_numpy(np.array(image).astype(np.float32) / 65_535)[None].expand(3, -1, -1)
        notes.append(f"{path} is grey with 16 bits; it is read as RGB and written as grey with 16 bits")
        return Photo(colour, None, True, 16, profile, tuple(notes))
    grey = image.mode in ("1", "L", "LA")
    transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    if grey:
        notes.append(f"{path} is grey; it is read as RGB with three equal channels and written as grey")
    if image.mode in ("P", "PA"):
        notes.append(f"{path} has a palette; it is read and written as RGB")
    if depth == 16:
        notes.append(f"{path} has 16 bits per channel, of which the upper 8 are read; the result has 8")
    mode = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
    planes = torch.from_numpy(np.array(image.convert(mode)).astype(np.float32) / 255)
    planes = planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1)
    colour = planes[:1].expand(3, -1, -1) if grey else planes[:3]
    alpha = planes[-1:] if transparent else None
    if alpha is not None:
        colour, alpha, said = _flattened(colour, alpha, wanted, path)
        notes.append(said)
    return Photo(colour.contiguous(), alpha, grey, 8, profile, tuple(notes))


def _flattened(
    colour: Tensor, alpha: Tensor, wanted: Alpha | None, path: Path
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "1 h w"] | None, str]:
    """What is done with transparency, and a sentence that says so."""
    if wanted == "keep":
        return colour, alpha, f"{path} is transparent; the alpha channel is enlarged by bicubic interpolation"
    if bool((alpha == 1).all()):
        return colour, None, f"{path} has an alpha channel that is opaque everywhere; it is dropped"
    if wanted is None:
        raise ValueError(
            f"{path} is transparent in {int((alpha < 1).sum()):,} pixels; say with alpha what becomes of them: "
            "keep, drop, white or black"
        )
    if wanted == "drop":
        return colour, None, f"{path} is transparent; the alpha channel is dropped"
    behind = 1.0 if wanted == "white" else 0.0
    return colour * alpha + behind * (1 - alpha), None, f"{path} is transparent; {wanted} is put behind it"
