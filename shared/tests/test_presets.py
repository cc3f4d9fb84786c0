from pathlib import Path

import pytest

from tenfold.presets import PresetError, find_presets, resolve


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package with three presets, which fails when it is imported."""
    package = tmp_path / "path" / "somepaper"
    (package / "configs").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    for name, text in {
        "mnist": "# MNIST, ten epochs\nseed_everything: 0\n",
        "smoke": "#   a minute  \n",
        "bare": "model: null\n",
        "empty": "",
    }.items():
        (package / "configs" / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.chdir(tmp_path)
    return "somepaper"


def test_smoke_comes_first_and_the_first_comment_describes(paper: str):
    presets = find_presets(paper)
    assert list(presets) == ["smoke", "bare", "empty", "mnist"]
    assert [presets[name].description for name in presets] == ["a minute", "", "", "MNIST, ten epochs"]


def test_names_files_and_names_before_files(paper: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "mnist").write_text("")
    assert resolve(paper, "mine.yaml") == ("mine", Path("mine.yaml"))
    assert resolve(paper, "mnist")[1].parent.name == "configs"
    assert resolve(paper, "./mnist") == ("mnist", Path("mnist"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            "mnits",
            r"unknown preset: 'mnits'; did you mean 'mnist'\? Presets of somepaper: smoke, bare, empty, mnist",
        ),
        ("zzz", r"unknown preset: 'zzz'\. Presets of somepaper: smoke"),
        ("no/such.yaml", r"no such file: 'no/such\.yaml'"),
    ],
)
def test_unknown_presets_list_the_known_ones(paper: str, wanted: str, message: str):
    with pytest.raises(PresetError, match=message):
        resolve(paper, wanted)


def test_unknown_package():
    with pytest.raises(ModuleNotFoundError, match="no package named 'nosuchpaper'"):
        find_presets("nosuchpaper")
