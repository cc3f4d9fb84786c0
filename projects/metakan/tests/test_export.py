"""Export to pykan and fitting to a given KAN."""

import builtins
import random

import numpy as np
import pytest
import torch

from metakan import KAN, MetaConvKANNet, MetaKAN, from_kan, materialize, to_pykan

D = torch.float64


def general(model):
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.to(D)


@pytest.mark.parametrize(
    "model",
    [
        MetaKAN([3, 4, 2], bias=True),
        MetaKAN([2, 3, 1], grid_size=4, spline_order=2, grid_range=(-2, 1)),
        MetaKAN([2, 3, 1], base_activation="identity"),
        MetaKAN([2, 3, 1], base_activation=None),
        KAN([3, 4, 2], scaler=True, bias=True),
    ],
)
def test_pykan_gives_the_same_outputs(model, tmp_path):
    pytest.importorskip("kan", reason="pykan is not installed")
    model = general(model)
    peer = to_pykan(model, str(tmp_path))
    x = torch.rand(200, model.config["widths"][0], dtype=D) * 4 - 2
    with torch.no_grad():
        assert (peer(x) - model(x)).abs().max() < 1e-10
        peer.act_fun[0].coef[0, 0, 1] += 0.1
        assert (peer(x) - model(x)).abs().max() > 1e-4  # control


def test_pruned_edges_become_the_mask(tmp_path):
    pytest.importorskip("kan", reason="pykan is not installed")
    model = general(MetaKAN([3, 4, 2]))
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[1, 2] = False
    model.layers[0].set_edge_mask(mask)
    peer = to_pykan(model, str(tmp_path))
    x = torch.rand(50, 3, dtype=D)
    assert (peer(x) - model(x)).abs().max() < 1e-10
    assert peer.act_fun[0].mask[2, 1] == 0


def test_export_leaves_random_generators_and_the_terminal_alone(tmp_path, capsys):
    pytest.importorskip("kan", reason="pykan is not installed")
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002  (pykan uses the global generator)
    expected = torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
    model = MetaKAN([2, 2])
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    to_pykan(model, str(tmp_path))
    assert (torch.rand(1), random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert capsys.readouterr().out == ""


def test_without_pykan(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "kan":
            raise ImportError("no kan")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"install metakan\[pykan\]"):
        to_pykan(KAN([2, 1]))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (KAN([2, 1], basis="rbf"), "splines only; basis 'rbf'"),
        (KAN([2, 1], base_activation="gelu"), "base_activation='gelu'"),
    ],
)
def test_what_pykan_cannot_hold(model, words):
    with pytest.raises(NotImplementedError, match=words):
        to_pykan(model)


def test_wrong_types():
    for call in (to_pykan, materialize, from_kan):
        with pytest.raises(TypeError, match=r"must be .*got Linear"):
            call(torch.nn.Linear(2, 1))


def test_materialize_function():
    model = MetaConvKANNet(1, 2, depth=None, channels=[2], strides=[1])
    x = torch.rand(2, 1, 5, 5)
    model.eval()
    assert torch.allclose(materialize(model)(x), model(x), atol=1e-6)


def test_from_kan_recovers_a_kan_that_a_metakan_made():
    torch.manual_seed(0)
    source = general(MetaKAN([4, 6, 2], hidden=3, bias=True)).materialize()
    state = torch.get_rng_state()
    fitted = from_kan(source, hidden=24, steps=400)
    assert torch.equal(torch.get_rng_state(), state)
    rough = from_kan(source, hidden=24, steps=0)
    assert fitted.fit_error < 0.05
    assert fitted.fit_error < 0.2 * rough.fit_error
    x = torch.rand(50, 4, dtype=D)
    assert (fitted(x) - source(x)).std() < 0.3 * (rough(x) - source(x)).std()


def test_from_kan_reports_what_it_cannot_fit():
    torch.manual_seed(0)
    source = KAN([4, 6, 2]).to(D)
    for layer in source.layers:
        torch.nn.init.normal_(layer.packed_weight)  # nine independent numbers an edge lie on no curve
    assert from_kan(source, hidden=8, steps=50).fit_error > 0.2
