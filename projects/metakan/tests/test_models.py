"""Networks: sharing, materialisation, parameter groups, pruning, edge functions, saving, several processes."""

import copy
import socket

import pytest
import torch

from metakan import (
    KAN,
    MLP,
    ConvKANNet,
    MetaConvKANNet,
    MetaKAN,
    build_model,
    make_basis,
)
from tenfold.checkpoint import CheckpointError

D = torch.float64
FAMILIES = ["spline", "rbf", "wavelet", "legendre", "gram", "chebyshev"]
SMALL = {"depth": None, "channels": [4, 5], "strides": [1, 2], "dropout": 0.0, "head_dropout": 0.0}


@pytest.mark.parametrize("basis", FAMILIES)
@pytest.mark.parametrize("n_meta", ["per_layer", 1])
def test_metakan_equals_its_kan(basis, n_meta):
    model = MetaKAN([6, 5, 3], basis=basis, n_meta=n_meta, bias=True).to(D)
    x = torch.rand(9, 6, dtype=D) * 2 - 1
    assert (model.materialize()(x) - model(x)).abs().max() < 1e-12
    model(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    model.eval()
    assert not model.materialize().training
    assert (model.materialize()(x) - model(x)).abs().max() < 1e-12


@pytest.mark.parametrize("basis", FAMILIES)
def test_conv_network_equals_its_kan(basis):
    model = MetaConvKANNet(2, 3, basis=basis, **SMALL).to(D)
    x = torch.rand(3, 2, 8, 8, dtype=D) * 2 - 1
    y = model(x)
    assert y.shape == (3, 3)
    assert (model.materialize()(x) - y).abs().max() < 1e-11
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("ndim", [1, 3])
def test_conv_network_in_other_dimensions(ndim):
    x = torch.rand(2, 1, *(8,) * ndim)
    assert MetaConvKANNet(1, 3, ndim=ndim, **SMALL)(x).shape == (2, 3)
    assert ConvKANNet(1, 3, ndim=ndim, **SMALL)(x).shape == (2, 3)


def test_conv_backbones_of_the_paper():
    for depth, channels, strides in (
        (4, (32, 64, 128, 256), (1, 2, 2, 1)),
        (8, (16, 32, 64, 128, 256, 256, 512, 512), (1, 2, 2, 1, 1, 2, 1, 1)),
    ):
        model = MetaConvKANNet(3, 10, depth=depth)
        assert tuple(layer.out_channels for layer in model.layers) == channels
        assert tuple(layer.stride[0] for layer in model.layers) == strides
        rates = [getattr(layer.dropout, "p", 0.0) for layer in model.layers]
        assert rates == [0.0] + [0.25] * (depth - 1)
        assert model.head[0].p == 0.5


def test_sharing_follows_n_meta():
    assert MetaKAN([3, 8, 8, 2]).bank.layer_to_learner == (0, 1, 2)
    assert MetaKAN([3, 8, 8, 2], n_meta=2).bank.layer_to_learner == (1, 1, 0)
    assert MetaConvKANNet(3, 10, depth=8, n_meta=3).bank.layer_to_learner == (0, 0, 0, 0, 1, 1, 2, 2)


def test_parameter_groups_hold_every_parameter_once():
    model = MetaKAN([6, 5, 3], basis="rbf", bias=True)
    groups = model.param_groups(wd=(1e-3, 1e-4, 0.0))
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("prompts", 1e-2, 1e-3), ("meta", 1e-3, 1e-4), ("rest", 1e-3, 0.0),
    ]  # fmt: skip
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert sum(p.numel() for p in groups[0]["params"]) == 6 * 5 + 5 * 3
    assert [g["name"] for g in MetaKAN([3, 2]).param_groups()] == ["prompts", "meta"]
    torch.optim.AdamW(groups).step()


def test_shared_learner_gets_the_sum_of_the_gradients():
    model = MetaKAN([4, 6, 5, 2], n_meta=1).to(D)
    x = torch.rand(8, 4, dtype=D) * 2 - 1
    model(x).square().sum().backward()
    plain = copy.deepcopy(model)
    plain.zero_grad()
    y = x
    for index, layer in enumerate(plain.layers):
        weight = plain.bank[index](layer.prompts).view(layer.out_features, layer.in_features, -1)
        y = layer.product(y, weight)
    y.square().sum().backward()
    for (name, p), q in zip(model.named_parameters(), plain.parameters()):
        assert (p.grad - q.grad).abs().max() < 1e-12, name


