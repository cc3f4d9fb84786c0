"""Every domain of images by its name, for presets and commands."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .chinese_mnist import load_chinese_mnist
from .colour import load_animals, load_cifar_animals
from .digits import load_digits_half
from .images import Parts
from .mnist import load_mnist


def _digits_half(half: Any) -> Callable[..., Parts]:
    return lambda root=None, size=32: load_digits_half(half, size)


def _mnist(full: bool) -> Callable[..., Parts]:
    def load(root: str | None = None, size: int = 32) -> Parts:
        if size != 32:
            raise ValueError(f"size of MNIST must be 32 (28 and a border of 2), got {size}")
        return load_mnist(root, full=full)

    return load


def _sided(loader: Callable[..., Parts], side: str, usual: int) -> Callable[..., Parts]:
    return lambda root=None, size=usual: loader(side, root, size=size)


DOMAINS: Mapping[str, Callable[..., Parts]] = MappingProxyType(
    {
        "digits_a": _digits_half("a"),
        "digits_b": _digits_half("b"),
        "mnist": _mnist(False),
        "mnist_full": _mnist(True),
        "chinese_mnist": lambda root=None, size=32: load_chinese_mnist(root, size=size),
        "cifar_source": _sided(load_cifar_animals, "source", 32),
        "cifar_target": _sided(load_cifar_animals, "target", 32),
        "animals_source": _sided(load_animals, "source", 64),
        "animals_target": _sided(load_animals, "target", 64),
    }
)
"""Name -> loader(root=None, size=...)."""


def load_domain(name: str, root: str | None = None, size: int | None = None) -> Parts:
    """The domain called `name`.

    Args:
        name: a key of `DOMAINS`.
        root: the data folder; `tenfold.data.root()` if None.
        size: height and width; the domain's own (32; animals 64) if None.

    Raises:
        ValueError: for an unknown name; the known ones are listed.
        DataNotFoundError: if its files are missing.

    Example:
        >>> load_domain("digits_a").train.shape
        (1, 32, 32)
    """
    if name not in DOMAINS:
        raise ValueError(f"unknown domain {name!r}; known: {', '.join(DOMAINS)}")
    return DOMAINS[name](root) if size is None else DOMAINS[name](root, size)
