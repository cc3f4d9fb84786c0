"""Arbitrary-scale super-resolution: an encoder reads the image once, a decoder answers at any point (§2).

Images are RGB in [0, 1]; the networks see and return (x − 0.5)/0.5 (§3.1). What `query`, `render` and the training call
return is in that normalised range, what `upscale` returns is an image again.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.checkpoint import CheckpointError, PretrainedMixin, load_pretrained, load_weights
from tenfold.groups import CyclicGroup

from .coords import bilinear_neighbours, coord_of_pixels
from .decoders import Decoder
from .decoders.decoder import gather, neighbours
from .inputs import batched, batched_cell, per_image, require_image, require_unit_range, target
from .registry import decoder_from, encoder_from, spec_of

Progress = Callable[[int, int], None]


def normalize(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """From [0, 1] to [−1, 1]."""
    return (image - 0.5) / 0.5


def denormalize(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """From [−1, 1] to [0, 1]."""
    return image * 0.5 + 0.5


@dataclass(frozen=True)
class Features:
    """What queries need of a batch of images, computed once.

    Args:
        rows: what the decoder prepared, one row per LR pixel.
        size: height and width of the LR grid.
        image: the normalised images as rows, for decoders that add the upsampled image.
    """

    rows: Float[Tensor, "b pixels width"]
    size: tuple[int, int]
    image: Float[Tensor, "b pixels channels"]


class ASISR(PretrainedMixin, nn.Module):
    """Super-resolution to any size: an encoder, and a decoder that answers at any coordinate.

    Args:
        encoder: a module with `out_dim` and `group` from images (b, 3, h, w) to features (b, out_dim, h, w), or
            {"name": …, **arguments} of a registered one.
        decoder: a `Decoder`, or {"name": …, **arguments}.
        local_ensemble: blend the answers of the four pixels around a query; False asks the nearest.
        cell_clip: the largest scale the decoder is told of. Larger ones are announced as this one, which helps far
            outside the training range (4 there, §3.4); None announces every scale as it is.

    Attributes:
        group: the rotations that the whole model commutes with, C_t; None if encoder or decoder is ordinary.

    Raises:
        ValueError: if encoder and decoder do not fit: channels, or groups.

    Example:
        >>> model = ASISR({"name": "eq_edsr", "n_feats": 8, "n_blocks": 1}, {"name": "eq_liif", "in_channels": 8})
        >>> image = torch.rand(1, 3, 6, 5)
        >>> large = model.upscale(image, scale=2.4)
        >>> large.shape
        torch.Size([1, 3, 14, 12])
        >>> turned = model.upscale(image.rot90(1, (2, 3)), scale=2.4)
        >>> torch.allclose(turned, large.rot90(1, (2, 3)), atol=1e-5)
        True
    """

    config: dict[str, Any]
    encoder: nn.Module
    decoder: Decoder
    group: CyclicGroup | None

    def __init__(
        self,
        encoder: nn.Module | Mapping[str, Any],
        decoder: Decoder | Mapping[str, Any],
        local_ensemble: bool = True,
        cell_clip: float | None = None,
    ):
        super().__init__()
        self.encoder = encoder_from(encoder) if isinstance(encoder, Mapping) else encoder
        self.decoder = decoder_from(decoder) if isinstance(decoder, Mapping) else decoder
        if cell_clip is not None and not (math.isfinite(cell_clip) and cell_clip >= 1):
            raise ValueError(f"cell_clip must be a finite scale of at least 1, or None, got {cell_clip}")
        _require_fit(self.encoder, self.decoder)
        self.local_ensemble, self.cell_clip = local_ensemble, cell_clip
        ours: CyclicGroup | None = self.encoder.group  # type: ignore[assignment]
        self.group = ours if ours == self.decoder.group else None
        specs = {"encoder": spec_of(self.encoder), "decoder": spec_of(self.decoder)}
        self._unsaved = [role for role, spec in specs.items() if spec is None]
        self.config = {**specs, "local_ensemble": local_ensemble, "cell_clip": cell_clip}

    def encode(self, lr: Float[Tensor, "b 3 h w"]) -> Features:
        """Read images in [0, 1]; the result answers any number of queries.

        Raises:
            TypeError: for images that are not floating point, or of another dtype than the weights.
            ValueError: for shapes other than (b, channels, h, w).
        """
        require_image(lr, self)
        x = normalize(lr)
        rows = self.decoder.prepare(self.encoder(x))
        return Features(rows, (lr.shape[-2], lr.shape[-1]), x.flatten(2).transpose(1, 2))

    def query(
        self,
        features: Features,
        coord: Float[Tensor, "b q 2"] | Float[Tensor, "q 2"],
        cell: Float[Tensor, "b #q 2"] | Float[Tensor, "b 2"] | Float[Tensor, " 2"],
        chunk: int | None = 30_000,
    ) -> Float[Tensor, "b q 3"]:
        """Normalised colours at any coordinates.

        Args:
            features: of `encode`.
            coord: (row, col) in [−1, 1], per image or the same for all; what lies outside is moved to the border.
            cell: height and width of the output pixels in the same units: per query, per image, or one for all.
            chunk: how many queries are worked on at a time, which bounds the memory; None: all at once.

        Raises:
            ValueError: if shapes do not fit, or chunk is less than 1.
        """
        batch = len(features.rows)
        coord, cell = batched(coord, "coord", batch), batched_cell(cell, batch)
        if coord.shape[1] not in (cell.shape[1], 1) and cell.shape[1] != 1:
            raise ValueError(f"cell has {cell.shape[1]} entries for {coord.shape[1]} queries")
        step = per_image(chunk, batch, coord.shape[1])
        cells = [cell] * (coord.shape[1] // step + 1) if cell.shape[1] == 1 else cell.split(step, 1)
        parts = [self._answer(features, part, c) for part, c in zip(coord.split(step, 1), cells)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def forward(
        self,
        lr: Float[Tensor, "b 3 h w"],
        coord: Float[Tensor, "b q 2"],
        cell: Float[Tensor, "b #q 2"],
    ) -> Float[Tensor, "b q 3"]:
        """Normalised colours of images in [0, 1] at `coord`, all at once: the call for training."""
        return self.query(self.encode(lr), coord, cell, chunk=None)

    @torch.no_grad()
    def render(
        self,
        lr: Float[Tensor, "b 3 h w"],
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        *,
        chunk: int = 30_000,
        progress: Progress | None = None,
    ) -> Float[Tensor, "b 3 new_h new_w"]:
        """The image at another size, in the normalised range and not clamped; arguments as for `upscale`."""
        require_image(lr, self)
        new_size, cell = target(lr, scale, size)
        pixels, batch = new_size[0] * new_size[1], len(lr)
        step = per_image(chunk, batch, pixels)
        with _evaluating(self):
            require_unit_range(lr)
            features = self.encode(lr)
            out = lr.new_empty(batch, self.decoder.out_channels, pixels)
            for start in range(0, pixels, step):
                end = min(start + step, pixels)
                index = torch.arange(start, end, device=lr.device)
                coord = coord_of_pixels(index, new_size, dtype=torch.float64).unsqueeze(0)
                answer = self._answer(features, coord, cell.expand(batch, 1, 2))
                out[:, :, start:end] = answer.transpose(1, 2)
                if progress is not None:
                    progress(end, pixels)
        return out.unflatten(2, new_size)

    def upscale(
        self,
        lr: Float[Tensor, "b 3 h w"],
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        *,
        chunk: int = 30_000,
        progress: Progress | None = None,
    ) -> Float[Tensor, "b 3 new_h new_w"]:
        """Images in [0, 1] at any larger size, without gradients, in eval mode. Memory is bounded by `chunk`.

        Args:
            lr: images in [0, 1].
            scale: any number of at least 1; the new size is round(scale · old size).
            size: the new height and width instead, which may be scaled differently; none smaller than the old ones.
            chunk: queries worked on at a time.
            progress: called with the number of pixels that are done, and of all, after every chunk.

        Raises:
            ValueError: if not exactly one of scale and size is given, one is smaller than it may be, or the images
                exceed [0, 1].
        """
        rendered = self.render(lr, scale, size, chunk=chunk, progress=progress)
        return denormalize(rendered).clamp_(0, 1)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights and configuration; see `tenfold.checkpoint.save_pretrained`.

        Raises:
            TypeError: if encoder or decoder is a module of your own, which a configuration cannot name.
        """
        if self._unsaved:
            role = self._unsaved[0]
            kind = type(getattr(self, role)).__name__
            raise TypeError(
                f"the {role} is a {kind}, which is not registered, so a checkpoint could not build it again; "
                "save state_dict() instead"
            )
        super().save_pretrained(folder)

    def load_pretrained(self, folder: str | Path) -> None:
        """Take over the weights that `save_pretrained` wrote for a model of the same configuration.

        Raises:
            CheckpointError: if it is of another configuration; both are shown.
        """
        config, state = load_pretrained(folder)
        if config != _as_json(self.config):
            raise CheckpointError(
                f"{folder} holds another model.\n  checkpoint: {json.dumps(config)}\n"
                f"  this model: {json.dumps(self.config)}"
            )
        load_weights(self, state, source=str(folder))

    def _answer(
        self, features: Features, coord: Float[Tensor, "#b q 2"], cell: Float[Tensor, "b #q 2"]
    ) -> Float[Tensor, "b q 3"]:
        dtype = torch.promote_types(features.image.dtype, torch.float32)  # halves lose positions (§10.5)
        cell = (cell * cell.new_tensor(features.size)).to(dtype)
        if self.cell_clip is not None:
            cell = cell.clamp(min=2 / self.cell_clip)
        near = neighbours(coord, features.size, self.local_ensemble).to(dtype)
        values = self.decoder.at(features.rows, cell, near)
        if self.decoder.upinput:
            around = near if self.local_ensemble else bilinear_neighbours(coord, features.size).to(dtype)
            values = values + (gather(features.image, around.index) * around.weight.unsqueeze(-1)).sum(-2)
        return values


