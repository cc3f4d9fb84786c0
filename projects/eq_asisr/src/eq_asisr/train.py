"""The command `eq_asisr`: train, validate, test and predict with the presets; enlarge images; check the equivariance."""

import sys
from collections.abc import Sequence

from tenfold.cli import run

COMMANDS = {
    "upscale": ("eq_asisr.commands:upscale", "enlarge an image by any factor"),
    "check": ("eq_asisr.commands:check", "measure how far a model is from commuting with rotations"),
    "evaluate": ("eq_asisr.commands:evaluate", "PSNR and SSIM of a checkpoint on an evaluation set"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("eq_asisr", argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
