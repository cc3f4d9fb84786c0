"""The commands `eq_asisr upscale`, `check` and `evaluate`. Torch is imported only after the arguments have been looked at."""

import argparse
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.cli import CommandLineError

if TYPE_CHECKING:
    import torch

    from .image_io import Photo
    from .model import ASISR, Progress

DEFAULT_CHUNK = 30_000


def upscale(argv: Sequence[str]) -> int:
    """Enlarge a photograph: `eq_asisr upscale in.png --scale 3.7 --ckpt … --out out.png`."""
    parser = _parser("upscale", "enlarge a photograph by any factor of at least 1")
    parser.add_argument("image", type=Path, help="PNG, JPEG or BMP")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--scale", type=float, help="factor, for example 3.7")
    to.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="height and width of the result")
    _add_model(parser, required=True)
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG; an existing file is replaced")
    parser.add_argument(
        "--alpha",
        choices=("keep", "drop", "white", "black"),
        help="what becomes of transparency: keep it, drop it, or put a colour behind the image",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no remarks")
    options = parser.parse_args(list(argv))
    _need("PIL", "rich")
    if _same_file(options.image, options.out):
        raise CommandLineError(f"--out is the image itself, {options.image}; name another file")
    with _foreseen():
        from .image_io import read_photo, require_writable, write_photo
        from .inputs import target

        photo = read_photo(options.image, options.alpha)
        size = tuple(options.size) if options.size else None
        new_size, _ = target(photo.colour, options.scale, size)
        require_writable(options.out, photo, new_size)
        model = _model(options)
        if not options.quiet:
            for note in photo.notes:
                print(f"note: {note}", file=sys.stderr)
        start = time.perf_counter()
        with _bar("enlarging", options.quiet) as progress:
            large = enlarge(model, photo, options.scale, size, options.chunk, progress)
        write_photo(options.out, large)
    if not options.quiet:
        old = "×".join(map(str, photo.colour.shape[1:]))
        seconds = time.perf_counter() - start
        print(f"{options.out}: {new_size[0]}×{new_size[1]} pixels from {old} in {seconds:.1f} s")
    return 0


def enlarge(
    model: "ASISR",
    photo: "Photo",
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    chunk: int = DEFAULT_CHUNK,
    progress: "Progress | None" = None,
) -> "Photo":
    """The photograph at another size, of the same kind; colours by the model, transparency by bicubic interpolation.

    Args:
        model: in any mode, on any device.
        photo: of `read_photo`.
        scale: a number of at least 1, or
        size: height and width instead.
        chunk: queries worked on at a time.
        progress: see `ASISR.upscale`.
    """
    import torch.nn.functional as F

    weight = next(model.parameters())
    colour = photo.colour.to(weight).unsqueeze(0)
    large = model.upscale(colour, scale, size, chunk=chunk, progress=progress)[0].cpu()
    alpha = photo.alpha
    if alpha is not None:
        enlarged = F.interpolate(alpha[None], large.shape[-2:], mode="bicubic", align_corners=False)
        alpha = enlarged[0].clamp(0, 1)
    return replace(photo, colour=large, alpha=alpha)


def check(argv: Sequence[str]) -> int:
    """Print how far a model is from commuting with rotations; 1 if a model that should be exact is not."""
    parser = _parser("check", "measure how far a model is from commuting with rotations (claims C1 and C2)")
    parser.add_argument(
        "--model",
        default="edsr_liif_eq",
        metavar="NAME",
        help="edsr, rdn or swinir _ liif, lte or ope, with _eq behind it or without (default edsr_liif_eq)",
    )
    parser.add_argument(
        "--t", type=int, default=4, help="orientations of an equivariant model, a multiple of 4 (default 4)"
    )
    parser.add_argument("--published", action="store_true", help="the published sizes instead of small ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random parameters and images (default 0)")
    _add_model(parser, required=False)
    options = parser.parse_args(list(argv))
    with _foreseen():
        from .checking import EXACT, angle_table, quarter_turn_table, random_model

        if options.ckpt is None:
            model = random_model(options.model, options.t, options.published, options.seed).to(
                _device(options.device)
            )
            what = f"{options.model}, random parameters"
        else:
            model = _model(options)
            what = str(options.ckpt)
        order: int | None = getattr(model.group, "order", None)
        t = "no symmetry" if order is None else f"t = {order}"
        count = sum(p.numel() for p in model.parameters())
        print(f"{what}: {count:,} parameters, {t}\n")
        turns = quarter_turn_table(model, options.seed)
        print(_columns(turns, f"quarter turns: |SR(turned x) - turned SR(x)| / |SR(x)|, exact <= {EXACT:g}"))
        print(_columns(angle_table(model, options.seed), "other angles: the function inside one pixel"))
    exact = all(max(row[1:3]) <= EXACT for row in turns[1:])
    print("exact" if exact else "not exact")
    should = order is not None and order % 4 == 0
    return 1 if should and not exact else 0


def evaluate(argv: Sequence[str]) -> int:
    """PSNR and SSIM of a model on an evaluation set, beside bicubic interpolation."""
    parser = _parser("evaluate", "PSNR and SSIM on an evaluation set, beside bicubic interpolation")
    parser.add_argument(
        "--set", required=True, metavar="NAME", help="Set5, Set14, B100, Urban100, DIV2K, builtin"
    )
    parser.add_argument("--scale", type=float, required=True, help="a number of at least 1")
    _add_model(parser, required=True)
    parser.add_argument(
        "--protocol",
        choices=("benchmark", "div2k", "classic", "plain"),
        help="how images are compared (default: div2k for DIV2K, benchmark otherwise)",
    )
    parser.add_argument("--partial", action="store_true", help="accept a portion of the set")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N images")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(list(argv))
    _need("PIL", "rich")
    with _foreseen():
        from tenfold.checkpoint import write_atomically

        from .data.evaluation import EvaluationSet
        from .scoring import mean, score

        images = EvaluationSet(options.set, options.scale, partial=options.partial, first=options.first)
        protocol = options.protocol or images.protocol
        model = _model(options)
        with _bar(f"{images.name} ×{images.scale:g}", options.quiet) as progress:
            rows = score(model, images, protocol, chunk=options.chunk, progress=progress)
        head = ("image", "PSNR", "SSIM", "bicubic PSNR", "bicubic SSIM")
        table = [head, *(tuple(asdict(row).values()) for row in (*rows, mean(rows)))]
        print(_columns(table, f"{options.set} ×{options.scale:g}, {len(rows)} images, protocol {protocol}"))
        if options.out:
            found = {
                "set": images.name,
                "scale": images.scale,
                "protocol": protocol,
                "lowres": images.lowres,
                "model": str(options.ckpt),
                "mean": asdict(mean(rows)),
                "images": [asdict(row) for row in rows],
            }
            write_atomically(options.out, (json.dumps(found, indent=2) + "\n").encode())
    return 0


def _parser(command: str, what: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"eq_asisr {command}", description=what, allow_abbrev=False)


def _add_model(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--ckpt",
        required=required,
        help="a folder of save_pretrained, a run directory, a checkpoint in one, or a name: of a folder in weights/ of "
        "this project, or of a preset (its newest run)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument(
        "--chunk",
        type=int,
        default=DEFAULT_CHUNK,
        help=f"queries worked on at a time, which bounds the memory (default {DEFAULT_CHUNK})",
    )


def _model(options: argparse.Namespace) -> "ASISR":
    from .pretrained import load_model

    device = _device(options.device)
    return load_model(options.ckpt).to(device)


def _device(name: str) -> "torch.device":
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise CommandLineError(
            "--device cuda: there is no CUDA device; leave the option out to compute on the CPU"
        )
    return torch.device(name)


def _need(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandLineError(
            f"this command needs {', '.join(missing)}: install eq_asisr[train], for example: pip install 'eq_asisr[train]'"
        )


def _same_file(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return os.path.samefile(first, second)
    return first.resolve() == second.resolve()


@contextmanager
def _foreseen() -> Iterator[None]:
    """Errors about what the user gave become one line without a traceback."""
    try:
        yield
    except CommandLineError:
        raise
    except (ValueError, OSError) as error:
        raise CommandLineError(str(error)) from error


@contextmanager
def _bar(what: str, quiet: bool) -> Iterator["Progress | None"]:
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _columns(rows: Sequence[Sequence[Any]], title: str) -> str:
    """A table as text: the first row names the columns, numbers stand to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([title, "", *("  " + line for line in lines), ""])


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value == 0:
        return "0"
    if not math.isfinite(value) or 0.01 <= abs(value) < 1000:
        return f"{value:.4f}"
    return f"{value:.1e}"
