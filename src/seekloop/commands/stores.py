"""`seekloop store ls | rm`: list the artifacts of a store folder with the runs that need them, and remove some."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from seekloop.contracts.errors import ConfigError

if TYPE_CHECKING:
    from seekloop.store.inventory import Stored

USAGE = "Say: seekloop store ls, or seekloop store rm <folder> ... (or unneeded). Further: store_dir=..., runs_dir=..."
OPTIONS = {"store_dir": "stores", "runs_dir": "runs", "anyway": "false"}


def store(arguments: Sequence[str]) -> None:
    """List the artifacts below `store_dir`, or remove some.

    Arguments: `ls`, or `rm` with folders or the word `unneeded`; `store_dir=`, `runs_dir=`; `anyway=true` removes what
    runs need, too: they keep their tables, and what they need is computed again when they go on.

    Raises:
        ConfigError: if a folder is no artifact, or a run needs it.
        BusyError: if a process is writing into it.
    """
    options = dict(OPTIONS)
    words = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name in options:
            options[name] = value
        else:
            words.append(word)
    if words == ["ls"]:
        _list(options)
    elif words[:1] == ["rm"] and len(words) > 1:
        _remove(words[1:], options)
    else:
        raise ConfigError("store", " ".join(arguments), "it is not understood", USAGE)


def _stored(options: dict[str, str]) -> list["Stored"]:
    from seekloop.logs.run_folder import find_runs
    from seekloop.store.inventory import inventory

    stores, runs = Path(options["store_dir"]), Path(options["runs_dir"])
    if not stores.is_dir():
        raise ConfigError("store_dir", str(stores), "there is no such folder", "Name the folder of all stores.")
    known = find_runs(runs, {}) if runs.is_dir() else []
    return inventory(stores, {str(run.path.relative_to(runs)): run.config for run in known})


def _list(options: dict[str, str]) -> None:
    import pandas as pd

    from seekloop.logs.tables import print_table

    stored = _stored(options)
    columns = {
        "artifact": [str(one.folder.path) for one in stored],
        "kind": [one.kind for one in stored],
        "state": [one.state for one in stored],
        "MB": [f"{one.bytes / 1e6:,.1f}" for one in stored],
        "last use": [datetime.fromtimestamp(one.used, UTC).strftime("%Y-%m-%d %H:%M") for one in stored],
        "needed by": [_runs(one.runs) for one in stored],
    }
    print_table(pd.DataFrame(columns))
    print(f"{len(stored)} artifacts, {sum(one.bytes for one in stored) / 1e6:,.1f} MB")
    if free := sum(one.bytes for one in stored if _unneeded(one)):
        print(f"{free / 1e6:,.1f} MB of them no run below {options['runs_dir']} needs: seekloop store rm unneeded")


def _unneeded(one: "Stored") -> bool:
    return not one.runs and one.state != "in use"


def _runs(names: Sequence[str]) -> str:
    return (", ".join(names[:2]) or "-") + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _remove(words: Sequence[str], options: dict[str, str]) -> None:
    stored = _stored(options)
    chosen = [one for one in stored if _unneeded(one)] if list(words) == ["unneeded"] else []
    for word in words if list(words) != ["unneeded"] else ():
        one = next((one for one in stored if one.folder.path.resolve() == Path(word).resolve()), None)
        if one is None:
            fix = f"Choose among those that `seekloop store ls store_dir={options['store_dir']}` lists."
            raise ConfigError("folder", word, "it is no artifact below store_dir", fix)
        if one.runs and options["anyway"] != "true":
            why = f"{_runs(one.runs)} below {options['runs_dir']} need it"
            raise ConfigError("folder", word, why, "Add anyway=true to remove it all the same.")
        chosen.append(one)
    for one in chosen:
        one.folder.remove()
        print(f"removed {one.folder.path} ({one.kind}, {one.bytes / 1e6:,.1f} MB)")
    print(f"{sum(one.bytes for one in chosen) / 1e6:,.1f} MB are free again")
