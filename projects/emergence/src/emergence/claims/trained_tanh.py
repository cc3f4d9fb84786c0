"""C2, trained variant: 64 tanh blocks with fixed λ-orthogonal matrices; read-in, read-out and biases are trained."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..retention import NOISE, digits, random_weights
from .training import seeded


class ClampedTanhNet(nn.Module):
    """Digits to classes through blocks tanh(λ Q_l z + b_l) whose Lipschitz constant stays at most λ while training.

    Noise is added to the last state, in training and in evaluation: without it a shrunken state could be read.

    Args:
        gain: λ.
        n_blocks: depth.
        d: width.
        generator: draws the matrices.
    """

    def __init__(
        self, gain: float, n_blocks: int = 64, d: int = 64, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.read_in, self.read_out = nn.Linear(64, d), nn.Linear(d, 10)
        self.biases = nn.Parameter(torch.zeros(n_blocks, d))
        self.matrices: Tensor
        self.register_buffer("matrices", gain * random_weights(n_blocks, d, generator=generator).float())

    def forward(
        self, x: Float[Tensor, "n 64"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n 10"]:
        z = self.read_in(x)
        for matrix, bias in zip(self.matrices, self.biases):
            z = torch.tanh(torch.addmm(bias, z, matrix.mT))
        return self.read_out(z + NOISE * torch.randn(z.shape, generator=generator))


def trained_accuracies(
    gains: Sequence[float],
    steps: int,
    seed: int,
    n_blocks: int = 64,
    rates: Sequence[float] = (1e-3, 3e-3, 1e-2),
) -> dict[float, float]:
    """Test accuracy at each gain, at the rate with the best accuracy on validation digits; the same rates for all."""
    return {gain: max(_fit(gain, rate, steps, seed, n_blocks) for rate in rates)[1] for gain in gains}


def _fit(gain: float, rate: float, steps: int, seed: int, n_blocks: int) -> tuple[float, float]:
    """Accuracy on validation and on test digits."""
    x, y = digits()
    fold = torch.arange(len(y)) % 5
    train = fold > 1
    generator = torch.Generator().manual_seed(seed)
    net = seeded(seed, lambda: ClampedTanhNet(gain, n_blocks, generator=generator))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(steps):
        chosen = train.nonzero()[:, 0][torch.randint(int(train.sum()), (128,), generator=generator)]
        optimizer.zero_grad()
        F.cross_entropy(net(x[chosen], generator), y[chosen]).backward()
        optimizer.step()
    return tuple(_accuracy(net, x[fold == part], y[fold == part], generator) for part in (0, 1))  # type: ignore[return-value]


@torch.no_grad()
def _accuracy(
    net: ClampedTanhNet, x: Float[Tensor, "n 64"], y: Int[Tensor, "n"], generator: torch.Generator
) -> float:
    return float((net(x, generator).argmax(1) == y).double().mean())
