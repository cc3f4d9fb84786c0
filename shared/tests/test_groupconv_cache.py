"""The remembered dense weight is never stale, and never in the way."""

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from tenfold.groupconv import GroupConv2d, GroupConvTranspose2d, GroupLinear, LiftingConv2d, ProjectionConv2d
from tenfold.groups import CyclicGroup

C8 = CyclicGroup(8)


def reference(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a layer that remembers nothing would return."""
    fresh = copy.deepcopy(layer).train()
    with torch.no_grad():
        return fresh(x)


def halve_in_place(layer):
    with torch.no_grad():
        layer.weight.mul_(0.5)


def halve_behind_the_version_counter(layer):
    layer.weight.data.mul_(0.5)


def halve_through_numpy(layer):
    layer.weight.detach().numpy()[...] *= 0.5


def receive_a_broadcast(layer):
    layer.weight.detach().copy_(0.5 * layer.weight.detach())  # as DDP writes rank 0's weights


def new_parameter(layer):
    layer.weight = nn.Parameter(layer.weight.detach() * 0.5)


def new_data(layer):
    layer.weight.data = layer.weight.data * 0.5


def load(layer):
    layer.load_state_dict({k: 0.5 * v if k == "weight" else v for k, v in layer.state_dict().items()})


def assign(layer):
    state = {k: 0.5 * v if k == "weight" else v for k, v in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)


def step(layer):
    layer.weight.grad = layer.weight.detach().clone()
    torch.optim.SGD([layer.weight], lr=0.5).step()
    layer.weight.grad = None


def through_half_precision(layer):
    layer.half().float()  # the same memory may come back with other values


CHANGES = [
    halve_in_place,
    halve_behind_the_version_counter,
    halve_through_numpy,
    receive_a_broadcast,
    new_parameter,
    new_data,
    load,
    assign,
    step,
    through_half_precision,
]
LAYERS = {
    "lifting": (lambda: LiftingConv2d(2, 2, 5, C8), (1, 2, 7, 7)),
    "group": (lambda: GroupConv2d(2, 2, 5, C8), (1, 16, 7, 7)),
    "group-fourier": (lambda: GroupConv2d(2, 2, 5, C8, basis="fourier"), (1, 16, 7, 7)),
    "transposed": (lambda: GroupConvTranspose2d(2, 2, 5, C8), (1, 16, 7, 7)),
    "projection": (lambda: ProjectionConv2d(2, 2, 5, C8), (1, 16, 7, 7)),
    "linear": (lambda: GroupLinear(2, 3, C8), (4, 16)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    build, shape = LAYERS[request.param]
    return build().eval(), torch.randn(shape)


def test_weight_is_remembered_in_eval_mode(layer_and_input):
    layer, x = layer_and_input
    with torch.no_grad():
        first = layer(x)
        entry = layer._entry
        assert torch.equal(layer(x), first)
    assert entry is not None
    assert layer._entry is entry


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changes_in_eval_mode_are_seen(layer_and_input, change):
    layer, x = layer_and_input
    with torch.no_grad():
        before = layer(x)
    change(layer)
    with torch.no_grad():
        after = layer(x)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, reference(layer, x))


def test_changes_of_the_whitening_are_seen():
    layer, x = GroupConv2d(2, 2, 5, C8, basis="fourier").eval(), torch.randn(1, 16, 7, 7)
    with torch.no_grad():
        before = layer(x)
        layer.bank.whitening.mul_(2)
        assert not torch.equal(layer(x), before)
        torch.testing.assert_close(layer(x), reference(layer, x))


def test_training_between_evaluations(layer_and_input):
    layer, x = layer_and_input
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer.eval()
        with torch.no_grad():
            torch.testing.assert_close(layer(x), reference(layer, x))
        layer.train()
        layer(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_dtype_follows_to(layer_and_input):
    layer, x = layer_and_input
    with torch.no_grad():
        single = layer(x)
        double = layer.double()(x.double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.float()(x), single, rtol=1e-4, atol=1e-5)


def test_copies_are_independent(layer_and_input):
    layer, x = layer_and_input
    with torch.no_grad():
        before = layer(x)
        twin = copy.deepcopy(layer)
        halve_in_place(twin)
        assert torch.equal(layer(x), before)
        torch.testing.assert_close(twin(x), reference(twin, x))
        assert not torch.equal(twin(x), before)


def test_gradients_in_eval_mode(layer_and_input):
    """Evaluation mode with autograd on still trains the weights."""
    layer, x = layer_and_input
    with torch.no_grad():
        layer(x)
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_gradients_of_a_learned_basis_in_eval_mode():
    """With frozen weights the other tensors the kernel is made from still get their gradients."""
    layer, x = (
        GroupConv2d(2, 2, 5, C8, basis="fourier").eval().requires_grad_(False),
        torch.randn(1, 16, 7, 7),
    )
    layer.bank.whitening.requires_grad_()
    with torch.no_grad():
        layer(x)
    layer(x).square().sum().backward()
    assert layer.bank.whitening.grad.abs().sum() > 0


def test_inference_mode_then_gradients_of_the_input(layer_and_input):
    layer, x = layer_and_input
    layer.requires_grad_(False)
    with torch.inference_mode():
        inside = layer(x)
    x = x.clone().requires_grad_()
    outside = layer(x)
    torch.testing.assert_close(outside.detach(), inside.clone())
    outside.sum().backward()
    assert x.grad.abs().sum() > 0


def test_dense_weight_is_the_callers_own(layer_and_input):
    layer, x = layer_and_input
    with torch.no_grad():
        before = layer(x)
        layer.dense_weight().zero_()
        assert torch.equal(layer(x), before)


def test_nothing_remembered_is_saved(layer_and_input):
    layer, x = layer_and_input
    keys, size = list(layer.state_dict()), len(pickle.dumps(layer))
    with torch.no_grad():
        before = layer(x)
    assert list(layer.state_dict()) == keys
    assert len(pickle.dumps(layer)) == size
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    with torch.no_grad():
        assert torch.equal(torch.load(buffer, weights_only=False)(x), before)


def test_functional_calls_with_other_weights(layer_and_input):
    """torch.func puts other tensors in place of the parameters, also batched ones."""
    layer, x = layer_and_input
    with torch.no_grad():
        before = layer(x)
        halved = {k: 0.5 * p.detach() for k, p in layer.named_parameters()}
        torch.testing.assert_close(
            torch.func.functional_call(layer, halved, x), 0.5 * before, rtol=1e-4, atol=1e-5
        )
        stacked = {k: torch.stack([p.detach(), 0.5 * p.detach()]) for k, p in layer.named_parameters()}
        both = torch.func.vmap(lambda p: torch.func.functional_call(layer, p, x))(stacked)
        torch.testing.assert_close(both[0], before, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both[1], 0.5 * before, rtol=1e-4, atol=1e-5)
        assert torch.equal(layer(x), before)


def test_compiled_layer_sees_changes(layer_and_input):
    layer, x = layer_and_input
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        layer(x)
        torch.testing.assert_close(compiled(x), reference(layer, x))
        halve_behind_the_version_counter(layer)
        torch.testing.assert_close(compiled(x), reference(layer, x))


def test_compiled_training_gives_the_same_gradients(layer_and_input):
    layer, x = layer_and_input
    layer.train()
    layer(x).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad.clone(), None
    torch.compile(layer, fullgraph=True, backend="aot_eager")(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected)


def test_export_holds_the_parameters(layer_and_input):
    layer, x = layer_and_input
    with torch.no_grad():
        layer(x)
        program = torch.export.export(layer, (x,))
        torch.testing.assert_close(program.module()(x), reference(layer, x))
        assert "weight" in program.state_dict
        module = program.module()
        module.weight.data.mul_(0.5)
        halve_in_place(layer)
        torch.testing.assert_close(module(x), reference(layer, x))


def _train_one_process(rank: int, rendezvous: str, results: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # other weights on every rank, until DDP broadcasts rank 0's
    layer = GroupConv2d(2, 2, 3, C8).eval()
    x = torch.randn(1, 16, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer(x)  # remembers the weights before the broadcast
    model = nn.parallel.DistributedDataParallel(layer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs = []
    for i in range(2):
        model.eval()
        with torch.no_grad():
            outputs.append(model(x))
            torch.testing.assert_close(outputs[-1], reference(layer, x))
        model.train()
        data = torch.randn(2, 16, 5, 5, generator=torch.Generator().manual_seed(10 * i + rank))
        model(data).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.save(torch.stack(outputs), f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    mp.spawn(_train_one_process, (str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
