import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tenfold.data import ArchiveError, extract_archive


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


KINDS = pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar.gz")])


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@KINDS
def test_files_come_out(make, name, tmp_path: Path):
    archive = make(tmp_path / name, {"a/b.txt": b"one", "c.txt": b"two", "./d.txt": b"three"})
    out = tmp_path / "out"
    paths = extract_archive(archive, out)
    assert [path.read_bytes() for path in paths] == [b"one", b"two", b"three"]
    assert everything(out) == {"a", "a/b.txt", "c.txt", "d.txt"}


@KINDS
@pytest.mark.parametrize(
    "evil",
    ["/etc/evil", "../evil", "a/../../evil", "..\\evil", "C:\\evil", "\\\\server\\evil", "a\\..\\..\\evil"],
)
def test_paths_that_leave_the_folder_are_refused_and_nothing_is_left(make, name, evil: str, tmp_path: Path):
    archive = make(tmp_path / name, {"good.txt": b"x", evil: b"x"})
    with pytest.raises(ArchiveError, match=r"absolute path|leaves the folder"):
        extract_archive(archive, tmp_path / "out")
    assert everything(tmp_path) == {name, "out"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tars_are_refused(kind: bytes, tmp_path: Path):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="link or special file 'link'"):
        extract_archive(tmp_path / "a.tar", tmp_path / "out")
    assert everything(tmp_path / "out") == set()


def test_links_in_zips_are_refused(tmp_path: Path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link or special file 'link'"):
        extract_archive(tmp_path / "a.zip", tmp_path / "out")
    assert everything(tmp_path / "out") == set()


@KINDS
def test_limits_hold(make, name, tmp_path: Path):
    archive = make(tmp_path / name, {f"{i}.txt": b"0" * 1000 for i in range(10)})
    assert len(extract_archive(archive, tmp_path / "fits", max_bytes=10_000, max_files=10)) == 10
    with pytest.raises(ArchiveError, match="more than 9,999 bytes"):
        extract_archive(archive, tmp_path / "out", max_bytes=9_999)
    with pytest.raises(ArchiveError, match="more than 9 members"):
        extract_archive(archive, tmp_path / "out", max_files=9)
    assert everything(tmp_path / "out") == set()


def test_a_zip_bomb_is_stopped_although_its_header_lies(tmp_path: Path):
    archive = make_zip(tmp_path / "a.zip", {"bomb": b"\0" * 5_000_000})
    content = archive.read_bytes()
    real = (5_000_000).to_bytes(4, "little")
    assert content.count(real) == 2
    archive.write_bytes(content.replace(real, (10).to_bytes(4, "little")))
    with pytest.raises(ArchiveError):
        extract_archive(archive, tmp_path / "out", max_bytes=1_000_000)
    assert everything(tmp_path / "out") == set()


@KINDS
def test_a_truncated_archive_is_refused(make, name, tmp_path: Path):
    archive = make(tmp_path / name, {f"{i}": bytes(range(256)) * (i + 1) for i in range(20)})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ArchiveError, match=r"cannot be extracted|neither"):
        extract_archive(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == set()


def test_what_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"hello")
    with pytest.raises(ArchiveError, match="neither a zip nor a tar"):
        extract_archive(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        extract_archive(tmp_path / "none.zip", tmp_path / "out")
