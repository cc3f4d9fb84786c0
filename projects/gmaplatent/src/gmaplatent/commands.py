"""The commands `gmaplatent align`, `translate`, `evaluate` and `demo`."""

import argparse
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float, Float32, Shaped

from tenfold.checkpoint import CheckpointError, write_atomically
from tenfold.claims import Figure
from tenfold.cli import CommandLineError
from tenfold.runs import RunError

from .alignment.aligner import GMapLatent, Merge
from .alignment.layout import Layout
from .data.blobs import blobs
from .geometry.harmonic import BijectivityError
from .geometry.semidiscrete import NotConvergedError
from .image_files import encoded, read_image

MERGES = get_args(Merge)
LAYOUTS = get_args(Layout)


def align(argv: Sequence[str]) -> int:
    """Align the codes of two domains, as `gmaplatent encode` writes them, and save the alignment."""
    parser = _parser("align", "align the codes of two domains, and save the alignment")
    parser.add_argument(
        "source", type=Path, help="codes and labels of the source: a file of `gmaplatent encode`"
    )
    parser.add_argument("target", type=Path, help="codes and labels of the target")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file of the alignment")
    parser.add_argument(
        "--correspondence", help="source label:target label, as 0:3,1:4; the same labels if left out"
    )
    parser.add_argument("--stages", type=Path, help="folder for pictures of every step")
    _add_geometry(parser)
    options = parser.parse_args(list(argv))
    with _told():
        source, target = _codes(options.source), _codes(options.target)
        model = _model(options).fit(*source, *target, _correspondence(options.correspondence))
        _parent(options.out)
        model.save(options.out)
    print(_lines(summary(model)))
    if options.stages:
        _write_figures(options.stages, stage_figures(model))
    print(options.out)
    return 0


def translate(argv: Sequence[str]) -> int:
    """Translate an image: encode, align, decode."""
    parser = _parser("translate", "translate an image into the other domain")
    parser.add_argument("alignment", type=Path, help="a file of `gmaplatent align`")
    codec = "a folder of save_pretrained, a run directory, a checkpoint in one, a preset, or an .npz of PCACodec.save"
    parser.add_argument("--source", required=True, help=f"the source's codec: {codec}")
    parser.add_argument("--target", required=True, help="the target's codec")
    parser.add_argument("--in", dest="image", type=Path, required=True, help="the image, PNG or JPEG")
    parser.add_argument("--out", type=Path, default=Path("translated.png"), help="default translated.png")
    parser.add_argument("--label", help="the image's cluster; the nearest training codes vote if left out")
    parser.add_argument("--reverse", action="store_true", help="from the target into the source")
    parser.add_argument("--resize", action="store_true", help="bring the image to the size of the codec")
    options = parser.parse_args(list(argv))
    from .pretrained import load_codec

    with _told():
        model = GMapLatent.load(options.alignment)
        ours, theirs = load_codec(options.source), load_codec(options.target)
        if options.reverse:
            ours, theirs = theirs, ours
        codes = ours.encode(_tensor(read_image(options.image, ours.shape, options.resize)))
        known = model.classes_tgt_ if options.reverse else model.classes_src_
        label = (
            model.predict(codes, "tgt" if options.reverse else "src")
            if options.label is None
            else _label(options.label, known)
        )
        found = model.transform(codes, label, "tgt->src" if options.reverse else "src->tgt")
        _write(options.out, encoded(theirs.decode(found)[0].numpy()))
    print(f"{options.out}: cluster {label[0]}")
    return 0


