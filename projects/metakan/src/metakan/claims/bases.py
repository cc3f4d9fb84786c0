"""C4: weight generation is a drop-in for any basis: six families, fully connected and in one to three dimensions."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tenfold.claims import Measurement, Scale, Table, claim

from . import networks
from .accuracy import table
from .convolutions import CONV4, Job, run_job
from .pictures import digits_splits, full_images
from .training import (
    META_RATES,
    PLAIN_RATES,
    Contender,
    Schooling,
    Splits,
    contest,
    derive,
    device_for,
)


@claim(
    "C4", "Weight generation is a drop-in for any basis", source="section 4; tables of image classification"
)
def any_basis(scale: Scale, seed: int) -> Measurement:
    """smoke: every basis, fully connected and convolutional in 1, 2, 3 dimensions: right shapes, a finite gradient that
    is not zero throughout for every prompt table and meta-learner. cpu: also MetaFastKAN on digits, 5 runs, within 2
    points of FastKAN. gpu: also MetaFastKANConv within 4 points of FastKANConv on CIFAR-10 (as in C2)."""
    device = device_for(scale)
    checks = drop_in_checks(seed, device)
    if scale == Scale.SMOKE:
        return drop_in(checks)
    if scale == Scale.CPU:
        return on_digits(checks, digits_splits(seed), seed, Schooling(30, 64), n_seeds=5)
    epochs = 15 if scale == Scale.GPU else 150
    job = Job("cifar10", Schooling(epochs, 128, autocast=True), ("rbf",), CONV4)
    return on_cifar(checks, job, full_images("cifar10", seed, device), seed)


def networks_to_check() -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    """Name, network with generated weights, shape of an input."""
    for basis in networks.BASES:
        yield f"{basis} dense", networks.metakan([6, 5, 3], basis=basis, hidden=8), (8, 6)
        for ndim in (1, 2, 3):
            yield f"{basis} conv{ndim}d", networks.GeneratedConv(basis, ndim, 2, 4), (3, 2, *[5] * ndim)


def drop_in_checks(seed: int, device: torch.device) -> dict[str, bool]:
    """Forward and backward of every network of `networks_to_check`."""
    passed = {}
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, network, shape in networks_to_check():
            x = (2 * torch.rand(shape, generator=generator) - 1).to(device)
            passed[name] = trains(network.to(device), x)
    return passed


def trains(network: nn.Module, x: Tensor) -> bool:
    """Whether outputs and all gradients are finite, and those of prompts and meta-learners not zero throughout."""
    y = network(x)
    if y.shape[0] != x.shape[0] or not torch.isfinite(y).all():
        return False
    y.square().mean().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    if any(g is None or not torch.isfinite(g).all() for g in gradients.values()):
        return False
    generating = [g for name, g in gradients.items() if "prompts" in name or "learners" in name]
    return len(generating) >= 2 and all(g is not None and bool(g.abs().max() > 0) for g in generating)


def checks_table(checks: dict[str, bool]) -> Table:
    return Table("forward and backward", ("network", "trains"), tuple(checks.items()))


def drop_in(checks: dict[str, bool]) -> Measurement:
    return Measurement(
        quantity="networks that train (6 bases, dense and conv1d/2d/3d)",
        ours=sum(checks.values()),
        criterion=f"all {len(checks)}: shapes, finite gradients, none of prompts or meta-learners zero throughout",
        passed=all(checks.values()),
        tables=[checks_table(checks)],
    )


def on_digits(
    checks: dict[str, bool], splits: Splits, seed: int, schooling: Schooling, n_seeds: int
) -> Measurement:
    widths = [64, 32, 10]
    ours, theirs = (
        contest(contender, splits, schooling, derive(seed, n_seeds))
        for contender in (
            Contender("MetaFastKAN", lambda: networks.metakan(widths, basis="rbf", hidden=16), META_RATES),
            Contender("FastKAN", lambda: networks.kan(widths, basis="rbf"), PLAIN_RATES),
        )
    )
    return Measurement(
        quantity="test accuracy of MetaFastKAN on digits (%)",
        ours=ours.mean,
        baseline=theirs.mean,
        criterion=f"within 2 points of FastKAN, and all {len(checks)} networks train",
        passed=bool(ours.mean >= theirs.mean - 2 and all(checks.values())),
        values={"parameters": ours.parameters, "parameters_FastKAN": theirs.parameters},
        tables=[table("digits", [ours, theirs]), checks_table(checks)],
    )


def on_cifar(checks: dict[str, bool], job: Job, splits: Splits, seed: int) -> Measurement:
    ours, theirs = run_job(job, splits, seed)
    return Measurement(
        quantity="test accuracy of MetaFastKANConv on CIFAR-10 (%)",
        ours=ours.mean,
        baseline=theirs.mean,
        criterion=f"within 4 points of FastKANConv at equal epochs, and all {len(checks)} networks train",
        passed=bool(ours.mean >= theirs.mean - 4 and all(checks.values())),
        tables=[table("CIFAR-10", [ours, theirs]), checks_table(checks)],
    )
