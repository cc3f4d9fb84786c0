"""Where data are looked for, the registry, downloads."""

import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import tenfold.data as data
from tenfold.data import download, location, registry


def test_root_is_the_variable_then_the_local_folder_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(location.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TENFOLD_DATA", raising=False)
    assert data.root() == tmp_path / "cache" / "tenfold"
    (tmp_path / "data").mkdir()
    assert data.root().resolve() == tmp_path / "data"
    (tmp_path / "else").mkdir()
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path / "else"))
    assert data.root() == tmp_path / "else"


def test_a_variable_that_points_nowhere_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match=r"TENFOLD_DATA=.*nowhere is not a folder"):
        data.root()
    with pytest.raises(NotADirectoryError):
        data.load_idx_images("mnist", train=True)


@pytest.mark.parametrize("name", list(registry.DATASETS))
def test_every_data_set_is_described(name: str):
    entry = data.DATASETS[name]
    assert entry.name == name
    assert all((entry.title, entry.description, entry.licence, entry.source, entry.tree))
    assert bool(entry.files) + entry.bundled + bool(entry.loader) == 1
    for file in entry.files:
        algorithm, digest = file.checksum.split(":")
        assert len(digest) == len(hashlib.new(algorithm, usedforsecurity=False).hexdigest())
        assert int(digest, 16) >= 0
        assert file.urls
        assert ".." not in file.path
        assert not file.path.startswith("/")


def test_checksums_are_distinct_except_for_the_shared_files_of_kmnist():
    files = {file for entry in data.DATASETS.values() for file in entry.files}
    assert len({file.checksum for file in files}) == len(files)


@pytest.mark.parametrize("function", [data.status, data.fetch])
def test_unknown_name_lists_the_known_ones(function, tmp_path: Path):
    with pytest.raises(ValueError, match=r"unknown data set 'mnits'; known: digits, mnist, .*cifar10"):
        function("mnits", tmp_path)


def test_status_follows_the_files(tmp_path: Path):
    assert data.status("digits", tmp_path).state == "bundled"
    assert data.status("mnist", tmp_path).state == "missing"
    names = [Path(file.path).name for file in data.DATASETS["mnist"].files]
    (tmp_path / "mnist").mkdir()
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "mnist" / names[0]).touch()
    (tmp_path / "MNIST" / "raw" / names[1].removesuffix(".gz")).touch()
    partial = data.status("mnist", tmp_path)
    assert partial.state == "partial"
    assert partial.missing == (f"mnist/{names[2]}", f"mnist/{names[3]}")
    for name in names[2:]:
        (tmp_path / "mnist" / name).touch()
    assert data.status("mnist", tmp_path).state == "present"
    (tmp_path / "cifar10.zip").touch()
    assert data.status("cifar10", tmp_path).found == (tmp_path / "cifar10.zip",)


def test_sets_fetched_by_hand_are_found_by_their_loaders(tmp_path: Path):
    assert data.status("set12", tmp_path).state == "missing"
    with pytest.raises(
        data.DataNotFoundError, match=r"(?s)Set12 cannot be downloaded.*github.*denoise/Set12"
    ):
        data.fetch("set12", tmp_path)
    folder = tmp_path / "denoise" / "Set12"
    folder.mkdir(parents=True)
    for number in range(11):
        (folder / f"{number:02d}.png").touch()
    assert data.status("set12", tmp_path).state == "partial"
    (folder / "11.png").touch()
    assert data.status("set12", tmp_path).state == "present"
    assert data.fetch("set12", tmp_path) == []


@pytest.fixture
def server(tmp_path: Path):
    """A web server on this machine, serving the folder `served`."""
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(served))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def remote(content: bytes, *urls: str, path: str = "toy/a.bin", unpack: bool = False) -> registry.RemoteFile:
    digest = hashlib.sha256(content).hexdigest()
    return registry.RemoteFile(path, urls, f"sha256:{digest}", unpack)


def register(monkeypatch: pytest.MonkeyPatch, *files: registry.RemoteFile) -> None:
    toy = replace(data.DATASETS["mnist"], name="toy", files=files)
    monkeypatch.setattr(registry, "DATASETS", {"toy": toy})


def test_fetch_verifies_and_tries_the_next_mirror(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served, url = server
    (served / "a.bin").write_bytes(b"right")
    register(monkeypatch, remote(b"right", url + "gone.bin", url + "a.bin"))
    assert download.fetch("toy", tmp_path / "new") == [tmp_path / "new" / "toy" / "a.bin"]
    assert (tmp_path / "new" / "toy" / "a.bin").read_bytes() == b"right"
    (served / "a.bin").unlink()
    download.fetch("toy", tmp_path / "new")  # verified, not downloaded again


def test_a_wrong_checksum_is_an_error_and_leaves_no_file(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    served, url = server
    (served / "a.bin").write_bytes(b"tampered")
    register(monkeypatch, remote(b"right", url + "a.bin"))
    with pytest.raises(ValueError, match="hash"):
        download.fetch("toy", tmp_path)
    assert not (tmp_path / "toy" / "a.bin").exists()


def test_a_file_of_the_user_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, remote(b"right", "http://127.0.0.1:9/a.bin"))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin").write_bytes(b"mine")
    with pytest.raises(ValueError, match="move it away to fetch the original"):
        download.fetch("toy", tmp_path)
    assert (tmp_path / "toy" / "a.bin").read_bytes() == b"mine"


def test_no_network_names_every_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, remote(b"x", "http://127.0.0.1:9/one.bin", "http://127.0.0.1:9/two.bin"))
    with pytest.raises(ConnectionError, match=r"(?s)a\.bin could not be downloaded.*one\.bin.*two\.bin"):
        download.fetch("toy", tmp_path)


def test_fetched_archives_are_unpacked(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import zipfile

    served, url = server
    with zipfile.ZipFile(served / "a.zip", "w") as archive:
        archive.writestr("inside/b.txt", "hello")
    content = (served / "a.zip").read_bytes()
    register(monkeypatch, remote(content, url + "a.zip", path="a.zip", unpack=True))
    download.fetch("toy", tmp_path / "new")
    assert (tmp_path / "new" / "inside" / "b.txt").read_text() == "hello"
