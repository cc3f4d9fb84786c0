"""The command `gmaplatent`: train, validate, test and predict with the presets of this package."""

import sys
from collections.abc import Sequence

from tenfold.cli import run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("gmaplatent", argv)


if __name__ == "__main__":
    sys.exit(main())
