"""The plain network of encoder, decoder and gate (NOTES: §4)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_last, check_positive

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


class MLP(nn.Module):
    """`layers` linear maps in total, an activation between them, no normalisation: n_in → hidden → … → n_out.

    Weights start as torch's linear layers do, biases at zero.

    Args:
        n_in, n_out: sizes of the last axis of input and output.
        hidden: width between the linear maps; not used with one layer.
        layers: number of linear maps, at least 1.
        act: "silu", "tanh", "gelu" or "relu".

    Example:
        >>> import torch
        >>> net = MLP(3, 6, hidden=128, layers=4)
        >>> net(torch.zeros(5, 3)).shape, sum(isinstance(m, nn.Linear) for m in net.modules())
        (torch.Size([5, 6]), 4)
    """

    def __init__(self, n_in: int, n_out: int, hidden: int, layers: int, act: str = "silu"):
        super().__init__()
        check_positive(n_in=n_in, n_out=n_out, hidden=hidden, layers=layers)
        check_choice("act", act, list(ACTIVATIONS))
        self.n_in, self.n_out = n_in, n_out
        sizes = [n_in, *[hidden] * (layers - 1), n_out]
        modules: list[nn.Module] = []
        for i in range(layers):
            linear = nn.Linear(sizes[i], sizes[i + 1])
            nn.init.zeros_(linear.bias)
            modules += [linear] if i == layers - 1 else [linear, ACTIVATIONS[act]()]
        self.layers = nn.Sequential(*modules)

    @property
    def last(self) -> nn.Linear:
        """The last linear map."""
        linear = self.layers[-1]
        assert isinstance(linear, nn.Linear)
        return linear

    def forward(self, x: Float[Tensor, "... n_in"]) -> Float[Tensor, "... n_out"]:
        check_last("x", x, self.n_in, "n_in")
        return self.layers(x)
