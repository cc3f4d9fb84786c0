"""The commands, as typed: files in, files out, and one clear line for every mistake (§12)."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from eq_asisr import commands
from eq_asisr.commands import _columns, enlarge
from eq_asisr.image_io import Photo
from eq_asisr.pairs import build
from tenfold.cli import run

RGB = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"encoder_options": {"n_feats": 8, "n_blocks": 1}, "decoder_options": {"hidden": [8]}}
    folder = tmp_path_factory.mktemp("weights")
    build("eq_edsr", "eq_liif", **sizes).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def image(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "in.png")
    return str(tmp_path / "in.png")


def eq_asisr(*argv):
    names = ("upscale", "check", "evaluate")
    return run("eq_asisr", [str(a) for a in argv], {n: (f"eq_asisr.commands:{n}", n) for n in names})


def array(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("to", "shape"),
    [(("--scale", 3.7), (44, 37, 3)), (("--size", 30, 25), (30, 25, 3)), (("--scale", 1), RGB.shape)],
)
def test_upscale_writes_an_image_of_the_asked_size(image, ckpt, tmp_path, capsys, to, shape):
    assert eq_asisr("upscale", image, *to, "--ckpt", ckpt, "--out", tmp_path / "out.png") == 0
    assert array(tmp_path / "out.png").shape == shape
    assert f"{shape[0]}×{shape[1]} pixels from 12×10" in capsys.readouterr().out


def test_upscale_commutes_with_turning_the_file(image, ckpt, tmp_path):
    Image.fromarray(np.rot90(RGB).copy()).save(tmp_path / "turned.png")
    for name in ("in", "turned"):
        file, out = tmp_path / f"{name}.png", tmp_path / f"{name}-out.png"
        assert eq_asisr("upscale", file, "--scale", 2.5, "--ckpt", ckpt, "--out", out, "--quiet") == 0
    one, other = (array(tmp_path / f"{name}-out.png").astype(int) for name in ("in", "turned"))
    assert (
        abs(np.rot90(one) - other).max() <= 1
    )  # a value on the edge between two levels may round either way
    assert one.std() > 1


def test_upscale_keeps_grey_and_says_so_once(ckpt, tmp_path, capsys):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "in.png")
    command = ("upscale", tmp_path / "in.png", "--scale", 2, "--ckpt", ckpt, "--out", tmp_path / "out.png")
    assert eq_asisr(*command) == 0
    assert array(tmp_path / "out.png").shape == (24, 20)
    assert capsys.readouterr().err.count("is grey") == 1
    assert eq_asisr(*command, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_upscale_keeps_transparency_if_asked(ckpt, tmp_path, capsys):
    ramp = np.linspace(0, 255, 10).astype(np.uint8)
    Image.fromarray(np.dstack([RGB, np.tile(ramp, (12, 1))])).save(tmp_path / "in.png")
    command = ("upscale", tmp_path / "in.png", "--scale", 2, "--ckpt", ckpt, "--out", tmp_path / "out.png")
    assert eq_asisr(*command) == 2
    assert "is transparent in 108 pixels" in capsys.readouterr().err
    assert eq_asisr(*command, "--alpha", "keep") == 0
    alpha = array(tmp_path / "out.png")[..., 3].astype(int)
    assert alpha.shape == (24, 20)
    assert (np.diff(alpha[5]) >= 0).all()
    assert alpha[5, 0] < 10
    assert alpha[5, -1] > 245
    assert eq_asisr(*command, "--alpha", "white") == 0
    assert array(tmp_path / "out.png").shape == (24, 20, 3)


def test_upscale_never_overwrites_its_input(image, ckpt, tmp_path, capsys, monkeypatch):
    before = (tmp_path / "in.png").read_bytes()
    (tmp_path / "link.png").symlink_to(tmp_path / "in.png")
    monkeypatch.chdir(tmp_path)
    for out in (image, "in.png", "./link.png"):
        assert eq_asisr("upscale", image, "--scale", 2, "--ckpt", ckpt, "--out", out) == 2
        assert "--out is the image itself" in capsys.readouterr().err
    assert (tmp_path / "in.png").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--scale": "0.5"}, "scale must be a finite number of at least 1, got 0.5"),
        ({"--scale": "-2"}, "got -2"),
        ({"--scale": "nan"}, "got nan"),
        ({"--scale": "inf"}, "got inf"),
        ({"--scale": "100000"}, "more than the 178,956,970"),
        ({"--scale": None, "--size": ("0", "20")}, "size must be at least the image's 12×10, got 0×20"),
        ({"--out": "nowhere/out.png"}, "there is no folder"),
        ({"--out": "out.gif"}, "must end in .png"),
        ({"--ckpt": "nothing-of-this-name"}, "no model 'nothing-of-this-name'"),
        ({"--chunk": "0"}, "chunk must be an int of at least 1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_mistakes_are_one_clear_line(image, ckpt, tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    options = {"--scale": "2", "--ckpt": ckpt, "--out": str(tmp_path / "out.png")} | change
    given = [(k, *((v,) if isinstance(v, str) else v)) for k, v in options.items() if v is not None]
    assert eq_asisr("upscale", image, *(word for words in given for word in words)) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.png").exists()


def test_missing_files_and_devices(ckpt, image, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rest = ("--scale", 2, "--ckpt", ckpt, "--out", tmp_path / "out.png")
    assert eq_asisr("upscale", tmp_path / "none.png", *rest) == 2
    assert "no image" in capsys.readouterr().err
    assert eq_asisr("upscale", image, *rest, "--device", "cuda") == 2
    assert "there is no CUDA device" in capsys.readouterr().err
    for wrong in (("--scale", 2, "--size", 24, 20), ()):
        with pytest.raises(SystemExit, match="2"):
            eq_asisr("upscale", image, *wrong, "--ckpt", ckpt, "--out", tmp_path / "out.png")


def test_a_missing_library_is_named(ckpt, image, tmp_path, capsys, monkeypatch):
    found = commands.importlib.util.find_spec
    monkeypatch.setattr(commands.importlib.util, "find_spec", lambda n: None if n == "rich" else found(n))
    assert eq_asisr("upscale", image, "--scale", 2, "--ckpt", ckpt, "--out", tmp_path / "out.png") == 2
    assert "needs rich: install eq_asisr[train]" in capsys.readouterr().err


def test_progress_ends_with_all_pixels(ckpt):
    from eq_asisr.pretrained import load_model

    seen = []
    photo = Photo(torch.from_numpy(RGB / 255).float().permute(2, 0, 1))
    enlarge(load_model(ckpt), photo, size=(24, 20), chunk=100, progress=lambda *at: seen.append(at))
    assert seen == [(100, 480), (200, 480), (300, 480), (400, 480), (480, 480)]


def test_check_tells_exact_models_from_ordinary_ones(capsys):
    assert eq_asisr("check", "--model", "edsr_ope_eq", "--t", 8) == 0
    exact = capsys.readouterr().out
    assert "t = 8" in exact
    assert exact.rstrip().endswith("\nexact")
    assert eq_asisr("check", "--model", "edsr_ope") == 0
    assert capsys.readouterr().out.rstrip().endswith("not exact")


def test_check_fails_if_a_checkpoint_is_not_exact(ckpt, capsys, monkeypatch):
    assert eq_asisr("check", "--ckpt", ckpt) == 0
    table = capsys.readouterr().out
    assert "×2/×3" in table
    assert "45°" in table
    monkeypatch.setattr("eq_asisr.checking.EXACT", 1e-30)
    assert eq_asisr("check", "--ckpt", ckpt) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "vgg_liif"), "model must be edsr, rdn or swinir"),
        (("--t", "0"), "t must be at least 1, got 0"),
    ],
)
def test_check_names_what_is_wrong(capsys, options, message):
    assert eq_asisr("check", *options) == 2
    assert message in capsys.readouterr().err


def test_evaluate_writes_what_it_prints(ckpt, tmp_path, capsys):
    command = (
        "evaluate",
        "--set",
        "builtin",
        "--scale",
        4,
        "--ckpt",
        ckpt,
        "--first",
        1,
        "--out",
        tmp_path / "a.json",
    )
    assert eq_asisr(*command) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["mean"]["bicubic_psnr"] == pytest.approx(26.84, abs=0.02)  # astronaut ×4: 26.8385 (§6.4)
    assert found["images"][0]["name"] == "astronaut"
    printed = capsys.readouterr().out
    assert f"{found['mean']['psnr']:.4f}" in printed
    assert "protocol benchmark" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "Set6", "--scale", "2"), "name must be one of"),
        (("--set", "builtin", "--scale", "0.5"), "got 0.5"),
    ],
)
def test_evaluate_names_what_is_wrong(ckpt, capsys, options, message):
    assert eq_asisr("evaluate", *options, "--ckpt", ckpt) == 2
    assert message in capsys.readouterr().err


def test_columns_are_aligned():
    table = _columns([("name", "a", "b"), ("x", 0.5, 1e-9), ("long", 12.25, float("inf"))], "Title")
    assert table.splitlines() == [
        "Title",
        "",
        "  name        a        b",
        "  x      0.5000  1.0e-09",
        "  long  12.2500      inf",
    ]
