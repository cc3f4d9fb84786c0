"""C8: the deep variant, in which layers of similar width share a meta-learner."""

from collections.abc import Sequence

import torch

from tenfold.claims import Measurement, Scale, Table, Value, claim

from ..account import meta_parameters
from ..meta import cluster_layers
from . import networks
from .convolutions import CONV8
from .pictures import full_images
from .training import META_CONV_RATES, Contender, Outcome, Schooling, Splits, contest, derive, device_for

RECORDED_CLUSTERS = {1: "00000000", 2: "00000011", 3: "00001122", 4: "00012233", 5: "00123344", 6: "01234455"}
"""The optimal assignments of §3.3 for the eight-layer network."""


def clusters_found() -> dict[int, str]:
    return {c: "".join(map(str, cluster_layers(CONV8, c))) for c in RECORDED_CLUSTERS}


def parameter_steps(hidden: int = 64) -> dict[int, int]:
    """Parameters of conv-8 for C = 1 … 4."""
    return {c: networks.count(lambda c=c: build(CONV8, c, hidden)) for c in (1, 2, 3, 4)}  # type: ignore[misc]


def build(channels: Sequence[int], n_meta: int, hidden: int = 64) -> torch.nn.Module:
    strides = networks.strides_of(channels)
    return networks.conv(
        "spline", 3, channels, strides, hidden=hidden, n_meta=n_meta, dropout=True, memory="auto"
    )


@claim(
    "C8", "Deep variant: layers of similar width share a meta-learner", source="section 4, algorithms 2 and 3"
)
def deep_variant(scale: Scale, seed: int) -> Measurement:
    """smoke, cpu: the clusters of §3.3 for C = 1 … 6, and conv-8 grows by exactly (C − 1)·p_M parameters. gpu, paper:
    also the accuracy of conv-8 on CIFAR-10 with C = 1 … 4, reported without a criterion."""
    device = device_for(scale)
    if scale in (Scale.SMOKE, Scale.CPU):
        return structure({})
    epochs = 5 if scale == Scale.GPU else 150
    schooling = Schooling(epochs, 64, autocast=True)
    return structure(trained(full_images("cifar10", seed, device), schooling, seed, CONV8))


def trained(splits: Splits, schooling: Schooling, seed: int, channels: Sequence[int]) -> dict[int, Outcome]:
    found = {}
    for c in range(1, min(4, len(set(channels))) + 1):
        contender = Contender(f"C={c}", lambda c=c: build(channels, c), META_CONV_RATES)  # type: ignore[misc]
        found[c] = contest(contender, splits, schooling, derive(seed, 1), search_epochs=1)
    return found


def structure(outcomes: dict[int, Outcome]) -> Measurement:
    found, counts = clusters_found(), parameter_steps()
    p_m = meta_parameters(1, 64, 9)
    exact = all(count == counts[1] + (c - 1) * p_m for c, count in counts.items())
    right = sum(found[c] == RECORDED_CLUSTERS[c] for c in found)
    accuracies: dict[str, Value] = {f"accuracy/C={c}": o.mean for c, o in outcomes.items()}
    return Measurement(
        quantity="cluster assignments of conv-8 that are optimal (C = 1 … 6)",
        ours=right,
        criterion="all six as recorded; conv-8 has exactly (C-1) x 713 parameters more than with C = 1",
        passed=bool(right == len(found) and exact),
        values={
            "parameter_steps_exact": exact,
            **{f"parameters/C={c}": n for c, n in counts.items()},
            **accuracies,
        },
        tables=[
            Table(
                "clusters",
                ("C", "found", "recorded"),
                tuple((c, found[c], RECORDED_CLUSTERS[c]) for c in found),
            )
        ],
    )
