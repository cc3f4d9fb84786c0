"""What the paper claims, each as a measurable check; K1–K7 are claims 1–7 of the notes, section 8."""

from .cost import cost_of_a_step
from .high_dimension import scales_to_high_dimension
from .interpretability import split_is_meaningful
from .lorenz import chaos
from .pendulum import continuous_spectrum
from .stability import long_run_stability
from .structure import exact_structure

__all__ = [
    "chaos",
    "continuous_spectrum",
    "cost_of_a_step",
    "exact_structure",
    "long_run_stability",
    "scales_to_high_dimension",
    "split_is_meaningful",
]
