"""C9: a trained MetaKAN can be exported, pruned and read like any KAN."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tenfold import metrics
from tenfold.claims import Figure, Measurement, Scale, Value, claim

from ..export import to_pykan
from ..figures import Edge, univariate_functions
from ..functions import DEMOS
from ..lbfgs import BestState, FitReport, fit_lbfgs
from ..models.networks import MetaKAN
from ..readout import edge_sizes, pykan_session, read_formula, sparsity_penalty
from .training import derive, device_for, seeded

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Effort:
    """Points, L-BFGS epochs of 20 iterations of each sparse fit and of the last one, the weight λ of the sparsity
    penalty, and the MSE up to which a hidden node may be removed."""

    n: int
    sparse_epochs: int
    epochs: int
    weight: float = 1e-3
    tolerance: float = 1e-3


EFFORTS = {
    Scale.CPU: Effort(300, 4, 10),
    Scale.GPU: Effort(1000, 10, 20),
    Scale.PAPER: Effort(1000, 10, 20),
}


@claim("C9", "Pruning and symbolic read-out still work", source="section 5.5, interpretability demo")
def stays_readable(scale: Scale, seed: int) -> Measurement:
    """smoke: the exported pykan model equals the MetaKAN to 1e-10 in float64, and removed edges give exactly zero. cpu,
    gpu, paper: also MetaKAN [2, 5, 1] on exp(sin πx + y²), trained sparsely, pruned, exported and read by pykan gives
    exp(a·y² + b·sin(c·x + d) + e) with every coefficient within 1e-2 of (1, 1, π, 0, 0)."""
    checks = export_checks(derive(seed, 1)[0])
    if scale == Scale.SMOKE:
        return exported(checks)
    device_for(scale)  # pykan's read-out runs on the CPU; the scale still asks for its machine
    return recovered(checks, EFFORTS[scale], seed)


# Export and pruning ----------------------------------------------------------------------------------------------------


def export_checks(seed: int) -> dict[str, float]:
    """Largest differences: pykan's output to ours; a pruned network's to the materialised one with those edges at zero."""
    model = seeded(seed, lambda: MetaKAN([3, 6, 4, 2], hidden=16, bias=True)).double().eval()
    assert isinstance(model, MetaKAN)
    x = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    with torch.no_grad(), pykan_session() as folder:
        export = float((to_pykan(model, ckpt_path=folder)(x) - model(x)).abs().max())
        before = model.materialize()
        masks = model.prune(node_th=0.0, edge_th=float(_middle_size(model, x)), x=x)
        for layer, mask in zip(before.layers, masks):
            layer.weight.mul_(mask[..., None])  # type: ignore[operator, union-attr]
        pruned = float((model(x) - before(x)).abs().max())
        after_export = float((to_pykan(model, ckpt_path=folder)(x) - model(x)).abs().max())
    removed = sum(int((~mask).sum()) for mask in masks)
    return {
        "export": export,
        "pruned": pruned,
        "export_after_pruning": after_export,
        "removed_edges": removed,
    }


def _middle_size(model: MetaKAN, x: Tensor) -> Tensor:
    """A threshold that removes some edges but no layer: the least of the layers' median sizes."""
    from ..pruning import edge_scores

    return torch.stack([scores.median() for scores in edge_scores(model, x)]).min()


def checks_hold(checks: dict[str, float]) -> bool:
    exact = max(checks["export"], checks["pruned"], checks["export_after_pruning"]) <= 1e-10
    return bool(exact and checks["removed_edges"] > 0)


def exported(checks: dict[str, float]) -> Measurement:
    return Measurement(
        quantity="largest difference between MetaKAN and its pykan export (float64)",
        ours=checks["export"],
        criterion="export <= 1e-10, before and after pruning; pruned edges give exactly zero",
        passed=checks_hold(checks),
        values=dict(checks),
    )


# Reading the formula of the demo -----------------------------------------------------------------------------------------


def train_sparsely(effort: Effort, seed: int) -> tuple[MetaKAN, tuple[Tensor, Tensor], FitReport]:
    """MetaKAN [2, 5, 1] with the sparsity penalty, hidden nodes removed one by one, then without the penalty."""
    x, y = DEMOS["exp_sin"].sample(effort.n, torch.Generator().manual_seed(seed), torch.float64)
    model = seeded(seed, lambda: MetaKAN([2, 5, 1], hidden=32, memory="materialize")).double()
    assert isinstance(model, MetaKAN)

    def error() -> Tensor:
        return metrics.mse(model(x).reshape(-1), y)

    def penalised(weight: float) -> Tensor:
        return error() + weight * sparsity_penalty(model, x)

    fit_lbfgs(model, lambda: penalised(effort.weight), epochs=effort.sparse_epochs)
    for _ in range(4):  # the last node stays
        before, limit = BestState(model), max(effort.tolerance, error().item())
        remove_weakest_node(model, x)
        fit_lbfgs(model, lambda: penalised(effort.weight / 10), epochs=effort.sparse_epochs)
        if not error().item() <= limit:
            before.restore()
            break
    return model.eval(), (x, y), fit_lbfgs(model, error, epochs=effort.epochs)


