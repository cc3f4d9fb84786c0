import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from icenet.estimators.fpn import FPN
from icenet.estimators.icenet import ICENet
from icenet.estimators.lattice import Lattice
from icenet.estimators.stages import InputStage, OutputStage
from icenet.implicit.solvers import SolverConfig, SolverDivergedError
from icenet.implicit.tolerance import ChannelDomain, Fixed, NoiseAware
from icenet.metrics import nmse
from icenet.ofdm.config import NUMEROLOGIES, get_numerology

CONFIG = NUMEROLOGIES["nr_v2x_15"]


def pilots(batch: int, config: str = "nr_v2x_15") -> Tensor:
    return torch.randn(batch, *get_numerology(config).pilots.shape, dtype=torch.complex64)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# Stages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["nr_v2x_15", "nr_v2x_30_2", "lte_small", "channelnet_48"])
def test_the_output_stage_is_interpolation_and_then_a_zero_padded_convolution(config):
    """Straight and staggered lattices; value and gradients."""
    ofdm = NUMEROLOGIES[config]
    stage = OutputStage(ofdm, 3).double()
    features = torch.randn(2, 3, *ofdm.pilots.shape[::-1], dtype=torch.float64, requires_grad=True)
    filled = Lattice(ofdm).double()(features.transpose(2, 3))
    expected = F.conv2d(filled, stage.weight, stage.bias, padding=(3, 2))
    found = stage(features)
    assert found.shape == (2, 2, *ofdm.shape)
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-6
    )  # the lattice of the stage is in single precision
    g = torch.randn_like(found)
    for a, b in zip(
        torch.autograd.grad(found, (features, *stage.parameters()), g),
        torch.autograd.grad(expected, (features, *stage.parameters()), g),
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_input_stage_convolves_the_pilot_lattice():
    stage = InputStage(CONFIG, 4, 2)
    x = torch.randn(2, 2, 36, 4)
    turned = lambda w: w.transpose(2, 3)  # noqa: E731
    u = F.conv2d(x, turned(stage.first.weight), stage.first.bias, padding=1).relu()
    u = F.conv2d(u, turned(stage.second.weight), stage.second.bias, padding=1)
    torch.testing.assert_close(stage(x), u.transpose(2, 3), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="input_convs must be 1 or 2, got 3"):
        InputStage(CONFIG, 4, 3)


# The model ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "count"),
    # input 19 C [+ 9 C² + C], cell 18 C² + C + 1, output 70 C + 2
    [("tiny", 6051), ("base", 30563), ("large", 116419)],
)
def test_sizes(size, count):
    model = ICENet.of_size(size, CONFIG)
    assert parameters(model) == count
    assert ICENet.of_size(size, CONFIG, solver=SolverConfig(tau=50)).config["solver"]["tau"] == 50


@pytest.mark.parametrize("config", list(NUMEROLOGIES))
def test_every_numerology_is_estimated(config):
    model = ICENet(config, channels=4).eval()
    with torch.no_grad():
        h = model(pilots(2, config))
    assert h.shape == (2, *NUMEROLOGIES[config].shape)
    assert h.dtype == torch.complex64


def test_planes_and_complex_numbers_are_the_same_input():
    model = ICENet(CONFIG, channels=4).eval()
    ls = pilots(2)
    planes = torch.stack((ls.real, ls.imag), 1)
    with torch.no_grad():
        assert torch.equal(model(planes), model(ls))
    assert not model.estimate(ls).requires_grad


def test_it_is_the_fixed_point_between_the_stages():
    model = ICENet(CONFIG, channels=4, solver=SolverConfig(eps=1e-6, tau=60)).eval()
    ls = pilots(3)
    with torch.no_grad():
        h, info = model(ls, return_info=True)
        u = model.input(torch.stack((ls.real, ls.imag), 1))
        z = info.solve.z
        torch.testing.assert_close(model.layer.f(z, u), z, rtol=0, atol=1e-4)
        planes = model.output(z + u)
    assert torch.equal(torch.complex(planes[:, 0], planes[:, 1]), h)
    assert info.converged.all()


