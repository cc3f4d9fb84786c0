"""The command line of a paper: `<paper> fit|validate|test|predict --config NAME …`, `--list`, extra commands.

This module imports nothing heavy, so that `--help` and `--list` answer at once and a mistyped preset does not cost
the twelve seconds that importing Lightning can take. The training part is `tenfold.training`.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import runs
from .presets import Preset, PresetError, find_presets, resolve

SUBCOMMANDS = {
    "fit": "train a model",
    "validate": "evaluate a checkpoint on the validation data",
    "test": "evaluate a checkpoint on the test data",
    "predict": "run a checkpoint on the prediction data",
}
_REQUIRED = ("lightning", "jsonargparse", "yaml", "rich")


class CommandLineError(ValueError):
    """A mistake in the command line; printed without a traceback."""


@dataclass
class Request:
    """A training command, with presets and checkpoint resolved to files.

    Args:
        package: the paper.
        subcommand: a key of `SUBCOMMANDS`.
        preset: name of the run's folder: the names of its configurations joined by "+".
        configs: configuration files, later ones win.
        options: everything else, for LightningCLI; these win over the files.
        checkpoint: the checkpoint to load.
        run_dir: the run directory that was asked for, or that is continued.
        continues: whether an earlier run goes on in its own directory.
    """

    package: str
    subcommand: str
    preset: str
    configs: list[Path] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    checkpoint: Path | None = None
    run_dir: Path | None = None
    continues: bool = False


def run(
    package: str,
    argv: Sequence[str] | None = None,
    commands: Mapping[str, tuple[str, str]] | None = None,
) -> int:
    """Run the command line of a paper.

    Args:
        package: import name of the paper, which is also its console script.
        argv: arguments without the program's name; `sys.argv[1:]` if None.
        commands: extra subcommands, name -> ("module:function", one-line help). The function takes the remaining
            arguments as a list and returns an exit status; its module is imported only when it is called.

    Returns:
        Exit status: 0, 1 when a run failed in a way that was foreseen, 2 for a mistake in the command line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    extra = dict(commands or {})
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_help(package, extra))
            return 0
        if arguments[0] == "--list":
            print(_preset_table(find_presets(package)))
            return 0
        if arguments[0] == "--version":
            print(f"{package} {importlib.metadata.version(package)}")
            return 0
        command, rest = arguments[0], arguments[1:]
        if command in extra:
            module, _, function = extra[command][0].partition(":")
            return int(getattr(importlib.import_module(module), function)(rest) or 0)
        if command not in SUBCOMMANDS:
            raise CommandLineError(_unknown(package, command, [*SUBCOMMANDS, *extra]))
        request = parse(package, command, rest)
        _need_extra(package)
    except BrokenPipeError:  # the reader of `--list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CommandLineError, PresetError, runs.RunError) as error:
        print(f"{package}: error: {error}", file=sys.stderr)
        return 2
    from .training import train

    return train(request)


def parse(package: str, subcommand: str, arguments: Sequence[str]) -> Request:
    """Resolve presets, run directory and checkpoint of a training command; the rest is left to LightningCLI.

    Raises:
        CommandLineError: an option without its value, a command without preset or model, a missing checkpoint.
        PresetError: unknown preset.
        RunError: `--ckpt_path last|best` without such a run.
    """
    taken, options = _split(
        arguments, {"--config": "config", "-c": "config", "--ckpt_path": "ckpt", "--run_dir": "dir"}
    )
    named = [resolve(package, value) for value in taken["config"]]
    request = Request(
        package=package,
        subcommand=subcommand,
        preset="+".join(name for name, _ in named) or "custom",
        configs=[path for _, path in named],
        options=options,
        run_dir=Path(taken["dir"][-1]).expanduser() if taken["dir"] else None,
    )
    if any(option in ("-h", "--help") or option.endswith(".help") for option in options):
        return request
    if not named and not any(option.startswith("--model") for option in options):
        presets = ", ".join(find_presets(package)) or "none"
        raise CommandLineError(
            f"say what to {subcommand}: {package} {subcommand} --config NAME; presets: {presets}"
        )
    if taken["ckpt"]:
        _resolve_checkpoint(request, taken["ckpt"][-1])
    return request


