"""A trained model from wherever it was left: a folder of `save_pretrained`, a run of `koopgen fit`, or a checkpoint of one."""

from pathlib import Path
from typing import Any

from tenfold import runs
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_weights

from .baselines import (
    LRAN,
    ConstantGenerator,
    DeepKoopman,
    NeuralODE,
    ResidualMLP,
    UnstructuredGenerator,
)
from .latent import LatentModel
from .model import KoopGen

CLASSES: dict[str, type[LatentModel]] = {
    cls.__qualname__: cls
    for cls in (KoopGen, LRAN, DeepKoopman, ConstantGenerator, UnstructuredGenerator, ResidualMLP, NeuralODE)
}
"""The models that can be loaded, by the name of their class."""


def load_model(source: str | Path) -> LatentModel:
    """The model at `source`, in evaluation mode, on the CPU; nothing in a checkpoint is executed.

    Args:
        source: a folder that `save_pretrained` wrote, a run directory (its best checkpoint is taken), a `.ckpt` file in one, or
            the name of a preset (its newest run is taken).

    Raises:
        FileNotFoundError: if there is nothing at `source`.
        tenfold.runs.RunError: if a preset or a run directory has no checkpoint.
        CheckpointError: if what is there is damaged, or of a model this package does not have.
    """
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return _from_folder(path)
    if path.is_file():
        return _from_checkpoint(path)
    if (path / "checkpoints").is_dir():
        return _from_checkpoint(runs.find_checkpoint("koopgen", path.parent.name, "best", path))
    if path.exists():
        raise CheckpointError(
            f"{path} is neither a folder that save_pretrained wrote (config.json) nor a run (checkpoints/)"
        )
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"no model {path}")
    return _from_checkpoint(runs.find_checkpoint("koopgen", str(source), "best"))


def _from_folder(folder: Path) -> LatentModel:
    import json

    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("class")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    return _class(str(name), folder).from_pretrained(folder).eval()


def _from_checkpoint(checkpoint: Path) -> LatentModel:
    run = runs.run_of(checkpoint)
    if run is None:
        raise CheckpointError(
            f"{checkpoint} does not lie in the checkpoints/ of a run with its config.yaml, which says what the model is"
        )
    import yaml

    document: Any = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    try:
        entry = document["model"]["init_args"]["model"]
        name, arguments = entry["class_path"].rpartition(".")[2], dict(entry.get("init_args") or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{run / 'config.yaml'} names no model (model.init_args.model)") from error
    model = _class(name, run)(**_flat(arguments))
    load_weights(model, load_lightning_weights(checkpoint), source=str(checkpoint))
    return model.eval()


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that a class passes on stand in `dict_kwargs` of a configuration."""
    return arguments | dict(arguments.pop("dict_kwargs", None) or {})


def _class(name: str, where: Path) -> type[LatentModel]:
    if name not in CLASSES:
        raise CheckpointError(f"{where} holds a {name}; this package has {', '.join(CLASSES)}")
    return CLASSES[name]
