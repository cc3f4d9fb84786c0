"""The command `icenet evaluate`: NMSE, bit error rate, iterations and memory of a trained model."""

from collections.abc import Sequence


def evaluate(argv: Sequence[str]) -> int:
    """Measure a trained model on fresh slots; print and save the numbers."""
    raise NotImplementedError
