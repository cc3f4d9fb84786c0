"""The command `gmaplatent encode`: the codes of a domain by a trained autoencoder, in one file."""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tenfold.checkpoint import CheckpointError, write_atomically
from tenfold.cli import CommandLineError
from tenfold.data import DataNotFoundError

from .data.domains import DOMAINS, load_domain
from .pretrained import load_codec


def encode(argv: Sequence[str]) -> int:
    """Write codes and labels of one part of a domain to an .npz file: `codes` (n, d) float64, `labels` (n,)."""
    parser = argparse.ArgumentParser(
        prog="gmaplatent encode",
        description="write the codes and labels of a domain's images, by a trained autoencoder",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model",
        help="a folder of save_pretrained, a run directory, a checkpoint in one, a preset (its newest run), or an .npz "
        "file of PCACodec.save",
    )
    parser.add_argument("--domain", required=True, choices=list(DOMAINS), help="whose images")
    parser.add_argument("--part", default="train", choices=["train", "val", "test"], help="default: train")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    options = parser.parse_args(list(argv))
    if options.out.suffix != ".npz":
        raise CommandLineError(f"--out must be an .npz file, got {options.out}")
    try:
        codec = load_codec(options.model)
        # The model says which size it takes, so that a domain with another size of its own is brought to it.
        images = getattr(load_domain(options.domain, size=codec.shape[-1]), options.part)
        codes = codec.encode(images.images)
    except (CheckpointError, DataNotFoundError, FileNotFoundError, ValueError) as error:
        raise CommandLineError(str(error)) from error
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, codes=codes, labels=images.labels.numpy())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, buffer.getvalue())
    print(f"{options.out}: {len(codes):,} codes of {codec.d} numbers, {images.n_clusters} clusters")
    return 0
