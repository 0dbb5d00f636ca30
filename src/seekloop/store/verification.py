"""Reading a whole store again, to find what a disk or a careless copy has damaged."""

from pathlib import Path

from seekloop.contracts.problems import Problem
from seekloop.store import shards
from seekloop.store.manifest import read_manifest, store_folder


def verify(path: Path | str) -> tuple[Problem, ...]:
    """Compare every shard with its checksum, and check that every value is finite.

    Returns:
        One problem per damaged file, its `where` the path; delete those files (or call `discard`) and extract again:
        only their shards are computed anew.

    Raises:
        StoreError: if there is no store at all.
    """
    folder = Path(path)
    found = shards.damaged(folder, read_manifest(folder))
    return tuple(Problem(str(folder / name), complaint) for name, complaint in found)


def discard(path: Path | str, problems: tuple[Problem, ...]) -> None:
    """Delete the damaged files, and the marker that says the store is finished."""
    if problems:
        store_folder(Path(path)).marker.unlink(missing_ok=True)
    for problem in problems:
        Path(problem.where).unlink(missing_ok=True)
