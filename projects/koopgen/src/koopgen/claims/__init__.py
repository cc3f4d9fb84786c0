"""What the paper claims, each as a measurable check; K1–K7 are claims 1–7 of the notes, section 8."""

from .cost import cost
from .high_dimension import high_dimension
from .interpretability import split_is_meaningful
from .lorenz import chaos
from .pendulum import continuous_spectrum
from .stability import long_run_stability
from .structure import exact_structure

__all__ = [
    "chaos",
    "continuous_spectrum",
    "cost",
    "exact_structure",
    "high_dimension",
    "long_run_stability",
    "split_is_meaningful",
]