@torch.no_grad()
def remove_weakest_node(model: MetaKAN, x: Tensor) -> None:
    """Mask the edges of the hidden node of [n, h, 1] whose largest incoming or outgoing edge is the smallest."""
    first, second = model.layers
    incoming, outgoing = edge_sizes(model, x)
    strength = torch.minimum(incoming.amax(1), outgoing.amax(0))
    gone = strength == 0
    strength[gone] = math.inf
    keep = ~gone
    keep[strength.argmin()] = False
    first.set_edge_mask(keep[:, None].expand_as(incoming))  # type: ignore[operator]
    second.set_edge_mask(keep[None, :].expand_as(outgoing))  # type: ignore[operator]


def coefficient_error(expression: object) -> float:
    """Distance of the expression from exp(sin(πx₁) + x₂²): infinite if it has another form.

    The expression must be k·exp(a·(x₂ + s)² + b·sin(c·x₁ + d) + e) + f up to signs and phases; the error is the largest
    deviation of the exponent from sin(πx₁) + x₂² and of the rest from zero, over a grid of [−1, 1]².
    """
    import sympy

    assert isinstance(expression, sympy.Expr)
    x1, x2 = sympy.symbols("x_1 x_2")
    exponentials = list(expression.atoms(sympy.exp))
    if len(exponentials) != 1 or expression.free_symbols != {x1, x2}:
        return math.inf
    outer = expression.coeff(exponentials[0])
    offset = expression - outer * exponentials[0]
    exponent = exponentials[0].args[0]
    if outer.free_symbols or offset.free_symbols or not outer > 0:
        return math.inf
    if len(exponent.atoms(sympy.sin)) != 1:
        return math.inf
    difference = sympy.lambdify(
        (x1, x2), exponent + sympy.log(outer) - sympy.sin(sympy.pi * x1) - x2**2, "numpy"
    )
    axis = np.linspace(-1, 1, 41)
    # an expression that simplifies to a constant gives a plain number, hence the sum with zeros
    deviation = difference(axis[:, None], axis[None, :]) + np.zeros((41, 41))
    return float(max(np.abs(deviation).max(), abs(float(offset))))


def rounded(expression: "sympy.Expr", digits: int = 4) -> str:
    """The expression as text, its decimal numbers rounded."""
    import sympy

    numbers = expression.atoms(sympy.Float)
    return str(expression.xreplace({number: sympy.Float(round(number, digits), 6) for number in numbers}))


def recovered(checks: dict[str, float], effort: Effort, seed: int) -> Measurement:
    model, data, report = train_sparsely(effort, derive(seed, 1)[0])
    figure = edge_figure(model)
    kept = [int(layer.edge_mask.sum()) for layer in model.layers]  # type: ignore[operator, union-attr]
    expression, error = read_formula(model, data)
    distance = coefficient_error(expression)
    values: dict[str, Value] = {
        **checks,
        "formula": rounded(expression),
        "mse_of_formula": error,
        "mse_of_pruned_MetaKAN": report.loss,
        "edges_kept": " + ".join(map(str, kept)),
        "all_losses_finite": report.finite,
    }
    return Measurement(
        quantity="deviation of the recovered formula from exp(sin(pi x) + y^2)",
        ours=distance if math.isfinite(distance) else "another formula",
        criterion="the formula has the right form with deviation <= 1e-2; export and pruning exact to 1e-10",
        passed=bool(distance <= 1e-2 and checks_hold(checks)),
        values=values,
        figures=[figure],
    )


@torch.no_grad()
def edge_figure(model: MetaKAN) -> Figure:
    """The functions on the edges that pruning kept."""
    t = torch.linspace(-1, 1, 201, dtype=torch.float64)
    edges = []
    for index, layer in enumerate(model.layers):
        mask: Float[Tensor, "o i"] = layer.edge_mask  # type: ignore[assignment]
        for j, i in mask.nonzero().tolist():
            label = f"{'xy'[i]} → node {j + 1}" if index == 0 else f"node {i + 1} → output"
            edges.append(Edge(label, t, model.edge_function(index, i, j)(t)))
    return univariate_functions(
        "edge-functions",
        edges[:12],
        "Edge functions a MetaKAN learned for exp(sin πx + y²)",
        "Small plots of the univariate functions on the edges that pruning kept: a sine of x, a square of y, and an exponential.",
    )
