"""Every preset builds its model and its data; the smoke preset trains; the extra commands are there."""

import importlib
import inspect

import pytest
import yaml

from eq_asisr.data import ASISRData
from eq_asisr.module import LitASISR
from eq_asisr.registry import DECODERS, ENCODERS
from eq_asisr.train import COMMANDS, main
from tenfold.presets import find_presets

PAPER = [f"edsr_{decoder}{eq}_paper" for decoder in ("liif", "lte", "ope") for eq in ("", "_eq")]


def configuration(name):
    return yaml.safe_load(find_presets("eq_asisr")[name].path.read_text())


def test_the_named_presets_exist_and_say_what_they_do(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.split()
    for name in (
        "smoke", "edsr_liif_eq_bsds", "edsr_liif_bsds", "edsr_lte_eq_bsds", "edsr_ope_eq_bsds", "swinir_lte_eq",
        "rdn_liif_eq", "edsr_liif_eq_cpu", "edsr_liif_cpu", "swinir_lte_paper", "swinir_lte_eq_paper", *PAPER,
    ):  # fmt: skip
        assert name in listed
    presets = find_presets("eq_asisr")
    assert all(preset.description for preset in presets.values())
    assert all("extension" in presets[name].description for name in ("rdn_liif_eq", "rdn_liif_eq_paper"))


def test_an_unknown_preset_is_named(capsys):
    assert main(["fit", "--config", "edsr_liif_eq_bsd"]) == 2
    assert "did you mean 'edsr_liif_eq_bsds'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(find_presets("eq_asisr")))
def test_every_preset_fits_its_classes(name):
    """Names and arguments are checked without building what needs a data set or a large network."""
    config = configuration(name)
    assert set(config) == {"seed_everything", "model", "data", "trainer"}
    assert config["model"]["class_path"] == "eq_asisr.module.LitASISR"
    options = config["model"]["init_args"]
    assert set(options) <= set(inspect.signature(LitASISR.__init__).parameters)
    assert options["model"]["class_path"] == "eq_asisr.model.ASISR"
    for role, known in (("encoder", ENCODERS), ("decoder", DECODERS)):
        spec = options["model"]["init_args"][role]
        accepted = inspect.signature(known[spec["name"]].__init__).parameters
        assert set(spec) - {"name"} <= set(accepted)
        assert spec.get("t", 4) == 4
    data = ASISRData(**config["data"]["init_args"])
    assert data.batch_size >= 1
    patch = config["data"]["init_args"]
    assert patch["sample_q"] <= patch["inp_size"] ** 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("edsr_liif_paper", 1_567_299),
        ("edsr_liif_eq_paper", 1_022_291),
        ("edsr_lte_paper", 1_714_243),
        ("edsr_lte_eq_paper", 1_200_723),
        ("edsr_ope_paper", 1_305_235),
        ("edsr_ope_eq_paper", 1_081_891),
        ("edsr_liif_eq_bsds", 1_022_291),
        ("edsr_liif_cpu", 111_395),
        ("edsr_liif_eq_cpu", 66_315),
    ],
)
def test_presets_have_the_sizes_of_the_notes(name, parameters):
    from eq_asisr import ASISR

    model = ASISR(**configuration(name)["model"]["init_args"]["model"]["init_args"])
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_paper_presets_follow_the_recipe():
    for name in PAPER:
        config = configuration(name)
        data, lit = config["data"]["init_args"], config["model"]["init_args"]
        assert (data["source"], data["batch_size"], data["inp_size"], data["sample_q"]) == (
            "div2k",
            16,
            48,
            2304,
        )
        assert data["epoch_length"] * config["trainer"]["max_epochs"] == 1_000_000
        assert lit["lr"] == 1e-4
        assert (lit["schedule"], lit["milestones"], lit["gamma"]) == ("steps", [200, 400, 600, 800], 0.5)


def test_the_extra_commands_are_listed(capsys):
    assert set(COMMANDS) == {"upscale", "check", "evaluate"}
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(help_line in shown for _, help_line in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_extra_commands_exist(name):
    module, _, function = COMMANDS[name][0].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_smoke_preset_trains(tmp_path):
    overrides = ["--data.epoch_length", "2", "--trainer.max_epochs", "1", "--data.val_draws", "2"]
    assert main(["fit", "--config", "smoke", "--run_dir", str(tmp_path / "run"), *overrides]) == 0
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "val/psnr" in header
    assert rows
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
