"""The command: presets are listed, fit each other, the smallest one trains, and its codes come out as a file."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import gmaplatent
from gmaplatent.data import DOMAINS, load_digits_half
from gmaplatent.models import GreyAutoencoder
from gmaplatent.pretrained import load_codec
from gmaplatent.train import COMMANDS, main

CONFIGS = Path(gmaplatent.__file__).parent / "configs"
PRESETS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def settings(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def made(entry):
    module, _, name = entry["class_path"].rpartition(".")
    return getattr(import_module(module), name)(**entry["init_args"])


def test_presets_are_listed_with_a_line_each(capsys):
    assert main(["--list"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {
        "smoke", "cpu", "gpu", "paper", "digits", "digits_b", "mnist", "chinese_mnist", "colour", "colour_target",
        "classifier_digits", "classifier_mnist", "classifier_chinese_mnist", "classifier_colour",
    } <= set(rows)  # fmt: skip


def test_commands_are_shown(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", PRESETS)
def test_model_and_data_of_a_preset_fit_each_other(name):
    preset = settings(name)
    data = preset["data"]["init_args"]
    assert data["domain"] in DOMAINS
    with torch.device("meta"):  # shapes only: the largest has hundreds of millions of weights
        model = made(preset["model"]["init_args"]["model"])
        channels, usual = (3, 64) if "animals" in data["domain"] else (1, 32)
        if "cifar" in data["domain"]:
            channels, usual = 3, 32
        size = data.get("size", usual)
        images = torch.zeros(2, channels, size, size)
        assert model.shape == (channels, size, size)
        found = model(images)
    assert found.shape == (images.shape if "Autoencoder" in type(model).__name__ else (2, model.n_classes))
    if preset["trainer"]["accelerator"] == "cpu":
        assert name not in ("gpu", "paper")


@pytest.mark.parametrize(
    "pair", [("digits", "digits_b"), ("mnist", "chinese_mnist"), ("colour", "colour_target")]
)
def test_both_domains_of_a_pair_are_trained_alike(pair):
    ours, theirs = (settings(name) for name in pair)
    assert ours["data"]["init_args"].pop("domain") != theirs["data"]["init_args"].pop("domain")
    assert ours == theirs


def python(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_the_package_imports_nothing_heavy():
    python("import sys, gmaplatent; assert not {'torch', 'lightning', 'sklearn', 'ot'} & set(sys.modules)")


@pytest.mark.slow
def test_data_codecs_and_baselines_need_no_lightning():
    names = ["PCACodec", "load_mnist", "PlainOT", "GreyAutoencoder", "judge"]
    python(
        f"import sys, gmaplatent; [getattr(gmaplatent, name) for name in {names}];"
        "assert not {'lightning', 'ot', 'jsonargparse'} & set(sys.modules)"
    )


def test_every_public_name_is_there():
    for name in gmaplatent.__all__:
        assert getattr(gmaplatent, name) is not None
    wanted = {
        "GMapLatent",
        "semidiscrete_ot",
        "constrained_harmonic_map",
        "tutte_embedding",
        "TriMesh",
        "label_subdivide",
    }
    assert wanted <= set(gmaplatent.__all__)


# --- encode ------------------------------------------------------------------------------------------------------------


def test_codes_come_out_as_a_file(tmp_path, capsys):
    model = GreyAutoencoder(5)
    model.save_pretrained(tmp_path / "ae")
    out = tmp_path / "deep" / "codes.npz"
    argv = ["encode", str(tmp_path / "ae"), "--domain", "digits_b", "--part", "val", "--out", str(out)]
    assert main(argv) == 0
    assert "180 codes of 5 numbers, 10 clusters" in capsys.readouterr().out
    part = load_digits_half("b", 32).val
    with np.load(out, allow_pickle=False) as file:
        assert np.array_equal(file["codes"], load_codec(tmp_path / "ae").encode(part.images))
        assert np.array_equal(file["labels"], part.labels.numpy())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "{tmp}/nowhere"}, "no network"),
        ({"--out": "codes.csv"}, "--out must be an .npz file, got codes.csv"),
        ({"--domain": "cifar_source"}, "CIFAR-10"),
    ],
)
def test_mistakes_of_encode_are_said_without_a_traceback(tmp_path, monkeypatch, capsys, changes, message):
    GreyAutoencoder(2).save_pretrained(tmp_path / "ae")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path / "empty"))
    options = {"--domain": "digits_a", "--out": str(tmp_path / "codes.npz")} | changes
    model = options.pop("model", str(tmp_path / "ae")).format(tmp=tmp_path)
    assert main(["encode", model, *(word for pair in options.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err


def test_images_of_another_shape_are_a_mistake(tmp_path, monkeypatch, capsys):
    from PIL import Image

    from tenfold.data import CIFAR10_CLASSES

    for name in CIFAR10_CLASSES:
        for part in ("train", "test"):
            folder = tmp_path / "cifar10" / part / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (32, 32)).save(folder / f"{i}.png")
    GreyAutoencoder(2).save_pretrained(tmp_path / "ae")
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    out = str(tmp_path / "codes.npz")
    assert main(["encode", str(tmp_path / "ae"), "--domain", "cifar_source", "--out", out]) == 2
    assert "images have shape (3, 32, 32)" in capsys.readouterr().err


# --- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning and jsonargparse warn about each other while they parse
def test_the_smoke_preset_trains_and_its_codec_loads(tmp_path):
    run = tmp_path / "run"
    assert main(["fit", "--config", "smoke", "--run_dir", str(run)]) == 0
    assert (run / "metrics.csv").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file()
    codec = load_codec(run)
    assert codec.encode(load_digits_half("a", 32).val.images).shape == (180, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_classifier_preset_trains(tmp_path):
    run = tmp_path / "run"
    assert (
        main(["fit", "--config", "classifier_digits", "--run_dir", str(run), "--trainer.max_epochs", "2"])
        == 0
    )
    assert "val/acc" in (run / "metrics.csv").read_text()
