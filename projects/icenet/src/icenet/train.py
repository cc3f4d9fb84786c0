"""The command `icenet`: train, validate, test and predict with the presets; make data sets, evaluate checkpoints."""

import sys
from collections.abc import Sequence

from tenfold.cli import run

COMMANDS = {
    "make-dataset": ("icenet.make_dataset:make_dataset", "simulated slots, to HDF5 or NPZ shards"),
    "profile-info": ("icenet.make_dataset:profile_info", "delay spread and coherence bandwidth of a profile"),
    "evaluate": ("icenet.evaluate:evaluate", "NMSE, bit error rate, iterations and memory of a model"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("icenet", argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