def _resolve_checkpoint(request: Request, wanted: str) -> None:
    if wanted in ("last", "best"):
        checkpoint = runs.find_checkpoint(request.package, request.preset, wanted, request.run_dir)
        request.continues = wanted == "last" and request.subcommand == "fit"
        request.run_dir = checkpoint.parent.parent if request.continues else None
    else:
        checkpoint = Path(wanted).expanduser()
        if not checkpoint.is_file():
            raise CommandLineError(f"no checkpoint {wanted}; give a file, 'last' or 'best'")
    request.checkpoint = checkpoint
    origin = runs.run_of(checkpoint)
    if (
        origin is not None
    ):  # the configuration the checkpoint was trained with, under the command line's options
        request.configs.append(origin / "config.yaml")


def _split(arguments: Sequence[str], names: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """Take `--name value` and `--name=value` of the given names out of `arguments`."""
    taken: dict[str, list[str]] = {key: [] for key in names.values()}
    rest = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name not in names:
            rest.append(argument)
            continue
        if not equals:
            value = next(waiting, "")
        if not value or (not equals and value.startswith("--")):
            raise CommandLineError(f"{name} needs a value")
        taken[names[name]].append(value)
    return taken, rest


def _need_extra(package: str) -> None:
    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandLineError(
            f"training needs {', '.join(missing)}: install {package}[train], for example: pip install '{package}[train]'"
        )


def _unknown(package: str, command: str, known: Sequence[str]) -> str:
    if command.startswith("-"):
        return f"{command} must come after a subcommand: {package} {'|'.join(SUBCOMMANDS)} {command} …"
    close = difflib.get_close_matches(command, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"unknown subcommand {command!r}{hint} Known: {', '.join(known)}"


def _preset_table(presets: Mapping[str, Preset]) -> str:
    if not presets:
        return "no presets"
    width = max(map(len, presets)) + 2
    return "\n".join(f"{preset.name:<{width}}{preset.description}" for preset in presets.values())


def _help(package: str, commands: Mapping[str, tuple[str, str]]) -> str:
    rows = {**SUBCOMMANDS, **{name: text for name, (_, text) in commands.items()}}
    width = max(map(len, rows)) + 2
    presets = find_presets(package)
    example = next(iter(presets), "NAME")
    try:
        summary = importlib.metadata.metadata(package)["Summary"] or ""
    except importlib.metadata.PackageNotFoundError:
        summary = ""
    listed = "\n".join(f"  {name:<{width}}{text}" for name, text in rows.items())
    table = "\n".join("  " + line for line in _preset_table(presets).splitlines())
    root = os.environ.get("TENFOLD_RUNS") or "runs"
    return f"""\
usage: {package} COMMAND --config NAME|FILE [--config …] [OPTION …]
       {package} --list | --version | --help

{summary}

commands:
{listed}

presets (--config; may be repeated, later ones win, options win over presets):
{table}

options of fit, validate, test and predict (all of them: {package} fit --help):
  --trainer.max_epochs N          any setting of the Trainer, the model or the data: --key.key value
  --trainer.precision bf16-mixed  mixed precision
  --compile                       torch.compile the network
  --ckpt_path last|best|FILE      continue, or evaluate, the newest run of the preset, or a checkpoint
  --run_dir FOLDER                instead of {root}/{package}/<preset>/<time>
  --wandb                         log to Weights & Biases too (offline unless you are logged in)
  --print_config                  show the resolved configuration and stop

examples:
  {package} fit --config {example}
  {package} fit --config {example} --trainer.max_epochs 20 --trainer.accelerator cpu
  {package} fit --config {example} --ckpt_path last
  {package} test --config {example} --ckpt_path best"""
