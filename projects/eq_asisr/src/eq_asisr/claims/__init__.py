"""What the paper claims, measured: C1 exactness, C2 other angles, C3 transfer across orientations, C4 quality per parameter,
C5 plug-in, C6 far scales, C7 the evaluation protocol."""

from eq_asisr.claims.angles import arbitrary_angles
from eq_asisr.claims.exactness import exactness
from eq_asisr.claims.far_scales import far_outside_the_training
from eq_asisr.claims.orientation import transfer_across_orientations
from eq_asisr.claims.plug_in import plugs_in
from eq_asisr.claims.protocol import evaluation_protocol
from eq_asisr.claims.quality import longer_training, quality_per_parameter

__all__ = [
    "arbitrary_angles",
    "evaluation_protocol",
    "exactness",
    "far_outside_the_training",
    "longer_training",
    "plugs_in",
    "quality_per_parameter",
    "transfer_across_orientations",
]
