"""The fixture `versus`: ours against the peer a user would pick otherwise, alternating, in one process.

    .venv/bin/pytest benchmarks/speed -n0 --benchmark-enable [--record benchmarks/results/speed]

Without `--benchmark-enable` an entry runs both sides once and is then skipped: its ratio would mean nothing.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tenfold_benchmarks.environment import describe
from tenfold_benchmarks.files import require_writable, write_whole
from tenfold_benchmarks.timing import Ratio, check_rounds, collector_held, seconds, wait_for_device


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record",
        metavar="FOLDER",
        type=Path,
        help="write one JSON per speed entry here (benchmarks/results/speed)",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--record")
    if folder is not None:
        try:
            require_writable(folder)
        except PermissionError as error:
            raise pytest.UsageError(f"--record: {error.__cause__}") from error


@pytest.fixture
def versus(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[..., Ratio]:
    """`versus(ours, peer, rounds=20, warmup=3, **facts) -> Ratio`; the test asserts its threshold on the ratio.

    `facts` (`peer="pykan 0.2.8"`, shapes, batch, …) are recorded beside the ratio and its quartiles.
    """

    def measure(
        ours: Callable[[], object],
        peer: Callable[[], object],
        /,  # so that the facts may hold a `peer` too
        *,
        rounds: int = 20,
        warmup: int = 3,
        **facts: str | int | float | bool | None,
    ) -> Ratio:
        check_rounds(rounds, warmup)
        if not benchmark.enabled:
            ours()
            peer()
            benchmark.pedantic(lambda: None)
            pytest.skip("both sides ran once; timings need --benchmark-enable -n0")
        ratio = _time_pairs(benchmark, ours, peer, rounds, warmup)
        benchmark.extra_info.update(facts, **asdict(ratio))
        folder = request.config.getoption("--record")
        if folder is not None:
            _record(folder, request.node.nodeid, ratio, facts)
        print(f"{request.node.name}: {ratio}")
        return ratio

    return measure


def _time_pairs(
    benchmark: BenchmarkFixture,
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int,
    warmup: int,
) -> Ratio:
    """Let pytest-benchmark time ours, and time the peer just before or just after, in turn."""
    clock = _PeerClock(peer)

    def timed() -> None:
        ours()
        wait_for_device()

    for _ in range(warmup):
        seconds(peer)
        seconds(ours)
    with collector_held():
        benchmark.pedantic(timed, setup=clock.before, teardown=clock.after, rounds=rounds, iterations=1)
    assert benchmark.stats is not None  # pedantic has filled it
    return Ratio.of(benchmark.stats.stats.data, clock.seconds)


class _PeerClock:
    """Times the peer once a round: before ours in even rounds, after ours in odd ones."""

    def __init__(self, peer: Callable[[], object]):
        self.peer = peer
        self.seconds: list[float] = []
        self.peer_first = False

    def before(self) -> None:
        self.peer_first = not self.peer_first
        if self.peer_first:
            self.seconds.append(seconds(self.peer))
        wait_for_device()

    def after(self) -> None:
        if not self.peer_first:
            self.seconds.append(seconds(self.peer))


def _record(
    folder: Path, nodeid: str, ratio: Ratio, facts: dict[str, str | int | float | bool | None]
) -> None:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", nodeid.rpartition("/")[2].replace(".py::", "-")).strip("-")
    record = {
        "entry": nodeid,
        **asdict(ratio),
        "facts": facts,
        "environment": describe(Path(__file__).parent),
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_whole(folder / f"{stem}.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
