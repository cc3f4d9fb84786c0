"""Codecs: whatever turns images into codes and back. The alignment sees nothing else of a domain.

A codec's codes are float64 arrays, because the geometry that follows is exact; its images are float32 tensors in [0, 1].
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from tenfold.checkpoint import write_atomically

from .data.images import require_images
from .models.autoencoder import Autoencoder

_FORMAT = "gmaplatent codec 1"


@runtime_checkable
class Codec(Protocol):
    """Images to codes and back.

    Attributes:
        shape: channels, height, width of an image.
        d: dimension of a code.
    """

    shape: tuple[int, int, int]
    d: int

    def encode(self, images: Float[Tensor, "n c h w"]) -> Float64[np.ndarray, "n d"]:
        """Codes of images in [0, 1]."""
        ...

    def decode(self, codes: Float[np.ndarray, "n d"]) -> Float32[Tensor, "n c h w"]:
        """Images in [0, 1] of codes."""
        ...


class NetworkCodec:
    """A trained autoencoder as a codec: in evaluation mode, in batches, without gradients.

    Args:
        model: is put into evaluation mode and moved to `device`.
        device: where it runs; its own if None.
        batch_size: images at once.

    Example:
        >>> from gmaplatent.models import GreyAutoencoder
        >>> codec = NetworkCodec(GreyAutoencoder(d=2))
        >>> codes = codec.encode(torch.zeros(3, 1, 32, 32))
        >>> codes.shape, codes.dtype, codec.decode(codes).shape
        ((3, 2), dtype('float64'), torch.Size([3, 1, 32, 32]))
    """

    def __init__(self, model: Autoencoder, device: torch.device | str | None = None, batch_size: int = 512):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.model = model.eval() if device is None else model.to(device).eval()
        self.shape, self.d, self.batch_size = model.shape, model.d, batch_size

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "n c h w"]) -> Float64[np.ndarray, "n d"]:
        """Codes of images in [0, 1].

        Raises:
            TypeError: for bytes; divide them by 255.
            ValueError: for images of another shape or outside [0, 1].
        """
        _require_shape(images, self.shape)
        codes = [self.model.encode(part.to(self._place)) for part in images.split(self.batch_size)]
        return torch.cat(codes).double().cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: Float[np.ndarray, "n d"]) -> Float32[Tensor, "n c h w"]:
        """Images of codes.

        Raises:
            ValueError: for codes of another dimension, or numbers that are not finite.
        """
        found = torch.from_numpy(_required_codes(codes, self.d)).to(self._place)
        return torch.cat([self.model.decode(part).float().cpu() for part in found.split(self.batch_size)])

    @property
    def _place(self) -> Tensor:
        """A tensor with the model's device and dtype."""
        return next(self.model.parameters())


class PCACodec:
    """The best linear codec: the first d principal components of the training images. Nothing to train; for smoke.

    Args:
        d: dimension of the codes.

    Example:
        >>> from gmaplatent.data import load_digits_half
        >>> digits = load_digits_half("a")
        >>> codec = PCACodec(16).fit(digits.train.images)
        >>> error = (codec.decode(codec.encode(digits.test.images)) - digits.test.images).square().mean()
        >>> bool(error < 0.02)
        True
    """

    def __init__(self, d: int = 16):
        if d < 1:
            raise ValueError(f"d must be at least 1, got {d}")
        self.d = d

    def fit(self, images: Float[Tensor, "n c h w"]) -> Self:
        """Find the components.

        Raises:
            ValueError: for images outside [0, 1], or fewer images or pixels than d.
        """
        require_images(images)
        flat = images.double().flatten(1).cpu().numpy()
        if min(flat.shape) < self.d:
            raise ValueError(f"d is {self.d}, but there are {flat.shape[0]} images of {flat.shape[1]} pixels")
        self.shape: tuple[int, int, int] = tuple(images.shape[1:])  # type: ignore[assignment]
        self.mean = flat.mean(0)
        _, _, rows = np.linalg.svd(flat - self.mean, full_matrices=False)
        rows = rows[: self.d]
        # The sign of a singular vector is free: the largest entry is made positive, so that results do not depend on LAPACK.
        signs = np.sign(rows[np.arange(self.d), np.abs(rows).argmax(1)])
        self.components = rows * signs[:, None]
        return self

    def encode(self, images: Float[Tensor, "n c h w"]) -> Float64[np.ndarray, "n d"]:
        """Codes of images in [0, 1].

        Raises:
            RuntimeError: before `fit`.
            ValueError: for images of another shape or outside [0, 1].
        """
        self._require_fitted()
        _require_shape(images, self.shape)
        return (images.double().flatten(1).cpu().numpy() - self.mean) @ self.components.T

    def decode(self, codes: Float[np.ndarray, "n d"]) -> Float32[Tensor, "n c h w"]:
        """Images of codes, clipped to [0, 1].

        Raises:
            RuntimeError: before `fit`.
            ValueError: for codes of another dimension, or numbers that are not finite.
        """
        self._require_fitted()
        flat = _required_codes(codes, self.d, np.float64) @ self.components + self.mean
        return torch.from_numpy(flat).float().clamp(0, 1).unflatten(1, self.shape)

    def save(self, path: str | Path) -> None:
        """Write one .npz file, without pickle."""
        self._require_fitted()
        facts = json.dumps({"format": _FORMAT, "shape": self.shape})
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, allow_pickle=False, facts=np.array(facts), mean=self.mean, components=self.components
        )
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "PCACodec":
        """Read a file of `save`.

        Raises:
            ValueError: if it is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                facts, mean, components = json.loads(str(file["facts"])), file["mean"], file["components"]
            if facts["format"] != _FORMAT:
                raise ValueError(f"its format is {facts['format']!r}, not {_FORMAT!r}")
        except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"{path} is not a file of PCACodec.save: {error}") from error
        codec = cls(len(components))
        codec.shape, codec.mean, codec.components = tuple(facts["shape"]), mean, components
        return codec

    def _require_fitted(self) -> None:
        if not hasattr(self, "components"):
            raise RuntimeError("this PCACodec is not fitted yet: call fit(images) first")


def _require_shape(images: Tensor, shape: tuple[int, int, int]) -> None:
    require_images(images)
    if tuple(images.shape[1:]) != shape:
        raise ValueError(
            f"images have shape {tuple(images.shape[1:])} (channels, height, width), this codec takes {shape}"
        )


def _required_codes(
    codes: Float[np.ndarray, "n d"], d: int, dtype: type[np.floating[Any]] = np.float32
) -> Float[np.ndarray, "n d"]:
    found: np.ndarray = np.asarray(codes, dtype=dtype)
    if found.ndim != 2 or found.shape[1] != d or not len(found):
        raise ValueError(f"codes have shape {found.shape}, this codec takes (n, {d}) with n >= 1")
    if not np.isfinite(found).all():
        raise ValueError(f"codes must be finite; row {int((~np.isfinite(found).all(1)).argmax())} is not")
    return found