@pytest.mark.parametrize("cell", ["contractive", "resnet"])
@pytest.mark.parametrize("grad", ["ift", "jfb", "phantom:2", "unroll"])
def test_it_trains(cell, grad):
    """The loss falls on one batch, and every parameter gets a gradient."""
    jac_reg = 1.0 if cell == "resnet" else 0.0
    solver = SolverConfig(eps=1e-3, tau=12)
    model = ICENet(CONFIG, 8, cell, solver, grad, jac_reg)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    h = torch.randn(4, 1, 1, dtype=torch.complex64).expand(4, 72, 14)
    ls = h[:, :36, :4] + 0.1 * pilots(4)
    losses = []
    for _ in range(8):
        estimate, info = model(ls, return_info=True)
        loss = nmse(estimate, h)
        optimizer.zero_grad()
        (loss + info.penalty).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert bool(info.jacobian > 0) == (cell == "resnet")


def test_the_penalty_is_drawn_in_a_share_of_the_training_steps_only():
    model = ICENet(CONFIG, 4, "resnet", jac_reg=0.5, jac_fraction=0.5, solver={"eps": 1e-2, "tau": 4})
    ls = pilots(1)
    drawn = [model(ls, return_info=True)[1] for _ in range(40)]
    share = sum(bool(info.jacobian > 0) for info in drawn) / 40
    assert 0.25 < share < 0.75
    for info in drawn:
        torch.testing.assert_close(info.penalty, 0.5 * info.jacobian)
    model.eval()
    assert all(bool(model(ls, return_info=True)[1].jacobian == 0) for _ in range(10))


# Accuracy against computation at run time --------------------------------------------------------------------------------


def test_one_set_of_weights_serves_every_tolerance_and_cap():
    """C1 at its smallest: a random contractive cell."""
    model = ICENet(CONFIG, 8).eval()
    ls = pilots(6)
    with torch.no_grad():
        counts = [model(ls, eps=eps, return_info=True)[1].nfe for eps in (1e-1, 1e-2, 1e-3)]
        forced = model(ls, eps=0.0, tau=11, return_info=True)[1]
    assert (counts[0] < counts[1]).all()
    assert (counts[1] < counts[2]).all()
    assert forced.nfe.tolist() == [11] * 6
    assert forced.trace.shape == (6, 11)


def test_a_slot_is_estimated_alike_alone_and_among_others():
    model = ICENet(CONFIG, 8, solver=SolverConfig(eps=1e-4)).eval()
    ls = pilots(5) * torch.logspace(-2, 1, 5)[:, None, None]
    with torch.no_grad():
        together, info = model(ls, return_info=True)
        assert info.solve.evaluations == int(info.nfe.sum())
        for i in range(5):
            alone, single = model(ls[i : i + 1], return_info=True)
            assert single.nfe[0] == info.nfe[i]
            torch.testing.assert_close(alone[0], together[i], rtol=1e-3, atol=1e-5)


def test_noisy_slots_stop_early_with_a_tolerance_that_knows_the_noise():
    model = ICENet(CONFIG, 8).eval()
    ls, noise = pilots(4), torch.tensor([1.0, 0.1, 0.01, 1e-4])
    with torch.no_grad():
        _, info = model(ls, noise, NoiseAware(0.1, 1e-5, 1e-1), return_info=True)
        _, fixed = model(ls, noise, Fixed(1e-5), return_info=True)
    torch.testing.assert_close(info.eps, torch.tensor([0.1, 0.1 * 0.1**0.5, 0.01, 1e-3]))
    assert info.nfe[0] < info.nfe[2] < info.nfe[3]
    assert (info.nfe <= fixed.nfe).all()
    with pytest.raises(ValueError, match="NoiseAware needs noise_var"):
        model(ls, eps=NoiseAware(0.1))


def test_the_channel_domain_measures_the_estimate():
    """Each slot stops when one more evaluation moves its estimate by less than √(κ σ²)."""
    model = ICENet(CONFIG, 8).eval()
    ls, noise = pilots(3), torch.tensor([1.0, 1e-2, 1e-4])
    with torch.no_grad():
        h, info = model(ls, noise, ChannelDomain(1e-2), return_info=True)
        assert info.converged.all()
        assert info.nfe[0] < info.nfe[1] < info.nfe[2]
        u = model.input(torch.stack((ls.real, ls.imag), 1))
        again = model.output(model.layer.f(info.solve.z, u) + u)
        moved = (torch.complex(again[:, 0], again[:, 1]) - h).flatten(1).norm(dim=1) / h.flatten(1).norm(
            dim=1
        )
    assert (moved < torch.sqrt(1e-2 * noise)).all()


