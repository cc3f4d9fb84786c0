import pytest
import torch

from icenet.estimators.icenet import ICENet
from icenet.estimators.stacked import StackedCE, TiedUnroll
from icenet.implicit.solvers import SolverConfig
from icenet.ofdm.config import NUMEROLOGIES

CONFIG = NUMEROLOGIES["nr_v2x_15"]
BOTH = pytest.mark.parametrize("network", [StackedCE, TiedUnroll])


def pilots(batch: int) -> torch.Tensor:
    return torch.randn(batch, 36, 4, dtype=torch.complex64)


@pytest.mark.parametrize("cell", ["contractive", "resnet"])
@pytest.mark.parametrize("n", [1, 5])
def test_unrolling_with_icenets_weights_is_icenet_under_plain_iteration_cut_off(n, cell):
    """So the comparison of the claims differs in what it says it differs in, and in nothing else."""
    solver = SolverConfig(eps=0.0, tau=n, method="fixed_point")
    implicit = ICENet(CONFIG, 8, cell, solver).eval()
    unrolled = TiedUnroll(CONFIG, n, 8, cell).eval()
    renamed = {name.replace("layer.f.", "cells.0."): value for name, value in implicit.state_dict().items()}
    unrolled.load_state_dict(renamed)
    ls = pilots(3)
    with torch.no_grad():
        found, info = implicit(ls, return_info=True)
        last = implicit.layer.f(info.solve.z, implicit.input(torch.stack((ls.real, ls.imag), 1)))
        expected = unrolled(ls)
    assert last.isfinite().all()
    if (
        cell == "contractive"
    ):  # the best evaluation is the last one where every one is better than the one before
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    else:
        assert found.shape == expected.shape


def test_copies_have_weights_of_their_own():
    one, four = StackedCE(CONFIG, 1, 8), StackedCE(CONFIG, 4, 8)
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    block = sum(p.numel() for p in one.cells.parameters())
    assert count(four) == count(one) + 3 * block
    assert count(TiedUnroll(CONFIG, 4, 8)) == count(TiedUnroll(CONFIG, 40, 8)) == count(one)
    four(pilots(2)).abs().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in four.cells.parameters())


@BOTH
def test_work_grows_with_the_depth(network):
    counts = [network(CONFIG, n, 16).macs for n in (1, 2, 3)]
    assert counts[1] - counts[0] == counts[2] - counts[1] == 663_552
    assert counts[0] == ICENet(CONFIG, 16).fixed_macs + 663_552


@BOTH
def test_a_saved_model_computes_the_same(network, tmp_path):
    model = network(CONFIG, 3, 4, input_convs=2)
    model.save_pretrained(tmp_path)
    ls = pilots(2)
    torch.testing.assert_close(
        network.from_pretrained(tmp_path).estimate(ls), model.estimate(ls), rtol=0, atol=0
    )


@BOTH
def test_bad_depths_are_named(network):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        network(CONFIG, 0)
