"""The commands `emergence lip`, `depth` and `probe`: Lipschitz bounds of a module, limits in depth, profiles of networks.

Each prints a table and writes JSON, CSV and PNG into a folder, `runs/emergence/<command>/<time>` unless one is given.
"""

import argparse
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tenfold import runs
from tenfold.checkpoint import CheckpointError, write_atomically
from tenfold.cli import CommandLineError
from tenfold.data import DataNotFoundError

from .blocks import AveragedBlock, ConvexPotentialBlock, ExactRateBlock, TanhBlock
from .bounds.calculus import UnboundedLipschitzError
from .bounds.compositional import lipschitz_bound
from .limits.classify import classify_block
from .limits.iterate import iterate_depth
from .lipschitz.local import local_lipschitz
from .lipschitz.pairs import empirical_lipschitz
from .lipschitz.power_rate import lip_power_rate
from .models.looped_gpt import LoopedGPT
from .operators import NegIdentity, RotationBlock
from .pretrained import load_model
from .probe import METRICS, LayerProfile, probe_layers

if TYPE_CHECKING:
    from tenfold.claims import Figure

BLOCKS: dict[str, Callable[[int, float, torch.Generator], nn.Module]] = {
    "exact": lambda d, lam, g: ExactRateBlock(d, lam, generator=g),
    "tanh": lambda d, lam, g: TanhBlock(d, lam, generator=g),
    "rotation": lambda d, lam, g: RotationBlock(d, lam, torch.float64),
    "neg-identity": lambda d, lam, g: NegIdentity(),
    "averaged-rotation": lambda d, lam, g: AveragedBlock(RotationBlock(d, lam, torch.float64)),
    "convex-potential": lambda d, lam, g: ConvexPotentialBlock(d, generator=g),
}
"""Blocks of `emergence depth` by name; --lam is the rate, or the angle of a rotation."""


def lip(argv: Sequence[str]) -> int:
    """Lipschitz constants of a module on random inputs: from below (Jacobians, pairs), from above (composition)."""
    parser = _parser("lip", "bound the Lipschitz constant of a module from below and above")
    parser.add_argument(
        "module", help="package.module:Class, or :function that makes one, e.g. torch.nn:Linear"
    )
    parser.add_argument(
        "--init", default="{}", help="its keyword arguments as JSON, or a JSON list of positional ones"
    )
    parser.add_argument("--shape", required=True, help="shape of one sample: 64, or 16,48 for tokens,width")
    parser.add_argument("--n", type=int, default=16, help="samples, standard normal (default 16)")
    parser.add_argument("--radius", type=float, help="largest norm of a token, for dot-product attention")
    parser.add_argument("--min-var", type=float, help="least variance of a token, for LayerNorm")
    _add_common(parser)
    options = parser.parse_args(list(argv))
    module = _build(options.module, options.init).double().eval()
    shape = _shape(options.shape)
    generator = torch.Generator().manual_seed(options.seed)
    x = torch.randn(options.n, *shape, dtype=torch.float64, generator=generator)
    try:
        numbers, rows = _lip_numbers(module, x, options, generator)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CommandLineError(f"{options.module}: {error}") from error
    folder = _folder("lip", options.out)
    _save(folder, "lip", numbers, ("sample", "lower", "upper"), rows)
    _save_figure(folder, _bars("local-constants", rows, numbers))
    print(_lines({**numbers, "written to": str(folder)}))
    return 0


def _lip_numbers(
    module: nn.Module, x: Tensor, options: argparse.Namespace, generator: torch.Generator
) -> tuple[dict[str, Any], list[tuple[float, ...]]]:
    local = local_lipschitz(module, x, generator=generator)
    pairs = empirical_lipschitz(module, x) if len(x) > 1 else None
    numbers: dict[str, Any] = {
        "module": options.module,
        "local_largest": float(local.lower.max()),
        "local_median": float(local.lower.median()),
        "pair_ratio_largest": pairs.max if pairs else None,
        "converged": bool(local.converged.all()),
    }
    try:
        seq_len = x.shape[1] if x.ndim > 2 else None
        bound = lipschitz_bound(module, radius=options.radius, min_var=options.min_var, seq_len=seq_len)
        numbers |= {"upper_bound": bound.value, "why_no_upper_bound": ""}
    except UnboundedLipschitzError as error:
        numbers |= {"upper_bound": None, "why_no_upper_bound": str(error)}
    with torch.no_grad():
        same_shape = module(x).shape == x.shape
    if same_shape:
        rate = lip_power_rate(module, x, generator=generator)
        numbers |= {"rho": rate.rho, "rho_against_1": rate.verdict}
    rows: list[tuple[float, ...]] = [
        (i, low, high) for i, (low, high) in enumerate(zip(local.lower.tolist(), local.upper.tolist()))
    ]
    return numbers, rows


