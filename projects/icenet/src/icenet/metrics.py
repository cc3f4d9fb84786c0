"""What is measured: normalised error, multiply-accumulates, bytes kept for the backward pass, bit error rate."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Complex, Float
from torch import Tensor, nn


def nmse(h_hat: Complex[Tensor, "b k s"], h: Complex[Tensor, "b k s"]) -> Float[Tensor, ""]:
    """Σ‖ĥ − h‖² / Σ‖h‖², the ratio of sums over the batch (10.10); differentiable."""
    raise NotImplementedError


def nmse_db(h_hat: Complex[Tensor, "b k s"], h: Complex[Tensor, "b k s"]) -> float:
    """`nmse` in decibels."""
    raise NotImplementedError


def macs(module: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of convolutions and linear layers of one call, divided by nothing: of the whole batch given."""
    raise NotImplementedError


def saved_tensor_bytes(step: Callable[[], Tensor | None]) -> int:
    """Peak bytes that autograd keeps for backward passes during `step`, without parameters; a loss returned is backpropagated."""
    raise NotImplementedError
