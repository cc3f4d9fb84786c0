"""What all models share: shapes, times, scaling, and the errors of §12."""

import math

import pytest
import torch

from koopgen import MODELS, DivergenceWarning, SamplingIntervalWarning, build_model

DT = 0.1
ALL = pytest.mark.parametrize("name", list(MODELS))
CONTINUOUS = [name for name in MODELS if name not in ("lran", "residual_mlp")]
DISCRETE = ["lran", "residual_mlp"]


def model(name, n_x=3, d=4, **options):
    torch.manual_seed(0)
    return build_model(name, n_x, d, dt=DT, hidden=8, **options).eval()


def states(n=5):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


@ALL
def test_shapes(name):
    net, x0 = model(name), states()
    assert net.encode(x0).shape == (5, net.d)
    assert net.decode(net.encode(x0)).shape == (5, 3)
    assert net.encode(x0.expand(2, 5, 3)).shape == (2, 5, net.d)
    z0 = net.encode(x0)
    assert net.step(z0).shape == (5, net.d)
    assert net.rollout(z0, steps=7).shape == (5, 8, net.d)
    assert net.rollout(z0[:0], steps=7).shape == (0, 8, net.d)
    assert net.forecast(x0, steps=7).shape == (5, 8, 3)
    assert net.forecast(x0[0], steps=7).shape == (8, 3)
    torch.testing.assert_close(net.forecast(x0, steps=7)[2], net.forecast(x0[2], steps=7))
    torch.testing.assert_close(net(x0, 7), net.forecast(x0, steps=7))


@ALL
def test_the_roll_out_repeats_the_step_and_stays_in_latent_space(name):
    net, x0 = model(name), states()
    z = net.encode(x0)
    rolled = net.rollout(z, steps=3)
    assert torch.equal(rolled[:, 0], z)
    for k in range(1, 4):
        z = net.step(z)
        torch.testing.assert_close(rolled[:, k], z)
    torch.testing.assert_close(net.forecast(x0, steps=3), net.decode(rolled))


