"""The command `emergence`: train and test with the presets; study blocks, depths, networks and scaling laws."""

import sys
from collections.abc import Sequence

from tenfold.cli import run

COMMANDS = {
    "lip": ("emergence.commands:lip", "Lipschitz constants of a module, from below and above"),
    "depth": ("emergence.commands:depth", "repeat a block: has the depth a limit?"),
    "probe": ("emergence.commands:probe", "layer-wise profile of a checkpoint or of a Hugging Face model"),
    "law": (
        "emergence.commands_scaling:law",
        "fit scaling laws to a CSV file, compare them, hold out the largest",
    ),
    "solvable": ("emergence.commands_scaling:solvable", "the three errors of the solvable model"),
    "data-pysrc": (
        "emergence.commands_scaling:data_pysrc",
        "build a byte corpus of the Python sources installed",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("emergence", argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