def depth(argv: Sequence[str]) -> int:
    """Repeat a block and look whether the depth has a limit: regime, rate, what is left of the input."""
    parser = _parser("depth", "repeat a block: regime, rate, and what is left of the input")
    parser.add_argument("--block", choices=BLOCKS, required=True, help=f"one of {', '.join(BLOCKS)}")
    parser.add_argument(
        "--lam", type=float, default=0.9, help="its rate, or the angle of a rotation (default 0.9)"
    )
    parser.add_argument("--dim", type=int, default=32, help="width (default 32)")
    parser.add_argument("--max-depth", type=int, default=512, help="number of blocks (default 512)")
    parser.add_argument("--n", type=int, default=32, help="starts, standard normal (default 32)")
    _add_common(parser)
    options = parser.parse_args(list(argv))
    generator = torch.Generator().manual_seed(options.seed)
    try:
        block = BLOCKS[options.block](options.dim, options.lam, generator).double()
        x = torch.randn(options.n, options.dim, dtype=torch.float64, generator=generator)
        report = classify_block(block, x)
        with torch.no_grad():
            trace = iterate_depth(block, x, options.max_depth)
    except ValueError as error:
        raise CommandLineError(str(error)) from error
    numbers = {
        "block": options.block,
        "lam": options.lam,
        "regime": report.regime,
        "limit_exists": report.limit_exists,
        "rho": report.rho,
        "lip_at_least": report.lip_lower,
        "lip_at_most": _finite(report.lip_upper),
        "retention": _finite(float(trace.retention[-1]) if trace.retention is not None else math.nan),
        "max_depth": options.max_depth,
    }
    folder = _folder("depth", options.out)
    _save_json(folder / "depth.json", numbers)
    _write(folder / "depth.csv", trace.to_pandas().to_csv().encode())
    _save_figure(folder, report.plot(f"depth-{options.block}"))
    print(report.summary)
    print(_lines({**numbers, "written to": str(folder)}))
    return 0


def probe(argv: Sequence[str]) -> int:
    """The layer-wise profile of a network: where do its blocks become near-identities?"""
    parser = _parser("probe", "profile the blocks of a checkpoint, or of a Hugging Face model in a folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", help="a folder of save_pretrained, a run, a .ckpt in one, or a preset")
    source.add_argument("--hf-model", help="a folder with config.json and safetensors")
    parser.add_argument("--text", type=Path, help="text to probe with; random tokens if left out")
    parser.add_argument("--n", type=int, default=16, help="sequences (default 16)")
    parser.add_argument("--length", type=int, help="their tokens; the context, at most 128, if left out")
    parser.add_argument("--metrics", help=f"of {', '.join(METRICS)}, with commas; all if left out")
    parser.add_argument(
        "--normalize", choices=("none", "rms"), default="none", help="divide tokens by their rms"
    )
    parser.add_argument("--blocks", help="dotted name of the list of blocks, where it is not found")
    _add_common(parser)
    options = parser.parse_args(list(argv))
    try:
        model, tokens = _model_and_tokens(options)
        found = probe_layers(
            model, tokens, options.metrics.split(",") if options.metrics else None, options.normalize,
            blocks=options.blocks, n_points=options.n, seed=options.seed,
        )  # fmt: skip
    except (ValueError, FileNotFoundError, ImportError, CheckpointError, DataNotFoundError) as error:
        raise CommandLineError(str(error)) from error
    folder = _folder("probe", options.out)
    table = found.to_pandas()
    _save_json(folder / "probe.json", {str(name): [_finite(v) for v in table[name]] for name in table})
    _write(folder / "probe.csv", table.to_csv().encode())
    _save_figure(folder, _profile_figure(found))
    print(table.to_string(float_format=lambda value: f"{value:.4g}"))
    print(folder)
    return 0


def _profile_figure(found: LayerProfile) -> "Figure":
    first = [name for name in ("sigma", "relative_update", "pair_ratio_median") if name in found.values]
    return found.plot(first or list(found.values)[:3])


