import errno
import fcntl
import json
import os
import threading
import time
import warnings

import pytest
from filelock import FileLock, Timeout

from seekloop.artifacts import folder as folder_module
from seekloop.artifacts.files import CannotWriteError, write_json
from seekloop.artifacts.folder import BusyError, Folder, folders_below, lock
from seekloop.contracts.errors import Interrupted, StoreError
from seekloop.images.download import Archive, fetch
from seekloop.logs.run_folder import RunState
from seekloop.store.manifest import store_folder
from tests.logs.fakes import run_folder

NO_LOCKS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


def nothing():
    return "nothing is kept"


def refuse(monkeypatch, number):
    """What `flock` does on a file system that has no locks."""

    def flock(*_):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_named_with_the_way_out(tmp_path, monkeypatch, number):
    refuse(monkeypatch, number)
    with pytest.raises(CannotWriteError) as error:
        lock(tmp_path / "a.lock", "store_dir")
    assert str(error.value) == (
        f"store_dir cannot work: {tmp_path / 'a.lock'} cannot be written, since its file system gives no locks "
        f"([Errno {number}] No locks available). Put store_dir on a local disk."
    )


def test_every_user_of_locks_says_so(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOLCK)
    store = store_folder(tmp_path / "store").claim(nothing, print)
    with pytest.raises(CannotWriteError, match=r"store\.lock cannot be .* Put store_dir on a local disk"), store:
        pass
    run = run_folder(tmp_path / "run").claim()
    with pytest.raises(CannotWriteError, match=r"run/run\.lock cannot be .* Put runs_dir on a local disk"), run:
        pass
    with pytest.raises(CannotWriteError, match=r"\.download\.lock cannot be .* Put collection.root on a local disk"):
        fetch(Archive("file:///absent.zip", None, "a", "b"), tmp_path / "root")


def test_runs_can_be_looked_at_where_there_are_no_locks(tmp_path, monkeypatch):
    """Whether one is alive is then told by its heartbeat alone."""
    folder = run_folder(tmp_path / "run")
    with folder.claim():
        folder.write_config("seed: 0\n")
        refuse(monkeypatch, errno.ENOLCK)
        assert run_folder(tmp_path / "run").state() is RunState.RUNNING
        monkeypatch.undo()
    refuse(monkeypatch, errno.ENOLCK)
    assert run_folder(tmp_path / "run").state() is not RunState.RUNNING


def test_where_flock_does_not_exist_a_file_stands_for_the_lock(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOSYS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flock not supported")
        with lock(tmp_path / "a.lock", "store_dir"), pytest.raises(Timeout):
            lock(tmp_path / "a.lock", "store_dir", timeout=0.0)
        with lock(tmp_path / "a.lock", "store_dir", timeout=0.0):
            pass


def test_a_lock_is_held_until_the_end_of_the_block_and_no_longer(tmp_path):
    path = tmp_path / "a.lock"
    with lock(path, "store_dir"), pytest.raises(Timeout):
        FileLock(path).acquire(timeout=0.0)
    FileLock(path).acquire(timeout=0.0).lock.release()


def test_a_file_that_cannot_be_made_is_no_matter_of_locks(tmp_path):
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(CannotWriteError, match=r"/file is a file, and a folder belongs there"):
        lock(tmp_path / "file" / "a.lock", "store_dir", timeout=0.0)


def elsewhere(folder, seconds_ago):
    """Make it look as if another machine had it."""
    folder.heartbeat.parent.mkdir(exist_ok=True)
    folder.heartbeat.write_text(json.dumps({"host": "node-7", "pid": 1234, "token": "theirs"}))
    os.utime(folder.heartbeat, (time.time() - seconds_ago,) * 2)


def test_who_waits_comes_next_and_who_does_not_is_refused(tmp_path):
    first, second, third = (Folder(tmp_path / "f", "store_dir") for _ in range(3))
    order, said, ready = [], [], threading.Event()

    def say(line):
        said.append(line)
        ready.set()

    def next_one():
        with second.claim(nothing, say, "extracting"):
            order.append("second")

    thread = threading.Thread(target=next_one)
    with first.claim(nothing):
        thread.start()
        assert ready.wait(30)
        with pytest.raises(BusyError, match=f"by process {os.getpid()}"), third.claim(nothing):
            pass
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert said == ["another process is extracting f: waiting for it"]
    assert [path.name for path in tmp_path.iterdir()] == ["f.lock"]  # the folder itself is not made by a claim


def test_a_beat_of_another_machine_is_waited_for_until_it_stops(tmp_path, monkeypatch):
    """Also where locks do not reach from one machine to the other; and a lock that outlived its machine is removed."""
    monkeypatch.setattr(folder_module, "STALE_SECONDS", 1.0)
    folder, said = Folder(tmp_path / "f", "store_dir"), []
    elsewhere(folder, 0)
    with FileLock(folder.guard), folder.claim(nothing, said.append):
        assert folder.silence() < 1
    assert len(said) == 1


def test_ctrl_c_says_what_is_kept_and_an_inner_answer_goes_first(tmp_path):
    with pytest.raises(Interrupted, match="3 rounds"), Folder(tmp_path / "f", "k").claim(lambda: "3 rounds"):
        raise KeyboardInterrupt
    with pytest.raises(Interrupted, match="7 images"), Folder(tmp_path / "f", "k").claim(lambda: "3 rounds"):
        raise Interrupted("7 images")
    assert not Folder(tmp_path / "f", "k").alive()


def test_beginning_goes_on_with_the_same_and_refuses_another(tmp_path):
    folder = Folder(tmp_path / "f", "store_dir")
    assert folder.begin("about.json", "a") is None
    write_json(folder.path / "about.json", {"key": "a", "n": 3}, "store_dir")
    folder.finish()
    (folder.path / "x.npy.0a1b.tmp").touch()
    assert folder.begin("about.json", "a") == {"key": "a", "n": 3}
    assert not folder.finished
    assert [path.name for path in folder.path.iterdir()] == ["about.json"]
    with pytest.raises(StoreError, match=r"holds something else than was asked for\. Choose another store_dir"):
        folder.begin("about.json", "b")
    (folder.path / "about.json").write_text("{")
    with pytest.raises(StoreError, match=r"about\.json is damaged"):
        folder.begin("about.json", "a")


def test_listing_measuring_and_removing(tmp_path):
    for name, content in (("b", b"12345"), ("deep/a", b"123")):
        folder = Folder(tmp_path / name, "store_dir")
        with folder.claim(nothing):
            folder.write("inside/x", content)
            folder.finish()
    (tmp_path / "neither").mkdir()
    found = folders_below(tmp_path, "store_dir", ())
    assert [(folder.path.name, folder.size(), folder.finished) for folder in found] == [("b", 5, True), ("a", 3, True)]
    with found[0].claim(nothing), pytest.raises(BusyError):
        Folder(tmp_path / "b", "store_dir").remove()
    found[0].remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "neither"]
