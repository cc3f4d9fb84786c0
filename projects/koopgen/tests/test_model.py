"""P3, P5, P8, P9 of §3.9 for the whole model, the read-outs of §3.10, and time units (§10.6)."""

import copy
import math
import shutil
import warnings

import pytest
import torch
from torch import nn

from koopgen import ConstantGenerator, KoopGen, MixtureGate, StateIndependentWarning


def model(n_x=3, d=6, **options):
    torch.manual_seed(0)
    return opened(KoopGen(n_x, d, **{"dt": 0.1, "hidden": 16, **options}).eval())


def opened(net):
    """Gate weights as after training: far from uniform."""
    with torch.no_grad():
        for parameter in net.generator.gate.parameters():
            parameter.normal_(0, 1)
    return net


def states(n=6, n_x=3):
    return torch.randn(n, n_x, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("propagator", ["expm", "taylor", "cayley"])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_without_dissipation_every_roll_out_lives_on_a_sphere(propagator, field):
    """P5: 1,000 steps, float64."""
    net = model(dissipation="none", m_self=0, field=field, propagator=propagator).double()
    z0 = net.encode(states(2).double())
    norm = net.rollout(z0, 1000).norm(dim=-1)
    assert (norm / norm[:, :1] - 1).abs().max() < 1e-11
    free = model(field=field, propagator=propagator).double()  # negative control
    norm = free.rollout(z0, 20).norm(dim=-1)
    assert (norm / norm[:, :1] - 1).abs().max() > 1e-2


@pytest.mark.parametrize("propagator", ["expm", "taylor", "cayley"])
@pytest.mark.parametrize(
    "options", [{}, {"dissipation": "nonpositive"}, {"dissipation": "capped", "cap": 0.4}, {"substeps": 2}]
)
def test_the_log_norm_certificate(propagator, options):
    """P3 along roll-outs."""
    net = model(propagator=propagator, **options).double()
    z0 = net.encode(states().double())
    certificate = net.log_norm_certificate(z0, 40)
    torch.testing.assert_close(certificate.z, net.rollout(z0, 40), rtol=1e-11, atol=1e-12)
    assert certificate.holds.all()
    assert certificate.excess.max() < 1e-12
    growth = certificate.log_bound[:, -1] - certificate.log_bound[:, 0]
    if options.get("dissipation") == "nonpositive":
        assert growth.max() <= 1e-12
        assert (certificate.log_norm.diff(dim=1) <= 1e-14).all()
    if options.get("dissipation") == "capped" and propagator != "cayley":
        assert growth.max() <= 0.4 * 40 * 0.1 + 1e-10


def test_a_violated_certificate_is_seen():
    net = model(dissipation="nonpositive").double()
    wrong = net.propagate
    net.propagate = lambda G, z, *, tau: 1.01 * wrong(G, z, tau=tau)
    certificate = net.log_norm_certificate(net.encode(states().double()), 40)
    net.generator.self_adjoint.free.data.zero_()
    flat = net.log_norm_certificate(net.encode(states().double()), 40)
    assert not flat.holds.any()
    assert (certificate.excess >= 0).all()
    z0 = torch.full((1, 6), math.nan, dtype=torch.float64)
    assert not net.log_norm_certificate(z0, 2).holds.any()


def test_a_constant_gate_is_a_linear_recurrence():
    """P8: KoopGen with zero gate weights, ConstantGenerator, and powers of one matrix."""
    net = model().double()
    for parameter in net.generator.gate.parameters():
        parameter.data.zero_()
    constant = ConstantGenerator(3, 6, dt=0.1, hidden=16).double()
    constant.load_state_dict(net.state_dict(), strict=False)
    z0 = net.encode(states().double())
    K = torch.matrix_exp(0.1 * net.generator.parts(z0[0]).total)
    powers = torch.stack([z0 @ torch.linalg.matrix_power(K, k).mT for k in range(9)], 1)
    torch.testing.assert_close(net.rollout(z0, 8), powers, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant.rollout(z0, 8), powers, rtol=0, atol=1e-12)
    assert (model().double().rollout(z0, 8) - powers).abs().max() > 1e-3  # with a gate it is not


def test_substeps_evaluate_the_generator_again():
    """r > 1 approximates ż = G(z) z: the error against many substeps falls with r."""
    z0 = model().double().encode(states().double())
    ends = {r: model(substeps=r).double().rollout(z0, 4)[:, -1] for r in (1, 2, 4, 64)}
    errors = [(ends[r] - ends[64]).abs().max() for r in (1, 2, 4)]
    assert errors[0] > 1.5 * errors[1] > 1.5**2 * errors[2] > 0


def plane_model(dt, **options):
    """KoopGen on the plane itself, without encoder and decoder."""
    torch.manual_seed(0)
    net = KoopGen(2, 2, dt=dt, hidden=16, **options)
    net.encoder, net.decoder = nn.Identity(), nn.Identity()
    return net.double().eval()


def fitted(A, dt, **options):
    """One-step fit of ẋ = A x sampled every dt."""
    net = plane_model(dt, **options)
    x = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = x @ torch.matrix_exp(dt * A).mT
    optimizer = torch.optim.LBFGS(
        net.parameters(),
        max_iter=80,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss():
        optimizer.zero_grad()
        value = (net.step(x) - target).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert loss() < 1e-10
    return net, x


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_known_generators_are_found(gamma):
    """P9: ẋ = -γ x + J x has the skew part of frequency 1 and G_d = -γ I."""
    A = torch.tensor([[-gamma, -1.0], [1.0, -gamma]], dtype=torch.float64)
    net, x = fitted(A, 0.1)
    parts = net.parts(x)
    assert (parts.skew[:, 1, 0] - 1).abs().max() < 1e-3
    assert (parts.self_adjoint + gamma * torch.eye(2)).abs().max() < 1e-3
    assert (net.local_frequencies(x) - 1).abs().max() < 1e-3
    assert (net.local_rates(x) + gamma).abs().max() < 1e-3


def test_physical_frequencies_do_not_depend_on_the_sampling_interval():
    """§10.6: within 5 % when Δt is halved; here to the accuracy of the fit."""
    A = torch.tensor([[0.0, -3.0], [3.0, 0.0]], dtype=torch.float64)
    for dt in (0.1, 0.05):
        net, x = fitted(A, dt)
        assert (net.local_frequencies(x) / 3 - 1).abs().max() < 0.05


@pytest.mark.parametrize("dt", [0.01, 1.0])
@pytest.mark.parametrize("bases", [2, 30])
def test_the_default_time_scale_starts_with_small_rotations(dt, bases):
    torch.manual_seed(0)
    net = KoopGen(3, 32, dt=dt, m_skew=bases, m_self=bases).eval()
    norm = dt * torch.linalg.matrix_norm(net.parts(states()).skew, 2)
    assert ((norm > 0.1) & (norm < 0.5)).all()
    assert KoopGen(3, 32, dt=dt, time_scale=7.0).generator.scale == 7


@pytest.mark.parametrize("field", ["complex", "real"])
def test_fields_split_the_derivative(field):
    net = model(field=field).double()
    x = states().double()
    fields = net.fields(x)
    torch.testing.assert_close(fields.transport + fields.dissipation, net.derivative(x))
    assert fields.transport.abs().max() > 1e-3
    assert fields.dissipation.abs().max() > 1e-3
    skew_only = model(dissipation="none", m_self=0).double()
    assert (skew_only.fields(x).dissipation == 0).all()


def test_energy_balance_of_the_flow():
    """P4: the skew part does no work, zᵀ G_s z = 0."""
    parts = model().double().parts(states().double())
    z = model().double().encode(states().double())
    work = (z * (parts.skew @ z[..., None])[..., 0]).sum(-1)
    assert work.abs().max() < 1e-14


@pytest.mark.parametrize(("d", "field"), [(6, "complex"), (6, "real"), (5, "real")])
def test_local_spectra(d, field):
    net = model(d=d, field=field).double()
    x = states().double()
    frequencies, rates = net.local_frequencies(x), net.local_rates(x)
    assert frequencies.shape == (6, d // 2)
    assert rates.shape == (6, d)
    parts = net.parts(x)
    imaginary = torch.linalg.eigvals(parts.skew).imag.sort(-1).values
    torch.testing.assert_close(frequencies, imaginary[..., d - d // 2 :])
    torch.testing.assert_close(rates, torch.linalg.eigvalsh(parts.self_adjoint))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings(  # torch about itself while it compiles
    "ignore:The .grad attribute of a Tensor:UserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
)
def test_the_compiled_step_is_the_same():
    """Values and gradients, with one compilation for all lengths of steps; a copy runs its own parameters."""
    results = []
    for compile in (False, True):
        net = model(scaling=2, compile=compile)
        x = net.forecast(states(), t=torch.tensor([0.0, 0.1, 0.2, 0.23, 0.5]))
        results.append((x, *torch.autograd.grad(x.square().sum(), list(net.parameters()))))
    for eager, compiled in zip(*results):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
    with torch.compiler.set_stance("fail_on_recompile"):
        again = net.forecast(states(), t=torch.tensor([0.0, 0.07]))
    copied = copy.deepcopy(net)
    copied.generator.skew.free.data.zero_()
    assert not torch.equal(copied.forecast(states(), t=torch.tensor([0.0, 0.07])), again)


def test_state_independence_warns():
    with pytest.warns(StateIndependentWarning):
        KoopGen(2, 2, dt=0.05, m_skew=1, m_self=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KoopGen(2, 2, dt=0.05, m_skew=2, m_self=0)


def test_the_gate_counts_latent_steps():
    net = KoopGen(3, 6, dt=0.1).train()
    net.forecast(states(), steps=7)
    assert isinstance(net.generator.gate, MixtureGate)
    assert net.generator.gate.evaluations == 7


@pytest.mark.parametrize(
    ("n_x", "d", "hidden", "layers", "bases", "published"),
    [(2, 2, 64, 3, (2, 0), 9290), (3, 6, 128, 4, (5, 5), 70983), (128, 32, 1024, 4, (30, 30), 4654300)],
)
def test_sizes_are_those_of_the_sibling(n_x, d, hidden, layers, bases, published):
    """§4: the same total of bases gives the parameter counts of its table."""
    net = KoopGen(n_x, d, dt=1.0, m_skew=bases[0], m_self=bases[1], hidden=hidden, layers=layers)
    assert sum(p.numel() for p in net.parameters()) == published


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 5}, "d must be even for field='complex', got 5"),
        ({"m_skew": 0, "m_self": 0}, "both 0"),
        ({"propagator": "euler"}, "propagator must be one of"),
        ({"compile": True}, "compile=True needs propagator='taylor' with scaling=s"),
        ({"propagator": "expm", "scaling": 2}, "scaling=2 belongs to 'taylor', got 'expm'"),
        ({"scaling": 0}, "scaling must be at least 1, got 0"),
        ({"substeps": 0}, "substeps must be at least 1, got 0"),
        ({"time_scale": -1.0}, "time_scale must be finite and above 0, got -1.0"),
        ({"dissipation": "nonpositive", "gate": "linear"}, "gate='linear' bounds nothing"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        KoopGen(**{"n_x": 3, "d": 6, "dt": 0.1, **arguments})