def _require_fit(encoder: nn.Module, decoder: nn.Module) -> None:
    for attribute in ("out_dim", "group"):
        if not hasattr(encoder, attribute):
            raise TypeError(f"encoder must have the attribute {attribute}, {type(encoder).__name__} has not")
    if not isinstance(decoder, Decoder):
        raise TypeError(
            f"decoder must be a Decoder, got {type(decoder).__name__}; EqINRAdapter makes one of any function"
        )
    ours: CyclicGroup | None = encoder.group  # type: ignore[assignment]
    theirs = decoder.group
    if ours is not None and theirs is not None and ours != theirs:
        raise ValueError(
            f"the encoder has t={ours.order} orientations and the decoder t={theirs.order}; they must agree"
        )
    if decoder.in_channels not in (None, encoder.out_dim):
        raise ValueError(
            f"the encoder gives {encoder.out_dim} channels, the decoder takes in_channels={decoder.in_channels}"
        )
    channels = getattr(encoder, "in_channels", decoder.out_channels)
    if decoder.upinput and channels != decoder.out_channels:
        raise ValueError(
            f"upinput adds an image of {channels} channels to one of out_channels={decoder.out_channels}"
        )


def _as_json(config: dict[str, Any]) -> Any:
    return json.loads(json.dumps(config))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; every submodule gets its own mode back."""
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
