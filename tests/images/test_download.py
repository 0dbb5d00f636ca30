import hashlib
import zipfile

import pytest

from seekloop.artifacts.files import CannotWriteError
from seekloop.contracts.errors import ConfigError
from seekloop.images.download import Archive, fetch


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("outer/inner/a.txt", "content")
    return path


def test_the_wanted_folder_appears_and_nothing_else_stays(archive, tmp_path):
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    fetch(Archive(archive.as_uri(), md5, "outer/inner", "wanted"), tmp_path / "root")
    assert (tmp_path / "root" / "wanted" / "a.txt").read_text() == "content"
    assert {path.name for path in (tmp_path / "root").iterdir()} <= {"wanted", ".download.lock"}


@pytest.mark.parametrize("fault", ["missing", "checksum", "cut", "damaged", "member"])
def test_failures_say_what_to_put_where_and_leave_nothing(archive, tmp_path, fault):
    md5, member = None, "outer/inner"
    if fault == "missing":
        archive.unlink()
    elif fault == "checksum":
        md5 = "0" * 32
    elif fault == "cut":
        archive.write_bytes(archive.read_bytes()[:40])
    elif fault == "damaged":  # one stored byte changed: the checksum inside the zip file notices
        archive.write_bytes(archive.read_bytes().replace(b"content", b"CONTENT"))
    else:
        member = "another"
    with pytest.raises(ConfigError, match=r"download=True .* put its folder .* at .*wanted"):
        fetch(Archive(archive.as_uri(), md5, member, "wanted"), tmp_path / "root")
    assert {path.name for path in (tmp_path / "root").iterdir()} <= {".download.lock"}


def test_members_cannot_leave_their_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("outer/inner/a.txt", "content")
        file.writestr("../../escaped.txt", "content")
    fetch(Archive((tmp_path / "bad.zip").as_uri(), None, "outer/inner", "wanted"), tmp_path / "root")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_root_that_cannot_be_made_is_named(archive, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match=r"^collection.root cannot work: .*/file is a file, and a folder"):
        fetch(Archive(archive.as_uri(), None, "outer/inner", "wanted"), tmp_path / "file" / "root")