def test_work_is_counted():
    model = ICENet.of_size("tiny", CONFIG)
    assert model.macs_per_evaluation == 663_552  # 0.66 million at 36 × 4 (§4.5)
    assert model.fixed_macs == model.input.macs + model.output.macs
    one, many = model.macs(1.0), model.macs(torch.tensor([1, 5, 12]))
    assert many[0] == one == model.fixed_macs + 663_552 + 2 * 2304
    # evaluations 1 to 12, between them 11 steps of min(k, 5) products and, from the second on, as many mixed
    dots = sum(min(k, 5) * (1 + (k > 1)) for k in range(1, 12))
    assert many[2] == model.fixed_macs + 12 * (663_552 + 2 * 2304) + dots * 2304
    assert dots * 2304 < 0.05 * 12 * 663_552  # acceleration is cheap beside the block


def test_the_radius_of_a_contractive_cell_is_below_gamma():
    model = ICENet(CONFIG, 4).eval()
    radius = model.spectral_radius(pilots(3), 30)
    assert radius.shape == (3,)
    assert (radius < model.layer.f.gamma).all()
    assert (radius > 0.05).all()


# Files and errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [
    lambda: ICENet("lte_small", 4, "contractive", SolverConfig(eps=1e-2, tau=9), "phantom:2"),
    lambda: ICENet(CONFIG, 4, "resnet", jac_reg=0.5, input_convs=2),
    lambda: FPN(CONFIG, 4),
])  # fmt: skip
def test_a_saved_model_computes_the_same(build, tmp_path):
    model = build().train()
    ls = pilots(2, model.config["config"])
    model(ls).abs().sum().backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(ls), model.eval()(ls))
    assert loaded.config == model.config


def test_fpn_is_plain_iteration_with_a_one_step_gradient():
    model = FPN(CONFIG)
    assert model.layer.config == SolverConfig(eps=1e-2, tau=15, method="fixed_point")
    assert model.layer.grad == "jfb"
    assert model.layer.f.channels == 64
    assert float(model.layer.f.gamma) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ICENet.of_size("huge", CONFIG), "size must be one of 'tiny', 'base', 'large', got 'huge'"),
        (lambda: ICENet(CONFIG, jac_reg=-1.0), "jac_reg must not be negative, got -1.0"),
        (lambda: ICENet(CONFIG, jac_fraction=0.0), r"jac_fraction must be in \(0, 1\], got 0.0"),
        (lambda: ICENet(CONFIG, cell="resnet", gamma=0.5), "gamma belongs to cell='contractive', got cell='resnet'"),
        (lambda: ICENet(CONFIG, 0), "channels must be at least 1, got 0"),
        (lambda: ICENet("gsm"), "unknown numerology 'gsm'"),
        (lambda: ICENet(CONFIG, 4)(torch.zeros(1, 4, 36, dtype=torch.complex64)), r"ls must be complex \(b, 36, 4\)"),
        (lambda: ICENet(CONFIG, 4)(pilots(2) * torch.nan), "NaN or infinite"),
        (lambda: ICENet(CONFIG, 4)(pilots(2), eps=torch.ones(3)), "one entry for each of the 2 samples"),
        (lambda: ICENet(CONFIG, 4)(pilots(2), torch.ones(3), NoiseAware(1.0)), "noise_var must be a number or have one entry"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("on_diverge", ["raise", "best"])
def test_a_diverging_slot_is_reported(on_diverge):
    model = ICENet(CONFIG, 4, solver={"on_diverge": on_diverge}).eval()
    with torch.no_grad():
        model.layer.f.bias.fill_(torch.nan)
    if on_diverge == "raise":
        with pytest.raises(SolverDivergedError, match=r"at evaluation 1 in samples \[0, 1\]"):
            model(pilots(2))
    else:
        with torch.no_grad():
            h, info = model(pilots(2), return_info=True)
        assert h.isfinite().all()
        assert not info.converged.any()


def test_half_precision_around_the_solver_leaves_the_solver_in_single():
    model = ICENet(CONFIG, 4).eval()
    ls = pilots(2)
    with torch.no_grad():
        exact = model(ls)
        with torch.autocast("cpu", torch.bfloat16):
            h, info = model(ls, eps=1e-5, return_info=True)
    assert info.converged.all()  # bfloat16 in the block would stall near 1e-2
    assert info.solve.z.dtype == torch.float32
    assert (h - exact).abs().max() < 0.1 * exact.abs().max()
