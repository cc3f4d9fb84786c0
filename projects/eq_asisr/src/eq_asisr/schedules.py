"""Learning rates of short trainings."""

import math


def warm_cosine(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate: linear up to 1 over `warmup · total` steps, then half a cosine down to 0.

    >>> [round(warm_cosine(step, 100, 0.1), 3) for step in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    rising = warmup * total
    if step < rising:
        return min(1.0, (step + 1) / rising)
    done = (step - rising) / max(1.0, total - rising)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
