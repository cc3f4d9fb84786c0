"""What the paper claims, each as a measurable check; G1–G6 are the claims of the notes, section 8."""

from .ablations import steps_matter
from .cost import cost_of_alignment
from .curves import curve_to_curve
from .exactness import exact_alignment
from .generation import no_collapse, quality

__all__ = [
    "cost_of_alignment",
    "curve_to_curve",
    "exact_alignment",
    "no_collapse",
    "quality",
    "steps_matter",
]
