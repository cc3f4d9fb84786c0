import dataclasses
import types

import pytest

from tenfold.claims import Claim, Figure, Measurement, Scale, Table, claim, collect

PNG = b"\x89PNG\r\n\x1a\n"


def measurement(**changed) -> Measurement:
    values = {
        "quantity": "accuracy (%)",
        "ours": 97.0,
        "criterion": "ours > baseline",
        "passed": True,
        "baseline": 95,
    }
    return Measurement(**{**values, **changed})


def make(**changed) -> Claim:
    arguments = {"source": "abstract", "scales": ("smoke", "cpu"), **changed}

    @claim("C1", "It works", **arguments)
    def works(scale: Scale, seed: int) -> Measurement:
        return measurement(values={"scale": str(scale), "seed": seed})

    return works


def test_a_claim_carries_its_arguments_and_measures():
    works = make(published=98.5, known_gaps={"cpu": "too small"}, cpus=2)
    assert (works.id, works.title, works.source, works.published, works.cpus) == (
        "C1",
        "It works",
        "abstract",
        98.5,
        2,
    )
    assert works.scales == (Scale.SMOKE, Scale.CPU)
    assert works.known_gaps == {"cpu": "too small"}
    assert works.module == __name__
    assert works(Scale.CPU, 3).values == {"scale": "cpu", "seed": 3}


def test_scales_are_their_names():
    assert list(Scale) == ["smoke", "cpu", "gpu", "paper"]
    assert f"{Scale.GPU}" == "gpu"


def test_a_scale_given_as_a_string_reaches_the_function_as_a_scale():
    @claim("C1", "t", source="s")
    def works(scale: Scale, seed: int) -> Measurement:
        assert isinstance(scale, Scale)
        return measurement()

    works("smoke", 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scale", "seed", "message"),
    [
        (Scale.GPU, 0, "claim C1 has no scale gpu; it has smoke, cpu"),
        ("huge", 0, "claim C1 has no scale huge"),
        (Scale.CPU, -1, "seed must be at least 0, got -1"),
    ],
)
def test_measuring_what_is_not_defined(scale, seed: int, message: str):
    with pytest.raises(ValueError, match=message):
        make()(scale, seed)


def test_a_function_must_return_a_measurement():
    @claim("C1", "t", source="s")
    def wrong(scale: Scale, seed: int) -> Measurement:
        return 0.5  # type: ignore[return-value]

    with pytest.raises(TypeError, match="claim C1 must return a Measurement, got float"):
        wrong(Scale.SMOKE, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": ("smoke", "large")}, "unknown scale 'large' in claim C1; known: smoke, cpu, gpu, paper"),
        ({"known_gaps": {"large": "x"}}, "unknown scale 'large'"),
        ({"cpus": 0}, "cpus must be at least 1 in claim C1, got 0"),
    ],
)
def test_bad_arguments_of_the_decorator(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


class Tensor:
    """Stands for anything that is not a plain value."""


@pytest.mark.parametrize("place", ["ours", "baseline", "values"])
def test_values_must_be_plain(place: str):
    bad = {"n": Tensor()} if place == "values" else Tensor()
    with pytest.raises(
        TypeError, match=f"value '{'n' if place == 'values' else place}' is a Tensor; convert it"
    ):
        measurement(**{place: bad})


@pytest.mark.parametrize("passed", [1, None, "yes"])
def test_passed_must_be_a_bool(passed):
    with pytest.raises(TypeError, match=r"passed must be a bool, got .*: wrap it in bool"):
        measurement(passed=passed)


@pytest.mark.parametrize("place", ["ours", "baseline"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_passes_with_a_number_that_is_not_finite(place: str, value: float):
    with pytest.raises(ValueError, match=f"cannot pass with {place} not finite"):
        measurement(**{place: value})
    assert not measurement(passed=False, **{place: value}).passed


def test_measurements_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        measurement().passed = False


def test_figures_are_png_files_with_a_description():
    Figure("curve", PNG, "a curve")
    with pytest.raises(ValueError, match="png of figure 'curve' is not an encoded PNG"):
        Figure("curve", b"GIF89a", "a curve")
    with pytest.raises(ValueError, match="alt of figure 'curve' is empty"):
        Figure("curve", PNG, "  ")


def test_rows_of_tables_fit_their_columns():
    Table("t", ("a", "b"), ((1, 2), (3, None)))
    with pytest.raises(ValueError, match="table 't' has 2 columns, but a row of 1 values"):
        Table("t", ("a", "b"), ((1, 2), (3,)))


def test_collect_gives_the_claims_of_a_module_in_its_order():
    module = types.ModuleType("paper.claims")
    second = dataclasses.replace(make(), id="C2")
    module.b, module.a, module.alias, module.other = second, make(), second, 3
    assert list(collect(module)) == ["C2", "C1"]


def test_collect_refuses_two_claims_of_one_id_and_none_at_all():
    module = types.ModuleType("paper.claims")
    with pytest.raises(ValueError, match=r"paper\.claims exports no claim"):
        collect(module)
    module.a, module.b = make(), make()
    with pytest.raises(ValueError, match=r"paper\.claims has two claims named 'C1'"):
        collect(module)
