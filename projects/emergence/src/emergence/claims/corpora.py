"""The texts that claims are trained on: characters for smoke and cpu, bytes for gpu, tokens of the user's for paper."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from tenfold.claims import Scale

from ..data.python_source import load_python_corpus
from ..data.text import Vocabulary, load_tinyshakespeare
from ..data.windows import fixed_windows, random_windows
from ..web_tokens import VOCAB, load_web_tokens


@dataclass(frozen=True)
class Corpus:
    """A text in two parts.

    Args:
        name: what it is.
        train, val: tokens.
        vocab: number of different tokens.
    """

    name: str
    train: Int[Tensor, "n"]
    val: Int[Tensor, "m"]
    vocab: int

    def windows(self, ctx: int, count: int) -> tuple[Int[Tensor, "count ctx"], Int[Tensor, "count ctx"]]:
        """The validation windows, the same in every run."""
        return fixed_windows(self.val, ctx, count)

    def batches(self, ctx: int, batch_size: int, seed: int) -> "Batches":
        """Random windows of the training part; the same sequence for the same seed."""
        return Batches(self.train, ctx, batch_size, seed)


class Batches:
    """Calls draw the next batch of windows: inputs and the tokens that follow them."""

    def __init__(self, tokens: Int[Tensor, "n"], ctx: int, batch_size: int, seed: int):
        self.tokens, self.ctx, self.batch_size = tokens, ctx, batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self) -> tuple[Tensor, Tensor]:
        return random_windows(self.tokens, self.ctx, self.batch_size, self.generator)


def split(name: str, tokens: Int[Tensor, "n"], vocab: int, share: float = 0.9) -> Corpus:
    """The first `share` to train on, the rest for validation."""
    cut = int(share * len(tokens))
    return Corpus(name, tokens[:cut], tokens[cut:], vocab)


def documentation() -> Corpus:
    """The topics of Python's own manual, which every installation has, in the 65 characters of tinyshakespeare.

    For the smoke scale, which needs no download. Blanks are joined to one; other characters are left out.
    """
    from pydoc_data.topics import topics

    vocabulary = Vocabulary.of_tinyshakespeare()
    known = set(vocabulary.symbols)
    lines = (" ".join(line.split()) for key in sorted(topics) for line in topics[key].splitlines())
    text = "".join(c for c in "\n".join(lines) if c in known)
    return split("Python's manual", vocabulary.encode(text), len(vocabulary))


def shakespeare() -> Corpus:
    """tinyshakespeare by characters, 90/10."""
    text = load_tinyshakespeare()
    vocabulary = Vocabulary(text)
    return split("tinyshakespeare", vocabulary.encode(text), len(vocabulary))


def python_sources() -> Corpus:
    """Bytes of the Python sources installed, built by `emergence data-pysrc`."""
    return Corpus("Python sources", load_python_corpus("train"), load_python_corpus("val"), 256)


def web_tokens() -> Corpus:
    """The user's own corpus of GPT-2 tokens."""
    return Corpus("web tokens", load_web_tokens("train"), load_web_tokens("val"), VOCAB)


def corpus_for(scale: Scale) -> Corpus:
    """The text of a scale."""
    makers = {
        Scale.SMOKE: documentation,
        Scale.CPU: shakespeare,
        Scale.GPU: python_sources,
        Scale.PAPER: web_tokens,
    }
    return makers[scale]()