def evaluate(argv: Sequence[str]) -> int:
    """From images to judged translations: codecs, alignment, scores beside the baselines, translation grid, curves."""
    from .data.domains import DOMAINS

    parser = _parser(
        "evaluate", "train, align and judge two domains from end to end; by default MNIST and Chinese MNIST"
    )
    parser.add_argument("--source", default="mnist", choices=list(DOMAINS), help="default mnist")
    parser.add_argument(
        "--target", default="chinese_mnist", choices=list(DOMAINS), help="default chinese_mnist"
    )
    parser.add_argument(
        "--source-model", help="a trained autoencoder of the source; trained here if left out"
    )
    parser.add_argument("--target-model", help="of the target")
    parser.add_argument("--judge", help="a trained classifier of the target; trained here if left out")
    parser.add_argument(
        "--codec", default="autoencoder", choices=["autoencoder", "pca"], help="what is made here"
    )
    parser.add_argument("--dim", type=int, default=16, help="dimension of the codes made here (default 16)")
    parser.add_argument(
        "--epochs", type=int, default=16, help="of the autoencoders trained here (default 16)"
    )
    parser.add_argument(
        "--judge-epochs", type=int, default=6, help="of the classifier trained here (default 6)"
    )
    parser.add_argument("--device", default="cpu", help="where networks are trained (default cpu)")
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder (default evaluation)")
    _add_geometry(parser, layout="tsne", per_cluster=150)
    options = parser.parse_args(list(argv))
    for name in ("dim", "epochs", "judge_epochs"):
        if getattr(options, name) < 1:
            raise CommandLineError(
                f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}"
            )
    from .claims.curves import crossing_paths, inner_paths, mapped
    from .claims.generation import grid
    from .claims.judging import compare
    from .figures import curve_strip

    with _told():
        aligned = _evaluated_pair(options)
        model = aligned.model
        found = compare(aligned, options.seed)
        figures = [grid(aligned, found), *stage_figures(model)]
        for name, paths in (("inside", inner_paths), ("across", crossing_paths)):
            source, target, _ = mapped(model, aligned, paths(model, 1, 64, options.seed))
            title = f"A curve {name} {'a cluster' if name == 'inside' else 'a border'}"
            figures.append(
                curve_strip(
                    f"curve-{name}", source[0].numpy(), target[0].numpy(), title, f"{title}, in both domains."
                )
            )
        _parent(options.out / "alignment.npz")
        model.save(options.out / "alignment.npz")
    table = found.table()
    numbers = {
        "pair": aligned.pair.name,
        "judge_accuracy": aligned.pair.judge_accuracy,
        "knn_accuracy_of_codes": found.knn,
        "methods": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        "alignment": summary(model),
    }
    _write(options.out / "evaluation.json", (json.dumps(numbers, indent=2) + "\n").encode())
    for name, score in found.scores.items():
        given = "  --  " if score.accuracy_given is None else f"{score.accuracy_given:6.3f}"
        print(
            f"{name:<34}accuracy {score.accuracy_free:6.3f}   with labels {given}   fid_clf {score.fid:8.2f}"
        )
    _write_figures(options.out, figures)
    return 0


def _evaluated_pair(options: argparse.Namespace) -> Any:
    """The aligned pair of `evaluate`: given networks where there are any, the others trained."""
    import torch

    from .claims.pair import AlignedPair, Pair, PairSetup, align, make_judge, make_side, side_with
    from .claims.training import Recipe, derive
    from .pretrained import load_classifier, load_codec

    recipe = None if options.codec == "pca" else Recipe(options.epochs, 64, 3e-3)
    grey = not options.target.startswith(("cifar", "animals"))
    setup = PairSetup(
        options.source,
        options.target,
        options.dim,
        recipe,
        Recipe(options.judge_epochs, 128),
        options.per_cluster,
        loss="bce" if grey else "mse",
    )
    device = torch.device(options.device)
    seeds = derive(options.seed, 3)
    sides = []
    for name, given, seed in (
        (options.source, options.source_model, seeds[0]),
        (options.target, options.target_model, seeds[1]),
    ):
        print(f"codes of {name} …")
        sides.append(side_with(name, load_codec(given)) if given else make_side(setup, name, seed, device))
    source, target = sides
    if options.judge:
        judge = load_classifier(options.judge)
        pair = Pair.judged(source, target, judge, 0.0)
    else:
        print(f"classifier of {options.target} …")
        judge, _, seconds = make_judge(setup, options.target, seeds[2], device)
        pair = Pair.judged(source, target, judge, seconds)
    print("alignment …")
    started = time.perf_counter()
    model = align(pair, **_geometry(options))
    return AlignedPair(pair, model, time.perf_counter() - started)


def demo(argv: Sequence[str]) -> int:
    """Pictures of every step for clusters of points in the plane: no data, no network."""
    parser = _parser("demo", "align two domains of random clusters, and draw every step")
    parser.add_argument("--clusters", type=int, default=5, help="default 5")
    parser.add_argument("--points", type=int, default=80, help="of each cluster (default 80)")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder (default demo)")
    _add_geometry(parser)
    options = parser.parse_args(list(argv))
    from .figures import planar_curves

    with _told():
        source, target = (
            blobs(options.clusters, options.points, seed=2 * options.seed + side) for side in (0, 1)
        )
        model = _model(options).fit(source.codes, source.labels, target.codes, target.labels)
        angle = np.linspace(0, 2 * np.pi, 600)
        path = 0.6 * np.stack([np.cos(angle), np.sin(angle)], 1)
        ours, theirs, labels = model.map_curve(path)
        sides = [
            (word, domain.codes, domain.slots, broken(curve, labels))
            for word, domain, curve in (("source", model.src_, ours), ("target", model.tgt_, theirs))
        ]
        curves = planar_curves(
            sides, "curves", "One circle through all cells, as curves of codes in both domains"
        )
        _parent(options.out / "alignment.npz")
        model.save(options.out / "alignment.npz")
    numbers = summary(model)
    print(_lines(numbers))
    _write(options.out / "report.json", (json.dumps(numbers, indent=2) + "\n").encode())
    _write_figures(options.out, [*stage_figures(model), curves])
    return 0


