"""The claims: every scale's path runs on small sizes, conditions can fail, seeds are honest, figures are pictures."""

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import metakan.claims
from metakan.claims import (
    accuracy,
    bases,
    convolutions,
    depth,
    equations,
    highdim,
    interpretability,
    memory,
    networks,
    parameters,
    symbolic,
)
from metakan.claims.convolutions import Job
from metakan.claims.pictures import ReferenceAugmentation, digits_splits
from metakan.claims.training import (
    Labelled,
    Outcome,
    Schooling,
    derive,
    device_for,
    make_splits,
    seeded,
)
from metakan.claims.training import (
    accuracy as accuracy_of,
)
from metakan.figures import Point, error_against_parameters
from metakan.optim import Rates
from tenfold.claims import Measurement, Scale, collect

CPU = torch.device("cpu")
CLAIMS = collect(metakan.claims)


def images(n: int = 60, channels: int = 1, size: int = 8) -> Any:
    """Random images with labels, split; for code paths, not for accuracy."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, channels, size, size, generator=generator) * 2 - 1
    data = Labelled(x, torch.randint(10, (n,), generator=generator))
    return make_splits(data, data.take(torch.arange(20)), 0)


def test_the_nine_claims_exist_at_all_four_scales() -> None:
    assert sorted(CLAIMS) == sorted([f"C{i}" for i in range(1, 10)] + ["C2b"])  # C2 has two halves
    assert all(claim.scales == tuple(Scale) for name, claim in CLAIMS.items() if name != "C2b")


@pytest.mark.parametrize("name", ["C1", "C4", "C8"])
def test_exact_claims_hold_at_smoke_scale(name: str) -> None:
    measurement = CLAIMS[name](Scale.SMOKE, 0)
    assert measurement.passed, measurement


@pytest.mark.slow
def test_export_claim_holds_at_smoke_scale() -> None:
    pytest.importorskip("kan")
    assert CLAIMS["C9"](Scale.SMOKE, 0).passed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
@pytest.mark.parametrize("name", [name for name in sorted(CLAIMS) if name != "C1"])
def test_gpu_scales_never_fall_back_to_the_cpu(name: str, scale: Scale) -> None:
    if name == "C9":
        pytest.importorskip("kan")
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        CLAIMS[name](scale, 0)


def test_claim_seeds_share_no_training_seed() -> None:
    assert not set(derive(0, 5)) & set(derive(1, 5))
    assert device_for(Scale.CPU) == CPU


def test_networks_and_measurements_ignore_and_keep_the_global_random_state() -> None:
    def measure() -> Measurement:
        effort = replace(highdim.EFFORTS[Scale.SMOKE], n=4, width=2, epochs=1)
        return highdim.measure(effort, 0, CPU, full=False)

    torch.manual_seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = measure()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    assert measure().ours == first.ours
    a, b = (seeded(s, lambda: nn.Linear(3, 3)).weight for s in (0, 1))
    assert not torch.equal(a, b)


# The conditions -------------------------------------------------------------------------------------------------------


def outcome(name: str, score: float, parameters: int = 100) -> Outcome:
    return Outcome(name, parameters, Rates(), (), (score,))


def dense(**changed: float) -> dict[str, list[Outcome]]:
    """Outcomes that meet every condition of C2 at gpu scale, but for those changed."""
    scores = {"fashion": 86.0, "kmnist": 81.0, "kan": 87.0} | changed
    return {
        "fashion_mnist": [outcome("MetaKAN", scores["fashion"], 25_778), outcome("KAN", scores["kan"])],
        "kmnist": [outcome("MetaKAN", scores["kmnist"]), outcome("KAN", 82.0)],
    }


def convolved(**changed: float) -> dict[str, list[Outcome]]:
    """The same for C2b."""
    scores = {"spline": 95.5, "rbf": 98.5, "gram": 99.0, "cifar": 66.0} | changed
    return {
        "mnist conv-4": [outcome(f"meta {n}", scores[n]) for n in ("spline", "rbf", "gram")],
        "cifar10 conv-4": [outcome("meta rbf", scores["cifar"]), outcome("rbf", 68.0)],
    }


def test_gpu_verdicts_follow_each_condition() -> None:
    assert accuracy.verdict(dense()).passed
    for name, score in (("fashion", 85.4), ("kmnist", 80.4), ("kan", 87.6)):
        assert not accuracy.verdict(dense(**{name: score})).passed, name
    assert convolutions.verdict(convolved(), {}).passed
    for name, score in (("spline", 94.9), ("rbf", 97.9), ("gram", 98.6), ("cifar", 63.9)):
        assert not convolutions.verdict(convolved(**{name: score}), {}).passed, name


def test_equation_case_needs_accuracy_and_few_parameters() -> None:
    def case(ours: float, theirs: float, parameters: int) -> equations.Case:
        def solved(error: float) -> list[equations.Solution]:
            return [equations.Solution(error, error, (0,), (1.0,), (1.0,), 0.0)]

        return equations.Case(
            "poisson-10d",
            {"MetaKAN": parameters, "KAN": 400},
            {"MetaKAN": solved(ours), "KAN": solved(theirs)},
        )

    assert case(0.04, 0.02, 100).holds(0.05)
    assert not case(0.041, 0.02, 100).holds(0.05)
    assert not case(0.06, 0.05, 100).holds(0.05)
    assert case(0.06, 0.05, 100).holds(None)
    assert not case(0.04, 0.02, 101).holds(0.05)


# Every path on small sizes ------------------------------------------------------------------------------------------


def test_digits_path_and_the_choice_of_rates() -> None:
    measurement = accuracy.smoke(digits_splits(0), 0, epochs=1)
    assert measurement.values["parameters"] == 2738
    assert not measurement.passed  # one epoch is not enough
    assert math.isfinite(float(measurement.ours or 0))


@pytest.mark.slow
def test_laptop_paths() -> None:
    once = Schooling(1, 64)
    digits = accuracy.on_digits(digits_splits(0), 0, once, n_seeds=1)
    assert [f.name for f in digits.figures] == ["digits-error"]
    conv = convolutions.on_a_laptop(images(), 0, once, (4, 6, 6))
    for measurement in (digits, conv):
        parameters_of = {row[0]: row[1] for row in measurement.tables[0].rows}
        # equal as far as whole widths go
        assert abs(parameters_of["narrow KAN"] / parameters_of["MetaKAN"] - 1) < 0.15


@pytest.mark.slow
def test_full_size_paths_on_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(name: str, seed: int, device: torch.device, flatten: bool = False) -> Any:
        splits = images(40, 3 if name == "cifar10" else 1, 28 if flatten else 8)
        return type(splits)(*(Labelled(p.x.flatten(1), p.labels) for p in splits)) if flatten else splits

    monkeypatch.setattr(convolutions, "full_images", small)
    once = Schooling(1, 16)
    data = {name: small(name, 0, CPU, flatten=True) for name in ("fashion_mnist", "kmnist")}
    dense = accuracy.at_full_size(data, 0, once)
    assert not dense.passed
    assert dense.values["parameters_25778"] is True
    channels = (2, 3, 3, 3)
    jobs = [
        Job("mnist", once, ("spline", "rbf", "gram"), channels, baselines=False),
        Job("cifar10", once, ("rbf",), channels),
    ]
    measurement = convolutions.at_full_size(jobs, 0, CPU)
    assert not measurement.passed
    assert measurement.values["training_images/cifar10 conv-4"] == 40
    rows = {table.name: [row[0] for row in table.rows] for table in measurement.tables}
    assert rows["mnist conv-4"] == ["meta spline", "meta rbf", "meta gram"]
    assert rows["cifar10 conv-4"] == ["meta rbf", "rbf"]
    assert "CIFAR-10" in bases.on_cifar({"all": True}, jobs[1], small("cifar10", 0, CPU), 0).quantity


def test_bases_path_on_digits() -> None:
    measurement = bases.on_digits({"all": True}, digits_splits(0), 0, Schooling(1, 64), n_seeds=1)
    assert measurement.baseline is not None
    assert not bases.on_digits({"one": False}, digits_splits(0), 0, Schooling(1, 64), n_seeds=1).passed


def test_a_network_without_gradients_does_not_count_as_training() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prompts, self.learners = nn.Parameter(torch.zeros(2)), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (0 * self.learners(self.prompts).sum())

    assert not bases.trains(Dead(), torch.ones(3, 2))


def test_deep_variant_path() -> None:
    found = depth.trained(images(40, 3), Schooling(1, 16), 0, (4, 6, 8))
    assert sorted(found) == [1, 2, 3]
    assert found[3].parameters - found[1].parameters == 2 * 713
    assert depth.structure(found).passed


def test_equations_path() -> None:
    effort = equations.Effort(
        (("poisson", 3), ("allen_cahn", 3)), 4, 4, 3, 1, True, depth=1, n_points=8, n_test=50
    )
    measurement = equations.comparison(effort, 0, CPU, limit=0.05)
    assert not measurement.passed
    assert [f.name for f in measurement.figures] == ["pde-poisson-3d", "pde-allen-cahn-3d"]
    assert len(measurement.tables[0].rows) == 6
    assert equations.subset_bias(0) < 1e-12
    assert not equations.machinery(replace(effort, search=False), 0, CPU).passed  # three steps are not enough


def test_high_dimension_path() -> None:
    effort = replace(highdim.EFFORTS[Scale.CPU], n=6, width=4, epochs=1)
    measurement = highdim.measure(effort, 0, CPU, full=True)
    assert not measurement.passed  # at six variables the parameters are no fifth
    assert {row[0] for row in measurement.tables[0].rows} == {"MetaKAN", "KAN", "narrow KAN", "MLP"}


def test_symbolic_path_over_grids_and_widths() -> None:
    effort = symbolic.Effort(("I.12.5",), (3, 5), (2, 3), 1, 1)
    measurement = symbolic.measure(effort, 0, CPU)
    assert len(measurement.tables[0].rows) == 6  # two grids, three models, the best width each
    assert measurement.values["runs_stopped_by_a_non_finite_loss"] == 0


def test_memory_path_with_convolutions() -> None:
    sizes = memory.Sizes((40, 64, 10), 16, 8, (4, 8), (16, None), 1)
    conv = memory.conv_peaks(0, CPU, (4, 6, 6), 2)
    measurement = memory.measure(sizes, 0, CPU, conv)
    assert measurement.values["recomputed_gradients_equal_to_1e-12"] is True
    assert [f.name for f in measurement.figures] == ["training-memory"]
    rows = measurement.tables[0].rows
    assert len(rows) == 1 + 2 + 2 + 2 + 1 + 2
    saved = {(row[0], row[1]): row[4] for row in rows}
    assert saved["MetaKAN, naive", 8] > saved["MetaKAN, naive", 4]  # autograd keeps the hidden units (P1)
    assert saved["MetaKAN, recompute", 8] == saved["MetaKAN, recompute", 4]
    without = memory.measure(replace(sizes, table_hidden=(8,)), 0, CPU, None)
    assert "state_at_most_0.12_of_KAN" in without.values


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exp(x_2**2 + sin(pi*x_1))", 0.0),
        ("1.0*exp(1.001*x_2**2 + sin(3.1416*x_1))", 1e-3),
        ("2*exp(x_2**2 + sin(pi*x_1) - log(2))", 0.0),
        ("exp((x_2 - 1e-9)**2 - sin(pi*x_1 + pi))", 0.0),
        ("exp(x_2**2 + sin(pi*x_1)) + 0.5", 0.5),
        ("exp(2*x_2**2 + sin(pi*x_1))", 1.0),
        ("x_2**2 + sin(pi*x_1)", math.inf),
        ("exp(x_2**2 + x_1)", math.inf),
        ("exp(sin(pi*x_1))", math.inf),
    ],
)
def test_distance_of_a_formula_from_the_demo(text: str, error: float) -> None:
    sympy = pytest.importorskip("sympy")
    assert interpretability.coefficient_error(sympy.sympify(text)) == pytest.approx(error, rel=0.01, abs=1e-6)


def test_formulas_are_rounded_for_reading() -> None:
    sympy = pytest.importorskip("sympy")
    expression = sympy.sympify("1.00004*exp(0.99999999*x_2**2 + sin(3.14159265*x_1))")
    assert interpretability.rounded(expression) == "1.0*exp(1.0*x_2**2 + sin(3.1416*x_1))"


@pytest.mark.parametrize("alive", [1, 2])
def test_the_weakest_node_goes_and_its_edges_with_it(alive: int) -> None:
    model = seeded(0, lambda: networks.metakan([2, alive + 1, 1], hidden=8)).double()
    x = torch.rand(50, 2, dtype=torch.float64) * 2 - 1
    interpretability.remove_weakest_node(model, x)  # type: ignore[arg-type]
    first, second = (layer.edge_mask for layer in model.layers)  # type: ignore[union-attr]
    assert first.all(1).sum() == second.sum() == alive
    assert torch.equal(first.any(1), second[0])


def test_random_configurations_are_covered_by_the_formula_and_differ() -> None:
    source = random.Random(0)
    drawn = [parameters.random_configuration(source) for _ in range(20)]
    assert len({str(cfg) for cfg in drawn}) == 20
    assert {cfg["name"] for cfg in drawn} == {"kan", "metakan"}


@pytest.mark.parametrize("target", [60, 213, 2738, 10_000])
def test_width_of_equal_count_is_the_nearest(target: int) -> None:
    def build(w: int) -> nn.Module:
        return networks.kan([4, w, 2])

    found = networks.width_of_equal_count(target, build)
    distance = {
        w: abs(networks.count(lambda w=w: build(w)) - target) for w in (found - 1, found, found + 1) if w >= 1
    }
    assert distance[found] == min(distance.values())


def test_augmentation_of_the_long_recipe_keeps_shape_and_range() -> None:
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    y = ReferenceAugmentation("mnist")(x)
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert not torch.equal(x, y)


def test_accuracy_counts_right_labels() -> None:
    data = Labelled(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    assert accuracy_of(nn.Identity(), data, batch_size=3) == 75


def test_pictures_are_the_same_bytes_for_the_same_numbers() -> None:
    points = [Point("MetaKAN", 2738, 3.0, 0.5), Point("KAN", 21312, 2.5)]
    first, second = (error_against_parameters("a", points, "t", "e", "alt") for _ in range(2))
    assert first.png == second.png
