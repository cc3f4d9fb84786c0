"""What the paper claims, each as a measurable check; C1–C10 are claims 1–10 of the notes, section 8.

The claims have names of their own here, so that each module of this package can still be imported under its name.
"""

from .condensing import condensing as trained_models_condense
from .covering import covering as capacity_saturates
from .depth_scaling import depth_scaling as depth_limits_at_initialisation
from .emergence_tasks import emergence_tasks as emergence_and_metrics
from .existence import existence as limit_architecture_exists
from .finite_realisation import finite_realisation as infinite_system_is_finite
from .norm_placement import norm_placement as gpt2_style_beats_gpt1_style
from .public_data import public_data as public_data_check
from .retention import retention as critical_retention
from .scaling_law import scaling_law as law_of_three_terms

__all__ = [
    "capacity_saturates",
    "critical_retention",
    "depth_limits_at_initialisation",
    "emergence_and_metrics",
    "gpt2_style_beats_gpt1_style",
    "infinite_system_is_finite",
    "law_of_three_terms",
    "limit_architecture_exists",
    "public_data_check",
    "trained_models_condense",
]
