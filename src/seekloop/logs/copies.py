"""Run folders that are one run: a copy, a backup or a renamed folder is the run that it was made of.

A run is known by the recipe in its config. Runs of earlier versions are known by their `run_id` or, where they have
none, by their config and tables: finished ones are the same where these are.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from seekloop.logs.run_folder import RunFolder, RunState

CLOCKS = frozenset({"seconds", "search_seconds"})
"""Columns that a machine's clock has written, or may have."""
ORDER = (RunState.DONE, RunState.RUNNING, RunState.INTERRUPTED, RunState.FAILED, RunState.MISSING)


def sorted_out(
    runs: Sequence[RunFolder], apart: Callable[[RunFolder], Hashable] = lambda _: None
) -> tuple[list[RunFolder], list[tuple[RunFolder, RunFolder]]]:
    """Let every run count once: a finished folder before others, then the one that has the run's own name and place.

    Args:
        runs: folders.
        apart: what keeps two of them apart even if they are one run, such as the row of a table that they belong to.

    Returns:
        Folders of which each is another run; and the copies, each with the folder that counts for it.
    """
    groups: dict[Hashable, list[RunFolder]] = {}
    for name, run in zip(_names(runs), runs, strict=True):
        groups.setdefault((name, apart(run)), []).append(run)
    leaders = {group[0].path: group[0] if len(group) == 1 else min(group, key=_rank) for group in groups.values()}
    leader = {run.path: leaders[group[0].path] for group in groups.values() for run in group}
    copies = [(run, leader[run.path]) for run in runs if leader[run.path] is not run]
    return [run for run in runs if leader[run.path] is run], copies


def run_id_of(config: Mapping[str, object]) -> str | None:
    """The run's own name in its config, if it has one."""
    return str(config["run_id"]) if config.get("run_id") else None


def _names(folders: Sequence[RunFolder]) -> list[Hashable]:
    """Identity of each run; the same for two folders of one run."""
    own = [_own(folder) for folder in folders]
    if all(name is not None for name in own):
        return list(own)
    contents = [_content(folder) for folder in folders]
    named = {content: name for content, name in zip(contents, own, strict=True) if name and content}
    return [
        name or (named.get(content, content) if content else folder.path)
        for name, content, folder in zip(own, contents, folders, strict=True)
    ]


def _own(folder: RunFolder) -> Hashable:
    config, name = folder.config, run_id_of(folder.config)
    if "recipe" in config:
        return json.dumps(config["recipe"], sort_keys=True)
    return None if name is None else (folder.kind.command, name, str(config.get("seed")), str(config.get("split")))


def _content(folder: RunFolder) -> str | None:
    """A hash of the config and tables of a finished run; None where it is not finished, or cannot be read."""
    if not folder.complete.exists():
        return None
    settings = {key: value for key, value in folder.config.items() if key != "run_id"}
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=16)
    try:
        for name in folder.kind.tables:
            table = folder.table(name)
            kept = table[sorted(set(map(str, table)) - CLOCKS)]
            digest.update(kept.to_json(orient="split", double_precision=15).encode())
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def _rank(folder: RunFolder) -> tuple[int | bool | str, ...]:
    """The lowest counts: finished, under its own name, in its own experiment, near the top, with a short name."""
    path, config = folder.path, folder.config
    misplaced = path.parent.name != Path(str(config.get("experiment_name", ""))).name
    renamed = run_id_of(config) != path.name
    return (ORDER.index(folder.state()), renamed, misplaced, len(path.parts), len(path.name), str(path))
