"""What the paper claims, measured: C1 exactness, C2 other angles, C3 transfer across orientations, C4 quality per parameter,
C5 plug-in, C6 far scales, C7 the evaluation protocol."""

from eq_asisr.claims.angles import arbitrary_angles
from eq_asisr.claims.exactness import exactness
from eq_asisr.claims.far_scales import far_scales
from eq_asisr.claims.orientation import transfer_across_orientations
from eq_asisr.claims.plug_in import plug_in
from eq_asisr.claims.protocol import protocol
from eq_asisr.claims.quality import longer_training, quality_per_parameter

__all__ = [
    "arbitrary_angles",
    "exactness",
    "far_scales",
    "longer_training",
    "plug_in",
    "protocol",
    "quality_per_parameter",
    "transfer_across_orientations",
]
