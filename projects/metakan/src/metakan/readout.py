"""From a trained network to a formula: sparse training, pruning, and pykan's symbolic read-out (notes §5.5).

A network trained with `sparsity_penalty` keeps few edges; `prune` removes the others; `read_formula` exports what is
left to pykan, which names the univariate functions. pykan (extra `metakan[pykan]`) is imported by `read_formula` only.
"""

import contextlib
import io
import os
import random
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .export import to_pykan
from .models.networks import KAN, MetaKAN

if TYPE_CHECKING:
    import sympy

LIBRARY = ("x", "x^2", "x^3", "x^4", "exp", "log", "sqrt", "tanh", "sin", "abs")
"""Univariate functions the read-out may choose from, in pykan's names."""


def edge_sizes(model: KAN | MetaKAN, x: Float[Tensor, "n i"]) -> list[Float[Tensor, "o i"]]:
    """Mean of |φ_ij| over the batch for every layer, differentiable with respect to prompts and meta-learners."""
    sizes = []
    for layer, weight in model.edge_layers():
        features = layer.features(x).to(weight.dtype)
        values = torch.einsum("niq,oiq->noi", features, weight)
        sizes.append(values.abs().mean(0))
        x = layer.finish(values.sum(-1), x)
    return sizes


def sparsity_penalty(
    model: KAN | MetaKAN, x: Float[Tensor, "n i"], entropy: float = 2.0
) -> Float[Tensor, ""]:
    """Σ over layers of the L1 norm of the edge sizes plus `entropy` times the entropy of their distribution.

    The first term shrinks edges, the second concentrates what is left on few of them (Liu et al. 2024, KAN, §2.5.1).

    Example:
        >>> model = MetaKAN([2, 5, 1], hidden=8)
        >>> sparsity_penalty(model, torch.rand(10, 2)).ndim
        0
    """
    total = x.new_zeros(())
    for size in edge_sizes(model, x):
        share = size / (size.sum() + 1e-12)
        total = total + size.sum() - entropy * (share * (share + 1e-12).log()).sum()
    return total


@contextlib.contextmanager
def pykan_session() -> Iterator[str]:
    """pykan in float64 and without its side effects: temporary folder, no prints or warnings, random states kept."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  (pykan reseeds it)
    directory, dtype = os.getcwd(), torch.get_default_dtype()
    with tempfile.TemporaryDirectory(prefix="pykan-") as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)  # its fit writes ./model and ./video
        torch.set_default_dtype(torch.float64)  # its prune and refine make tensors of the default type
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                yield folder
        finally:
            torch.set_default_dtype(dtype)
            os.chdir(directory)
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])


def read_formula(
    model: KAN | MetaKAN,
    data: tuple[Float[Tensor, "n i"], Float[Tensor, "n"]],
    *,
    library: Sequence[str] = LIBRARY,
    refined_grid: int = 10,
    steps: int = 50,
) -> tuple["sympy.Expr", float]:
    """A formula for a trained (and pruned) network: export, prune, refine, fit, name the functions, fit again.

    Args:
        model: a spline network of float64 parameters; see `to_pykan` for what can be exported.
        data: inputs and targets it was trained on.
        library: candidate functions.
        refined_grid: grid cells while the shapes are sharpened before they are named.
        steps: L-BFGS steps of each of the fits.

    Returns:
        The expression in x_1, x_2, …, and the mean squared error of the symbolic model on the data.

    Raises:
        ImportError: without pykan.
    """
    x, y = data[0].double(), data[1].double().reshape(-1, 1)
    dataset = {"train_input": x, "train_label": y, "test_input": x, "test_label": y}

    def fit(peer: Any) -> None:
        peer.fit(dataset, opt="LBFGS", steps=steps, update_grid=False)

    with pykan_session() as folder:
        peer = to_pykan(model.double(), ckpt_path=folder)
        peer(x)
        peer = peer.prune()
        fit(peer)
        peer = peer.refine(refined_grid)
        fit(peer)
        peer.auto_symbolic(lib=list(library), verbose=0)
        fit(peer)
        fit(peer)
        with torch.no_grad():
            error = float((peer(x) - y).square().mean())
        return peer.symbolic_formula()[0][0], error
