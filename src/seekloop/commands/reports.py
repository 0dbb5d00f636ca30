"""`seekloop status` and `seekloop report`: what a folder of runs holds."""

from collections.abc import Sequence
from pathlib import Path

from seekloop.contracts.errors import ConfigError
from seekloop.logs.report import report as write_report
from seekloop.logs.status import counted, status_table
from seekloop.logs.tables import print_table


def status(arguments: Sequence[str]) -> None:
    """Print the state of every run below a folder."""
    folder = _folder(arguments)
    table = status_table(folder)
    print_table(table, str(folder))
    print(counted(table))
    if "missing" in table["state"].to_numpy():
        print("missing: asked for by a sweep and never started; the sweep's command, given again, runs only these")


def report(arguments: Sequence[str]) -> None:
    """Write and print tables and plots of the finished runs below a folder, grouped by config keys."""
    folders = [word for word in arguments if not word.startswith("by=")]
    groups = [word.removeprefix("by=") for word in arguments if word.startswith("by=")]
    by = [key for group in groups for key in group.split(",") if key]
    write_report(_folder(folders), by or None)


def _folder(arguments: Sequence[str]) -> Path:
    if len(arguments) != 1:
        raise ConfigError("folder", list(arguments), "one folder of runs is needed", "Say for instance: runs/default.")
    folder = Path(arguments[0])
    if not folder.is_dir():
        raise ConfigError("folder", str(folder), "there is no such folder", "Name a folder below runs_dir.")
    return folder
