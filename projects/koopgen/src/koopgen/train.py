"""The command `koopgen`: train, validate, test, predict with the presets; evaluate, analyze and forecast with a checkpoint."""

import sys
from collections.abc import Sequence

from tenfold.cli import run

COMMANDS = {
    "evaluate": ("koopgen.evaluate:evaluate", "errors and valid prediction times of a checkpoint"),
    "analyze": ("koopgen.evaluate:analyze", "frequencies, rates, transport and dissipation of a checkpoint"),
    "forecast": ("koopgen.evaluate:forecast", "forecasts of a checkpoint, to a file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("koopgen", argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
