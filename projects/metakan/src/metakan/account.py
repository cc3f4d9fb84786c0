"""What a model costs: parameters by formula and by count, optimiser state, bytes kept for the backward pass.

With E edges and O outputs over all layers, q numbers an edge, prompts of d numbers, C meta-learners of h units
(notes section 3.5):

    MLP E + O     KAN q E (+ O with node biases)     MetaKAN d E + C (h (d + 1) + q (h + 1)) (+ O)

The paper prints C (h + 1) q as the last term; that formula is available next to the exact one.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import check_choice
from .meta import assign_layers
from .models.convnets import BACKBONES
from .models.families import FAMILIES, make_basis


def count_parameters(model: nn.Module, frozen: bool = False) -> int:
    """Trainable parameters; with `frozen` also those that are not trained (centres of FastKAN; pitfall P7)."""
    return sum(p.numel() for p in model.parameters() if frozen or p.requires_grad)


def meta_parameters(prompt_dim: int, hidden: int, out_dim: int, formula: str = "exact") -> int:
    """Parameters of one meta-learner: h (d + 1) + q (h + 1), or the paper's (h + 1) q."""
    check_choice("formula", formula, ("exact", "paper"))
    first = hidden * (prompt_dim + 1) if formula == "exact" else 0
    return first + out_dim * (hidden + 1)


def expected_parameters(cfg: Mapping[str, Any], formula: str = "exact", frozen: bool = False) -> int:
    """Parameters of `build_model(cfg)` by formula, without building it.

    Args:
        cfg: as for `build_model`.
        formula: "exact", or "paper" for the printed formula of the meta-learner.
        frozen: count the frozen centres of FastKAN too.

    Example:
        >>> expected_parameters({"name": "metakan", "widths": [784, 32, 10], "hidden": 16})
        25778
    """
    check_choice("name", cfg.get("name"), ("mlp", "kan", "metakan", "conv_kan", "meta_conv_kan"))
    count = _fully_connected if cfg["name"] in ("mlp", "kan", "metakan") else _convolutional
    return count(cfg, formula, frozen)


def _basis_numbers(cfg: Mapping[str, Any], base_key: str, frozen: bool) -> tuple[int, int]:
    """(q, further parameters of the basis of one layer)."""
    name = cfg.get("basis", "spline")
    options = {k: cfg[k] for k in ("grid_size", "spline_order", "grid_range", "basis_options") if k in cfg}
    basis = make_basis(name, **options)
    base = cfg.get("base_activation", "auto")
    base = getattr(FAMILIES[name], base_key) if base == "auto" else base
    extra = sum(p.numel() for p in basis.parameters() if frozen or p.requires_grad)
    return basis.n_weights(base is not None), extra


def _fully_connected(cfg: Mapping[str, Any], formula: str, frozen: bool) -> int:
    widths = cfg["widths"]
    edges = sum(a * b for a, b in itertools.pairwise(widths))
    outputs = sum(widths[1:])
    if cfg["name"] == "mlp":
        return edges + outputs * int(cfg.get("bias", True))
    q, extra = _basis_numbers(cfg, "base", frozen)
    family = FAMILIES[cfg.get("basis", "spline")]
    rest = extra * (len(widths) - 1) + outputs * int(cfg.get("bias", False))
    rest += 2 * sum(widths[:-1]) if family.input_norm else 0
    rest += 2 * outputs if family.output_norm else 0
    if cfg["name"] == "kan":
        return (q + int(cfg.get("scaler", False))) * edges + rest
    return rest + _generated(
        cfg, edges, widths[1:], q, cfg.get("n_meta", "per_layer"), cfg.get("hidden", 32), formula
    )


def _convolutional(cfg: Mapping[str, Any], formula: str, frozen: bool) -> int:
    depth = cfg.get("depth", 4)
    channels = cfg.get("channels") or BACKBONES[depth][0]
    inputs = [cfg["in_channels"], *channels[:-1]]
    kernel = cfg.get("kernel_size", 3) ** cfg.get("ndim", 2)
    edges = kernel * sum(a * b for a, b in zip(inputs, channels))
    q, extra = _basis_numbers(cfg, "conv_base", frozen)
    family = FAMILIES[cfg.get("basis", "spline")]
    rest = extra * len(channels) + (channels[-1] + 1) * cfg["n_classes"]
    if cfg.get("norm", "auto") is not None:
        rest += 2 * sum(inputs if family.conv_norm_position == "input" else channels)
    rest += len(channels) if family.conv_act == "prelu" else 0
    if cfg["name"] == "conv_kan":
        return q * edges + rest
    return rest + _generated(cfg, edges, channels, q, cfg.get("n_meta", 1), cfg.get("hidden", 64), formula)


def _generated(
    cfg: Mapping[str, Any], edges: int, outs: Any, q: int, n_meta: int | str, hidden: int, formula: str
) -> int:
    """d E + C p_M(d, h, q)."""
    d = cfg.get("prompt_dim", 1)
    return d * edges + (max(assign_layers(outs, n_meta)) + 1) * meta_parameters(d, hidden, q, formula)


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, moments: int = 2) -> int:
    """Bytes of weights, gradients and optimiser moments of the trainable parameters.

    Args:
        model: its trainable parameters are counted once for the weight, once for the gradient.
        optimizer: if given, the tensors of its state of parameter size are counted as they are (after one step).
        moments: otherwise, moments per parameter; two for Adam.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    weights = sum(p.numel() * p.element_size() for p in params)
    if optimizer is None:
        return (2 + moments) * weights
    kept = [
        value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
    ]
    return 2 * weights + sum(value.numel() * value.element_size() for value in kept)


def saved_bytes(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes autograd keeps between the forward and the backward pass.

    Counted by saved-tensor hooks over unique storages; parameters and buffers of `model` are left out, since they
    exist anyway. The hooks of checkpoints replace these hooks, as they replace what is kept.

    Args:
        model: whose parameters to leave out.
        forward: runs the model and returns the loss or output.

    Example:
        >>> model, x = nn.Linear(3, 2), torch.zeros(5, 3)
        >>> saved_bytes(model, lambda: model(x))  # the input, 15 numbers of 4 bytes
        60
    """
    own = {_storage(t)[0] for t in (*model.parameters(), *model.buffers())}
    seen: dict[int, int] = {}
    keep_alive = []  # storages must not be freed and reused while they are counted by address

    def pack(tensor: Tensor) -> Tensor:
        address, size = _storage(tensor)
        if address not in own:
            seen[address] = size
            keep_alive.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    del output
    return sum(seen.values())


def _storage(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def cuda_peak(step: Callable[[], object], warmup: int = 1) -> int:
    """Largest number of bytes allocated on the current CUDA device while `step` runs once, after `warmup` runs.

    Raises:
        RuntimeError: without a CUDA device.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("cuda_peak needs a CUDA device; there is none")
    for _ in range(warmup):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return math.ceil(torch.cuda.max_memory_allocated())
