"""A trained autoencoder or classifier from wherever it was left, and a codec from either kind of file."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from tenfold import runs
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_weights

from .codec import Codec, NetworkCodec, PCACodec
from .models.autoencoder import Autoencoder, ColourAutoencoder, GreyAutoencoder
from .models.classifier import ImageClassifier

CLASSES: dict[str, type[Any]] = {
    cls.__qualname__: cls for cls in (GreyAutoencoder, ColourAutoencoder, ImageClassifier)
}
"""The networks that can be loaded, by the name of their class."""


def load_codec(source: str | Path) -> Codec:
    """The codec at `source`: an autoencoder (see `load_network`), or an .npz file of `PCACodec.save`.

    Raises:
        FileNotFoundError, RunError, CheckpointError, ValueError: if there is none, or what is there is no codec.
    """
    if Path(source).suffix == ".npz":
        if not Path(source).is_file():
            raise FileNotFoundError(f"no codec {source}")
        return PCACodec.load(source)
    network = load_network(source)
    if not isinstance(network, Autoencoder):
        raise CheckpointError(f"{source} holds a {type(network).__name__}, which is no autoencoder")
    return NetworkCodec(network)


def load_classifier(source: str | Path) -> ImageClassifier:
    """The classifier at `source`; see `load_network`."""
    network = load_network(source)
    if not isinstance(network, ImageClassifier):
        raise CheckpointError(f"{source} holds a {type(network).__name__}, which is no classifier")
    return network


def load_network(source: str | Path) -> nn.Module:
    """The network at `source`, in evaluation mode, on the CPU; nothing in a checkpoint is executed.

    Args:
        source: a folder that `save_pretrained` wrote, a run directory (its best checkpoint is taken), a `.ckpt` file in
            one, or the name of a preset (its newest run is taken).

    Raises:
        FileNotFoundError: if there is nothing at `source`.
        tenfold.runs.RunError: if a preset or a run directory has no checkpoint.
        CheckpointError: if what is there is damaged, or of a network this package does not have.
    """
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return _from_folder(path)
    if path.is_file():
        return _from_checkpoint(path)
    if (path / "checkpoints").is_dir():
        return _from_checkpoint(runs.find_checkpoint("gmaplatent", path.parent.name, "best", path))
    if path.exists():
        raise CheckpointError(
            f"{path} is neither a folder that save_pretrained wrote (config.json) nor a run (checkpoints/)"
        )
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"no network {path}")
    return _from_checkpoint(runs.find_checkpoint("gmaplatent", str(source), "best"))


def _from_folder(folder: Path) -> nn.Module:
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("class")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    network: nn.Module = _class(str(name), folder).from_pretrained(folder)
    return network.eval()


def _from_checkpoint(checkpoint: Path) -> nn.Module:
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
    network: nn.Module = _class(name, run)(**arguments)
    load_weights(network, load_lightning_weights(checkpoint), source=str(checkpoint))
    return network.eval()


def _class(name: str, where: Path) -> type[Any]:
    if name not in CLASSES:
        raise CheckpointError(f"{where} holds a {name}; this package has {', '.join(CLASSES)}")
    return CLASSES[name]
