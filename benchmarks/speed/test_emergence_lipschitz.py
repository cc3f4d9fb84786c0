"""σ_max without the Jacobian, against forming it and taking its singular values.

    uv run pytest benchmarks/speed/test_emergence_lipschitz.py -n0 --benchmark-enable

Everything on one thread in float32.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emergence.lipschitz.forward_ad import differentiable_attention
from emergence.lipschitz.local import local_lipschitz
from emergence.models.block import TransformerBlock
from emergence.models.config import GPTConfig

SAMPLES, WIDTH, ACCURACY = 32, 1024, 1e-3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def singular_values(fn: Callable[[Tensor], Tensor], x: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
    """What one writes without a toolkit: the Jacobians of all samples at once, and their singular values."""
    with differentiable_attention():  # torch has no batching rule for the fused kernel
        jacobians = torch.func.vmap(torch.func.jacrev(lambda s: fn(s.unsqueeze(0)).squeeze(0)))(x)
    return torch.linalg.svdvals(jacobians.reshape(len(x), -1, x[0].numel()))[:, 0]


@pytest.mark.parametrize(
    ("method", "options", "factor"),
    [
        ("lanczos", {"n_iter": 60, "tol": 1e-4}, 20),
        # Independent weights crowd the top of the spectrum: a single vector creeps there, and its small steps look like
        # convergence before 1e-3 is reached. Four vectors together do not; Lanczos makes more of the same products.
        ("power", {"n_iter": 400, "tol": 1e-5, "n_vectors": 4}, 4),
    ],
)
def test_sigma_max(versus: Callable, method: str, options: dict, factor: int) -> None:
    """An MLP of width 1024 at 32 samples; ours to the accuracy of 1e-3 in σ_max."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH)).requires_grad_(False)
    x = torch.randn(SAMPLES, WIDTH)

    def ours() -> Float[Tensor, "b"]:
        generator = torch.Generator().manual_seed(1)
        # The graph of Jᵀu serves Jv too, and half as many products of matrices as dual numbers.
        found = local_lipschitz(
            net, x, method=method, products="double_backward", generator=generator, **options
        )
        return found.lower

    exact = singular_values(net, x)
    error = float(((ours() - exact).abs() / exact).max())
    assert error < ACCURACY
    ratio = versus(
        ours,
        lambda: singular_values(net, x),
        rounds=3,
        warmup=1,
        peer=f"torch {torch.__version__}: vmap(jacrev), svdvals",
        samples=SAMPLES,
        width=WIDTH,
        method=method,
        error=error,
        threads=1,
        limit=1 / factor,
    )
    assert ratio.ratio <= 1 / factor


def test_sigma_max_of_a_block(versus: Callable) -> None:
    """A block of width 48 on 32 tokens at 16 points, against the singular values of the Jacobian at a single one."""
    torch.manual_seed(0)
    block = TransformerBlock(GPTConfig(d=48, heads=4)).eval().requires_grad_(False)
    x = torch.randn(16, 32, 48)

    def ours() -> Float[Tensor, "b"]:
        return local_lipschitz(block, x, generator=torch.Generator().manual_seed(1)).lower

    ratio = versus(
        ours,
        lambda: singular_values(block, x[:1]),
        rounds=3,
        warmup=1,
        peer=f"torch {torch.__version__}: vmap(jacrev), svdvals, one point only",
        points=16,
        threads=1,
        tokens=32,
        width=48,
    )
    assert ratio.ours_seconds < 2