@pytest.mark.parametrize("kind", [KAN, MetaKAN])
@pytest.mark.parametrize("basis", ["spline", "wavelet", "gram"])
def test_edge_functions_sum_to_the_outputs(kind, basis):
    model = kind([3, 4], basis=basis).to(D).eval()
    x = torch.rand(7, 3, dtype=D) * 2 - 1
    total = torch.stack(
        [sum(model.edge_function(0, i, j)(x[:, i]) for i in range(3)) for j in range(4)], dim=1
    )
    scale = model.layers[0].output_norm
    expected = model(x) if scale is None else model(x) * (1 + scale.eps) ** 0.5
    assert (total - expected).abs().max() < 1e-12
    assert model.edge_function(0, 0, 0)(torch.tensor(0.3, dtype=D)).shape == ()
    with pytest.raises(IndexError):
        model.edge_function(1, 0, 0)


def test_edge_function_behind_a_layer_norm():
    with pytest.raises(NotImplementedError, match="LayerNorm"):
        KAN([3, 2], basis="rbf").edge_function(0, 0, 0)


def sized_model():
    """[2, 3, 1]: node 1 is fed by small edges only, and the edge from input 1 to node 2 is small."""
    model = KAN([2, 3, 1]).to(D)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.zero_()
            layer.weight[..., -1] = 1.0
        model.layers[0].weight[1, :, -1] = 1e-3
        model.layers[0].weight[2, 1, -1] = 1e-3
    return model


@pytest.mark.parametrize("data", [None, torch.linspace(-1, 1, 50, dtype=D)[:, None].expand(-1, 2)])
def test_pruning_keeps_outputs_up_to_what_was_removed(data):
    model = sized_model()
    x = torch.rand(20, 2, dtype=D) * 2 - 1
    before = model(x)
    masks = model.prune(x=data)
    assert masks[0].tolist() == [[True, True], [False, False], [True, False]]
    assert masks[1].tolist() == [[True, False, True]]
    assert 0 < (model(x) - before).abs().max() < 5e-3
    pruned = model(x)
    with torch.no_grad():
        model.layers[0].weight[1] = 100.0  # whatever removed edges carry, they give zero
    assert torch.equal(model(x), pruned)


def test_pruning_a_metakan_survives_saving_and_materialising(tmp_path):
    torch.manual_seed(0)
    model = MetaKAN([3, 6, 2], bias=True).to(D)
    with torch.no_grad():
        for learner in model.bank.learners:
            torch.nn.init.normal_(learner.second.bias, std=0.05)
    x = torch.rand(9, 3, dtype=D) * 2 - 1
    model.eval()
    with torch.no_grad():
        before = model(x)  # fills the cache
        masks = model.prune(
            node_th=0.0, edge_th=float(torch.cat([s.flatten() for s in scores(model)]).median())
        )
        assert any(not mask.all() for mask in masks)
        after = model(x)
        assert (after - before).abs().max() > 1e-6
        assert (model.materialize()(x) - after).abs().max() < 1e-12
        model.float().save_pretrained(tmp_path)
        loaded = MetaKAN.from_pretrained(tmp_path).eval()
        assert (loaded(x.float()) - model(x.float())).abs().max() < 1e-6
    assert torch.equal(loaded.layers[0].edge_mask, masks[0])
    again = model.prune(node_th=0.0, edge_th=0.0)
    assert all(mask.all() for mask in again)
    assert torch.equal(model.layers[0].edge_mask, masks[0])  # what is gone stays gone


def scores(model):
    from metakan.pruning import edge_scores

    return edge_scores(model)


def test_pruning_everything_is_refused_and_changes_nothing():
    model = sized_model()
    with pytest.raises(ValueError, match="would remove all edges of layer 0"):
        model.prune(edge_th=1e3)
    assert all(layer.edge_mask is None for layer in model.layers)


