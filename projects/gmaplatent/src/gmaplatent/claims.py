"""What the paper claims, each as a measurement with a criterion fixed before the run.

Split this file into a folder `claims/` of the same name when it outgrows a screen or two: one module per group of
claims, so that changing one does not make the results of the others stale.
"""

from tenfold.claims import Measurement, Scale, claim


@claim("C1", "Replace this by a sentence of the paper", source="say where the paper says it", published=None)
def first(scale: Scale, seed: int) -> Measurement:
    """Not written yet, hence failing: measure ours and a fairly trained baseline, and state the criterion."""
    return Measurement(
        quantity="nothing yet",
        ours=None,
        baseline=None,
        criterion="this claim is written: it measures ours against a baseline",
        passed=False,
    )
