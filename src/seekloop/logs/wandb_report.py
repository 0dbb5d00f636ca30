"""A report as one run of W&B: its tables, its figures, and each row's numbers."""

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from seekloop.artifacts.files import make_folder
from seekloop.contracts.lazy import lazily
from seekloop.logs.finished import FinishedRun
from seekloop.logs.report import PICTURES, Report
from seekloop.logs.wandb_log import NO_KEY, has_key, identity, quiet_settings, resolve_mode
from seekloop.logs.wandb_names import IN_PROJECT, LONGEST_KEY, name_of, shortened

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazily("wandb")

PLACE = ".report"  # hidden: what lies in it is no run of ours
JOB = "report"

_log = logging.getLogger(__name__)


def tell_wandb(folder: Path, found: Report, mode: str | None) -> None:
    """Log a report to W&B, where its runs were: same project, entity and mode, grouped with them, job type `report`.

    The same report of the same folder is one run of W&B: made again, it replaces what it said. What W&B cannot do
    becomes one warning.

    Args:
        folder: that was reported, whose figures are sent.
        found: the report.
        mode: auto, online, offline or disabled; None: as the first run says, auto where it says nothing.
    """
    first = next(iter(found.groups.values()))[0]
    settings = first.config.get("wandb")
    settings = settings if isinstance(settings, Mapping) else {}
    mode = resolve_mode(mode or str(settings.get("mode", "auto")), os.environ)
    if mode == "disabled":
        return
    pairs: Sequence[object] = found.differences[["setting", "against"]].to_numpy().tolist()
    told = repr((str(folder.resolve()), found.keys, pairs))
    name = f"{JOB}-{hashlib.blake2b(told.encode(), digest_size=4).hexdigest()}"
    try:
        run = _open(folder, name, mode, settings, _about(folder, found, first))
        _tell(run, folder, found)
        run.finish()
    except Exception as error:  # whatever W&B raises, the report's files are written, or its table is printed
        rest = "" if found.unwritten else " Its files hold everything."
        _log.warning("W&B could not log the report: %s: %s.%s", type(error).__name__, error, rest)


def scalars(found: Report) -> dict[str, float]:
    """Numbers of the table as `<row>/<column>`, of the differences as `<setting> - <against>/<column>`; none empty."""
    pairs = [f"{row['setting']} - {row['against']}" for _, row in found.differences.iterrows()]
    return {**_cells(found.table, list(found.groups)), **_cells(found.differences, pairs)}


def _cells(table: pd.DataFrame, labels: Sequence[str]) -> dict[str, float]:
    numbers = table.select_dtypes("number").astype(float)
    rows = zip([shortened(label, LONGEST_KEY) for label in labels], numbers.to_dict("records"), strict=True)
    return {f"{label}/{column}": value for label, row in rows for column, value in row.items() if value == value}


def _open(folder: Path, name: str, mode: str, settings: Mapping[str, object], about: Mapping[str, Any]) -> "wandb.Run":
    """A run of W&B, online where that can be, else offline."""
    place = folder / PLACE
    make_folder(place, "folder")
    project, told = name_of("wandb.project", settings.get("project", "seekloop"), IN_PROJECT)
    for line in told:
        _log.warning(line)
    entity, _ = name_of("wandb.entity", settings.get("entity"))
    ours = {**about, "dir": str(place), "settings": quiet_settings()}
    ours |= identity(name, project, entity, {})
    if mode == "online" and not has_key(os.environ):
        _log.warning(NO_KEY)  # W&B would stop and ask for one
        mode = "offline"
    if mode == "online":
        try:
            return wandb.init(mode="online", resume="allow", **ours)
        except Exception as error:  # no network: the report goes to a file
            _log.warning("W&B could not be reached: %s. The report is logged offline.", error)
            wandb.teardown()  # it holds on to the id of the run it could not start
    for earlier in (place / "wandb").glob(f"offline-run-*-{name}"):
        shutil.rmtree(earlier, ignore_errors=True)
    return wandb.init(mode="offline", **ours)


def _tell(run: "wandb.Run", folder: Path, found: Report) -> None:
    row: dict[str, object] = {"report": wandb.Table(dataframe=_plain(found.table))}
    if len(found.differences):
        row["differences"] = wandb.Table(dataframe=_plain(found.differences))
    written = [name for name in PICTURES if name not in found.unwritten]
    row |= {f"figures/{Path(name).stem}": wandb.Image(str(folder / name)) for name in written}
    run.log(row)
    run.summary.update({"runs": found.runs, **scalars(found)})


def _about(folder: Path, found: Report, first: FinishedRun) -> dict[str, Any]:
    runs = sorted(run.folder.path.name for members in found.groups.values() for run in members)
    return {
        "name": name_of("name", f"report of {folder.resolve().name} by {', '.join(found.keys) or 'nothing'}")[0],
        "group": name_of("group", first.config.get("experiment_name", folder.resolve().name))[0],
        "job_type": JOB,
        "config": {"by": list(found.keys), "averaged": list(found.averaged), "runs": runs},
    }


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """W&B wants one type in a column: words for words and empty cells."""
    words = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].fillna("").astype(str) for name in words})
