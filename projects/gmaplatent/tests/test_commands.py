"""The commands do what they say, and say what is wrong without a traceback."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gmaplatent import commands
from gmaplatent.alignment import GMapLatent
from gmaplatent.codec import PCACodec
from gmaplatent.data import blobs, load_digits_half
from gmaplatent.image_files import encoded, read_image
from gmaplatent.train import main


def write_codes(path: Path, n_clusters: int = 3, seed: int = 0, dim: int = 2) -> Path:
    drawn = blobs(n_clusters, 20, seed=seed, dim=dim)
    np.savez(path, codes=drawn.codes, labels=drawn.labels)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codecs of both halves of the digits, their alignment, and an image of the first."""
    folder = tmp_path_factory.mktemp("digits")
    for half in ("a", "b"):
        parts = load_digits_half(half)
        codec = PCACodec(8).fit(parts.train.images)
        codec.save(folder / f"{half}.npz")
        np.savez(
            folder / f"codes-{half}.npz",
            codes=codec.encode(parts.train.images),
            labels=parts.train.labels.numpy(),
        )
    (folder / "three.png").write_bytes(encoded(load_digits_half("a").test.images[0].numpy()))
    geometry = ["--layout", "pca", "--per-cluster", "20"]
    files = [str(folder / name) for name in ("codes-a.npz", "codes-b.npz")]
    assert main(["align", *files, "--out", str(folder / "alignment.npz"), *geometry]) == 0
    return folder


def test_demo_draws_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--clusters", "3", "--points", "20"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "stages-source.png", "stages-target.png", "curves.png", "report.json", "alignment.npz",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["src/flips"] == report["tgt/flips"] == 0
    assert "src/flips" in capsys.readouterr().out
    assert GMapLatent.load(out / "alignment.npz").classes_src_.tolist()


def test_curves_are_broken_where_the_cluster_changes() -> None:
    curve = np.arange(8.0).reshape(4, 2)
    found = commands.broken(curve, np.array(["a", "a", "b", "c"]))
    assert np.isnan(found).all(1).tolist() == [False, False, True, False, True, False]
    np.testing.assert_array_equal(found[~np.isnan(found).all(1)], curve)


def test_align_saves_what_transform_needs(tmp_path: Path) -> None:
    source, target = write_codes(tmp_path / "a.npz"), write_codes(tmp_path / "b.npz", seed=1)
    out, stages = tmp_path / "new" / "alignment.npz", tmp_path / "stages"
    arguments = ["align", str(source), str(target), "--out", str(out), "--stages", str(stages)]
    assert main([*arguments, "--correspondence", "0:1,1:2,2:0"]) == 0
    model = GMapLatent.load(out)
    pairs = dict(zip(model.classes_src_.tolist(), model.classes_tgt_.tolist(), strict=True))
    assert pairs == {0: 1, 1: 2, 2: 0}
    assert len(list(stages.glob("*.png"))) == 2


@pytest.mark.parametrize("label", [None, "5"])
@pytest.mark.parametrize("reverse", [False, True])
def test_translate_writes_an_image_of_the_other_domain(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str | None, reverse: bool
) -> None:
    out = tmp_path / "out.png"
    arguments = [
        "translate",
        str(digits / "alignment.npz"),
        "--in",
        str(digits / "three.png"),
        "--out",
        str(out),
    ]
    arguments += ["--source", str(digits / "a.npz"), "--target", str(digits / "b.npz")]
    arguments += ["--label", label] if label else []
    assert main([*arguments, *(["--reverse"] if reverse else [])]) == 0
    with Image.open(out) as picture:
        assert picture.size == (8, 8)
        pixels = np.asarray(picture) / 255
    # Half b is inverted, ink dark on white; half a has bright ink on black.
    assert (np.median(pixels) > 0.5) != reverse
    assert re.search(r"cluster 5" if label else r"cluster \d", capsys.readouterr().out)


def test_evaluate_goes_from_images_to_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evaluation"
    arguments = ["evaluate", "--source", "digits_a", "--target", "digits_b", "--codec", "pca", "--dim", "8"]
    arguments += ["--layout", "pca", "--per-cluster", "20", "--judge-epochs", "1", "--out", str(out)]
    assert main(arguments) == 0
    found = json.loads((out / "evaluation.json").read_text())
    assert {row["method"] for row in found["methods"]} >= {"GMapLatent", "plain OT", "reconstruction"}
    names = {
        "translations.png",
        "stages-source.png",
        "stages-target.png",
        "curve-inside.png",
        "curve-across.png",
    }
    assert {path.name for path in out.glob("*.png")} == names
    assert "fid_clf" in capsys.readouterr().out


# What is refused ----------------------------------------------------------------------------------------------------------


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_files_that_are_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, out = write_codes(tmp_path / "good.npz"), str(tmp_path / "out.npz")
    assert "no codes" in refused(["align", str(tmp_path / "none.npz"), str(good), "--out", out], capsys)
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"not a zip file")
    assert "is not a file of `gmaplatent encode`" in refused(
        ["align", str(good), str(bad), "--out", out], capsys
    )
    np.savez(bad, codes=np.zeros((3, 2)))
    assert "labels" in refused(["align", str(good), str(bad), "--out", out], capsys)
    np.savez(bad, codes=np.array([{}], dtype=object), labels=np.zeros(1))
    assert "is not a file of" in refused(["align", str(good), str(bad), "--out", out], capsys)
    assert not Path(out).exists()


