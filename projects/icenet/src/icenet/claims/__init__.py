"""What the paper claims, each as a measurable check; C1–C7 of the notes, section 8."""

from .accuracy import normalised_error
from .adaptivity import iterations_adapt
from .error_rate import bit_errors
from .generalisation import other_channels
from .memory import constant_memory
from .stability import stable_training
from .tradeoff import run_time_tradeoff

__all__ = [
    "bit_errors",
    "constant_memory",
    "iterations_adapt",
    "normalised_error",
    "other_channels",
    "run_time_tradeoff",
    "stable_training",
]
