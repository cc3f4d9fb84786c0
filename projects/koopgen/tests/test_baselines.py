"""What distinguishes each baseline; shapes, units and errors they share with KoopGen are in test_latent."""

import math

import pytest
import torch

from koopgen import (
    LRAN,
    ConstantGenerator,
    DeepKoopman,
    KoopGen,
    NeuralODE,
    ResidualMLP,
    UnstructuredGenerator,
)

DT = 0.1


def latent(n=5, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("init", ["identity", "matrix_exp"])
def test_lran_is_one_matrix_for_all_states(init):
    net = LRAN(3, 6, dt=DT, init=init, hidden=8).double()
    net.operator.data += 0.3 * torch.randn(6, 6)
    z = latent()
    K = net.operator if init == "identity" else torch.matrix_exp(net.operator)
    torch.testing.assert_close(net.step(z), z @ K.mT)
    torch.testing.assert_close(net.step(z[0] + 2 * z[1]), net.step(z[0]) + 2 * net.step(z[1]))
    torch.testing.assert_close(net.rollout(z, 4)[:, 4], z @ torch.linalg.matrix_power(K, 4).mT)


@pytest.mark.parametrize("init", ["identity", "matrix_exp"])
def test_lran_starts_near_the_identity(init):
    torch.manual_seed(0)
    z = torch.randn(5, 6)
    moved = LRAN(3, 6, dt=DT, init=init).step(z) - z
    assert 0 < moved.abs().max() < 0.2


@pytest.mark.parametrize("radius", [True, False])
def test_deep_koopman_turns_and_scales_adjacent_pairs(radius):
    torch.manual_seed(0)
    net = DeepKoopman(3, 6, dt=DT, radius=radius, hidden=8, width=8).double()
    for parameter in (net.first, net.last, net.last_bias):
        parameter.data.normal_(0, 0.5)
    z = latent()
    omega, mu = net.rates(z)
    assert omega.shape == mu.shape == (5, 3)
    before = torch.view_as_complex(z.view(5, 3, 2))
    after = torch.view_as_complex(net.step(z).view(5, 3, 2))
    torch.testing.assert_close(after, before * torch.exp(DT * torch.complex(mu, omega)))
    assert omega.std(0).min() > 1e-3  # the rates depend on the state


def test_deep_koopman_with_radius_is_equivariant_under_turns_of_a_pair():
    torch.manual_seed(0)
    z, turn = latent(), torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    turned = (z.view(5, 3, 2) @ turn.mT).flatten(1)
    gaps = {}
    for radius in (True, False):
        net = DeepKoopman(3, 6, dt=DT, radius=radius, hidden=8).double()
        net.last.data.normal_(0, 0.5)
        expected = (net.step(z).view(5, 3, 2) @ turn.mT).flatten(1)
        gaps[radius] = (net.step(turned) - expected).abs().max()
    assert gaps[True] < 1e-13
    assert gaps[False] > 1e-3


def test_each_pair_of_deep_koopman_has_a_network_of_its_own():
    net = DeepKoopman(3, 6, dt=DT, hidden=8).double()
    z = latent()
    changed = z.clone()
    changed[:, 2:4] += 1
    omega, mu = net.rates(z)
    new_omega, new_mu = net.rates(changed)
    assert torch.equal(new_omega[:, [0, 2]], omega[:, [0, 2]])
    assert torch.equal(new_mu[:, [0, 2]], mu[:, [0, 2]])
    assert not torch.equal(new_omega[:, 1], omega[:, 1])


def test_the_constant_generator_has_no_gate_and_does_not_depend_on_the_state():
    net = ConstantGenerator(3, 6, dt=DT, m_skew=3, m_self=2, hidden=8).double().eval()
    z = latent()
    torch.testing.assert_close(net.step(z[0] + 2 * z[1]), net.step(z[0]) + 2 * net.step(z[1]))
    assert not net.parameter_groups()["gate"]
    G = net.generator.scale * (net.generator.skew().mean(0) + net.generator.self_adjoint().mean(0))
    torch.testing.assert_close(net.step(z), z @ torch.matrix_exp(DT * G).mT)


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("propagator", ["expm", "taylor", "cayley"])
def test_the_constant_generator_is_koopgen_with_a_gate_at_rest(propagator, substeps):
    options = {"dt": DT, "hidden": 8, "propagator": propagator, "substeps": substeps}
    ours, constant = KoopGen(3, 6, **options).double().eval(), ConstantGenerator(3, 6, **options).double()
    for parameter in ours.generator.gate.parameters():
        parameter.data.zero_()
    constant.load_state_dict(ours.state_dict(), strict=False)
    torch.testing.assert_close(constant.rollout(latent(), 5), ours.rollout(latent(), 5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("field", ["complex", "real"])
def test_unstructured_bases_are_neither_skew_nor_symmetric(field):
    torch.manual_seed(0)
    net = UnstructuredGenerator(3, 6, dt=DT, m=4, field=field, hidden=8).double().eval()
    parts = net.generator.parts(latent())
    G = net.generator(latent())
    torch.testing.assert_close(parts.total, G)
    assert torch.equal(parts.skew.mT, -parts.skew)
    assert torch.equal(parts.self_adjoint.mT, parts.self_adjoint)
    for other in (G.mT, -G.mT):
        assert (G - other).abs().max() > 0.1
    # It is complex linear where the field is: it commutes with J.
    J = torch.zeros(6, 6, dtype=torch.float64)
    J[:3, 3:], J[3:, :3] = -torch.eye(3), torch.eye(3)
    commutes = (G @ J - J @ G).abs().max() < 1e-13
    assert bool(commutes) == (field == "complex")


def test_unstructured_and_koopgen_have_the_same_number_of_parameters():
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert count(UnstructuredGenerator(3, 6, dt=DT, m=10)) == count(KoopGen(3, 6, dt=DT, m_skew=5, m_self=5))


def test_unstructured_read_outs():
    net = UnstructuredGenerator(3, 6, dt=DT, hidden=8).double().eval()
    x = torch.randn(4, 3, dtype=torch.float64)
    fields = net.fields(x)
    torch.testing.assert_close(fields.transport + fields.dissipation, net.derivative(x))
    assert net.local_frequencies(x).shape == (4, 3)
    assert net.local_rates(x).shape == (4, 6)
    assert net.log_norm_certificate(net.encode(x), 10).holds.all()


@pytest.mark.parametrize("model", [ResidualMLP, NeuralODE])
def test_state_models_have_no_latent_space(model):
    net = model(3, 6, dt=DT, normalisation="explicit", mean=1.0, std=2.0)
    x = torch.randn(4, 3)
    assert net.d == 3
    torch.testing.assert_close(net.encode(x), (x - 1) / 2)
    torch.testing.assert_close(net.decode(net.encode(x)), x)
    torch.testing.assert_close(net.forecast(x, 2)[:, 0], x)


def test_neural_ode_is_of_fourth_order():
    torch.manual_seed(0)
    ends = {}
    net = NeuralODE(2, dt=1.0, hidden=16, act="tanh", time_scale=3.0).double()
    z = latent(d=2)
    for substeps in (1, 2, 4, 64):
        net.substeps = substeps
        ends[substeps] = net.step(z)
    errors = [(ends[r] - ends[64]).norm().item() for r in (1, 2, 4)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.5)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.5)


def test_neural_ode_integrates_a_linear_field():
    net = NeuralODE(2, dt=0.1, layers=1, time_scale=1.0).double()
    net.net.last.weight.data = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    z = net.rollout(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 10)[0, -1]
    torch.testing.assert_close(z, torch.tensor([math.cos(1), math.sin(1)]).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LRAN(3, 6, dt=DT, init="random"), "init must be one of 'identity', 'matrix_exp', got 'random'"),
        (lambda: DeepKoopman(3, 5, dt=DT), "d must be even, DeepKoopman has d/2 pairs; got 5"),
        (lambda: DeepKoopman(3, 6, dt=DT, width=0), "width must be at least 1, got 0"),
        (lambda: DeepKoopman(3, 6, dt=DT, time_scale=0.0), "time_scale must be finite and above 0"),
        (lambda: UnstructuredGenerator(3, 6, dt=DT, m=0), "m must be at least 1, got 0"),
        (lambda: UnstructuredGenerator(3, 5, dt=DT), "d must be even for field='complex', got 5"),
        (lambda: ConstantGenerator(3, 6, dt=DT, gate="linear"), "gate must be one of 'softmax', got 'linear'"),
        (lambda: NeuralODE(3, dt=DT, substeps=0), "substeps must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
