"""Parameter counts: the paper's table (section 4) and the small reference runs (section 7), exactly."""

import functools

import pytest

import tenfold.groupconv.bank
from sa_conv import build_model, parameter_count
from sa_conv.models import EDSR

# total of the table, hypernetworks, geometry
TABLE = {
    ("edsr", 2): {
        "cnn": (21_847_043, 0, 0),
        "p4": (15_481_347, 0, 0),
        "fconv": (8_924_291, 0, 0),
        "bconv": (8_924_291, 0, 0),
        "tlconv": (8_924_390, 0, 99),
        "saconv": (8_957_913, 33_523, 99),
    },
    ("edsr", 1): {
        "cnn": (19_486_723, 0, 0),
        "fconv": (6_563_971, 0, 0),
        "tlconv": (6_564_070, 0, 99),
        "saconv": (6_597_593, 33_523, 99),
    },
    ("rdn", 2): {
        "cnn": (22_123_395, 0, 0),
        "fconv": (7_713_067, 0, 0),
        "bconv": (7_713_067, 0, 0),
        "tlconv": (7_713_457, 0, 390),
        "saconv": (7_746_980, 33_523, 390),
    },
    ("rcan", 2): {
        "cnn": (12_374_403, 0, 0),
        "fconv": (4_405_435, 0, 0),
        "bconv": (4_405_435, 0, 0),
        "tlconv": (4_406_434, 0, 999),
        "saconv": (4_439_957, 33_523, 999),
    },
    ("rcdnet", None): {
        "cnn": (3_166_355, 0, 0),
        "fconv": (2_402_365, 0, 0),
        "saconv": (2_955_398, 553_033, 0),
    },
}


@pytest.fixture
def one_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute each basis once: networks have hundreds of layers with the same one."""
    for name in ("fourier_whitening", "fourier_functions", "bicubic_basis"):
        monkeypatch.setattr(
            tenfold.groupconv.bank, name, functools.cache(getattr(tenfold.groupconv.bank, name))
        )


@pytest.mark.parametrize(
    ("name", "scale", "variant"), [(name, s, v) for (name, s), row in TABLE.items() for v in row], ids=str
)
@pytest.mark.usefixtures("one_basis")
def test_parameters_are_those_of_the_table(name, scale, variant):
    model = build_model(name, variant, **({} if scale is None else {"scale": scale}))
    count = parameter_count(model)
    assert (count.as_published, count.hypernet, count.geometry) == TABLE[name, scale][variant]
    assert count.total == sum(p.numel() for p in model.parameters())
    if (
        name == "rcdnet"
    ):  # 15 copies of the kernels, an Mnet and a step size that the official code never reads
        assert count.as_published - count.total == 15 * 7_776 + 74_528 + 1
    else:
        assert count.as_published == count.total


@pytest.mark.parametrize(
    ("variant", "tail", "expected"),
    [
        ("bconv", "plain", 1_801),
        ("tlconv", "plain", 1_810),
        ("saconv", "plain", 35_333),
        ("bconv", "equivariant", 1_707),
        ("tlconv", "equivariant", 1_719),
        ("saconv", "equivariant", 35_242),
    ],
)
def test_parameters_of_the_small_reference_runs(variant, tail, expected):
    """Section 7."""
    model = EDSR(variant, 1, in_channels=1, fields=2, n_blocks=1, tail=tail, value_range=None)
    assert parameter_count(model).total == expected


def test_parameters_of_the_small_cnn():
    model = EDSR("cnn", 1, in_channels=1, fields=16, n_blocks=1, kernel_size=5, value_range=None)
    assert parameter_count(model).total == 13_393


def test_tied_geometry_is_one_frame():
    for variant, hyper in (("tlconv", 0), ("saconv", 33_523)):
        count = parameter_count(EDSR(variant, fields=2, n_blocks=1, tie_geometry=True))
        assert (count.geometry, count.hypernet) == (3, hyper)
