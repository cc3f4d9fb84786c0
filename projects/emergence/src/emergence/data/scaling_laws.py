"""Public tables of training runs to fit scaling laws to (§6).

- Figure 4 of Hoffmann et al. (2203.15556), read off by Epoch AI (2404.10102): 245 runs.
- The test bed of Gadre et al. (2403.08540): 104 models with 8 losses and 46 accuracies each, and a grid of 435 small runs
  over depth and width at 20 tokens a parameter, the only public table with a *true* depth known to us.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tenfold.data
from tenfold.data import DataNotFoundError

_CHINCHILLA = "scaling_laws/chinchilla_fig4.csv"
_GADRE = "scaling_laws/gadre.zip"
_GRID_KEY = re.compile(r"d=(\d+)_l=(\d+)_h=(\d+)-(\d+)-([\d.e-]+?)-([\d.]+)-(\d+)-(\d+)-(\d+)-([\d.e-]+)")
_MODEL = re.compile(r"d=(\d+)_l=(\d+)_h=(\d+)")
_NAMED = {"open_lm_1b": (2048, 24), "open_lm_7b": (4096, 32)}
"""Width and depth of the models whose names do not say them (open_lm's configurations)."""

_LOSSES = {
    "c4_val/": "loss",
    "val_tok_mult/openlm/": "loss_openlm",
    "paloma_c4_en": "loss_paloma_c4",
    "paloma_dolma_100_programing_languages": "loss_code",
    "paloma_falcon-refinedweb": "loss_refinedweb",
    "paloma_ptb": "loss_ptb",
    "paloma_redpajama": "loss_redpajama",
    "val_de-en": "loss_de_en",
}
"""Part of the name of the validation data -> column."""


def load_chinchilla(root: str | Path | None = None, *, drop_highest: int = 0) -> pd.DataFrame:
    """Runs of Hoffmann et al., Figure 4: n_params, n_tokens, flops, loss; tokens are flops / (6 n_params).

    Args:
        root: the data folder; `tenfold.data.root()` if None.
        drop_highest: leave out so many runs with the highest losses; 5, outliers of the reading, in Epoch AI's fit.

    Raises:
        DataNotFoundError: if the file is missing; says which and where to get it.
        ValueError: if it has not 245 rows with the expected columns; drop_highest not in 0 … 244.
    """
    path = _find(
        _CHINCHILLA, "data/svg_extracted_data.csv of the repository epoch-research/analyzing-chinchilla", root
    )
    table = pd.read_csv(path)
    lacking = [name for name in ("Model Size", "Training FLOP", "loss") if name not in table]
    if lacking or len(table) != 245:
        raise ValueError(
            f"{path} has {len(table)} rows and the columns {', '.join(table.columns)}; expected 245 rows with Model Size, "
            "Training FLOP, loss"
        )
    if not 0 <= drop_highest < len(table):
        raise ValueError(f"drop_highest must lie in 0 … {len(table) - 1}, got {drop_highest}")
    rows = pd.DataFrame(
        {"n_params": table["Model Size"], "flops": table["Training FLOP"], "loss": table["loss"]}
    )
    rows.insert(1, "n_tokens", rows["flops"] / (6 * rows["n_params"]))
    kept = rows["loss"].rank(method="first") <= len(rows) - drop_highest
    return rows[kept].reset_index(drop=True)


def load_gadre_grid(root: str | Path | None = None, *, best: bool = True) -> pd.DataFrame:
    """Small runs over depth and width at 20 tokens a parameter: n_blocks, width, heads, warmup, n_params, n_tokens, loss.

    Args:
        root: the data folder; `tenfold.data.root()` if None.
        best: only the best run of every depth and width over heads, batch sizes and warm-ups (50 rows); all 435 if not.

    Raises:
        DataNotFoundError: if the archive is missing.
        ValueError: if the grid in it is not the expected one.
    """
    path = _gadre(root)
    grid = _read_json(path, "gadre/grid.json")
    rows = []
    for key, loss in grid.items():
        match = _GRID_KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"{path}: the run {key!r} of grid.json has not the expected form d=…_l=…_h=…-…")
        width, depth, heads, batch = (int(match[i]) for i in range(1, 5))
        tokens, warmup = int(match[8]), int(match[9])
        rows.append((depth, width, heads, batch, warmup, tokens / 20, tokens, loss))
    names = ["n_blocks", "width", "heads", "batch", "warmup", "n_params", "n_tokens", "loss"]
    table = pd.DataFrame(rows, columns=names)
    if len(table) != 435:
        raise ValueError(f"{path}: grid.json has {len(table)} runs, expected 435")
    if best:
        table = table.loc[table.groupby(["width", "n_blocks"])["loss"].idxmin()]
    return table.sort_values(["width", "n_blocks", "heads", "warmup"]).reset_index(drop=True)


def load_gadre_models(root: str | Path | None = None) -> pd.DataFrame:
    """The 104 models: name, dataset, n_blocks, width, n_params, n_tokens, multiplier, eight losses, accuracy, 46 accuracies.

    `loss` is that on C4 (the largest validation set), the others are `loss_<set>`; `accuracy` is the mean of the 46 columns
    `eval/<task>`, and `multiplier` is tokens a parameter over 20.

    Raises:
        DataNotFoundError: if the archive is missing.
        ValueError: if a model has other losses or tasks than expected.
    """
    path = _gadre(root)
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("gadre/models/") and n.endswith(".json"))
        rows = [_model(archive, name) for name in names]
    if len(rows) != 104:
        raise ValueError(f"{path} has {len(rows)} models, expected 104")
    return pd.DataFrame(rows)


def _model(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    described = json.loads(archive.read(name))
    known = described["hyperparameters"]
    row: dict[str, Any] = {"name": described["name"], "dataset": described["dataset_name"]}
    row["width"], row["n_blocks"] = _shape(known["model"])
    row |= {
        "n_params": known["params"],
        "n_tokens": known["tokens"],
        "multiplier": float(known["chinchilla_multiplier"]),
    }
    for result in described["results"]:
        data = result["val_data"][0]
        column = next((c for part, c in _LOSSES.items() if part in data), None)
        if column is None:
            raise ValueError(f"{name} has a loss on {data!r}, which is none of the eight expected sets")
        row[column] = result["loss"]
    evaluated = json.loads(archive.read(f"gadre/evals/evaluation_{described['name']}_heavy.json"))
    accuracies = evaluated["eval_metrics"]["icl"]
    if len(accuracies) != 46 or not set(_LOSSES.values()) <= set(row):
        raise ValueError(
            f"{name} has {len(accuracies)} tasks and not all of the eight losses; expected 46 and 8"
        )
    row["accuracy"] = float(np.mean(list(accuracies.values())))
    return row | {f"eval/{task}": value for task, value in accuracies.items()}


def _shape(model: str) -> tuple[int, int]:
    match = _MODEL.search(model)
    if match:
        return int(match[1]), int(match[2])
    if model not in _NAMED:
        raise ValueError(f"the model {model!r} does not say its width and depth")
    return _NAMED[model]


def _read_json(path: Path, member: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.load(io.TextIOWrapper(archive.open(member), "utf-8"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is not the expected archive: {error}") from error


def _gadre(root: str | Path | None) -> Path:
    return _find(_GADRE, "exp_data/ of the repository mlfoundations/scaling (MIT), zipped as gadre/", root)


def _find(name: str, source: str, root: str | Path | None) -> Path:
    path = (tenfold.data.root() if root is None else Path(root)) / name
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} not found: it is {source}; put it there, below TENFOLD_DATA or ./data"
        )
    return path