@pytest.mark.parametrize(
    "model",
    [
        MLP([4, 3, 2], activation="tanh"),
        KAN([4, 3, 2], grid_range=(-2, 2), scaler=True),
        MetaKAN([4, 3, 2], basis="gram", basis_options={"degree": 2}, n_meta=2),
        ConvKANNet(1, 2, basis="rbf", **SMALL),
        MetaConvKANNet(1, 2, layout="spatial", **SMALL),
    ],
    ids=lambda model: type(model).__name__,
)
def test_save_and_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert loaded.config == model.config
    x = torch.rand(3, 4) if hasattr(model, "config") and "widths" in model.config else torch.rand(3, 1, 8, 8)
    assert torch.equal(loaded.eval()(x), model.eval()(x))
    with pytest.raises(CheckpointError, match="holds a"):
        (KAN if not isinstance(model, KAN) else MLP).from_pretrained(tmp_path)


def test_grids_cannot_be_refitted():
    for method in ("update_grid", "refine"):
        with pytest.raises(NotImplementedError, match=r"materialize\(\) or to_pykan\(\) first"):
            getattr(MetaKAN([2, 1]), method)(10)


def test_only_the_first_layer_warns_about_its_inputs():
    model = KAN([2, 30, 1])
    with torch.no_grad():
        model.layers[0].weight[..., -1] = 100.0
    model(torch.rand(20, 2))  # hidden values are far outside; warnings are errors here
    with pytest.warns(UserWarning, match="lie outside"):
        model(torch.full((40, 2), 5.0))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: KAN([5]), ValueError, r"widths must have at least 2 entries.*got \[5\]"),
        (lambda: KAN([5, 0]), ValueError, "widths must be at least 1, got 0"),
        (lambda: MLP([5, 2], activation="sin"), ValueError, "activation must be one of"),
        (lambda: KAN([5, 2], grid_size=0), ValueError, "grid_size must be at least 1, got 0"),
        (lambda: KAN([5, 2], basis="fourier"), ValueError, "basis must be one of 'spline'"),
        (
            lambda: KAN([5, 2], basis="gram", basis_options={"order": 3}),
            TypeError,
            "basis_options .* do not fit",
        ),
        (lambda: MetaKAN([5, 2], hidden=0), ValueError, "hidden must be at least 1, got 0"),
        (lambda: MetaKAN([5, 2], prompt_dim=0), ValueError, "prompt_dim must be at least 1, got 0"),
        (lambda: MetaKAN([5, 4, 2], n_meta=3), ValueError, "n_meta must be at most 2"),
        (lambda: MetaKAN([5, 4, 4], n_meta=2), ValueError, "n_meta must be at most 1"),
        (lambda: ConvKANNet(1, 2, depth=5), ValueError, "depth must be one of 4, 8, None"),
        (lambda: ConvKANNet(1, 2, depth=None), ValueError, "channels and strides must both be given"),
        (lambda: ConvKANNet(1, 2, channels=[3]), ValueError, "equally long"),
        (lambda: ConvKANNet(1, 2, basis="fourier"), ValueError, "basis must be one of"),
        (lambda: ConvKANNet(1, 0), ValueError, "n_classes must be at least 1"),
        (lambda: build_model({"widths": [3, 2]}), ValueError, "cfg must have the key 'name'"),
        (lambda: build_model({"name": "cnn"}), ValueError, "name must be one of 'mlp'"),
        (lambda: make_basis("rbf", basis_options={"n_centers": 1}), ValueError, "n_centers"),
    ],
)
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def _ddp_worker(rank, port, results):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = MetaKAN([4, 6, 5, 2], n_meta=1).to(D)
    parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
    x = torch.rand(8, 4, dtype=D, generator=torch.Generator().manual_seed(5))
    parallel(x[rank * 4 : rank * 4 + 4]).square().mean().backward()
    if rank == 0:
        results.put([p.grad.clone().numpy() for p in model.parameters()])
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_ddp_with_a_shared_learner_equals_one_process():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=_ddp_worker, args=(rank, port, results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = results.get()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    torch.manual_seed(0)
    model = MetaKAN([4, 6, 5, 2], n_meta=1).to(D)
    x = torch.rand(8, 4, dtype=D, generator=torch.Generator().manual_seed(5))
    model(x).square().mean().backward()
    for p, q in zip(model.parameters(), found):
        assert (p.grad - torch.from_numpy(q)).abs().max() < 1e-12


@pytest.mark.parametrize("order", [0, -1])
def test_networks_need_splines_with_a_slope(order):
    with pytest.raises(ValueError, match="spline_order must be at least"):
        MetaKAN([2, 3, 1], spline_order=order)
