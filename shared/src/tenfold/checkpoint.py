"""Weights as safetensors, hyper-parameters as JSON: checkpoints that cannot execute code.

A folder written by `save_pretrained` holds

    config.json                    format, class name, hyper-parameters, name and SHA-256 of the weights file
    model-<first 12 of sha>.safetensors

`config.json` names the weights file, and replacing it is the one step that commits a save: a process killed at any
moment leaves either the old model or the new one, never a mixture.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn

FORMAT = "tenfold-1"
PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".joblib")


class CheckpointError(ValueError):
    """A checkpoint that is damaged, of another format, or of another model; the message names file and tensor."""


class PretrainedMixin:
    """Gives a model `save_pretrained` and `from_pretrained`.

    The model keeps its constructor arguments, JSON values only, in `self.config`.

    Example:
        >>> class Net(PretrainedMixin, nn.Module):
        ...     def __init__(self, width: int):
        ...         super().__init__()
        ...         self.config = {"width": width}
        ...         self.linear = nn.Linear(width, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net = Net(3)
        ...     net.save_pretrained(folder)
        ...     torch.equal(Net.from_pretrained(folder).linear.weight, net.linear.weight)
        True
    """

    config: dict[str, Any]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights and hyper-parameters to `folder`; see `tenfold.checkpoint.save_pretrained`."""
        if not isinstance(self, nn.Module):
            raise TypeError(f"{type(self).__name__} must be an nn.Module to be saved")
        if not isinstance(getattr(self, "config", None), dict):
            raise TypeError(
                f"{type(self).__name__} must keep its constructor arguments in self.config (a dict)"
            )
        save_pretrained(self, folder, self.config)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Build the model that `save_pretrained` wrote to `folder`, on the CPU, in the state of `nn.Module`s: training.

        Raises:
            CheckpointError: if the folder holds another class, or its tensors do not fit in name, shape or dtype.
        """
        document, state = _read(Path(folder))
        if document["class"] != cls.__qualname__:
            raise CheckpointError(
                f"{folder} holds a {document['class']}, not a {cls.__qualname__}; "
                f"load it with {document['class']}.from_pretrained"
            )
        try:
            model = cls(**document["config"])
        except TypeError as error:
            raise CheckpointError(
                f"{folder}: config does not fit {cls.__qualname__}(...): {error}"
            ) from error
        assert isinstance(model, nn.Module)
        load_weights(model, state, source=str(folder))
        return model


def save_pretrained(model: nn.Module, folder: str | Path, config: Mapping[str, Any]) -> None:
    """Write the model's state and its hyper-parameters to `folder`, atomically.

    Args:
        model: every entry of its state dict must be a tensor. Tied tensors are written once per name.
        folder: made if it does not exist; an earlier model in it is replaced.
        config: constructor arguments; strings, finite numbers, booleans, None, and lists, tuples or dicts of them
            (a tuple comes back as a list).

    Raises:
        TypeError: if an entry of the state or a hyper-parameter cannot be written; it is named.
    """
    folder = Path(folder)
    plain = _plain(dict(config), "config")
    payload = dump_safetensors(_tensors(model))
    digest = hashlib.sha256(payload).hexdigest()
    weights = f"model-{digest[:12]}.safetensors"
    document = {
        "format": FORMAT,
        "class": type(model).__qualname__,
        "config": plain,
        "weights": weights,
        "sha256": digest,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / weights, payload)
    write_atomically(folder / "config.json", (json.dumps(document, indent=2) + "\n").encode())
    for old in folder.glob("model-*.safetensors"):
        if old.name != weights:
            old.unlink(missing_ok=True)


def load_pretrained(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `save_pretrained` wrote: the hyper-parameters and the state dict (on the CPU).

    Raises:
        FileNotFoundError: if there is no `config.json` or its weights file is missing.
        CheckpointError: if the folder or file is a pickle, is damaged, or has another format.
    """
    document, state = _read(Path(folder))
    return document["config"], state


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str = "the checkpoint") -> None:
    """Copy `state` into `model` after checking that every name, shape and dtype fits; nothing is copied otherwise.

    Raises:
        CheckpointError: naming the tensors that are missing, unknown, or of another shape or dtype.
    """
    expected = _tensors(model)
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unknown to {type(model).__name__}" for name in state if name not in expected]
    for name in expected.keys() & state.keys():
        theirs, ours = state[name], expected[name]
        if theirs.shape != ours.shape:
            problems.append(f"{name} has shape {tuple(theirs.shape)}, the model's has {tuple(ours.shape)}")
        elif (
            theirs.is_floating_point() != ours.is_floating_point() or theirs.is_complex() != ours.is_complex()
        ):
            problems.append(f"{name} has dtype {theirs.dtype}, the model's has {ours.dtype}")
    if problems:
        shown = "; ".join(sorted(problems)[:8]) + (
            f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        )
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: {shown}")
    model.load_state_dict(dict(state))


