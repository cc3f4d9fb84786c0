import pytest

from gmaplatent.train import main


def test_presets_are_listed(capsys):
    assert main(["--list"]) == 0
    assert {"smoke", "cpu", "gpu", "paper"} <= set(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning and jsonargparse warn about each other while they parse
def test_the_smoke_preset_trains(tmp_path):
    assert main(["fit", "--config", "smoke", "--run_dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
