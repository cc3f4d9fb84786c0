"""The command `gmaplatent`: train autoencoders and classifiers with the presets; encode, align, translate, evaluate, demo."""

import sys
from collections.abc import Sequence

from tenfold.cli import run

COMMANDS = {
    "encode": ("gmaplatent.encoding:encode", "codes of a domain by a trained autoencoder, to a file"),
    "align": ("gmaplatent.commands:align", "align two domains, and save the alignment"),
    "translate": ("gmaplatent.commands:translate", "translate an image into the other domain"),
    "evaluate": ("gmaplatent.commands:evaluate", "train, align and judge two domains from end to end"),
    "demo": ("gmaplatent.commands:demo", "pictures of every step, for clusters of points"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run("gmaplatent", argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