def load_lightning_weights(path: str | Path, prefix: str = "model.") -> dict[str, Tensor]:
    """The weights of one submodule out of the checkpoint of a training run, read without executing its pickle.

    Args:
        path: a `.ckpt` file written by `<paper> fit`, e.g. `runs/metakan/mnist/<time>/checkpoints/best.ckpt`.
        prefix: attribute path of the submodule in the LightningModule, with the dot; "" for the whole module.

    Returns:
        The state dict of the submodule, on the CPU; write it on with `load_weights` and `save_pretrained`.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file needs code to be executed, is damaged, or has no weights under `prefix`.
    """
    checkpoint = load_weights_only(path)
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of a training run: it has no state_dict")
    chosen = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if not chosen:
        roots = sorted({name.split(".")[0] + "." for name in state})
        raise CheckpointError(f"{path} has no weights under {prefix!r}; it has {', '.join(roots)}")
    return chosen


def load_weights_only(path: str | Path, map_location: Any = "cpu") -> Any:
    """`torch.load(weights_only=True)` with errors that say what to do.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged or holds objects whose loading would execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True: it is damaged, or it is a pickle that holds more than "
            f"tensors and plain values, which is never executed here ({reason})"
        ) from error


def write_atomically(path: Path, payload: bytes | memoryview) -> None:
    """Write a file such that a reader, or a crash, sees the old content or the new one and nothing between."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"state {name!r} of {type(model).__name__} is a {type(value).__name__}, not a tensor"
            )
    # Cloned: safetensors refuses tensors that share memory, and tied weights do.
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _plain(value: Any, where: str) -> Any:
    """`value` as JSON would give it back, or a TypeError that names the place of what JSON cannot hold."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError(f"{where} is {value}; hyper-parameters must be finite")
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; keys must be strings")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{where} is a {type(value).__name__}; hyper-parameters are strings, numbers, booleans, None, lists and dicts"
    )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    _refuse_pickles(folder)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise FileNotFoundError(f"no {config_file}: {folder} was not written by save_pretrained")
    try:
        document = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{config_file} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise CheckpointError(f"{config_file} has format {found!r}, this version reads {FORMAT!r}")
    kinds = {"class": str, "config": dict, "weights": str, "sha256": str}
    for key, kind in kinds.items():
        if not isinstance(document.get(key), kind):
            raise CheckpointError(f"{config_file}: {key!r} is missing or not a {kind.__name__}")
    name = document["weights"]
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise CheckpointError(f"{config_file}: weights must name a .safetensors file beside it, got {name!r}")
    weights = folder / name
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing; {config_file} names it")
    payload = weights.read_bytes()
    if hashlib.sha256(payload).hexdigest() != document["sha256"]:
        raise CheckpointError(
            f"{weights} is damaged: {len(payload)} bytes, SHA-256 is not the one in config.json"
        )
    try:
        return document, load_safetensors(payload)
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is not a safetensors file: {error}") from error


def _refuse_pickles(path: Path) -> None:
    candidates = [path] if path.is_file() else []
    if path.is_dir() and not (path / "config.json").exists():
        candidates = sorted(path.iterdir())
    for candidate in candidates:
        if candidate.suffix in PICKLE_SUFFIXES:
            raise CheckpointError(
                f"{candidate} is a pickle: loading it would execute whatever code it contains, so it is refused. "
                "Weights of a training run are exported with tenfold.checkpoint.load_lightning_weights and "
                "save_pretrained (safetensors + JSON)"
            )
    if path.is_file():
        raise CheckpointError(f"{path} is a file; give the folder that save_pretrained wrote")
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}")
