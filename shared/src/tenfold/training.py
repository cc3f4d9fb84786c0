"""Training runs: LightningCLI with run directories, exact resumption, and checkpoints that execute no code.

Imported only when a command trains or evaluates; importing Lightning is the largest part of its start.
"""

import importlib.util
import inspect
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from . import runs
from .callbacks import EpochSeeds, NonFiniteError, RunCheckpoint, StopAtNonFinite
from .checkpoint import CheckpointError, load_weights_only, write_atomically
from .cli import CommandLineError, Request
from .data.location import DataNotFoundError
from .metrics_log import MetricsLog

_RUN_DIR = "_TENFOLD_RUN_DIR"  # from the first process of a run to those that Lightning launches beside it
_FORESEEN = (
    CommandLineError,
    runs.RunError,
    NonFiniteError,
    CheckpointError,
    DataNotFoundError,
    NotADirectoryError,
)

# Hints that do not concern the user of a preset, or that Lightning causes itself.
_NOISE = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*Be aware that when using `ckpt_path`, callbacks.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*Checkpoint directory .* exists and is not empty.*",
)


def train(request: Request) -> int:
    """Run a training command; returns the exit status. Foreseen errors are printed without a traceback."""
    for noise in _NOISE:
        warnings.filterwarnings("ignore", message=noise)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
    try:
        RunCLI(request)
    except _FORESEEN as error:
        print(f"{request.package}: error: {error}", file=sys.stderr)
        return 1
    return 0


def _no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("💡")


