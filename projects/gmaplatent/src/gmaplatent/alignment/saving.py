"""`GMapLatent` in one .npz file: arrays and one JSON text, no pickle."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from gmaplatent.geometry.mesh import TriMesh
from tenfold.checkpoint import write_atomically

from .domain import DomainMap, Registration

if TYPE_CHECKING:
    from .aligner import GMapLatent

FORMAT = "gmaplatent 1"


def write(model: "GMapLatent", path: str | os.PathLike[str]) -> None:
    """Write atomically: the file is whole or it is not there."""
    params = model.get_params(deep=False)
    if callable(params["layout"]):
        raise ValueError(
            "layout is a function, which a file without pickle cannot hold; call set_params(layout='auto') before "
            "saving if the model need not be fitted again"
        )
    facts = {
        "format": FORMAT,
        "params": params,
        "merge": model.merge_,
        "merge_reason": model.merge_reason_,
        "report": model.report(),
    }
    arrays: dict[str, Any] = {"facts": np.array(json.dumps(facts)), "registration": model.registration_.image}
    for name, side, classes, voter in (
        ("src", model.src_, model.classes_src_, model._voters[0]),
        ("tgt", model.tgt_, model.classes_tgt_, model._voters[1]),
    ):
        if classes.dtype.kind not in "biufU":
            raise ValueError(f"labels must be numbers or strings to be saved, got {classes.dtype}")
        mesh = side.mesh
        arrays |= {
            f"{name}_codes": side.codes,
            f"{name}_slots": side.slots,
            f"{name}_vertices": mesh.vertices,
            f"{name}_triangles": mesh.triangles,
            f"{name}_labels": mesh.labels,
            f"{name}_source": mesh.source,
            f"{name}_classes": classes,
            f"{name}_voters": voter._fit_X,
            f"{name}_votes": voter.classes_[voter._y],
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, buffer.getvalue())


def read(cls: type["GMapLatent"], path: str | os.PathLike[str]) -> "GMapLatent":
    """Read what `write` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays["facts"]))
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']!r}, not {FORMAT!r}")
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a file of GMapLatent.save: {error}") from error
    model = cls(**facts["params"])
    model.merge_, model.merge_reason_, model._report = facts["merge"], facts["merge_reason"], facts["report"]
    model.classes_src_, model.classes_tgt_ = arrays["src_classes"], arrays["tgt_classes"]
    model.src_, model.tgt_ = (
        DomainMap(
            arrays[f"{side}_codes"],
            arrays[f"{side}_slots"],
            TriMesh(*(arrays[f"{side}_{part}"] for part in ("vertices", "triangles", "labels", "source"))),
        )
        for side in ("src", "tgt")
    )
    model.registration_ = Registration(model.src_.mesh, arrays["registration"])
    model._voters = tuple(
        KNeighborsClassifier(min(model.n_votes, len(arrays[f"{side}_voters"]))).fit(
            arrays[f"{side}_voters"], arrays[f"{side}_votes"]
        )
        for side in ("src", "tgt")
    )
    return model