@ALL
def test_uniform_times_are_steps_and_only_differences_matter(name):
    net, x0 = model(name), states()
    t = torch.arange(6) * DT
    expected = net.forecast(x0, steps=5)
    torch.testing.assert_close(net.forecast(x0, t=t), expected)
    torch.testing.assert_close(net.forecast(x0, t=t + 17.3), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.forecast(x0, t=t[[0, 2, 5]]), expected[:, [0, 2, 5]])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_times_may_be_anything_for_continuous_models(name):
    net = model(name).double()
    x0 = states().double()
    checked = net.forecast_checked(x0, t=torch.tensor([2.0, 2.03, 2.28]))
    torch.testing.assert_close(checked.t, torch.tensor([0.0, 0.03, 0.28]).double())
    z = net.step(net.encode(x0), dt=0.03)
    for _ in range(3):  # 0.25 in three equal steps, none longer than Δt
        z = net.step(z, dt=0.25 / 3)
    torch.testing.assert_close(checked.x[:, 2], net.decode(z), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", DISCRETE)
def test_maps_from_sample_to_sample_take_multiples_only(name):
    net, x0 = model(name), states()
    torch.testing.assert_close(net.step(net.encode(x0), dt=3 * DT), net.rollout(net.encode(x0), 3)[:, -1])
    with pytest.raises(ValueError, match=r"a step of 0.03 is not a multiple of its interval 0.1"):
        net.forecast(x0, t=torch.tensor([0.0, 0.03]))
    with pytest.raises(ValueError, match="is not a multiple"):
        net.step(net.encode(x0), dt=0.03)
    with pytest.raises(ValueError, match="it has no time derivative"):
        net.derivative(x0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_derivative_is_that_of_the_forecast(name):
    """DΨ(z) ż against a difference quotient of the forecast from the reconstruction."""
    net = model(name).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.5)
    x0, h = states().double(), 1e-6
    x = net.forecast(x0, t=torch.tensor([0.0, h], dtype=torch.float64))
    torch.testing.assert_close(net.derivative(x0), (x[:, 1] - x[:, 0]) / h, rtol=1e-4, atol=1e-5)
    assert net.derivative(x0).abs().max() > 0.1
    torch.testing.assert_close(net.derivative(x0[0]), net.derivative(x0)[0])


@ALL
def test_physical_units(name):
    """Networks see normalised states; encode and forecast take and give physical ones."""
    net = model(name, normalisation="channel")
    data = 50 + 10 * torch.randn(200, 3)
    net.scaler.fit(data)
    plain = model(name)
    plain.load_state_dict(
        {k: v for k, v in net.state_dict().items() if not k.startswith("scaler.")}, strict=False
    )
    normal = (data - net.scaler.mean) / net.scaler.std
    torch.testing.assert_close(net.encode(data), plain.encode(normal))
    torch.testing.assert_close(
        net.forecast(data, 2), plain.forecast(normal, 2) * net.scaler.std + net.scaler.mean, rtol=1e-4, atol=1e-4
    )  # fmt: skip


@ALL
def test_saved_models_compute_the_same(name, tmp_path):
    net = model(name, normalisation="global")
    net.scaler.fit(states(50))
    net.save_pretrained(tmp_path)
    loaded = type(net).from_pretrained(tmp_path).eval()
    assert loaded.config == net.config
    assert torch.equal(loaded.forecast(states(), 4), net.forecast(states(), 4))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model("koopgen").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a KoopGen, not a LRAN"):
        type(model("lran")).from_pretrained(tmp_path)
    other, state = model("koopgen", m_skew=3), model("koopgen").state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(state)


@ALL
def test_every_parameter_is_in_one_group_and_gets_a_gradient(name):
    net = model(name).train()
    groups = net.parameter_groups()
    assert sorted(groups) == ["bases", "gate", "main"]
    grouped = [p for group in groups.values() for p in group]
    assert len(grouped) == len(set(grouped)) == len(list(net.parameters()))
    net.forecast(states(), steps=3).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in grouped)
    expected = {
        "koopgen": {"main", "bases", "gate"}, "unstructured_generator": {"main", "bases", "gate"},
        "lran": {"main", "bases"}, "lran_matrix_exp": {"main", "bases"}, "constant_generator": {"main", "bases"},
        "deep_koopman": {"main", "gate"},
    }  # fmt: skip
    assert {key for key, group in groups.items() if group} == expected.get(name, {"main"})


def test_half_precision_stays_outside_the_roll_out():
    net = model("koopgen")
    z0 = net.encode(states())
    with torch.autocast("cpu", torch.bfloat16):
        assert net.rollout(z0, 3).dtype == torch.float32
        torch.testing.assert_close(net.rollout(z0, 3), model("koopgen").rollout(z0, 3), rtol=0, atol=0)


@pytest.mark.filterwarnings("default::koopgen.DivergenceWarning")
def test_roll_outs_that_turn_non_finite_are_reported():
    net = model("lran")
    with torch.no_grad():
        net.operator.copy_(1e12 * torch.eye(4))
        net.encoder.layers[-1].weight.zero_()
        net.encoder.layers[0].weight.zero_()
        net.encoder.layers[-1].bias.fill_(1.0)
    with pytest.warns(DivergenceWarning, match=r"5 of 5 roll-outs turned non-finite, the first at index 4"):
        net.forecast(states(), steps=6)
    checked = net.forecast_checked(states(), steps=6)
    assert not checked.finite.any()
    assert (checked.first_bad == 4).all()
    good = model("lran").forecast_checked(states(), steps=6)
    assert good.finite.all()
    assert (good.first_bad == -1).all()


def test_one_bad_roll_out_does_not_disturb_the_others():
    net = model("koopgen")
    z0 = net.encode(states())
    expected = net.rollout(z0, 5)
    z0[1] = math.nan
    rolled = net.rollout(z0, 5)
    assert rolled[1].isnan().all()
    torch.testing.assert_close(rolled[[0, 2, 3, 4]], expected[[0, 2, 3, 4]])


