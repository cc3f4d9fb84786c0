"""The block f_θ(F; u) that ICENet iterates, in two kinds (§3.2). Features are images (b, c, h, w) over the pilots.

    contractive   F⁺ = u + γ W2 * ReLU(W1 * F + b),    ‖W1‖, ‖W2‖ <= 1,  γ = σ(a + 2) in (0, 1)
    resnet        y = GN(ReLU(W1 * F)),  F⁺ = GN(ReLU(F + GN(u + W2 * y)))

The first has the Lipschitz constant γ < 1, hence one fixed point, which plain iteration reaches with an error below
γⁿ/(1-γ) ‖F_1 - F_0‖. The second needs the Jacobian penalty to have a fixed point that a solver finds.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

MARGIN = 1.01  # power iteration finds a norm from below
SPREAD = 0.3  # of the usual start of a convolution, added to an orthogonal matrix at its centre
START, STEP, SETTLE = 50, 4, 50  # iterations at construction, per optimiser step, on leaving training


class OperatorNormConv(nn.Module):
    """A 3×3 zero-padded convolution of images of one size, scaled down to the operator norm 1 where it is above.

    The norm is that of the convolution as a linear map of images, largest singular value, and not that of the reshaped
    weight. Power iteration with the operator and its transpose keeps the two singular vectors as buffers. They move only
    while training and only when the weight has changed since, that is, once per optimiser step; in between, and in
    evaluation, the layer is one fixed map.

    Args:
        channels: of input and output.
        grid: (h, w) of the images.

    Example:
        >>> conv = OperatorNormConv(4, (4, 6))
        >>> conv.operator_norm() <= 1.0
        tensor(True)
    """

    left: Tensor
    right: Tensor
    settled: Tensor

    def __init__(self, channels: int, grid: tuple[int, int]):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        # Mostly an orthogonal mixing of channels, so that at the start no direction is damped much.
        with torch.no_grad():
            self.weight.mul_(SPREAD)
            self.weight[:, :, 1, 1] += nn.init.orthogonal_(torch.empty(channels, channels))
        for name in ("left", "right"):
            vector = F.normalize(torch.randn(1, channels, *grid).flatten(1))
            self.register_buffer(name, vector.view(1, channels, *grid))
        self.register_buffer("settled", torch.tensor(True))  # whether they belong to the weight as it is
        self.seen = -1
        self._iterate(START)

    def scaled_weight(self) -> Float[Tensor, "c c 3 3"]:
        """W / max(1, 1.01 ‖W‖), differentiable."""
        if self.training and self.weight._version != self.seen:
            self._iterate(STEP)
        norm = (self.left * F.conv2d(self.right, self.weight, padding=1)).sum()
        return self.weight / (MARGIN * norm).clamp(min=1)

    @torch.no_grad()
    def operator_norm(self, iterations: int = 200) -> Float[Tensor, ""]:
        """The norm of the scaled convolution, by that many further iterations; buffers stay."""
        weight = self.scaled_weight()
        left, right = _power_iteration(weight, self.right, iterations)
        return (left * F.conv2d(right, weight, padding=1)).sum()

    def train(self, mode: bool = True) -> "OperatorNormConv":
        if self.training and not mode and self.weight._version != self.seen:
            self._iterate(SETTLE)
        return super().train(mode)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.settled.fill_(self.weight._version == self.seen)
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.seen = self.weight._version if bool(self.settled) else -1

    @torch.no_grad()
    def _iterate(self, iterations: int) -> None:
        left, right = _power_iteration(self.weight, self.right, iterations)
        self.left.copy_(left)
        self.right.copy_(right)
        self.seen = self.weight._version


def _power_iteration(
    weight: Float[Tensor, "c c 3 3"], right: Float[Tensor, "1 c h w"], iterations: int
) -> tuple[Float[Tensor, "1 c h w"], Float[Tensor, "1 c h w"]]:
    """Left and right singular vectors after that many iterations from `right`."""
    transposed = transpose_kernel(weight)
    tiny = torch.finfo(weight.dtype).tiny
    for _ in range(iterations):
        left = F.conv2d(right, weight, padding=1)
        left = left / left.norm().clamp(min=tiny)
        right = F.conv2d(left, transposed, padding=1)
        right = right / right.norm().clamp(min=tiny)
    left = F.conv2d(right, weight, padding=1)
    return left / left.norm().clamp(min=tiny), right


def transpose_kernel(weight: Float[Tensor, "o i kh kw"]) -> Float[Tensor, "i o kh kw"]:
    """The kernel of the transposed convolution, for odd kernels with padding "same"."""
    return weight.transpose(0, 1).flip(2, 3).contiguous()


class Cell(nn.Module):
    """What ICENet iterates: a subclass says what `bind` gives.

    Args:
        channels: C.
        grid: (h, w) of the feature images.
    """

    def __init__(self, channels: int, grid: tuple[int, int]):
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels, self.grid = channels, (grid[0], grid[1])

    def bind(self, u: Float[Tensor, "b c h w"]) -> "BoundContractive | BoundResNet":
        """The map F -> f_θ(F; u) of one batch, its weights fixed; it can be restricted to some samples."""
        raise NotImplementedError(f"{type(self).__name__} must define bind")

    def forward(self, z: Float[Tensor, "b c h w"], u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.bind(u)(z)

    @property
    def macs_per_evaluation(self) -> int:
        """Multiply-accumulates a sample: two 3×3 convolutions, 18 C² h w."""
        return 18 * self.channels**2 * self.grid[0] * self.grid[1]

    def _check(self, u: Tensor) -> None:
        if u.shape[1:] != (self.channels, *self.grid):
            raise ValueError(
                f"u must have shape (b, {self.channels}, {self.grid[0]}, {self.grid[1]}), got {tuple(u.shape)}"
            )


class ContractiveCell(Cell):
    """F⁺ = u + γ W2 * ReLU(W1 * F + b) with operator norms of at most 1.

    Args:
        channels: C.
        grid: (h, w) of the feature images; the norms belong to this size.
        gamma: γ; None learns a, which begins at 2: γ = 0.98.

    Example:
        >>> cell = ContractiveCell(4, (4, 6))
        >>> u, a, b = torch.randn(3, 2, 4, 4, 6).unbind(0)
        >>> bool((cell(a, u) - cell(b, u)).norm() <= cell.gamma * (a - b).norm())
        True
    """

    def __init__(self, channels: int, grid: tuple[int, int], gamma: float | None = None):
        super().__init__(channels, grid)
        if gamma is not None and not 0 < gamma < 1:
            raise ValueError(f"gamma must be in (0, 1), got {gamma}")
        self.conv1 = OperatorNormConv(channels, self.grid)
        self.conv2 = OperatorNormConv(channels, self.grid)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.a = nn.Parameter(torch.full((), 2.0)) if gamma is None else None
        self.fixed_gamma = gamma

    @property
    def gamma(self) -> Float[Tensor, ""]:
        """γ = σ(a + 2), the Lipschitz constant."""
        if self.a is None:
            return torch.tensor(self.fixed_gamma, dtype=self.bias.dtype, device=self.bias.device)
        return torch.sigmoid(self.a + 2)

    def bind(self, u: Float[Tensor, "b c h w"]) -> "BoundContractive":
        self._check(u)
        return BoundContractive(
            u, self.conv1.scaled_weight(), self.bias, self.gamma * self.conv2.scaled_weight()
        )


class BoundContractive:
    """F -> u + W2 * ReLU(W1 * F + b), with γ inside W2, and its adjoint."""

    def __init__(self, u: Tensor, w1: Tensor, bias: Tensor, w2: Tensor):
        self.u, self.w1, self.bias, self.w2 = u, w1, bias, w2

    def _hidden(self, z: Tensor) -> Tensor:
        return F.relu_(F.conv2d(z, self.w1, self.bias, padding=1))

    def __call__(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.conv2d(self._hidden(z), self.w2, padding=1).add_(self.u)

    def select(self, rows: Int[Tensor, "n"]) -> "BoundContractive":
        return BoundContractive(self.u[rows], self.w1, self.bias, self.w2)

    def linearise(self, z: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], "Adjoint"]:
        """f(z), differentiable in θ and u, and v -> Jᵀ v at z."""
        h = self._hidden(z)
        value = F.conv2d(h, self.w2, padding=1).add_(self.u)
        return value, Adjoint(h.detach(), self.w1.detach(), self.w2.detach())


class Adjoint:
    """v -> W1ᵀ (1[h > 0] ⊙ W2ᵀ v), for h = ReLU(W1 * z + b); written out, so that it too can drop samples."""

    def __init__(self, h: Tensor, w1: Tensor, w2: Tensor):
        self.h, self.w1, self.w2 = h, w1, w2
        self.prepared: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, v: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.prepared is None:  # only when a backward pass comes
            mask = (self.h > 0).to(v.dtype)
            self.prepared = mask, transpose_kernel(self.w1), transpose_kernel(self.w2)
        mask, first, second = self.prepared
        return F.conv2d(F.conv2d(v, second, padding=1).mul_(mask), first, padding=1)

    def select(self, rows: Int[Tensor, "n"]) -> "Adjoint":
        smaller = Adjoint(self.h[rows], self.w1, self.w2)
        if self.prepared is not None:
            smaller.prepared = self.prepared[0][rows], *self.prepared[1:]
        return smaller


class ResNetCell(Cell):
    """y = GN(ReLU(W1 * F)), F⁺ = GN(ReLU(F + GN(u + W2 * y))), the cell of the predecessors.

    Args:
        channels: C, a multiple of `groups`.
        grid: (h, w) of the feature images.
        groups: of the normalisation, usually 4 or 8.
        init_std: of both convolutions.

    Example:
        >>> cell = ResNetCell(8, (4, 6))
        >>> cell(torch.zeros(2, 8, 4, 6), torch.randn(2, 8, 4, 6)).shape
        torch.Size([2, 8, 4, 6])
    """

    def __init__(self, channels: int, grid: tuple[int, int], groups: int = 4, init_std: float = 0.01):
        super().__init__(channels, grid)
        if groups < 1 or channels % groups:
            raise ValueError(f"channels must be a multiple of groups, got {channels} and {groups}")
        if init_std <= 0:
            raise ValueError(f"init_std must be above 0, got {init_std}")
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=init_std)
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(groups, channels) for _ in range(3))

    def bind(self, u: Float[Tensor, "b c h w"]) -> "BoundResNet":
        self._check(u)
        return BoundResNet(self, u)


class BoundResNet:
    """F -> f_θ(F; u) of a `ResNetCell`."""

    def __init__(self, cell: ResNetCell, u: Tensor):
        self.cell, self.u = cell, u

    def __call__(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        cell = self.cell
        y = cell.norm1(F.relu(cell.conv1(z)))
        return cell.norm3(F.relu(z + cell.norm2(self.u + cell.conv2(y))))

    def select(self, rows: Int[Tensor, "n"]) -> "BoundResNet":
        return BoundResNet(self.cell, self.u[rows])


CELLS: dict[str, Any] = {"contractive": ContractiveCell, "resnet": ResNetCell}


def make_cell(kind: str, channels: int, grid: tuple[int, int], **options: Any) -> Cell:
    """The cell of this kind: "contractive" or "resnet"."""
    if kind not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(map(repr, CELLS))}, got {kind!r}")
    return CELLS[kind](channels, grid, **options)
