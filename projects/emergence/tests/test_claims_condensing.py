"""C5: the verdict on profiles that are given, and the guarantee on covers."""

from pathlib import Path

import pytest
import torch

from emergence.claims import condensing as c5
from emergence.claims.corpora import documentation
from emergence.models import TinyGPT
from emergence.probe import LayerProfile
from tenfold.claims import Scale
from tenfold.data import DataNotFoundError


def made(sigma: list[float], update: list[float]) -> LayerProfile:
    return LayerProfile({"sigma": torch.tensor(sigma), "relative_update": torch.tensor(update)})


SETTLING = made([10.4, 6.8, 3.3, 1.26], [1.44, 0.95, 0.48, 0.10])
FLAT = made([1.5, 1.4, 1.5, 1.4], [0.2, 0.2, 0.21, 0.2])


@pytest.mark.parametrize(
    ("ours", "control", "holds"),
    [
        (SETTLING, FLAT, True),
        (SETTLING, SETTLING, False),
        (FLAT, FLAT, False),
        (made([10.4, 6.8, 3.3, 1.6], [1.44, 0.95, 0.48, 0.10]), FLAT, False),
        (made([10.4, 6.8, 3.3, 1.26], [0.10, 0.95, 0.48, 1.0]), FLAT, False),
    ],
)
def test_verdicts(ours: LayerProfile, control: LayerProfile, holds: bool) -> None:
    assert all(c5.verdict(ours, control).values()) is holds


def test_covers_of_images_stay_within_twice_the_lipschitz_constant() -> None:
    model = TinyGPT(65, 16, 8, 2, 3, init_std=0.5).double().eval()
    tokens, _ = documentation().windows(16, 3)
    assert c5.covers_within_bound(model, tokens)


def test_missing_checkpoints_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"hugging-face/Llama-3.1-8B not found"):
        c5.condensing(Scale.PAPER, 0)


@pytest.mark.slow
def test_smoke() -> None:
    measured = c5.condensing(Scale.SMOKE, 0)
    assert measured.passed, measured.values
    assert len(measured.figures) == 1
