"""Which run folders are one run: a copy, a backup or a renamed folder is the run that it was made of.

A run is known by the recipe in its config. Runs of earlier versions are known by their `run_id` or, where they have
none, by their config and tables: finished ones are the same where these are.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from seekloop.logs.kinds import command_of
from seekloop.logs.run_folder import RunFolder, RunState

CLOCKS = frozenset({"seconds", "search_seconds"})
"""Columns that a machine's clock has written, or may have."""
ORDER = (RunState.DONE, RunState.RUNNING, RunState.INTERRUPTED, RunState.FAILED, RunState.MISSING)

Member = TypeVar("Member")


@dataclass(frozen=True)
class Sorted(Generic[Member]):
    """Result of `sorted_out`.

    Attributes:
        counted: members of which each is another run.
        copies: the other members, each with the one that counts for it.
    """

    counted: Sequence[Member]
    copies: Sequence[tuple[Member, Member]]


def sorted_out(
    members: Sequence[Member],
    known: Callable[[Member], tuple[RunFolder, Mapping[str, object]]],
    apart: Callable[[Member], Hashable] = lambda _: None,
) -> Sorted[Member]:
    """Let every run count once: a finished folder before others, then the one that has the run's own name and place.

    Args:
        members: of each a folder and its config are known.
        known: gives these.
        apart: what keeps two members apart even if they are one run, such as the row of a table that they belong to.
    """
    folders = {position: known(member) for position, member in enumerate(members)}
    names = _names(list(folders.values()))
    groups: dict[Hashable, list[int]] = {}
    for position, name in enumerate(names):
        groups.setdefault((name, apart(members[position])), []).append(position)
    ranks = {position: _rank(*folders[position]) for group in groups.values() if len(group) > 1 for position in group}
    first = {min(group, key=lambda position: ranks.get(position, ())): group for group in groups.values()}
    copies = {position: leader for leader, group in first.items() for position in group if position != leader}
    return Sorted(
        [member for position, member in enumerate(members) if position in first],
        [(member, members[copies[position]]) for position, member in enumerate(members) if position in copies],
    )


def run_id_of(config: Mapping[str, object]) -> str | None:
    """The run's own name in its config, if it has one."""
    return str(config["run_id"]) if config.get("run_id") else None


def _names(runs: Sequence[tuple[RunFolder, Mapping[str, object]]]) -> list[Hashable]:
    """Identity of each run; the same for two folders of one run."""
    own = [_own(folder, config) for folder, config in runs]
    if all(name is not None for name in own):
        return list(own)
    by_content = [_content(folder, config) for folder, config in runs]
    with_name = {content: name for content, name in zip(by_content, own, strict=True) if name and content}
    return [
        name or (with_name.get(content, content) if content else folder.path)
        for name, content, (folder, _) in zip(own, by_content, runs, strict=True)
    ]


def _own(folder: RunFolder, config: Mapping[str, object]) -> Hashable:
    if "recipe" in config:
        return json.dumps(config["recipe"], sort_keys=True)
    name = run_id_of(config)
    return None if name is None else (command_of(type(folder)), name, str(config.get("seed")), str(config.get("split")))


def _content(folder: RunFolder, config: Mapping[str, object]) -> str | None:
    """A hash of the config and tables of a finished run; None where it is not finished, or cannot be read."""
    if not folder.complete.exists():
        return None
    settings = {key: value for key, value in config.items() if key != "run_id"}
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=16)
    try:
        for name in folder.TABLES:
            table = folder.table(name)
            digest.update(
                table[sorted(set(map(str, table)) - CLOCKS)].to_json(orient="split", double_precision=15).encode()
            )
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def _rank(folder: RunFolder, config: Mapping[str, object]) -> tuple[int | bool | str, ...]:
    """The lowest counts: finished, under its own name, in its own experiment, near the top, with a short name."""
    state = RunState.DONE if folder.complete.exists() else folder.state()
    misplaced = folder.path.parent.name != Path(str(config.get("experiment_name", ""))).name
    path = folder.path
    renamed = run_id_of(config) != path.name
    return (ORDER.index(state), renamed, misplaced, len(path.parts), len(path.name), str(path))
