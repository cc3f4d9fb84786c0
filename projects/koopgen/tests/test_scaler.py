import pytest
import torch

from koopgen import Scaler


def data():
    torch.manual_seed(0)
    return torch.randn(50, 20, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 23.5, -2.0])


@pytest.mark.parametrize("kind", ["none", "global", "channel"])
def test_it_is_inverted(kind):
    scaler = Scaler(3, kind)
    if kind != "none":
        scaler.fit(data())
    torch.testing.assert_close(scaler.denormalize(scaler.normalize(data())), data(), rtol=1e-5, atol=1e-5)


def test_channel_and_global_statistics():
    x = data()
    channel = Scaler(3, "channel").fit(x).normalize(x).flatten(0, 1)
    torch.testing.assert_close(channel.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(channel.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    scaler = Scaler(3, "global").fit(x)
    assert (scaler.std == scaler.std[0]).all()
    normal = scaler.normalize(x).flatten(0, 1)
    torch.testing.assert_close(normal.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    # σ is per channel, not the root of the summed variances (10.8).
    torch.testing.assert_close(normal.var(0, correction=0).mean(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_explicit_values_of_the_sibling():
    scaler = Scaler(3, "explicit", mean=[0.0, 0.0, 23.5], std=14.0)
    torch.testing.assert_close(
        scaler.normalize(torch.tensor([14.0, 0.0, 23.5])), torch.tensor([1.0, 0.0, 0.0])
    )


def test_it_travels_with_the_state():
    fitted = Scaler(3, "channel").fit(data())
    other = Scaler(3, "channel")
    with pytest.raises(RuntimeError, match="has not seen data"):
        other.normalize(data())
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.normalize(data()), fitted.normalize(data()))


def test_bad_data_are_named():
    constant = data()
    constant[..., 1] = 23.5
    with pytest.raises(ValueError, match=r"channels \[1\] of x do not vary"):
        Scaler(3, "channel").fit(constant)
    Scaler(3, "global").fit(constant)
    broken = data()
    broken[3, 4, 2] = torch.nan
    with pytest.raises(ValueError, match=r"x has 1 NaN or infinite entries, the first at index \(3, 4, 2\)"):
        Scaler(3, "channel").fit(broken)
    with pytest.raises(ValueError, match=r"x has shape .* last axis must have 2 entries"):
        Scaler(2, "channel").fit(data())
    with pytest.raises(ValueError, match="normalisation='none' has nothing to fit"):
        Scaler(3).fit(data())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "minmax"}, "normalisation must be one of .* got 'minmax'"),
        ({"kind": "explicit"}, "mean and std belong together and to normalisation='explicit'"),
        ({"mean": 0.0, "std": 1.0}, "mean and std belong together and to normalisation='explicit'"),
        ({"kind": "explicit", "mean": 0.0}, "mean and std belong together"),
        ({"kind": "explicit", "mean": [0.0, 1.0], "std": 1.0}, "mean must be a number or 3 numbers"),
        ({"kind": "explicit", "mean": 0.0, "std": 0.0}, "std must be above 0 in every channel"),
        ({"n_x": 0}, "n_x must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scaler(**{"n_x": 3, **arguments})