def _model_and_tokens(options: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    if options.n < 1 or (options.length is not None and options.length < 2):
        raise ValueError(
            f"--n must be at least 1 and --length at least 2, got {options.n} and {options.length}"
        )
    if options.hf_model:
        from .probe_hf import load_hf, random_tokens, tokens_of

        model, length = load_hf(options.hf_model), options.length or 128
        if options.text:
            return model, tokens_of(
                options.hf_model, options.text.read_text(encoding="utf-8"), options.n, length
            )
        return model, random_tokens(model, options.n, length, options.seed)
    own = load_model(options.ckpt)
    if isinstance(own, LoopedGPT):
        raise ValueError(
            "a LoopedGPT repeats one turn: its depth is studied by `LoopedGPT.states`, not layer by layer"
        )
    length = options.length or min(own.settings.ctx, 128)
    if options.text is None:
        generator = torch.Generator().manual_seed(options.seed)
        return own, torch.randint(own.settings.vocab, (options.n, length), generator=generator)
    return own, _encoded(options.text, own.settings.vocab, options.n, length)


def _encoded(path: Path, vocab: int, n: int, length: int) -> Tensor:
    """Windows of a text, in the 65 characters of tinyshakespeare or in bytes, as the model's vocabulary says."""
    from .data.text import Vocabulary, to_bytes
    from .data.windows import fixed_windows

    text, characters = path.read_text(encoding="utf-8"), Vocabulary.of_tinyshakespeare()
    if vocab not in (len(characters), 256):
        raise ValueError(
            f"the model has {vocab} symbols: neither 65 characters nor 256 bytes; leave --text out"
        )
    tokens = to_bytes(text) if vocab == 256 else characters.encode(text)
    return fixed_windows(tokens, length, n)[0]


# Arguments and files ---------------------------------------------------------------------------------------------------


def _parser(command: str, what: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"emergence {command}", description=what, allow_abbrev=False)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--out", type=Path, help="folder for what is written; runs/emergence/… if left out")


def _build(spec: str, init: str) -> nn.Module:
    """The module that "package.module:name" makes out of the arguments."""
    where, colon, name = spec.partition(":")
    if not colon:
        raise CommandLineError(f"module must be package.module:name, got {spec!r}")
    try:
        arguments = json.loads(init)
        maker = getattr(importlib.import_module(where), name)
        module = maker(*arguments) if isinstance(arguments, list) else maker(**arguments)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise CommandLineError(f"cannot build {spec} with --init {init}: {error}") from error
    if not isinstance(module, nn.Module):
        raise CommandLineError(f"{spec} gives a {type(module).__name__}, not an nn.Module")
    return module


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise CommandLineError(f"--shape takes integers with commas between them, got {text!r}") from error
    if min(shape) < 1:
        raise CommandLineError(f"--shape takes integers of at least 1, got {text!r}")
    return shape


def _folder(command: str, out: Path | None) -> Path:
    folder = out or runs.propose("emergence", command)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(
    folder: Path,
    name: str,
    numbers: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[float]],
) -> None:
    _save_json(folder / f"{name}.json", numbers)
    lines = [",".join(columns), *(",".join(f"{value:.9g}" for value in row) for row in rows)]
    _write(folder / f"{name}.csv", ("\n".join(lines) + "\n").encode())


def _save_json(path: Path, numbers: Mapping[str, Any]) -> None:
    plain = {name: _finite(value) for name, value in numbers.items()}
    _write(path, (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode())


def _save_figure(folder: Path, figure: "Figure") -> None:
    _write(folder / f"{figure.name}.png", figure.png)


def _bars(name: str, rows: Sequence[Sequence[float]], numbers: Mapping[str, Any]) -> "Figure":
    from tenfold.drawing import Labels, Look, curves

    upper = numbers["upper_bound"]
    guides = {} if upper is None else {"upper bound of the whole": upper}
    return curves(
        name,
        {"local constant": ([row[0] for row in rows], [row[1] for row in rows])},
        Labels(
            "Largest singular value of the Jacobian", "sample", "lower bound",
            f"One point a sample, the largest {numbers['local_largest']:.4g}.",
        ),
        Look(guides=guides),
    )  # fmt: skip


def _finite(value: Any) -> Any:
    """JSON has no infinity: such a number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(numbers: Mapping[str, Any]) -> str:
    width = max(map(len, numbers)) + 2
    return "\n".join(
        f"{name:<{width}}{f'{value:.6g}' if isinstance(value, float) else 'none' if value is None else value}"
        for name, value in numbers.items()
    )


def _write(path: Path, payload: bytes) -> None:
    write_atomically(path, payload)
