"""C1, second half: what real training leaves of the symmetry (§8). The networks of C4 after their first few hundred steps."""

from dataclasses import dataclass, replace

import torch

from eq_asisr.claims.networks import EQ, PLAIN
from eq_asisr.claims.quality import SPREAD_BOUND, spreads
from eq_asisr.claims.training import Recipe
from eq_asisr.claims.zoom import SIZES, ZoomTask
from eq_asisr.data.evaluation import EvaluationSet
from eq_asisr.equivariance import rot90_error
from tenfold.claims import Scale

STEPS = 200
PLAIN_SPREAD = 0.005
LR_SIZE, ANISOTROPIC = (16, 24), (32, 72)
SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 7.3)


@dataclass(frozen=True)
class AfterTraining:
    """What was found.

    Args:
        double: largest relative L2 error of EQ in float64 over scales and turns, on 16×24 random pixels.
        plain: smallest of the plain network.
        spread: largest minus smallest PSNR of an image of Set5 ×4 over its orientations, the worst image, of EQ.
        plain_spread: the same of the plain network.
    """

    double: float
    plain: float
    spread: float
    plain_spread: float

    @property
    def spreads_hold(self) -> bool:
        """EQ within 1e-4 dB, plain beyond 0.005 dB."""
        return self.spread <= SPREAD_BOUND and self.plain_spread > PLAIN_SPREAD


def after_training(scale: Scale, seed: int, steps: int = STEPS) -> AfterTraining:
    """Train EDSR-LIIF plain and EQ on photographs, on the same samples, and measure both."""
    size = SIZES[Scale.GPU if scale is Scale.PAPER else scale]
    size = replace(size, recipe=Recipe(steps, rates=size.recipe.rates[:1]))
    task = ZoomTask(size, scale, seed, [EvaluationSet("Set5", 4)])
    trained = task.school(controls=False)
    spread = spreads(task, trained)
    generator = torch.Generator().manual_seed(seed)
    lr = torch.rand(1, 3, *LR_SIZE, generator=generator, dtype=torch.float64).to(task.device)
    errors = {}
    for name in (EQ, PLAIN):
        model = trained[name].model.double()
        errors[name] = [e for s in SCALES for e in rot90_error(model, lr, scale=s).relative_l2]
        errors[name] += rot90_error(model, lr, size=ANISOTROPIC).relative_l2
    return AfterTraining(max(errors[EQ]), min(errors[PLAIN]), spread[EQ], spread[PLAIN])