@pytest.mark.parametrize("text", ["0", "0:1:2", "a:b", "0-1"])
def test_correspondences_that_are_none_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    good = str(write_codes(tmp_path / "good.npz"))
    error = refused(["align", good, good, "--out", str(tmp_path / "o.npz"), "--correspondence", text], capsys)
    assert "takes pairs as 0:3,1:4" in error


def test_clusters_without_a_partner_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three, four = (str(write_codes(tmp_path / f"{k}.npz", k)) for k in (3, 4))
    assert "3" in refused(["align", three, four, "--out", str(tmp_path / "o.npz")], capsys)


def test_a_mismatch_of_the_clusters_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (str(write_codes(tmp_path / f"{s}.npz", 6, s)) for s in (0, 1))
    error = refused(["align", first, second, "--out", str(tmp_path / "o.npz"), "--merge", "global"], capsys)
    assert "merge='hierarchical'" in error


def test_a_missing_layout_package_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    codes = str(write_codes(tmp_path / "a.npz", dim=4))
    assert "install gmaplatent[umap]" in refused(
        ["align", codes, codes, "--out", str(tmp_path / "o.npz")], capsys
    )


def test_a_missing_transport_package_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    arguments = [
        "evaluate",
        "--source",
        "digits_a",
        "--target",
        "digits_b",
        "--codec",
        "pca",
        "--layout",
        "pca",
    ]
    error = refused(
        [*arguments, "--per-cluster", "20", "--judge-epochs", "1", "--out", str(tmp_path)], capsys
    )
    assert "install gmaplatent[train]" in error


@pytest.mark.parametrize("domain", ["mnist", "chinese_mnist"])
def test_missing_data_are_told_with_the_tree_and_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    other = "chinese_mnist" if domain == "mnist" else "mnist"
    error = refused(["evaluate", "--source", domain, "--target", other, "--out", str(tmp_path / "o")], capsys)
    assert str(tmp_path) in error
    assert "http" in error


@pytest.mark.parametrize("option", ["--dim", "--epochs", "--judge-epochs"])
def test_numbers_below_one_are_told(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert f"{option} must be at least 1, got 0" in refused(["evaluate", option, "0"], capsys)


def test_a_label_that_was_not_fitted_is_told(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "translate",
        str(digits / "alignment.npz"),
        "--in",
        str(digits / "three.png"),
        "--label",
        "17",
    ]
    arguments += ["--source", str(digits / "a.npz"), "--target", str(digits / "b.npz")]
    assert "--label must be one of 0, 1, 2" in refused(arguments, capsys)


def test_a_codec_of_another_dimension_is_told(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PCACodec(5).fit(load_digits_half("a").train.images).save(tmp_path / "five.npz")
    arguments = ["translate", str(digits / "alignment.npz"), "--in", str(digits / "three.png")]
    error = refused(
        [*arguments, "--source", str(tmp_path / "five.npz"), "--target", str(digits / "b.npz")], capsys
    )
    assert "5" in error
    assert "8" in error


@pytest.mark.parametrize("missing", ["alignment.npz", "a.npz", "three.png"])
def test_missing_files_are_named(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    files = {name: digits / name for name in ("alignment.npz", "a.npz", "three.png")} | {
        missing: tmp_path / missing
    }
    arguments = ["translate", str(files["alignment.npz"]), "--in", str(files["three.png"])]
    error = refused([*arguments, "--source", str(files["a.npz"]), "--target", str(digits / "b.npz")], capsys)
    assert str(tmp_path / missing) in error


# Image files --------------------------------------------------------------------------------------------------------------


def saved(path: Path, mode: str = "L", size: tuple[int, int] = (8, 6)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_images_are_read_as_they_are(tmp_path: Path) -> None:
    grey = read_image(saved(tmp_path / "grey.png"), (1, 6, 8))
    assert (grey.shape, grey.dtype) == ((1, 6, 8), np.float32)
    assert encoded(grey) == encoded(read_image(saved(tmp_path / "grey.png"), (3, 6, 8))[:1])
    colour = read_image(saved(tmp_path / "colour.png", "RGB"), (3, 6, 8))
    (tmp_path / "again.png").write_bytes(encoded(colour))
    np.testing.assert_array_equal(read_image(tmp_path / "again.png", (3, 6, 8)), colour)
    assert read_image(saved(tmp_path / "grey.png"), (1, 4, 4), resize=True).shape == (1, 4, 4)


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has 6 × 8 pixels, the codec takes 32 × 32; give --resize"):
        read_image(saved(tmp_path / "grey.png"), (1, 32, 32))
    with pytest.raises(ValueError, match="is in colour, the codec takes one channel"):
        read_image(saved(tmp_path / "colour.png", "RGB"), (1, 6, 8))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="is not a readable image"):
        read_image(tmp_path / "text.png", (1, 6, 8))
    with pytest.raises(FileNotFoundError, match="no image"):
        read_image(tmp_path / "none.png", (1, 6, 8))


def test_every_command_is_wired() -> None:
    from gmaplatent.train import COMMANDS

    named = {
        target.partition(":")[2]
        for target, _ in COMMANDS.values()
        if target.startswith("gmaplatent.commands:")
    }
    assert named == {"align", "translate", "evaluate", "demo"}
    assert all(callable(getattr(commands, name)) for name in named)
