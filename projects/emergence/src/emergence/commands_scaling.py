"""Commands about scaling: fit laws to a table of runs, the solvable model, the corpus of Python sources."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tenfold.checkpoint import write_atomically
from tenfold.cli import CommandLineError

from .scaling.compare import compare_laws
from .scaling.fit import FitResult, fit_scaling_law
from .scaling.forms import LAWS, LimitLaw, PowerStepLaw, effective_depth, get_law
from .scaling.laws import ScalingLaw

_LIMIT_LAWS: dict[str, type[LimitLaw] | type[PowerStepLaw]] = {"limit": LimitLaw, "power-step": PowerStepLaw}


def law(argv: Sequence[str]) -> int:
    """Fit a law to a CSV file, with intervals; compare it with others, in sample and on a hold-out."""
    options = _law_parser().parse_args(list(argv))
    rows = _table(options)
    try:
        fit = fit_scaling_law(
            rows,
            _form(options.law, options),
            n_starts=options.starts,
            bootstrap=options.bootstrap,
            seed=options.seed,
        )
        names = list(dict.fromkeys([options.law, *(options.compare or [])]))
        table = None
        if len(names) > 1 or options.holdout:
            forms = {name: _form(name, options) for name in names}
            table = compare_laws(rows, forms, options.holdout, n_starts=options.starts, seed=options.seed)
    except ValueError as error:
        raise CommandLineError(str(error)) from error
    print(describe(fit))
    if table is not None:
        print(table.to_string(index=False, float_format=lambda value: f"{value:.5g}"))
    if options.out:
        _save(options.out, fit, table)
    return 0


def solvable(argv: Sequence[str]) -> int:
    """Measure the errors of the solvable model on a grid and fit the limit law to them."""
    parser = argparse.ArgumentParser(
        prog="emergence solvable", description="the three errors of the solvable model", allow_abbrev=False
    )
    parser.add_argument("--lam", type=float, default=0.8, help="Lipschitz constant of a block (default 0.8)")
    parser.add_argument(
        "--beta", type=float, default=0.8, help="what a training step leaves of the distance (default 0.8)"
    )
    parser.add_argument(
        "--noise", type=float, default=0.3, help="standard deviation of the targets' noise (default 0.3)"
    )
    parser.add_argument("--data", default="256,512,1024,2048,4096,8192", help="numbers of samples")
    parser.add_argument("--blocks", default="1,2,3,4,6,8,12,16", help="numbers of blocks")
    parser.add_argument("--steps", default="1,2,4,8,16,32,64", help="numbers of training steps")
    parser.add_argument("--repeats", type=int, default=4, help="training samples of each size (default 4)")
    parser.add_argument(
        "--reference", type=int, default=200_000, help="samples that stand for infinitely many"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the grid to this CSV file")
    options = parser.parse_args(list(argv))
    from .solvable import SolvableLimitModel  # torch, not before it is needed

    try:
        model = SolvableLimitModel(
            lam=options.lam, noise=options.noise, seed=options.seed, n_reference=options.reference
        )
        data, blocks, steps = (
            _integers(name, getattr(options, name)) for name in ("data", "blocks", "steps")
        )
        grid = model.error_grid(data, blocks, steps, eta=1 - options.beta, n_seeds=options.repeats)
        form = LimitLaw(gamma=None, combine="quadrature")
        fit = fit_scaling_law(grid.rename(columns={"total": "loss"}), form, seed=options.seed)
    except ValueError as error:
        raise CommandLineError(str(error)) from error
    print(grid.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    print(describe(fit))
    if options.out:
        _write(options.out, grid.to_csv(index=False))
    return 0


def data_pysrc(argv: Sequence[str]) -> int:
    """Build the corpus of installed Python sources."""
    parser = argparse.ArgumentParser(
        prog="emergence data-pysrc", description="bytes of the Python sources installed", allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder, e.g. data/python-source")
    parser.add_argument(
        "--folder",
        type=Path,
        action="append",
        help="look here instead of in standard library and site-packages",
    )
    parser.add_argument(
        "--max-bytes", type=int, default=150_000_000, help="of the corpus (default 150000000)"
    )
    options = parser.parse_args(list(argv))
    from .data.python_source import build_python_corpus

    try:
        counts = build_python_corpus(options.out, options.folder, options.max_bytes)
    except (ValueError, OSError) as error:
        raise CommandLineError(str(error)) from error
    print("\n".join(f"{name:<12}{value:,}" for name, value in counts.items()))
    return 0


def describe(fit: FitResult) -> str:
    """A fit in words: parameters with intervals, quality, and what the data do not determine."""
    lines = [f"{fit.law.name} law, {len(fit.residuals)} runs"]
    for name, value in fit.params.items():
        line = f"  {name:<8}{value:<12.5g}"
        if name in fit.ci:
            low, high = fit.ci[name]
            line += f"{fit.level:.0%} interval {low:.5g} … {high:.5g}"
        if name in fit.unidentified:
            line += f"  not identifiable: {fit.unidentified[name]}"
        lines.append(line.rstrip())
    lines.append(
        f"  objective {fit.objective:.6g}, R² of log loss {fit.r2:.5f}, AICc {fit.aicc:.2f}, BIC {fit.bic:.2f}"
    )
    lines.append(
        f"  {fit.agreement:.0%} of {fit.n_starts} starts end at the best objective"
        + (" (multimodal)" * fit.multimodal)
    )
    return "\n".join(lines)


def _law_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emergence law",
        description="fit scaling laws to a table of runs; n_data is n_tokens where the table has no n_data",
        allow_abbrev=False,
    )
    parser.add_argument("table", type=Path, help="a CSV file, one run a row, with a column loss")
    parser.add_argument("--law", default="limit", choices=sorted(LAWS), help="the law (default limit)")
    parser.add_argument(
        "--compare", action="append", choices=sorted(LAWS), help="another law; may be repeated"
    )
    parser.add_argument(
        "--holdout", help="a condition on a column, 'flops>1e21': these runs are predicted from the others"
    )
    parser.add_argument(
        "--terms",
        default="steps,depth,data",
        help="terms of limit and power-step laws (default steps,depth,data)",
    )
    parser.add_argument(
        "--gamma", default="0.5", help="exponent of the data in these laws, or 'free' (default 0.5)"
    )
    parser.add_argument("--combine", default="sum", choices=["sum", "quadrature"], help="how their terms add")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="take NAME (loss, n_params, …) from this column",
    )
    parser.add_argument(
        "--effective-depth",
        action="store_true",
        help="n_blocks = (n_params/1e6)^(1/3), where only sizes are known",
    )
    parser.add_argument(
        "--tokens-from-flops",
        action="store_true",
        help="n_tokens = flops / (6 n_params), where only compute is known",
    )
    parser.add_argument("--starts", type=int, default=64, help="descents (default 64)")
    parser.add_argument(
        "--bootstrap", type=int, default=200, help="resamples for intervals (default 200, 0 for none)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write fit.json, and comparison.csv, into this folder")
    return parser


def _table(options: argparse.Namespace) -> pd.DataFrame:
    if not options.table.is_file():
        raise CommandLineError(f"no file {options.table}")
    try:
        rows = pd.read_csv(options.table)
    except ValueError as error:
        raise CommandLineError(f"{options.table} is no table: {error}") from error
    for pair in options.column:
        name, sign, source = pair.partition("=")
        if not sign or source not in rows:
            raise CommandLineError(
                f"--column takes NAME=COLUMN with a column of the table ({', '.join(rows.columns)}), got {pair!r}"
            )
        rows[name] = rows[source]
    if options.tokens_from_flops:
        _require(rows, "--tokens-from-flops", "flops", "n_params")
        rows["n_tokens"] = rows["flops"] / (6 * rows["n_params"])
    if options.effective_depth:
        _require(rows, "--effective-depth", "n_params")
        try:
            rows["n_blocks"] = effective_depth(rows["n_params"])
        except ValueError as error:
            raise CommandLineError(str(error)) from error
    if "n_data" not in rows and "n_tokens" in rows:
        rows["n_data"] = rows["n_tokens"]
    return rows


def _require(rows: pd.DataFrame, option: str, *names: str) -> None:
    for name in names:
        if name not in rows:
            raise CommandLineError(f"{option} needs a column {name}; name it with --column {name}=…")


def _form(name: str, options: argparse.Namespace) -> ScalingLaw:
    if name not in _LIMIT_LAWS:
        return get_law(name)
    gamma: float | None = None
    if options.gamma != "free":
        try:
            gamma = float(options.gamma)
        except ValueError:
            raise ValueError(f"gamma must be a number or 'free', got {options.gamma!r}") from None
    return _LIMIT_LAWS[name](terms=options.terms.split(","), gamma=gamma, combine=options.combine)


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--{option} takes integers with commas between them, got {text!r}") from None


def _save(folder: Path, fit: FitResult, table: pd.DataFrame | None) -> None:
    found: dict[str, Any] = {
        "law": fit.law.name,
        "params": dict(fit.params),
        "intervals": fit.ci,
        "objective": fit.objective,
        "aicc": fit.aicc if math.isfinite(fit.aicc) else None,  # JSON has no infinity
        "bic": fit.bic,
        "r2": fit.r2,
        "agreement": fit.agreement,
        "unidentified": dict(fit.unidentified),
    }
    _write(folder / "fit.json", json.dumps(found, indent=2) + "\n")
    if table is not None:
        _write(folder / "comparison.csv", table.to_csv(index=False))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