class RunCLI(LightningCLI):
    """LightningCLI in subclass mode, with the conventions of a Tenfold run.

    Args:
        request: the command, as `tenfold.cli.parse` resolved it.
    """

    def __init__(self, request: Request):
        self.request = request
        self.run_dir: Path | None = None
        arguments = [request.subcommand]
        for config in request.configs:
            arguments += ["--config", str(config)]
        arguments += request.options
        if request.checkpoint is not None:
            arguments += ["--ckpt_path", str(request.checkpoint)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
            super().__init__(
                model_class=LightningModule,
                datamodule_class=LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                save_config_callback=_SaveConfig,
                save_config_kwargs={"overwrite": True},
                parser_kwargs={"prog": request.package},
                args=arguments,
            )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the one that was asked for: building the parser of each costs time."""
        return {self.request.subcommand: LightningCLI.subcommands()[self.request.subcommand]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        from jsonargparse import ActionYesNo

        parser.add_argument("--compile", action=ActionYesNo, default=False, help="torch.compile the network")
        parser.add_argument(
            "--wandb",
            action=ActionYesNo,
            default=False,
            help="log to Weights & Biases too, offline unless logged in",
        )
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="where the run goes, instead of runs/<paper>/<preset>/<time>",
        )

    def _parse_ckpt_path(self) -> None:
        """The model's arguments come from the configuration of the run, not out of the checkpoint."""

    def before_instantiate_classes(self) -> None:
        accelerator = str(self._get(self.config, "trainer").get("accelerator"))
        absent = not torch.cuda.is_available()
        if absent and (
            accelerator == "cuda" or (accelerator == "gpu" and not torch.backends.mps.is_available())
        ):
            raise CommandLineError(
                f"--trainer.accelerator {accelerator} asks for a GPU, but torch {torch.__version__} finds no CUDA device "
                "here; use --trainer.accelerator cpu, or auto"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self._get(self.config_init, "trainer")
        self.run_dir = self._make_run_dir(bool(settings.get("fast_dev_run")))
        given = settings.get("logger")
        loggers: list[Any] = [MetricsLog(self.run_dir)]
        if self._get(self.config, "wandb"):
            loggers.append(_wandb_logger(self.request, self.run_dir))
        loggers += given if isinstance(given, list) else [given] if given not in (None, True, False) else []
        plugins = settings.get("plugins") or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), SafeCheckpointIO()]
        # Ours come first: RunCheckpoint saves before any other callback touches the new epoch.
        callbacks = self._callbacks(settings.get("enable_checkpointing") is not False)
        theirs = settings.get("callbacks") or []
        callbacks += theirs if isinstance(theirs, list) else [theirs]
        return super().instantiate_trainer(
            **{**kwargs, "logger": loggers, "plugins": plugins, "callbacks": callbacks}
        )

    def _callbacks(self, checkpointing: bool) -> list[Callback]:
        assert self.run_dir is not None
        callbacks: list[Callback] = []
        folder = self.run_dir / "checkpoints"
        monitor = getattr(type(self.model), "monitor", ("val/loss", "min"))
        if checkpointing and self.subcommand == "fit":
            callbacks.append(RunCheckpoint(folder))
            if monitor is not None:
                metric, mode = monitor
                best = ModelCheckpoint(
                    folder,
                    "best",
                    monitor=metric,
                    mode=mode,
                    auto_insert_metric_name=False,
                    enable_version_counter=False,
                )
                callbacks.append(best)
        seed = self._get(self.config, "seed_everything")
        if seed is not False:
            callbacks.append(EpochSeeds(int(seed)))
        return [*callbacks, StopAtNonFinite()]

    def _make_run_dir(self, throwaway: bool) -> Path:
        request = self.request
        if rank_zero_only.rank > 0:  # writes nothing; the first process has made the folder
            return Path(
                os.environ.get(_RUN_DIR) or request.run_dir or runs.propose(request.package, request.preset)
            )
        origin = runs.run_of(request.checkpoint) if request.checkpoint else None
        if request.continues:
            assert request.run_dir is not None
            folder = request.run_dir
            print(f"continuing {folder} from {request.checkpoint}")
        elif request.subcommand != "fit" and origin is not None:
            folder = origin / request.subcommand
            print(f"checkpoint {request.checkpoint}, results in {folder}")
            (folder / "metrics.csv").unlink(missing_ok=True)
        else:
            suffix = "" if request.subcommand == "fit" else f"-{request.subcommand}"
            folder = request.run_dir or runs.propose(request.package, request.preset, suffix)
            if not throwaway:
                runs.create(folder)
                print(f"run directory {folder}")
        os.environ[_RUN_DIR] = str(folder)
        return folder

    def after_instantiate_classes(self) -> None:
        if self._get(self.config, "compile"):
            network = getattr(self.model, "model", None)
            if not isinstance(network, torch.nn.Module):
                raise CommandLineError(
                    f"--compile compiles the attribute `model` of the LightningModule; {type(self.model).__name__} has none"
                )
            network.compile()


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints in one step and reads them with `weights_only=True`, whatever Lightning would do."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Serialise, then replace the file at once; the folder is made if needed."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> Any:
        """Read without executing code.

        Raises:
            CheckpointError: if the file is damaged or holds more than tensors and plain values.
        """
        return load_weights_only(path, map_location)


class _SaveConfig(SaveConfigCallback):
    """Saves the configuration such that `fit`, `test`, … of the same run can read it again."""

    def __init__(self, parser: LightningArgumentParser, config: Any, **kwargs: Any):
        config = config.clone()
        config["ckpt_path"] = None
        config["run_dir"] = None
        super().__init__(parser, config, **kwargs)


def _wandb_logger(request: Request, run_dir: Path) -> Any:
    """A WandbLogger; online if the user is logged in and has not asked for another mode, and it says which."""
    if importlib.util.find_spec("wandb") is None:
        raise CommandLineError(f"--wandb needs wandb: install {request.package}[train]")
    from lightning.pytorch.loggers import WandbLogger

    mode = os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
    if rank_zero_only.rank == 0:
        print(
            f"wandb: {mode}" + (f"; upload with: wandb sync {run_dir}/wandb/*" if mode == "offline" else "")
        )
    name = f"{request.preset}-{run_dir.name}"
    return WandbLogger(
        project=request.package,
        name=name,
        save_dir=run_dir,
        offline=mode == "offline",
        mode=mode,
        log_model=False,
    )


def _logged_in() -> bool:
    import wandb

    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return wandb.api.api_key is not None
