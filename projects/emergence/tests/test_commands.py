"""The commands lip, depth and probe: what they print, write, and refuse."""

import json
from pathlib import Path

import pytest
import torch

from emergence.commands import BLOCKS
from emergence.models import LoopedGPT, TinyGPT
from emergence.train import main


def numbers(folder: Path, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / f"{name}.json").read_text())


def test_lip_finds_the_norm_of_a_linear_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--init",
        '{"in_features": 3, "out_features": 3}',
        "--shape",
        "3",
        "--n",
        "4",
        "--out",
        str(tmp_path),
    ]
    assert main(["lip", "torch.nn:Linear", *options]) == 0
    found = numbers(tmp_path, "lip")
    assert found["local_largest"] == pytest.approx(found["upper_bound"], rel=1e-3)
    assert found["pair_ratio_largest"] <= found["local_largest"] * (1 + 1e-6)
    assert found["rho"] > 0
    assert len((tmp_path / "lip.csv").read_text().splitlines()) == 5
    assert (tmp_path / "local-constants.png").is_file()
    assert "upper_bound" in capsys.readouterr().out


def test_lip_says_why_there_is_no_upper_bound(tmp_path: Path) -> None:
    options = ["--init", "[4, 2]", "--shape", "3,4", "--n", "2", "--out", str(tmp_path)]
    assert main(["lip", "emergence.attention:DotAttention", *options]) == 0
    found = numbers(tmp_path, "lip")
    assert found["upper_bound"] is None
    assert "radius" in found["why_no_upper_bound"]
    assert main(["lip", "emergence.attention:DotAttention", *options, "--radius", "2"]) == 0
    assert numbers(tmp_path, "lip")["upper_bound"] >= numbers(tmp_path, "lip")["local_largest"]


@pytest.mark.parametrize(
    ("block", "lam", "regime"),
    [("exact", 0.8, "contractive"), ("rotation", 1.0, "critical"), ("exact", 1.1, "expansive")],
)
def test_depth_tells_the_regime(tmp_path: Path, block: str, lam: float, regime: str) -> None:
    options = ["--lam", str(lam), "--dim", "4", "--max-depth", "24", "--n", "16", "--out", str(tmp_path)]
    assert main(["depth", "--block", block, *options]) == 0
    assert numbers(tmp_path, "depth")["regime"] == regime
    assert len((tmp_path / "depth.csv").read_text().splitlines()) == 25
    assert (tmp_path / f"depth-{block}.png").is_file()


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_keeps_the_shape(name: str) -> None:
    block = BLOCKS[name](4, 0.5, torch.Generator().manual_seed(0)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    assert block(x).shape == x.shape


def test_probe_profiles_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TinyGPT(65, 16, 8, 2, 3).save_pretrained(tmp_path / "model")
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question:\n" * 20)
    options = [
        "--text",
        str(text),
        "--n",
        "3",
        "--out",
        str(tmp_path / "out"),
        "--metrics",
        "relative_update,sigma",
    ]
    assert main(["probe", "--ckpt", str(tmp_path / "model"), *options]) == 0
    found = numbers(tmp_path / "out", "probe")
    assert set(found) == {"relative_update", "sigma", "sigma_median"}
    assert len(found["sigma"]) == 3
    assert (tmp_path / "out" / "layer-profile.png").is_file()
    assert "relative_update" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lip", "torch.nn.Linear", "--shape", "3"], "module must be package.module:name"),
        (["lip", "torch.nn:Linear", "--shape", "3"], "cannot build torch.nn:Linear"),
        (["lip", "builtins:dict", "--shape", "3"], "gives a dict, not an nn.Module"),
        (["lip", "torch.nn:Tanh", "--shape", "3,x"], "--shape takes integers"),
        (["lip", "torch.nn:Tanh", "--shape", "0"], "--shape takes integers of at least 1"),
        (["depth", "--block", "exact", "--lam", "-1"], "got -1"),
        (["depth", "--block", "exact", "--max-depth", "0"], "n_blocks must be at least 1, got 0"),
        (["probe", "--ckpt", "nowhere/model"], "no model nowhere/model"),
        (["probe", "--hf-model", "nowhere"], "holds no config.json"),
        (["probe", "--ckpt", "nowhere/model", "--n", "0"], "--n must be at least 1"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_looped_model_is_not_probed_layer_by_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LoopedGPT(65, 16, 8, 2, 1, loops=2).save_pretrained(tmp_path)
    assert main(["probe", "--ckpt", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "LoopedGPT repeats one turn" in capsys.readouterr().err
