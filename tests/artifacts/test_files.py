import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from seekloop.artifacts import files
from seekloop.artifacts.files import CannotWriteError, make_folder, write_bytes, write_through
from seekloop.contracts.errors import StoreError

FULL = "Free some space, or choose another runs_dir; what was finished is kept, and the same command goes on."
OTHER = "Choose another runs_dir."
ERRORS = {
    errno.ENOSPC: ("its disk has no space left", FULL),
    errno.EDQUOT: ("the quota on its disk is used up", FULL),
    errno.EROFS: ("its file system is read-only", OTHER),
    errno.EACCES: ("there is no permission to write there", OTHER),
    errno.EPERM: ("there is no permission to write there", OTHER),
    errno.EISDIR: ("it is a folder, and a file belongs there", OTHER),
    errno.ENAMETOOLONG: ("a name in it is too long for its file system", OTHER),
    errno.ELOOP: ("it is a link that leads to itself", OTHER),
    errno.EIO: ("the system says: Input/output error", OTHER),
}


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_every_reason_names_key_path_reason_and_remedy(tmp_path, monkeypatch, number, what):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace" if what == "file" else "mkdir", refuse)
    path, (reason, remedy) = tmp_path / "x", ERRORS[number]
    with pytest.raises(CannotWriteError) as caught:
        write_bytes(path, b"new", "runs_dir") if what == "file" else make_folder(path, "runs_dir")
    assert str(caught.value) == f"runs_dir cannot work: {path} cannot be written, since {reason}. {remedy}"
    assert caught.value.errno == number
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has it")
def test_a_folder_that_cannot_exist():
    with pytest.raises(CannotWriteError, match=r"^runs_dir cannot work: /proc/runs/a .* since /proc takes no new "):
        make_folder(Path("/proc/runs/a"), "runs_dir")


@pytest.mark.parametrize("below", ["", "deep/deeper"])
def test_a_file_where_a_folder_belongs(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match=f"since {tmp_path / 'file'} is a file, and a folder belongs there"):
        make_folder(tmp_path / "file" / below, "runs_dir")


def test_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(CannotWriteError, match=f"{tmp_path / 'link'} is a file"):
        make_folder(tmp_path / "link", "runs_dir")


def test_a_folder_that_was_removed_meanwhile(tmp_path):
    with pytest.raises(CannotWriteError, match=f"{tmp_path} takes no new files and folders, or its contents were rem"):
        write_bytes(tmp_path / "gone" / "x", b"", "runs_dir")


def test_a_long_name(tmp_path):
    with pytest.raises(CannotWriteError, match="a name in it is too long"):
        make_folder(tmp_path / ("x" * 300), "runs_dir")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_forbidden_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWriteError, match="no permission"):
        write_bytes(tmp_path / "x", b"", "runs_dir")
    tmp_path.chmod(0o700)


def test_what_was_there_stays_until_all_of_the_new_is_there(tmp_path):
    path = tmp_path / "x"
    write_bytes(path, b"old", "k")

    def half(draft):
        draft.write_bytes(b"ne")
        assert path.read_bytes() == b"old"
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(CannotWriteError):
        write_through(path, "k", half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    write_bytes(tmp_path / "x", b"content", "k")
    assert order == ["fsync", "replace"]


def test_many_write_one_file_and_one_of_them_wins(tmp_path):
    path, contents = tmp_path / "x", [bytes([n]) * 5000 for n in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(path, content, "k")) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_come_back_with_their_checksum(tmp_path):
    entry = files.write_array(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3)[:, ::2], "k")
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 2], [3, 5]]
    assert entry == {"bytes": (tmp_path / "a.npy").stat().st_size, "blake2b": files.checksum(tmp_path / "a.npy")}


def test_json_is_the_same_for_the_same_content(tmp_path):
    files.write_json(tmp_path / "a", {"b": 1, "a": "é"}, "k")
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    assert files.read_json(tmp_path / "a") == {"a": "é", "b": 1}


class Mischief:
    def __reduce__(self):
        return print, ("gotcha",)


def test_tensors_come_back_and_nothing_in_a_file_is_run(tmp_path, capsys):
    content = {"rows": [(torch.arange(3), 1.5)], "none": None, "name": "x"}
    files.write_tensors(tmp_path / "a.pt", content, "k")
    found = files.read_tensors(tmp_path / "a.pt", "Start anew.")
    assert found["rows"][0][0].tolist() == [0, 1, 2]
    assert {**found, "rows": 0} == {**content, "rows": 0}
    torch.save({"bad": Mischief()}, tmp_path / "b.pt")
    with pytest.raises(StoreError, match=r"b.pt is damaged, or holds objects of an earlier version. Start anew\."):
        files.read_tensors(tmp_path / "b.pt", "Start anew.")
    (tmp_path / "c.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"c.pt is damaged"):
        files.read_tensors(tmp_path / "c.pt", "Start anew.")
    assert capsys.readouterr().out == ""
