"""What the paper claims, each as a measurable check; C1–C9 of the notes, section 8, C2 in two parts."""

from .accuracy import accuracy_at_a_ninth
from .bases import any_basis
from .convolutions import convolutions_at_a_ninth
from .depth import deep_variant
from .equations import solves_equations
from .highdim import high_dimension
from .interpretability import stays_readable
from .memory import training_memory
from .parameters import parameter_counts
from .symbolic import symbolic_regression

__all__ = [
    "accuracy_at_a_ninth",
    "any_basis",
    "convolutions_at_a_ninth",
    "deep_variant",
    "high_dimension",
    "parameter_counts",
    "solves_equations",
    "stays_readable",
    "symbolic_regression",
    "training_memory",
]  # fmt: skip