# What the commands share ------------------------------------------------------------------------------------------------


def stage_figures(model: GMapLatent) -> list[Figure]:
    """All steps of both domains."""
    from .figures import stages

    return [
        stages(stage, f"stages-{word}", f"The {word} domain, step by step")
        for stage, word in zip(model.stages_, ("source", "target"), strict=True)
    ]


def broken(curve: Float[np.ndarray, "t d"], labels: Shaped[np.ndarray, "t"]) -> Float[np.ndarray, "s d"]:
    """With a gap wherever the label changes: codes of two clusters have nothing between them."""
    switches = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return np.insert(curve, switches, np.nan, axis=0)


def summary(model: GMapLatent) -> dict[str, Any]:
    """The report of a model with plain keys, for the terminal and JSON; numbers that are not finite are null."""
    flat: dict[str, Any] = {}
    for name, value in model.report().items():
        for key, number in value.items() if isinstance(value, dict) else ((None, value),):
            finite = not isinstance(number, float) or np.isfinite(number)
            flat[name if key is None else f"{name}/{key}"] = number if finite else None
    return flat


def _tensor(image: Float32[np.ndarray, "c h w"]) -> Any:
    import torch

    return torch.from_numpy(image.copy())[None]


def _parser(command: str, what: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"gmaplatent {command}", description=what, allow_abbrev=False)


def _add_geometry(parser: argparse.ArgumentParser, layout: str = "auto", per_cluster: int = 300) -> None:
    parser.add_argument("--merge", default="auto", choices=MERGES, help="default auto")
    parser.add_argument("--layout", default=layout, choices=LAYOUTS, help=f"default {layout}")
    parser.add_argument(
        "--per-cluster",
        type=int,
        default=per_cluster,
        help=f"codes of each cluster in the mesh (default {per_cluster})",
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")


def _geometry(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "merge": options.merge,
        "layout": options.layout,
        "max_per_cluster": options.per_cluster,
        "random_state": options.seed,
    }


def _model(options: argparse.Namespace) -> GMapLatent:
    return GMapLatent(**_geometry(options))


@contextmanager
def _told() -> Iterator[None]:
    """What can be mended by the user is said without a traceback."""
    try:
        yield
    except (
        ValueError, FileNotFoundError, ModuleNotFoundError, CheckpointError, RunError, NotConvergedError,
        BijectivityError,
    ) as error:  # fmt: skip
        raise CommandLineError(str(error)) from error


def _codes(path: Path) -> tuple[Float[np.ndarray, "n d"], Shaped[np.ndarray, "n"]]:
    if not path.is_file():
        raise FileNotFoundError(f"no codes {path}; `gmaplatent encode` writes them")
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["codes"], file["labels"]
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a file of `gmaplatent encode`: {error}") from error


def _correspondence(text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    try:
        pairs = [tuple(int(part) for part in entry.split(":")) for entry in text.split(",")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError
    except ValueError:
        raise CommandLineError(f"--correspondence takes pairs as 0:3,1:4, got {text!r}") from None
    return dict(pairs)  # type: ignore[arg-type]


def _label(text: str, known: Shaped[np.ndarray, "k"]) -> Shaped[np.ndarray, "1"]:
    found = known[[str(name) == text for name in known.tolist()]]
    if not len(found):
        raise ValueError(
            f"--label must be one of {', '.join(map(str, sorted(known.tolist())))}, got {text!r}"
        )
    return found


def _lines(numbers: dict[str, Any]) -> str:
    width = max(map(len, numbers)) + 2
    return "\n".join(
        f"{name:<{width}}{f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in numbers.items()
    )


def _write_figures(folder: Path, figures: Sequence[Figure]) -> None:
    for figure in figures:
        _write(folder / f"{figure.name}.png", figure.png)
        print(folder / f"{figure.name}.png")


def _parent(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)


def _write(path: Path, payload: bytes) -> None:
    _parent(path)
    write_atomically(path, payload)
