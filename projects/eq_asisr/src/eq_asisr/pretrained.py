"""A trained model from wherever it was left: a folder of weights, a run of `eq_asisr fit`, or a checkpoint of one."""

from pathlib import Path
from typing import Any

from tenfold import runs
from tenfold.checkpoint import CheckpointError, load_lightning_weights, load_weights

from .model import ASISR

WEIGHTS = Path(__file__).parents[2] / "weights"
"""Models that lie beside the source code of this project; an installed wheel has none."""


def load_model(source: str | Path, weights: Path = WEIGHTS) -> ASISR:
    """The model at `source`, in evaluation mode, on the CPU; nothing in a checkpoint is executed.

    Args:
        source: a folder that `save_pretrained` wrote, a run directory (its best checkpoint is taken), a `.ckpt` file in
            one, or a name: of a folder in `weights`, else of a preset (its newest run is taken).
        weights: where named models lie.

    Raises:
        FileNotFoundError: if there is nothing at `source`, or no model of this name.
        CheckpointError: if what is there is damaged, or holds another kind of model.
    """
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return ASISR.from_pretrained(path).eval()
    if path.is_file():
        return _from_checkpoint(path)
    if (path / "checkpoints").is_dir():
        return _from_checkpoint(runs.find_checkpoint("eq_asisr", path.parent.name, "best", path))
    if path.exists():
        raise CheckpointError(
            f"{path} is neither a folder that save_pretrained wrote (config.json) nor a run (checkpoints/)"
        )
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"no model {path}")
    return _named(str(source), weights)


def _named(name: str, weights: Path) -> ASISR:
    if (weights / name / "config.json").is_file():
        return ASISR.from_pretrained(weights / name).eval()
    try:
        return _from_checkpoint(runs.find_checkpoint("eq_asisr", name, "best"))
    except runs.RunError as error:
        there = sorted(p.parent.name for p in weights.glob("*/config.json"))
        raise FileNotFoundError(
            f"no model {name!r}: neither weights ({weights} has {', '.join(there) or 'none'}) nor a run of a preset "
            f"of this name ({error}); train one with eq_asisr fit --config NAME, or give the path of a folder"
        ) from error


def _from_checkpoint(checkpoint: Path) -> ASISR:
    run = runs.run_of(checkpoint)
    if run is None:
        raise CheckpointError(
            f"{checkpoint} does not lie in the checkpoints/ of a run with its config.yaml, which says what the model is"
        )
    import yaml

    document: Any = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    try:
        entry = document["model"]["init_args"]["model"]
        name, arguments = entry["class_path"].rpartition(".")[2], entry["init_args"]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{run / 'config.yaml'} names no model (model.init_args.model)") from error
    if name != "ASISR":
        raise CheckpointError(f"{run} holds a {name}, not an ASISR")
    try:
        model = ASISR(**arguments)
    except TypeError as error:
        raise CheckpointError(f"{run / 'config.yaml'} does not fit ASISR(...): {error}") from error
    load_weights(model, load_lightning_weights(checkpoint), source=str(checkpoint))
    return model.eval()
