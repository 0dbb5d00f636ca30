"""Locks between processes, as files of the operating system."""

from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from seekloop.contracts.errors import ConfigError

FOREVER = -1.0


def lock(path: Path, key: str, timeout: float = FOREVER) -> AbstractContextManager[object]:
    """Take the lock that this file stands for, until the end of a `with` over the result.

    Args:
        path: of the lock's file, made if it is absent.
        key: of the config, whose folder it lies in.
        timeout: seconds to wait for another process that has it.

    Raises:
        Timeout: if another process has it still.
        ConfigError: if the file system has no locks to give, as network file systems may not.
        OSError: if the file cannot be made.
    """
    try:
        return FileLock(path).acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        if error.filename is not None:  # of opening the file; locking knows only its number
            raise
        why = f"{path} cannot be locked, since its file system does not give locks ({error})"
        raise ConfigError(key, str(path.parent), why, f"Put {key} on a local disk.") from error
