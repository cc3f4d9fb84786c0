"""EQ-ASISR: equivariant against ordinary training steps, and our queries against LIIF's four look-ups per output pixel.

.venv/bin/pytest benchmarks/speed/test_eq_asisr.py -n0 --benchmark-enable [--record benchmarks/results/speed]
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eq_asisr import ASISR, LIIF, EqLIIF, build, make_cell, make_coord, rotate_coords
from tenfold_benchmarks.timing import Ratio

Versus = Callable[..., Ratio]

# The small pair of §8, C4; the published pair is the default.
SMALL: dict[str, dict[str, Any]] = {
    "eq": {
        "encoder_options": {"n_feats": 32, "n_blocks": 4},
        "decoder_options": {"group_hidden": (128,), "hidden": (64, 64)},
    },
    "plain": {
        "encoder_options": {"n_feats": 32, "n_blocks": 4},
        "decoder_options": {"hidden": (64, 64, 64)},
    },
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(small: bool) -> tuple[ASISR, ASISR]:
    """EqEDSR-LIIF and EDSR-LIIF, of the published sizes or of the small ones."""
    torch.manual_seed(0)
    options = SMALL if small else {"eq": {}, "plain": {}}
    return build("eq_edsr", "eq_liif", 4, **options["eq"]), build("edsr", "liif", **options["plain"])


def four_lookups(model: ASISR, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """The public recipe of §3.4: shift, look up the nearest features, run the whole perceptron, once per neighbour."""
    decoder = model.decoder
    assert isinstance(decoder, LIIF | EqLIIF)
    batch, _, height, width = features.shape
    if isinstance(decoder, LIIF):
        features = F.unfold(features, 3, padding=1).unflatten(-1, (height, width))
    size = coord.new_tensor([height, width])
    centres = make_coord((height, width)).T.reshape(1, 2, height, width).expand(batch, -1, -1, -1)
    cells = cell * size
    answers, areas = [], []
    for row in (-1, 1):
        for column in (-1, 1):
            shifted = coord + (coord.new_tensor([row, column]) / size + 1e-6)
            grid = shifted.clamp(-1 + 1e-6, 1 - 1e-6).flip(-1).unsqueeze(1)
            near, centre = (
                F.grid_sample(m, grid, mode="nearest", align_corners=False)[:, :, 0].permute(0, 2, 1)
                for m in (features, centres)
            )
            offset = (coord - centre) * size
            areas.append((offset[..., 0] * offset[..., 1]).abs() + 1e-9)
            answers.append(whole_perceptron(decoder, near, offset, cells))
    total = torch.stack(areas).sum(0)
    weighted = [answer * (area / total).unsqueeze(-1) for answer, area in zip(answers, areas[::-1])]
    return torch.stack(weighted).sum(0)


def whole_perceptron(decoder: LIIF | EqLIIF, near: Tensor, offset: Tensor, cells: Tensor) -> Tensor:
    if isinstance(decoder, LIIF):
        x = torch.cat([near, offset, cells], -1)
        for i, layer in enumerate(decoder.layers):
            x = layer(x) if i == 0 else layer(F.relu(x))
        return x
    group = decoder.mlp.group
    repeated = cells.unsqueeze(-1).expand(*cells.shape, group.order).flatten(-2)
    rotated = decoder.coord_scale * rotate_coords(offset, group).transpose(-1, -2).flatten(-2)
    x = F.relu(decoder.mlp.first(torch.cat([near, repeated, rotated], -1)))
    head = decoder.mlp.head
    x = head.projection(x)
    for i, layer in enumerate(head.layers):
        x = layer(x) if i == 0 else layer(F.relu(x))
    return x


def upscaled_by_lookups(model: ASISR, lr: Tensor, size: tuple[int, int], chunk: int = 30_000) -> Tensor:
    features = model.encoder(2 * lr - 1)
    coord = make_coord(size).unsqueeze(0)
    cell = make_cell(size).expand_as(coord)
    parts = [
        four_lookups(model, features, c, s) for c, s in zip(coord.split(chunk, 1), cell.split(chunk, 1))
    ]
    return torch.cat(parts, 1).transpose(1, 2).unflatten(2, size)
