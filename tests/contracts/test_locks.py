import errno
import fcntl
import sys
import warnings
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.locks import lock
from seekloop.images.download import Archive, fetch
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.store.lock import claimed

NO_LOCKS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


def refuse(monkeypatch, number):
    """What `flock` does on a file system that has no locks."""

    def flock(*_):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_named_with_the_way_out(tmp_path, monkeypatch, number):
    refuse(monkeypatch, number)
    with pytest.raises(ConfigError) as error:
        lock(tmp_path / "a.lock", "store_dir")
    assert str(error.value) == (
        f"store_dir={str(tmp_path)!r} cannot work: {tmp_path / 'a.lock'} cannot be locked, since its file system does "
        f"not give locks ([Errno {number}] No locks available). Put store_dir on a local disk."
    )


def test_every_user_of_locks_says_so(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOLCK)
    store = claimed(tmp_path / "store", "extracting", lambda _: None)
    with pytest.raises(ConfigError, match=r"store\.lock cannot be locked.* Put store_dir on a local disk"), store:
        pass
    run = RunFolder(tmp_path / "run").claim()
    with pytest.raises(ConfigError, match=r"run/run\.lock cannot be locked.* Put runs_dir on a local disk"), run:
        pass
    with pytest.raises(ConfigError, match=r"\.download\.lock cannot be locked.* Put collection.root on a local disk"):
        fetch(Archive("file:///absent.zip", None, "a", "b"), tmp_path / "root")


def test_nothing_else_in_the_program_takes_locks():
    """One place translates the error, so that no message can lack the file's name."""
    source = Path(sys.modules["seekloop"].__file__).parent
    users = {path.name for path in source.rglob("*.py") if "FileLock" in path.read_text(encoding="utf-8")}
    assert users == {"locks.py"}


def test_runs_can_be_looked_at_where_there_are_no_locks(tmp_path, monkeypatch):
    """Whether one is alive is then told by its heartbeat alone."""
    folder = RunFolder(tmp_path / "run")
    with folder.claim():
        folder.write_config("seed: 0\n")
        refuse(monkeypatch, errno.ENOLCK)
        assert RunFolder(tmp_path / "run").state() is RunState.RUNNING
        monkeypatch.undo()
    refuse(monkeypatch, errno.ENOLCK)
    assert RunFolder(tmp_path / "run").state() is not RunState.RUNNING


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
    with pytest.raises(OSError, match=r"/file"):
        lock(tmp_path / "file" / "a.lock", "store_dir", timeout=0.0)
