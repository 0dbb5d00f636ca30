"""`seekloop session`: list, show, export, import, copy and remove the searches of people."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seekloop.contracts.errors import ConfigError

if TYPE_CHECKING:
    from seekloop.loop.sessions import Sessions

USAGE = (
    "Say: seekloop session ls | show <id> | export <id> format=csv | import <file> | fork <id> | rm <id> ... | backup "
    "to=<file>. Further: sessions=<file>; of exports to=, above=, first=, lightroom=true"
)
OPTIONS = {"sessions": "sessions.sqlite", "format": "", "to": "", "above": "", "first": "", "lightroom": "false"}
FORMATS = ("csv", "json", "coco", "xmp", "links", "copies")
ENDINGS = {"csv": ".csv", "json": ".json", "coco": ".json"}


def session(arguments: Sequence[str]) -> None:
    """Do something with the sessions of a file; a session is named by its id, the beginning of it, or its title.

    Arguments: what to do, and with which session or file; `sessions=<file>`. Of `export` also `format=`, `to=`,
    `above=<score>`, `first=<count>`, `lightroom=true`, and keys of the config, such as `collection.root=`.

    Raises:
        ConfigError: if the words are not understood, or there is no such session or file.
        StoreError: if the file is damaged.
    """
    words = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    options = OPTIONS | {name: value for name, value in given.items() if name in OPTIONS}
    overrides = [f"{name}={value}" for name, value in given.items() if name not in OPTIONS]
    action, named = (words[0], words[1:]) if words else ("", [])
    known: dict[str, tuple[int, Callable[[Sequence[str], Mapping[str, str]], None]]] = {
        "ls": (0, _list),
        "show": (1, _show),
        "import": (1, _import),
        "fork": (1, _fork),
        "rm": (max(1, len(named)), _remove),
        "backup": (0, _backup),
    }
    if action == "export" and len(named) == 1:
        _export(named[0], options, overrides)
    elif action in known and len(named) == known[action][0] and not overrides:
        known[action][1](named, options)
    else:
        raise ConfigError("session", " ".join(arguments), "it is not understood", USAGE)


@contextlib.contextmanager
def database(path: str | Path) -> Iterator["Sessions"]:
    """The sessions of a file that is there.

    Raises:
        ConfigError: if there is none.
        StoreError: if it is none of our databases, or damaged.
    """
    from seekloop.loop.sessions import Sessions

    if not Path(path).exists():
        fix = "Give sessions=<file>; `seekloop serve` and `seekloop.saved_session` make such files."
        raise ConfigError("sessions", str(path), "there is no such file", fix)
    with Sessions(path) as sessions:
        yield sessions


def _list(_: Sequence[str], options: Mapping[str, str]) -> None:
    import pandas as pd

    from seekloop.contracts.problems import many
    from seekloop.logs.tables import print_table

    with database(options["sessions"]) as sessions:
        listed = sessions.listed()
    columns = {
        "id": [one.id[:8] for one in listed],
        "title": [one.title for one in listed],
        "events": [str(one.events) for one in listed],
        "begun": [f"{one.created.astimezone():%Y-%m-%d %H:%M}" for one in listed],
        "changed": [f"{one.changed.astimezone():%Y-%m-%d %H:%M}" for one in listed],
    }
    print_table(pd.DataFrame(columns))
    print(f"{many(len(listed), 'session', 'sessions')} in {options['sessions']}")


def _show(named: Sequence[str], options: Mapping[str, str]) -> None:
    import pandas as pd

    from seekloop.contracts.problems import many
    from seekloop.logs.tables import cell, print_table
    from seekloop.protocol.sessions import tally

    with database(options["sessions"]) as sessions:
        id = sessions.find(named[0])
        kept = sessions.kept(id)
    counted = tally(kept.events)
    rounds = pd.DataFrame(counted.rounds).astype({"precision": float})
    print_table(rounds.map(cell), kept.title or id)
    print(f"{counted.found} found, {many(len(kept.events), 'event', 'events')}; session {id}")
    if "forked" in kept.about:
        print(f"a copy of session {kept.about['forked']['from']}")


def _import(named: Sequence[str], options: Mapping[str, str]) -> None:
    from seekloop.app.imports import imported
    from seekloop.loop.sessions import Sessions

    file = Path(named[0])
    if not file.is_file():
        fix = "Give a file that `seekloop session export <id> format=json` made."
        raise ConfigError("import", named[0], "there is no such file", fix)
    with Sessions(options["sessions"]) as sessions:
        print(imported(sessions, file.read_bytes()).said)


def _fork(named: Sequence[str], options: Mapping[str, str]) -> None:
    with database(options["sessions"]) as sessions:
        print(f"copied as session {sessions.fork(sessions.find(named[0]))}")


def _remove(named: Sequence[str], options: Mapping[str, str]) -> None:
    with database(options["sessions"]) as sessions:
        for id in [sessions.find(name) for name in named]:
            title = sessions.kept(id, events=False).title
            sessions.remove(id)
            print(f"removed session {id} {title}".rstrip())


def _backup(_: Sequence[str], options: Mapping[str, str]) -> None:
    target = _free(options["to"] or f"{options['sessions']}.copy")
    with database(options["sessions"]) as sessions:
        sessions.backup(target)
    print(f"copied to {target}")


def _free(path: str) -> Path:
    """A path where nothing is yet.

    Raises:
        ConfigError: if there is something.
    """
    target = Path(path)
    if target.exists():
        raise ConfigError("to", path, "there is a file already, which is not overwritten", "Give to=<another file>.")
    return target


def _export(name: str, options: Mapping[str, str], overrides: Sequence[str]) -> None:
    """Write a session's results into a file or a folder."""
    from seekloop.app import export
    from seekloop.commands.compose import resolve
    from seekloop.commands.replay import overrides_of, rebuilt
    from seekloop.logs.console import Console

    format, cut = options["format"], _cut_off(options)
    if format not in FORMATS:
        raise ConfigError("format", format, "it is unknown", f"Valid: {', '.join(FORMATS)}.")
    with database(options["sessions"]) as sessions:
        id = sessions.find(name)
        kept = sessions.kept(id)
        title = kept.title or id[:8]
        target = options["to"] or export.slug(title) + ENDINGS.get(format, "")
        if format == "json":
            _write(target, export.as_json(kept, id), f"{len(kept.events)} events")
            return
        config = resolve("replay", overrides_of(sessions, id, overrides))
        found = rebuilt(config, sessions, id, Console().say)
    collection = found.collection
    rows = export.exported(found.session, collection, **cut)
    if format in ENDINGS:
        sizes = export.sizes(collection, rows)
        content = export.as_csv(rows, sizes) if format == "csv" else export.as_coco(rows, sizes, title)
        _write(target, content, f"{len(rows)} images")
    elif format == "xmp":
        contents, skipped = export.sidecars(rows, collection, title, lightroom=options["lightroom"] == "true")
        if options["to"]:
            _write(target, export.zipped(contents), f"{len(contents)} sidecars")
            _told(skipped)
        else:
            done = export.write_beside(contents, skipped, collection)
            print(f"{len(done.paths)} sidecars beside the images")
            _told(done.skipped)
    else:
        done = export.place(rows, collection, Path(target), copies=format == "copies")
        print(f"{len(done.paths)} {format} in {target}")
        _told(done.skipped)


def _cut_off(options: Mapping[str, str]) -> dict[str, Any]:
    """Where the exported part of the ranking ends; nothing where no cut-off is given."""
    kinds: dict[str, Callable[[str], float]] = {"above": float, "first": int}
    cut: dict[str, Any] = {}
    for name, kind in kinds.items():
        try:
            cut |= {name: kind(options[name])} if options[name] else {}
        except ValueError as error:
            raise ConfigError(name, options[name], "it is no number", "Give above=<score> or first=<count>.") from error
    return cut


def _write(target: str, content: bytes, what: str) -> None:
    from seekloop.artifacts import files

    path = _free(target)
    files.make_folder(path.parent, "to")
    files.write_bytes(path, content, "to")
    print(f"{what} in {target}")


def _told(skipped: Sequence[str]) -> None:
    for line in skipped:
        print(f"left out: {line}")
