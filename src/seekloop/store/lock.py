"""One writer at a time in a store's folder, across processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from seekloop.contracts.locks import lock


@contextmanager
def claimed(folder: Path, doing: str, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only one who writes into a store's folder.

    Args:
        folder: of the store; the lock lies beside it.
        doing: what another process is doing if this one has to wait, such as "extracting".
        say: takes the line that says so.

    Raises:
        ConfigError: if the file system gives no locks.
    """
    path = folder.with_name(f"{folder.name}.lock")
    try:
        taken = lock(path, "store_dir", timeout=0.0)
    except Timeout:
        say(f"another process is {doing} {folder.name}: waiting for it")
        taken = lock(path, "store_dir")
    with taken:
        yield
