"""Small public texts: tinyshakespeare, and the validation and test parts of WikiText-2 (§6)."""

from pathlib import Path
from typing import Literal, Self

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

import tenfold.data
from tenfold.data import DataNotFoundError

_SHAKESPEARE = (
    "tinyshakespeare/input.txt",
    1_115_394,
    "data/tinyshakespeare/input.txt of the repository karpathy/char-rnn",
)
_WIKITEXT_SOURCE = "word_language_model/data/wikitext-2 of the repository pytorch/examples"
_WIKITEXT = {
    "valid": ("wikitext-2/valid.txt", 1_121_681, _WIKITEXT_SOURCE),
    "test": ("wikitext-2/test.txt", 1_256_449, _WIKITEXT_SOURCE),
}


def load_tinyshakespeare(root: str | Path | None = None) -> str:
    """1,115,394 characters of Shakespeare's plays, 65 different ones.

    Args:
        root: the data folder; `tenfold.data.root()` if None.

    Raises:
        DataNotFoundError: if the file is missing; says which and where to get it.
        ValueError: if it has another size.
    """
    return read_verified(*_SHAKESPEARE, root).decode()


def load_wikitext2(part: Literal["valid", "test"], root: str | Path | None = None) -> str:
    """Wikipedia articles, tokenised into words by spaces, rare words replaced by <unk>.

    Args:
        part: "valid" or "test"; the training part is not used by this package.
        root: the data folder; `tenfold.data.root()` if None.

    Raises:
        DataNotFoundError: if the file is missing.
        ValueError: unknown part, or a file of another size.
    """
    if part not in _WIKITEXT:
        raise ValueError(f"part must be one of {', '.join(map(repr, _WIKITEXT))}, got {part!r}")
    return read_verified(*_WIKITEXT[part], root).decode()


def read_verified(name: str, size: int, source: str, root: str | Path | None) -> bytes:
    """The bytes of a file below the data folder, of a known size."""
    path = (tenfold.data.root() if root is None else Path(root)) / name
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} not found: it is {source}; put it there, below TENFOLD_DATA or ./data"
        )
    content = path.read_bytes()
    if len(content) != size:
        raise ValueError(
            f"{path} has {len(content):,} bytes, expected {size:,}: not the file that is {source}"
        )
    return content


class Vocabulary:
    """The different characters of a text, in order, and the numbers that stand for them.

    Args:
        text: its characters are the vocabulary.

    Example:
        >>> vocabulary = Vocabulary("hello")
        >>> vocabulary.encode("hole").tolist(), vocabulary.decode(vocabulary.encode("hole"))
        ([1, 3, 2, 0], 'hole')
    """

    def __init__(self, text: str):
        if not text:
            raise ValueError("text is empty: a vocabulary needs at least one character")
        self.symbols = sorted(set(text))
        self._numbers = {symbol: i for i, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    @classmethod
    def of_tinyshakespeare(cls) -> Self:
        """Its 65 characters, without the file."""
        return cls("\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """Numbers of the characters.

        Raises:
            ValueError: a character that is not in the vocabulary.
        """
        try:
            return torch.tensor([self._numbers[symbol] for symbol in text], dtype=torch.long)
        except KeyError as error:
            raise ValueError(
                f"the character {error.args[0]!r} is not in the vocabulary of {len(self)}"
            ) from None

    def decode(self, tokens: Int[Tensor, "n"]) -> str:
        """The characters of numbers."""
        return "".join(self.symbols[i] for i in tokens.tolist())


def to_bytes(text: str | bytes) -> UInt8[Tensor, "n"]:
    """A text as a row of bytes, one each; 256 symbols."""
    content = text.encode() if isinstance(text, str) else text
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
