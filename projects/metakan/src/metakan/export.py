"""Ordinary KANs from MetaKANs, pykan models from either, and MetaKANs fitted to a KAN (notes sections 3.6 and 9).

pykan is an optional extra and is imported by `to_pykan` only.
"""

import random
import tempfile
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .bases import BSplineBasis
from .models.convnets import ConvKANNet, MetaConvKANNet
from .models.networks import KAN, EdgeNetwork, MetaKAN

if TYPE_CHECKING:
    from kan import MultKAN


@overload
def materialize(model: MetaKAN) -> KAN: ...
@overload
def materialize(model: MetaConvKANNet) -> ConvKANNet: ...
def materialize(model: MetaKAN | MetaConvKANNet) -> KAN | ConvKANNet:
    """The same function as a network with weights of its own; see `MetaKAN.materialize`."""
    if not isinstance(model, MetaKAN | MetaConvKANNet):
        raise TypeError(f"model must be a MetaKAN or MetaConvKANNet, got {type(model).__name__}")
    return model.materialize()


def to_pykan(model: KAN | MetaKAN, ckpt_path: str | None = None, symbolic: bool = True) -> "MultKAN":
    """A pykan model with the same outputs, for its plots, pruning and symbolic read-out.

    The weights become coef (in, out, G+k), scale_base (in, out), scale_sp = 1 and the mask. pykan reseeds the global
    random generators when a model is made and prints; both are undone.

    Args:
        model: of the spline family with a SiLU or identity base, any grid.
        ckpt_path: folder for pykan's history files; None takes a new temporary one (pruning reads them).
        symbolic: whether the pykan model evaluates symbolic edges too; False is faster.

    Raises:
        ImportError: without pykan.
        NotImplementedError: for other bases or base functions, which pykan does not have.
    """
    if not isinstance(model, EdgeNetwork):
        raise TypeError(f"model must be a KAN or MetaKAN, got {type(model).__name__}")
    first = model.layers[0]
    basis, base = first.basis, first.base_activation
    if not isinstance(basis, BSplineBasis):
        raise NotImplementedError(
            f"pykan has splines only; basis {model.config['basis']!r} cannot be exported"
        )
    if base not in ("silu", "identity", None):
        raise NotImplementedError(
            f"pykan has the base functions silu and identity, got base_activation={base!r}"
        )
    try:
        from kan import MultKAN
    except ImportError as error:
        raise ImportError("to_pykan needs pykan: install metakan[pykan]") from error

    kan = model.materialize() if isinstance(model, MetaKAN) else model
    folder = tempfile.mkdtemp(prefix="pykan-") if ckpt_path is None else ckpt_path
    peer = _quiet_pykan(
        MultKAN,
        width=list(kan.config["widths"]),
        grid=basis.grid_size,
        k=basis.spline_order,
        grid_range=list(basis.grid_range),
        base_fun="zero" if base is None else base,
        symbolic_enabled=symbolic,
        ckpt_path=folder,
        device=str(kan.layers[0].weight.device),
    )
    torch.nn.Module.to(
        peer, next(kan.parameters()).dtype
    )  # pykan's own `to` takes a device only, and keeps it
    with torch.no_grad():
        for index, (layer, weight) in enumerate(kan.edge_layers()):
            act = peer.act_fun[index]
            act.grid.copy_(basis.knots.to(act.grid).expand_as(act.grid))
            act.coef.copy_(weight[..., : basis.n_basis].transpose(0, 1))
            act.scale_base.copy_(weight[..., -1].T if base is not None else torch.zeros_like(act.scale_base))
            act.scale_sp.fill_(1.0)
            act.mask.copy_(
                torch.ones_like(act.mask) if layer.edge_mask is None else layer.edge_mask.T.to(act.mask)
            )
            if layer.bias is not None:
                peer.node_bias[index].copy_(layer.bias)
    return peer


def _quiet_pykan(make: Any, **arguments: Any) -> Any:
    """Make a pykan model without leaving the global random generators reseeded or text on the terminal."""
    import contextlib
    import io

    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return make(**arguments)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)


def from_kan(
    kan: KAN,
    *,
    hidden: int = 32,
    prompt_dim: int = 1,
    n_meta: int | str = "per_layer",
    steps: int = 500,
    lr: float = 1e-2,
    seed: int = 0,
    **options: Any,
) -> MetaKAN:
    """A MetaKAN whose generated weights approximate those of a given KAN.

    Prompts start at the leading principal components of the weight vectors of their cluster, then prompts and
    meta-learners are fitted by Adam to min sum_e |M(z_e) - w_e|^2 with a cosine schedule. The fit is exact only if
    the weights lie on a curve (surface, for d > 1) the meta-learner can draw; `fit_error` of the result says how far
    off it is, as the relative error sqrt(sum |M(z) - w|^2 / sum |w|^2).

    Args:
        kan: of any basis; its scalers are merged into the coefficients.
        hidden, prompt_dim, n_meta: of the MetaKAN; further `options` as there.
        steps, lr: of the fit; seed: of the initial meta-learners (the global generator is left alone).
    """
    if not isinstance(kan, KAN):
        raise TypeError(f"kan must be a KAN, got {type(kan).__name__}")
    shared = {key: value for key, value in kan.config.items() if key != "scaler"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MetaKAN(**{**shared, "hidden": hidden, "prompt_dim": prompt_dim, "n_meta": n_meta, **options})
    model.to(kan.layers[0].weight)  # type: ignore[call-overload, arg-type]
    targets = [weight.detach().flatten(0, 1) for _, weight in kan.edge_layers()]
    for layer, source in zip(model.layers, kan.layers):
        state = {k: v for k, v in source.state_dict().items() if k not in ("packed_weight", "scaler")}
        layer.load_state_dict({**state, "prompts": layer.prompts})
    _start_at_principal_components(model, targets)
    _fit(model, targets, steps, lr)
    return model


@torch.no_grad()
def _start_at_principal_components(model: MetaKAN, targets: list[Float[Tensor, "e q"]]) -> None:
    d = model.config["prompt_dim"]
    for c in range(len(model.bank.learners)):
        members = [index for index in range(len(targets)) if model.bank.layer_to_learner[index] == c]
        stacked = torch.cat([targets[index] for index in members])
        centred = stacked - stacked.mean(0)
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
        scores = centred @ vectors[:, -d:].flip(-1)
        scores = torch.nn.functional.pad(scores, (0, d - scores.shape[1]))
        scores = scores / scores.std(0).clamp_min(1e-12)
        for index, part in zip(members, scores.split([len(targets[index]) for index in members])):
            model.layers[index].prompts.copy_(part)  # type: ignore[operator]


def _fit(model: MetaKAN, targets: list[Float[Tensor, "e q"]], steps: int, lr: float) -> None:
    params = [*model.bank.learners.parameters(), *(layer.prompts for layer in model.layers)]
    optimizer = torch.optim.Adam(params, lr=lr)  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    scale = sum(target.square().sum() for target in targets)

    def error() -> Tensor:
        return sum(  # type: ignore[return-value]
            (model.bank[i](layer.prompts) - target).square().sum()  # type: ignore[arg-type]
            for i, (layer, target) in enumerate(zip(model.layers, targets))
        )

    for _ in range(steps):
        optimizer.zero_grad()
        (error() / scale).backward()
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    with torch.no_grad():
        model.fit_error = float((error() / scale).sqrt())  # type: ignore[assignment]
