"""What a claim may spend at a scale: steps, slots, sizes; planned before the first run.

At `cpu` all claims of a seed together stay within a quarter of an hour on one core. A step of 48 slots takes ICENet-tiny about
90 ms there and ReEsNet-bilinear 50 ms; C4 and C6 search the rates of both, C5 trains three networks, C2 and C7 one, C1 one and
four stacks. The steps of gpu and paper are planned, not timed.
"""

from dataclasses import dataclass

from tenfold.claims import Scale

from .training import Recipe


@dataclass(frozen=True)
class Budget:
    """Sizes of a scale.

    Args:
        recipe: of every network.
        size: of ICENet, see `ICENet.of_size`.
        validation: slots at each SNR that choose among rates and tolerances.
        tests: slots at each SNR that give the result.
    """

    recipe: Recipe
    size: str
    validation: int
    tests: int


BUDGETS = {
    Scale.SMOKE: Budget(Recipe(40, batch_size=16, rates=(2e-3,)), "tiny", 32, 128),
    Scale.CPU: Budget(Recipe(600), "tiny", 200, 2000),
    Scale.GPU: Budget(Recipe(1500, batch_size=256), "base", 500, 5000),
    # 125,000 slots in batches of 128, 100 epochs (§5); the slots are fresh at every step
    Scale.PAPER: Budget(Recipe(97_600, batch_size=128), "base", 1000, 5000),
}

ALONE = 2e-3
"""Rate of a network that has no trained rival in its claim: the largest candidate, for short trainings; without a search."""
