"""A trained network from wherever it was left: a folder of `save_pretrained`, a run of `icenet fit`, or a checkpoint of one."""

import json
from pathlib import Path
from typing import Any

from tenfold import runs
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_weights

from .estimators.base import NetworkEstimator
from .estimators.channelnet import ChannelNet
from .estimators.fpn import FPN
from .estimators.ha02 import HA02
from .estimators.icenet import ICENet
from .estimators.interpolation_resnet import InterpolationResNet
from .estimators.reesnet import ReEsNet, ReEsNetBilinear
from .estimators.simplenet import SimpleNet
from .estimators.stacked import StackedCE, TiedUnroll

CLASSES: dict[str, type[NetworkEstimator]] = {
    cls.__qualname__: cls
    for cls in (
        ICENet, FPN, StackedCE, TiedUnroll, ReEsNet, ReEsNetBilinear, InterpolationResNet, SimpleNet, ChannelNet, HA02,
    )
}  # fmt: skip
"""The networks that can be loaded, by the name of their class."""


def load_model(source: str | Path) -> NetworkEstimator:
    """The network at `source`, in evaluation mode, on the CPU; nothing in a checkpoint is executed.

    Args:
        source: a folder that `save_pretrained` wrote, a run directory (its best checkpoint is taken), a `.ckpt` file in one, or
            the name of a preset (its newest run is taken).

    Raises:
        FileNotFoundError: there is nothing at `source`.
        tenfold.runs.RunError: a preset or a run directory has no checkpoint.
        CheckpointError: what is there is damaged, or of a network this package does not have.
    """
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return _from_folder(path)
    if path.is_file():
        return _from_checkpoint(path)
    if (path / "checkpoints").is_dir():
        return _from_checkpoint(runs.find_checkpoint("icenet", path.parent.name, "best", path))
    if path.exists():
        raise CheckpointError(
            f"{path} is neither a folder that save_pretrained wrote (config.json) nor a run (checkpoints/)"
        )
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"no model {path}")
    return _from_checkpoint(runs.find_checkpoint("icenet", str(source), "best"))


def _from_folder(folder: Path) -> NetworkEstimator:
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("class")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    return _class(str(name), folder).from_pretrained(folder).eval()


def _from_checkpoint(checkpoint: Path) -> NetworkEstimator:
    run = runs.run_of(checkpoint)
    if run is None:
        raise CheckpointError(
            f"{checkpoint} does not lie in the checkpoints/ of a run with its config.yaml, which says what the network is"
        )
    import yaml

    document: Any = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    try:
        entry = document["model"]["init_args"]["model"]
        name, arguments = entry["class_path"].rpartition(".")[2], dict(entry.get("init_args") or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{run / 'config.yaml'} names no network (model.init_args.model)") from error
    extra = arguments.pop("dict_kwargs", None) or {}  # arguments that a class passes on
    model = _class(name, run)(**arguments, **extra)
    load_weights(model, load_lightning_weights(checkpoint), source=str(checkpoint))
    return model.eval()


def _class(name: str, where: Path) -> type[NetworkEstimator]:
    if name not in CLASSES:
        raise CheckpointError(f"{where} holds a {name}; this package has {', '.join(CLASSES)}")
    return CLASSES[name]
