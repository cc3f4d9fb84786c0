"""Image files in and out, as the command line needs them."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32


def read_image(path: Path, shape: tuple[int, int, int], resize: bool = False) -> Float32[np.ndarray, "c h w"]:
    """An image file in [0, 1], of the shape a codec takes.

    Args:
        path: PNG, JPEG, or whatever Pillow reads.
        shape: channels (1 or 3), height, width.
        resize: bring it to that size; otherwise another size is an error.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, has another size, or is in colour where the codec takes grey.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(f"no image {path}")
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
    if picture.size != (width, height):
        if not resize:
            raise ValueError(
                f"{path} has {picture.size[1]} × {picture.size[0]} pixels, the codec takes {height} × {width}; "
                "give --resize, or an image of that size"
            )
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255
    if channels == 3:
        return pixels
    if np.ptp(pixels, axis=0).max() > 0:
        raise ValueError(f"{path} is in colour, the codec takes one channel; convert it to grey")
    return pixels[:1]


def encoded(image: Float[np.ndarray, "c h w"]) -> bytes:
    """A PNG file of an image in [0, 1]."""
    from PIL import Image

    pixels = (255 * image.clip(0, 1)).round().astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