@pytest.mark.parametrize("name", ["koopgen", "lran_matrix_exp"])
def test_another_sampling_interval_warns_and_rescales(name):
    net, x0 = model(name), states()
    with pytest.warns(SamplingIntervalWarning, match=r"dt=0.2 is not the sampling interval 0.1"):
        coarse = net.forecast(x0, steps=3, dt=0.2)
    torch.testing.assert_close(coarse, net.forecast(x0, steps=6)[:, ::2])


def test_windows_are_taken_with_a_warning():
    net = model("koopgen")
    window = states(20).view(4, 5, 3)
    with pytest.warns(UserWarning, match=r"x0 of shape \(4, 5, 3\) was taken as \(B, T, n_x\)"):
        x = net.forecast(window, steps=2)
    torch.testing.assert_close(x, net.forecast(window[:, 0], steps=2))  # nothing of x[:, 1:] leaks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.forecast(torch.zeros(5, 4), 2), r"x0 has shape \(5, 4\); its last axis must have 3 entries"),
        (lambda m: m.forecast(torch.zeros(2, 2, 2, 3), 2), r"x0 must have shape \(n_x,\), \(B, n_x\) or"),
        (lambda m: m.forecast(torch.full((5, 3), math.nan), 2), "x has 15 NaN or infinite entries"),
        (lambda m: m.encode(torch.tensor([[1.0, 2.0, math.inf]])), r"the first at index \(0, 2\)"),
        (lambda m: m.forecast(torch.zeros(5, 3)), "give either steps or t, got steps=None and t=None"),
        (lambda m: m.forecast(torch.zeros(5, 3), 2, torch.ones(2)), "give either steps or t, got steps=2"),
        (lambda m: m.forecast(torch.zeros(5, 3), -1), "steps must be at least 0, got -1"),
        (lambda m: m.forecast(torch.zeros(5, 3), t=torch.tensor([0.0, 0.2, 0.2])), r"t must increase, got t\[1\] = 0.2 and t\[2\] = 0.2"),
        (lambda m: m.forecast(torch.zeros(5, 3), t=torch.tensor([0.1, 0.0])), "t must increase"),
        (lambda m: m.forecast(torch.zeros(5, 3), t=torch.zeros(2, 2)), "t must have one axis"),
        (lambda m: m.forecast(torch.zeros(5, 3), t=torch.tensor([0.0, math.nan])), "t has 1 NaN"),
        (lambda m: m.forecast(torch.zeros(5, 3), t=torch.arange(3) * DT, dt=DT), "dt belongs to steps"),
        (lambda m: m.forecast(torch.zeros(5, 3), 2, dt=-1.0), "dt must be finite and above 0, got -1.0"),
        (lambda m: m.rollout(torch.zeros(5, 3), 2), r"z0 has shape \(5, 3\); its last axis must have 4 entries"),
        (lambda m: m.rollout(torch.zeros(4), 2), r"z0 must have shape \(B, 4\), got \(4,\)"),
        (lambda m: m.step(torch.zeros(5, 4), dt=0.0), "dt must be finite and above 0, got 0.0"),
        (lambda m: m.decode(torch.zeros(5, 3)), r"z has shape \(5, 3\); its last axis must have 4 entries"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(model("koopgen"))


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="x0 must be a torch tensor, got ndarray"):
        model("koopgen").forecast(states().numpy(), 2)
    with pytest.raises(TypeError, match=r"steps must be an integer, got 2\.0"):
        model("koopgen").forecast(states(), 2.0)


@ALL
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dt": 0.0}, "dt must be finite and above 0, got 0.0"),
        ({"n_x": 0}, "n_x must be at least 1, got 0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"normalisation": "minmax"}, "normalisation must be one of"),
    ],
)
def test_bad_sizes_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **{"n_x": 3, "d": 4, "dt": DT, **arguments})


def test_unknown_models_are_named():
    with pytest.raises(ValueError, match=r"name must be one of .* got .dmd."):
        build_model("dmd", 3, 4, dt=DT)
