"""A trained language model from wherever it was left: a folder of `save_pretrained`, a run of `emergence fit`, a checkpoint."""

import json
from pathlib import Path
from typing import Any

from tenfold import runs
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_weights

from .models.config import GPTConfig
from .models.looped_gpt import LoopedGPT, build_model
from .models.tiny_gpt import LanguageModel, TinyGPT

CLASSES: dict[str, type[LanguageModel]] = {"TinyGPT": TinyGPT, "LoopedGPT": LoopedGPT}
"""The models that can be loaded, by the name of their class."""


def load_model(source: str | Path) -> LanguageModel:
    """The model at `source`, in evaluation mode, on the CPU; nothing in a checkpoint is executed.

    Args:
        source: a folder that `save_pretrained` wrote, a run directory (its best checkpoint is taken), a `.ckpt` file in
            one, or the name of a preset (its newest run is taken).

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
        return _from_checkpoint(runs.find_checkpoint("emergence", path.parent.name, "best", path))
    if path.exists():
        raise CheckpointError(
            f"{path} is neither a folder that save_pretrained wrote (config.json) nor a run (checkpoints/)"
        )
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"no model {path}")
    return _from_checkpoint(runs.find_checkpoint("emergence", str(source), "best"))


def _from_folder(folder: Path) -> LanguageModel:
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("class")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    if name not in CLASSES:
        raise CheckpointError(
            f"{folder} holds a {name}; this package has {', '.join(CLASSES)}; a Hugging Face checkpoint goes to --hf-model"
        )
    return CLASSES[name].from_pretrained(folder).eval()


def _from_checkpoint(checkpoint: Path) -> LanguageModel:
    run = runs.run_of(checkpoint)
    if run is None:
        raise CheckpointError(
            f"{checkpoint} does not lie in the checkpoints/ of a run with its config.yaml, which says what the model is"
        )
    import yaml

    document: Any = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    try:
        settings = dict(document["model"]["init_args"]["config"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{run / 'config.yaml'} names no model (model.init_args.config)") from error
    model = build_model(GPTConfig(**settings))
    load_weights(model, load_lightning_weights(checkpoint), source=str(checkpoint))
    return model.eval()
