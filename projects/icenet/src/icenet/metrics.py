"""What is measured: normalised error, multiply-accumulates, bytes kept for the backward pass.

NMSE is the ratio of sums, Σ‖ĥ − h‖² / Σ‖h‖². The mean of the slots' own ratios is more than a decibel larger for fading
channels, because slots in a fade weigh as much as the others (10.10). What a channel estimate is worth in bits:
`icenet.ofdm.link.uncoded_ber`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn


def nmse(h_hat: Complex[Tensor, "b *grid"], h: Complex[Tensor, "b *grid"]) -> Float[Tensor, ""]:
    """Σ‖ĥ − h‖² / Σ‖h‖² over the whole batch; differentiable.

    Raises:
        ValueError: the shapes differ, or h is zero everywhere.

    >>> nmse(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(0.5000)
    """
    if h_hat.shape != h.shape:
        raise ValueError(f"h_hat has shape {tuple(h_hat.shape)}, h has {tuple(h.shape)}")
    energy = _energy(h)
    if not torch.compiler.is_compiling() and energy == 0:
        raise ValueError("h is zero everywhere, so the normalised error is not defined")
    return _energy(h_hat - h) / energy


def nmse_db(h_hat: Complex[Tensor, "b *grid"], h: Complex[Tensor, "b *grid"]) -> float:
    """`nmse` in decibels; −inf without error.

    >>> round(nmse_db(torch.tensor([[0.9, 0.0]]), torch.tensor([[1.0, 0.0]])), 4)
    -20.0
    """
    return decibels(float(nmse(h_hat, h)))


def decibels(ratio: float) -> float:
    """10 log₁₀ of a ratio of powers; −inf of 0."""
    return 10 * math.log10(ratio) if ratio > 0 else (-math.inf if ratio == 0 else math.nan)


def ber(decided: Bool[Tensor, "*bits"], sent: Bool[Tensor, "*bits"]) -> float:
    """Share of the bits that were decided wrongly.

    Raises:
        ValueError: the shapes differ, or there are no bits.

    >>> ber(torch.tensor([True, False, True, True]), torch.tensor([True, True, True, True]))
    0.25
    """
    if decided.shape != sent.shape or sent.numel() == 0:
        raise ValueError(
            f"decided and sent must have one shape and hold bits, got {tuple(decided.shape)} and {tuple(sent.shape)}"
        )
    return float((decided != sent).double().mean())


def macs(module: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of the convolutions and linear layers in one call of `module`.

    Layers called several times count each time; what is done without a layer (normalisation, attention products,
    interpolation) does not count. The call is for whatever batch `inputs` have, in evaluation mode.

    >>> macs(nn.Conv2d(2, 4, 3, padding=1), torch.zeros(1, 2, 8, 8))  # 64 places × 3·3·2·4
    4608
    """
    total = 0

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        elif isinstance(layer, nn.ConvTranspose2d):
            kernel = math.prod(layer.kernel_size)
            given = count_in[layer]
            total += given * layer.out_channels // layer.groups * kernel
        elif isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size)

    count_in: dict[nn.Module, int] = {}

    def remember(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        count_in[layer] = given[0].numel()

    handles: list[Any] = []
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            handles.append(layer.register_forward_hook(count))
        if isinstance(layer, nn.ConvTranspose2d):
            handles.append(layer.register_forward_pre_hook(remember))
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return total


def saved_tensor_bytes(step: Callable[[], Tensor | None], parameters: Any = ()) -> int:
    """The most bytes that autograd kept for backward passes at any moment of `step`.

    Counts storages, once each, so that views and tensors saved twice cost nothing; deterministic on every device. It counts
    what is *kept*, not what a layer needs while it computes: on a GPU `torch.cuda.max_memory_allocated` adds that.

    Args:
        step: one training step; a loss it returns is backpropagated within the measurement.
        parameters: tensors that exist anyhow, such as `model.parameters()`, and are not counted.

    >>> x = torch.ones(100, requires_grad=True)
    >>> saved_tensor_bytes(lambda: x.exp().sum())
    400
    """
    keeper = _Keeper({_address(p) for p in parameters})
    with torch.autograd.graph.saved_tensors_hooks(keeper.pack, _Kept.unpack):
        loss = step()
        if isinstance(loss, Tensor) and loss.requires_grad:
            loss.backward()
    return keeper.peak


class _Keeper:
    """Counts the storages that saved tensors hold."""

    def __init__(self, ignored: set[int]):
        self.ignored = ignored
        self.users: dict[int, int] = {}
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "_Kept":
        return _Kept(self, tensor)


class _Kept:
    """A saved tensor; autograd drops it when its graph goes."""

    def __init__(self, keeper: _Keeper, tensor: Tensor):
        # Detached: an operation that saves its own output would otherwise hold itself for ever.
        self.keeper, self.tensor, self.address = keeper, tensor.detach(), _address(tensor)
        if self.address in keeper.ignored:
            return
        users = keeper.users.get(self.address, 0)
        keeper.users[self.address] = users + 1
        if users == 0:
            keeper.now += tensor.untyped_storage().nbytes()
            keeper.peak = max(keeper.peak, keeper.now)

    def unpack(self) -> Tensor:
        return self.tensor

    def __del__(self) -> None:
        keeper = self.keeper
        if self.address in keeper.ignored:
            return
        keeper.users[self.address] -= 1
        if keeper.users[self.address] == 0:
            del keeper.users[self.address]
            keeper.now -= self.tensor.untyped_storage().nbytes()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _energy(x: Tensor) -> Float[Tensor, ""]:
    return torch.view_as_real(x).square().sum() if x.is_complex() else x.square().sum()
