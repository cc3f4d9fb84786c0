"""Two functions timed against each other, so that the ratio can be trusted where seconds cannot.

Both run in one process, in turn, in pairs whose order flips; whatever the machine does meanwhile meets both alike. The
ratio is the median over the pairs, its spread the quartiles over the pairs. The garbage collector is held, and work
queued on a CUDA device is waited for.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Ratio:
    """How long ours takes in units of the peer's time; below 1 ours is faster.

    Args:
        ratio: median over the pairs of ours / peer.
        low: first quartile of the same ratios.
        high: third quartile.
        ours_seconds: median time of ours, in seconds.
        peer_seconds: median time of the peer, in seconds.
        rounds: number of pairs.

    Example:
        >>> print(Ratio.of([1.0, 1.2, 1.1], [2.0, 2.0, 2.2]))
        0.500 × the peer's time (quartiles 0.500 to 0.550, 3 pairs): 1.1 s against 2 s
    """

    ratio: float
    low: float
    high: float
    ours_seconds: float
    peer_seconds: float
    rounds: int

    @classmethod
    def of(cls, ours: Sequence[float], peer: Sequence[float]) -> "Ratio":
        """The ratio of times measured in pairs, in seconds.

        Raises:
            ValueError: if the sequences differ in length, are empty, or hold a time that is not positive.
        """
        if len(ours) != len(peer) or not ours:
            raise ValueError(
                f"ours and peer must be times of the same rounds, got {len(ours)} and {len(peer)}"
            )
        if min(*ours, *peer) <= 0:
            raise ValueError("ours and peer must be positive times in seconds")
        ratios = [a / b for a, b in zip(ours, peer)]
        low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return cls(median(ratios), low, high, median(ours), median(peer), len(ratios))

    def __str__(self) -> str:
        return (
            f"{self.ratio:.3f} × the peer's time (quartiles {self.low:.3f} to {self.high:.3f}, {self.rounds} pairs): "
            f"{self.ours_seconds:.3g} s against {self.peer_seconds:.3g} s"
        )


def alternate(
    ours: Callable[[], object], peer: Callable[[], object], *, rounds: int = 20, warmup: int = 3
) -> Ratio:
    """Time two functions in turn: peer, ours, ours, peer, peer, ours, …

    Args:
        ours: the function under test.
        peer: what a user would call otherwise.
        rounds: number of timed pairs, at least 1.
        warmup: pairs that run first and are not counted, at least 0.

    Example:
        >>> alternate(lambda: sum(range(100)), lambda: sum(range(10_000)), rounds=5).ratio < 1
        True
    """
    check_rounds(rounds, warmup)
    ours_seconds, peer_seconds = [], []
    with collector_held():
        for turn in range(warmup + rounds):
            if turn % 2:
                a, b = seconds(ours), seconds(peer)
            else:
                b, a = seconds(peer), seconds(ours)
            if turn >= warmup:
                ours_seconds.append(a)
                peer_seconds.append(b)
    return Ratio.of(ours_seconds, peer_seconds)


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock time of one call, in seconds, including the CUDA work it queued."""
    wait_for_device()
    start = time.perf_counter()
    function()
    wait_for_device()
    return time.perf_counter() - start


def wait_for_device() -> None:
    """Wait for CUDA, if this process has used it; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def check_rounds(rounds: int, warmup: int) -> None:
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    if warmup < 0:
        raise ValueError(f"warmup must be at least 0, got {warmup}")


@contextmanager
def collector_held() -> Iterator[None]:
    """Collect garbage once, then not again until the block ends; the former state comes back."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
