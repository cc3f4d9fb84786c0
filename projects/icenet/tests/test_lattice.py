"""Interpolation on true coordinates: exact for planes on every grid, equal to its sparse matrix, and better than half pixels."""

import pytest
import torch
from torch import Tensor

from icenet.estimators.lattice import HalfPixel, Lattice, Nearest, linear_weights, make_resize
from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig

EVERY_GRID = pytest.mark.parametrize("name", sorted(NUMEROLOGIES))
EDGES = pytest.mark.parametrize("edge", ["linear", "nearest"])


def plane(k: Tensor, s: Tensor) -> Tensor:
    return 0.3 + 0.7 * k.double() - 1.1 * s.double()


def whole(config: OFDMConfig) -> Tensor:
    return plane(torch.arange(config.n_subcarriers)[:, None], torch.arange(config.n_symbols))


@EVERY_GRID
def test_a_plane_is_filled_exactly_to_the_borders(name: str) -> None:
    config = NUMEROLOGIES[name]
    filled = Lattice(config)(plane(*config.pilots.coordinates()))
    torch.testing.assert_close(filled, whole(config), rtol=0, atol=1e-10)


@EVERY_GRID
@EDGES
def test_the_pilots_keep_their_values(name: str, edge: str) -> None:
    config = NUMEROLOGIES[name]
    x = torch.randn(3, *config.pilots.shape, dtype=torch.complex128)
    torch.testing.assert_close(config.pilots.take(Lattice(config, edge)(x)), x)  # type: ignore[arg-type]


@EVERY_GRID
@EDGES
def test_the_factors_are_the_sparse_matrix(name: str, edge: str) -> None:
    config = NUMEROLOGIES[name]
    lattice = Lattice(config, edge)  # type: ignore[arg-type]
    matrix = lattice.matrix()
    x = torch.randn(2, *config.pilots.shape, dtype=torch.float64)
    by_matrix = torch.sparse.mm(matrix, x.flatten(1).T).T.reshape(2, *config.shape)
    torch.testing.assert_close(lattice(x), by_matrix)
    dense = matrix.to_dense()
    torch.testing.assert_close(dense.sum(1), torch.ones(len(dense), dtype=torch.float64))
    assert int((dense != 0).sum(1).max()) <= 4
    if edge == "nearest":
        assert dense.min() >= 0


def test_nearest_holds_the_outermost_pilots_in_time_and_in_frequency() -> None:
    config = NUMEROLOGIES["nr_v2x_15"]  # symbols 1, 4, 7, 10; subcarriers 0, 2, …, 70
    filled = Lattice(config, "nearest")(torch.randn(36, 4))
    torch.testing.assert_close(filled[:, 13], filled[:, 10])
    torch.testing.assert_close(filled[:, 0], filled[:, 1])
    torch.testing.assert_close(filled[71], filled[70])


def test_a_staggered_comb_is_not_taken_for_a_straight_one() -> None:
    """Negative control of the test of planes: with the offsets of the first symbol for all, the plane is missed."""
    config = NUMEROLOGIES["lte_small"]
    lattice = Lattice(config)
    lattice._frequency = lattice._frequency[:1]
    filled = lattice(plane(*config.pilots.coordinates()))
    assert (filled - whole(config)).abs().max() > 0.5


def test_half_pixels_miss_the_plane() -> None:
    config = NUMEROLOGIES["nr_v2x_15"]
    resized = HalfPixel(config)(plane(*config.pilots.coordinates())[None, None])[0, 0]
    assert (resized - whole(config)).abs().max() > 1


@pytest.mark.parametrize("name", ["nr_v2x_15", "lte_small"])
def test_gradients_are_the_transposed_map(name: str) -> None:
    config = NUMEROLOGIES[name]
    lattice = Lattice(config)
    x = torch.randn(2, 3, *config.pilots.shape, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, *config.shape, dtype=torch.float64)
    lattice(x).backward(y)
    assert x.grad is not None
    back = torch.einsum("ij,bci->bcj", lattice.matrix().to_dense(), y.flatten(2))
    torch.testing.assert_close(x.grad.flatten(2), back)


def test_precisions_agree_and_the_state_dict_is_empty() -> None:
    config = NUMEROLOGIES["lte_small"]
    lattice = Lattice(config)
    x = torch.randn(2, *config.pilots.shape, dtype=torch.complex128)
    torch.testing.assert_close(lattice(x.to(torch.complex64)).to(x), lattice(x), atol=1e-5, rtol=1e-5)
    assert not lattice.state_dict()


def test_one_known_point_is_held_and_disorder_is_refused() -> None:
    assert linear_weights(torch.arange(3), torch.tensor([1])).tolist() == [[1.0], [1.0], [1.0]]
    with pytest.raises(ValueError, match=r"must increase, got \[1.0, 1.0\]"):
        linear_weights(torch.arange(3), torch.tensor([1, 1]))


def test_resizes_have_names() -> None:
    config = NUMEROLOGIES["reesnet_48"]
    x = torch.randn(2, 3, *config.pilots.shape)
    for name, kind in (("lattice", Lattice), ("half_pixel", HalfPixel), ("nearest", Nearest)):
        resize = make_resize(name, config)  # type: ignore[arg-type]
        assert isinstance(resize, kind)
        assert resize(x).shape == (2, 3, 72, 14)
    with pytest.raises(ValueError, match="resize must be one of lattice, half_pixel, nearest, got 'cubic'"):
        make_resize("cubic", config)  # type: ignore[arg-type]


def test_wrong_pilots_and_edges_are_named() -> None:
    with pytest.raises(ValueError, match="edge must be one of linear, nearest, got 'mirror'"):
        Lattice(NUMEROLOGIES["nr_v2x_15"], "mirror")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"x has \(36, 3\) pilots in its last two axes, this lattice has \(36, 4\)"
    ):
        Lattice(NUMEROLOGIES["nr_v2x_15"])(torch.zeros(36, 3))
