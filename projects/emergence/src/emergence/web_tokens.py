"""A large corpus of the user's own, as GPT-2 tokens in one file a part: what a model of 1B parameters is trained on (§5)."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt16
from torch import Tensor

import tenfold.data
from tenfold.data import DataNotFoundError

VOCAB = 50_257
"""Tokens of GPT-2's byte-pair encoding."""


def load_web_tokens(part: Literal["train", "val"], root: str | Path | None = None) -> UInt16[Tensor, "n"]:
    """The tokens of `web-tokens/<part>.bin` below the data folder, mapped rather than read.

    Args:
        part: "train" or "val".
        root: the data folder; `tenfold.data.root()` if None.

    Raises:
        ValueError: unknown part.
        DataNotFoundError: saying which file is missing and how to make it.
    """
    if part not in ("train", "val"):
        raise ValueError(f"part must be 'train' or 'val', got {part!r}")
    path = (tenfold.data.root() if root is None else Path(root)) / "web-tokens" / f"{part}.bin"
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} not found: write a web corpus such as FineWeb-Edu (at least 20 billion tokens for the paper's scale) as "
            "GPT-2 tokens, little-endian uint16 without a header, to web-tokens/train.bin and web-tokens/val.bin"
        )
    return torch.from_numpy(np.memmap(path, dtype="<u2", mode="c"))
