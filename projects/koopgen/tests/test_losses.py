"""The Sobolev distance against its definition written out, and what its options must not change."""

import math

import pytest
import torch

from koopgen.losses import CollapseDetector, KoopGenLoss, sobolev_distance

GENERATOR = torch.Generator().manual_seed(0)
BOUNDARIES = ("periodic", "detrend", "even")


def draw(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def by_definition(u, v, order, dims, relative):
    """§3.6 with full transforms and one mode number after the other."""
    n, channels = u.shape[1:]
    total = []
    for error, target in zip(u - v, v):
        norms = []
        for x in (error, target):
            modes = torch.fft.fft(x, dim=0, norm="ortho")
            if dims == "space-time":
                modes = torch.fft.fft(modes, dim=1, norm="ortho")
            value = 0.0
            for k in range(n):
                for c in range(channels):
                    kappa = min(k, n - k) ** 2 + (min(c, channels - c) ** 2 if dims == "space-time" else 0)
                    weight = 1 + (kappa if order >= 1 else 0) + (kappa**2 if order == 2 else 0)
                    value += weight * float(modes[k, c].abs() ** 2)
            norms.append(math.sqrt(value))
        total.append(norms[0] / norms[1] if relative else norms[0])
    return sum(total) / len(total)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("dims", ["time", "space-time"])
@pytest.mark.parametrize("samples", [7, 8])
@pytest.mark.parametrize("relative", [True, False])
def test_distance_is_its_definition(order, dims, samples, relative):
    u, v = draw(3, samples, 5), draw(3, samples, 5)
    ours = sobolev_distance(u, v, order, dims, relative)
    assert float(ours) == pytest.approx(by_definition(u, v, order, dims, relative), rel=1e-12)


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("samples", [15, 16])
def test_weight_of_a_wave(k, samples):
    """A wave of k periods in the window weighs √(1 + k²), whether T is even or odd (§10.7d)."""
    wave = torch.cos(2 * math.pi * k * torch.arange(samples, dtype=torch.float64) / samples)[None, :, None]
    zero = torch.zeros_like(wave)
    plain = sobolev_distance(wave, zero, order=0, relative=False)
    for order, weight in ((1, math.sqrt(1 + k**2)), (2, math.sqrt(1 + k**2 + k**4))):
        weighed = sobolev_distance(wave, zero, order=order, relative=False)
        assert float(weighed / plain) == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("samples", [7, 8])
def test_even_boundary_is_the_transform_of_the_mirrored_window(order, samples):
    """Twice the window has twice the energy and half the mode numbers."""
    x = draw(1, samples, 3)
    modes = torch.fft.fft(torch.cat([x, x.flip(1)], 1), dim=1, norm="ortho").abs().square().sum(2)
    kappa = torch.fft.fftfreq(2 * samples, 1 / (2 * samples), dtype=torch.float64) / 2
    weight = 1 + kappa**2 + (kappa**4 if order == 2 else 0)
    expected = float(((modes * weight).sum() / 2).sqrt())
    ours = sobolev_distance(x, torch.zeros_like(x), order, relative=False, boundary="even")
    assert float(ours) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_boundary_gives_a_norm(boundary, order):
    u, v, w = (draw(1, 9, 3) for _ in range(3))

    def distance(a, b):
        return float(sobolev_distance(a, b, order, relative=False, boundary=boundary))

    assert distance(u, u) == 0
    assert distance(u, v) == pytest.approx(distance(v, u))
    assert distance(3 * u, 3 * v) == pytest.approx(3 * distance(u, v))
    assert distance(u, w) <= distance(u, v) + distance(v, w) + 1e-12
    constant = torch.full((1, 9, 3), 0.5, dtype=torch.float64)
    assert distance(u + constant, u) == pytest.approx(float(constant.norm()))  # κ = 0 weighs 1 for all


@pytest.mark.parametrize("boundary", ["detrend", "even"])
def test_a_drift_is_no_jump(boundary):
    """10.7b: the straight line's jump at the window's ends weighs on the periodic transform only."""
    line = torch.linspace(0, 1, 64, dtype=torch.float64)[None, :, None]
    zero = torch.zeros_like(line)
    periodic = sobolev_distance(line, zero, order=2, relative=False)
    mended = sobolev_distance(line, zero, order=2, relative=False, boundary=boundary)
    plain = sobolev_distance(line, zero, order=0, relative=False)
    assert periodic > 20 * plain
    assert mended < 1.5 * plain


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_relative_distance_of_nothing_and_to_nothing(boundary):
    v = draw(4, 8, 2)
    assert float(sobolev_distance(torch.zeros_like(v), v, boundary=boundary)) == pytest.approx(1.0)
    silent = sobolev_distance(v, torch.zeros_like(v), boundary=boundary)
    assert torch.isfinite(silent)
    assert float(sobolev_distance(torch.zeros_like(v), torch.zeros_like(v), boundary=boundary)) == 0.0


def test_relative_distance_is_an_average_of_ratios():
    """A small trajectory counts as much as a large one."""
    v = draw(2, 8, 2)
    v[1] *= 1000
    u = v.clone()
    u[0] *= 1.5
    assert float(sobolev_distance(u, v)) == pytest.approx(0.25)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("dims", ["time", "space-time"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients(order, dims, boundary):
    u, v = draw(2, 5, 3).requires_grad_(), draw(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: sobolev_distance(a, b, order, dims, boundary=boundary), (u, v)
    )


def test_gradient_where_the_distance_is_zero():
    u = draw(2, 8, 3).requires_grad_()
    sobolev_distance(u, u.detach().clone()).backward()
    assert torch.isfinite(u.grad).all()


def test_half_precision_is_computed_in_float32():
    u, v = draw(2, 8, 3), draw(2, 8, 3)
    half = sobolev_distance(u.bfloat16(), v.bfloat16())
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(sobolev_distance(u, v)), rel=0.02)


def test_autocast_does_not_reach_the_transform():
    u, v = draw(4, 30, 3).float(), draw(4, 30, 3).float()
    expected = sobolev_distance(u, v, order=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = sobolev_distance(u, v, order=2)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)


def test_terms_and_weights():
    x, predicted, rebuilt = draw(2, 8, 3), draw(2, 8, 3), draw(2, 8, 3)
    z, rolled = draw(2, 8, 4), draw(2, 8, 4)
    terms = KoopGenLoss(2.0, 0.5, 0.25, order=1)(predicted, x, rolled, z, rebuilt)
    assert float(terms.prediction) == pytest.approx(float(sobolev_distance(predicted, x)))
    assert float(terms.linear) == pytest.approx(float(sobolev_distance(rolled, z)))
    assert float(terms.reconstruction) == pytest.approx(float(sobolev_distance(rebuilt, x)))
    expected = 2 * terms.prediction + 0.5 * terms.linear + 0.25 * terms.reconstruction
    assert float(terms.total) == pytest.approx(float(expected))


def test_space_time_is_for_the_data_and_not_for_the_latent_state():
    x, predicted = draw(2, 8, 6), draw(2, 8, 6)
    z, rolled = draw(2, 8, 4), draw(2, 8, 4)
    terms = KoopGenLoss(order=2, kind="space-time")(predicted, x, rolled, z)
    assert float(terms.prediction) == pytest.approx(float(sobolev_distance(predicted, x, 2, "space-time")))
    assert float(terms.linear) == pytest.approx(float(sobolev_distance(rolled, z, 2, "time")))


def test_mean_squared_errors_and_terms_left_out():
    x, predicted = draw(2, 8, 3), draw(2, 8, 3)
    terms = KoopGenLoss(w_lin=0.0, kind="mse")(predicted, x)
    assert float(terms.total) == pytest.approx(float((predicted - x).square().mean()))
    assert float(terms.linear) == float(terms.reconstruction) == 0.0


def test_the_loss_trains_both_sides_of_the_latent_term():
    """The encoded data are no fixed target (§3.6)."""
    z, rolled = draw(2, 8, 4).requires_grad_(), draw(2, 8, 4).requires_grad_()
    x = draw(2, 8, 3)
    KoopGenLoss()(x, x, rolled, z).total.backward()
    assert z.grad.abs().sum() > 0
    assert rolled.grad.abs().sum() > 0


def test_collapse_needs_patience_and_a_relative_loss_near_one():
    detector = CollapseDetector(threshold=0.95, patience=3)
    assert [detector.update(term) for term in (1.0, 0.99, 0.94, 0.96, 1.0)] == [False] * 5
    assert detector.update(torch.tensor(0.97))
    assert detector.collapsed
    assert not detector.update(0.5)
    for _ in range(3):
        detector.update(float("nan"))
    assert detector.collapsed


def test_collapse_of_a_model_that_gives_zero():
    v = draw(16, 30, 3)
    detector = CollapseDetector(patience=5)
    assert any(detector.update(sobolev_distance(torch.zeros_like(v), v)) for _ in range(5))


V = torch.zeros(2, 8, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sobolev_distance(V, V[:, :7]), r"u has shape \(2, 8, 3\), v \(2, 7, 3\)"),
        (lambda: sobolev_distance(V[0], V[0]), r"give windows \(batch, samples, channels\)"),
        (lambda: sobolev_distance(V, V, order=3), "order must be 0, 1 or 2, got 3"),
        (lambda: sobolev_distance(V, V, dims="space"), "dims must be 'time' or 'space-time'"),
        (lambda: sobolev_distance(V, V, boundary="odd"), "boundary must be"),
        (lambda: sobolev_distance(V[:, :3], V[:, :3]), "3 samples are too short for order 1"),
        (lambda: KoopGenLoss(w_pred=-1.0), "w_pred must be a weight of at least 0"),
        (lambda: KoopGenLoss(w_lin=math.nan), "w_lin must be a weight of at least 0"),
        (lambda: KoopGenLoss(w_pred=0.0, w_lin=0.0), "nothing ties the model to the data"),
        (lambda: KoopGenLoss(kind="huber"), "kind must be"),
        (lambda: KoopGenLoss(order=4), "order must be 0, 1 or 2, got 4"),
        (lambda: KoopGenLoss()(V, V), "needs latent_prediction and latent"),
        (lambda: KoopGenLoss(w_lin=0.0, w_rec=1.0)(V, V), "needs reconstruction"),
        (lambda: CollapseDetector(threshold=1.5), "threshold must lie in"),
        (lambda: CollapseDetector(patience=0), "patience must be at least 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_short_windows_are_fine_without_derivatives():
    assert float(sobolev_distance(V[:, :2] + 1, V[:, :2] + 1, order=0)) == 0.0


def test_warnings():
    with pytest.warns(UserWarning, match=r"w_lin = 2.0 is above w_pred = 1.0"):
        KoopGenLoss(w_lin=2.0)
    with pytest.warns(UserWarning, match="takes the channels for neighbours on a grid"):
        KoopGenLoss(kind="space-time", gridded=False)


def test_training_goes_on_after_an_evaluation_in_inference_mode():
    shape = (2, 23, 3)  # a length that no other test has used
    with torch.inference_mode():
        sobolev_distance(torch.randn(shape), torch.randn(shape), order=1)
    x = torch.randn(shape, requires_grad=True)
    sobolev_distance(x, torch.randn(shape), order=1).mean().backward()
    assert x.grad is not None
