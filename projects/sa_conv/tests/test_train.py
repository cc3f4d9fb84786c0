"""Every preset builds its model and its data; the smoke preset trains."""

import pytest

from sa_conv.train import main
from tenfold.presets import find_presets


def test_the_named_presets_exist_and_say_what_they_do(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    for name in ("smoke", "cpu", "gpu", "paper", "denoise_bsds", "sr_bsds", "derain"):
        assert name in listed
    assert all(preset.description for preset in find_presets("sa_conv").values())


def test_an_unknown_preset_is_named(capsys):
    assert main(["fit", "--config", "denoise_bsd"]) == 2
    assert "did you mean 'denoise_bsds'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(find_presets("sa_conv")))
def test_every_preset_describes_a_model_and_data_that_exist(name):
    """Class paths and arguments are checked without building what needs a GPU or a data set."""
    import importlib
    import inspect

    import yaml

    config = yaml.safe_load(find_presets("sa_conv")[name].path.read_text())
    assert set(config) == {"seed_everything", "model", "data", "trainer"}

    def check(entry):
        module, _, cls = entry["class_path"].rpartition(".")
        found = getattr(importlib.import_module(module), cls)
        known = inspect.signature(found.__init__).parameters
        options = any(p.kind is p.VAR_KEYWORD for p in known.values())
        for key, value in entry.get("init_args", {}).items():
            assert key in known or options, f"{cls} has no argument {key}"
            if isinstance(value, dict) and "class_path" in value:
                check(value)
        return found

    check(config["model"])
    data = check(config["data"])(**config["data"]["init_args"])
    model = config["model"]["init_args"]["model"]["init_args"]
    assert model.get("scale", 1) == data.scale == config["model"]["init_args"].get("scale", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_smoke_preset_trains(tmp_path, capsys):
    overrides = ["--data.epoch_length", "2", "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1"]
    assert main(["fit", "--config", "smoke", "--run_dir", str(tmp_path / "run"), *overrides]) == 0
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "val/psnr" in header
    assert "val/w_cx_std" in header
    assert rows
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
