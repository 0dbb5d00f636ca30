"""`seekloop status` and `seekloop report`: what a folder of runs holds."""

from collections.abc import Sequence
from pathlib import Path

from seekloop.contracts.errors import ConfigError


def status(arguments: Sequence[str]) -> None:
    """Print the state of every run at or below a folder, and of those that a sweep was asked for and never started."""
    from seekloop.commands.kinds import KINDS
    from seekloop.logs.run_folder import RunState
    from seekloop.logs.status import COPY, counted, status_table
    from seekloop.logs.tables import print_table

    folder = _folder(arguments)
    table = status_table(folder, KINDS)
    print_table(table, str(folder))
    print(counted(table))
    if COPY in table:
        print("copies: folders of a run that another folder holds already; reports count each run once")
    if RunState.MISSING in table["state"].to_numpy():
        print("missing: asked for by a sweep and never started; the sweep's command, given again, runs only these")


def report(arguments: Sequence[str]) -> None:
    """Write, print and log tables and plots of the finished runs below a folder, grouped by config keys.

    Arguments: the folder; `by=key,key`; `compare=key:value,value`, as often as wished; `wandb=<mode>`.
    """
    from seekloop.commands.kinds import KINDS
    from seekloop.logs.report import report as write_report
    from seekloop.logs.wandb_log import MODES
    from seekloop.logs.wandb_report import tell_wandb

    options: dict[str, list[str]] = {"by": [], "compare": [], "wandb": []}
    folders = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name in options:
            options[name].append(value)
        else:
            folders.append(word)
    mode = options["wandb"][-1] if options["wandb"] else None
    if mode is not None and mode not in MODES:
        raise ConfigError("wandb", mode, "it is unknown", f"Valid: {', '.join(MODES)}.")
    folder = _folder(folders)
    by = [key for group in options["by"] for key in group.split(",") if key]
    tell_wandb(folder, write_report(folder, by or None, options["compare"], KINDS), mode)


def _folder(arguments: Sequence[str]) -> Path:
    if len(arguments) != 1:
        raise ConfigError("folder", list(arguments), "one folder of runs is needed", "Say for instance: runs/default.")
    folder = Path(arguments[0])
    if not folder.is_dir():
        raise ConfigError("folder", str(folder), "there is no such folder", "Name a folder below runs_dir.")
    return folder
