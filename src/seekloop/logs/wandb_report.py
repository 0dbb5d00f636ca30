"""A report as one run of W&B: its tables, its figures, and each row's numbers."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from seekloop.artifacts.files import make_folder
from seekloop.contracts.lazy import lazily
from seekloop.logs.report import Report
from seekloop.logs.wandb_log import begin, harmless, identity, resolve_mode
from seekloop.logs.wandb_names import IN_PROJECT, LONGEST_KEY, name_of, shortened

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazily("wandb")

PLACE = ".report"  # hidden: what lies in it is no run of ours
JOB = "report"

_log = logging.getLogger(__name__)


def tell_wandb(folder: Path, result: Report, mode: str | None) -> None:
    """Log a report to W&B, where its runs were: same project, entity and mode, grouped with them, job type `report`.

    The same report of the same folder is one run of W&B: made again, it replaces what it said. What W&B cannot do
    becomes one warning.

    Args:
        folder: that was reported, whose figures are sent.
        result: the report.
        mode: auto, online, offline or disabled; None: as the first run says, auto where it says nothing.
    """
    runs = [run for members in result.groups.values() for run in members]
    settings = runs[0].config.get("wandb")
    settings = settings if isinstance(settings, Mapping) else {}
    mode = resolve_mode(mode or str(settings.get("mode", "auto")), os.environ)
    if mode == "disabled":
        return
    pairs: list[list[str]] = result.differences[["setting", "against"]].to_numpy().tolist()
    text = repr((str(folder.resolve()), result.keys, pairs))
    name = f"{JOB}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
    with harmless("log the report", "" if result.unwritten else "Its files hold everything."):
        make_folder(folder / PLACE, "folder")
        project, changes = name_of("wandb.project", settings.get("project", "seekloop"), IN_PROJECT)
        for line in changes:
            _log.warning(line)
        about = {
            **identity(name, project, name_of("wandb.entity", settings.get("entity"))[0], {}),
            "name": name_of("name", f"report of {folder.resolve().name} by {', '.join(result.keys) or 'nothing'}")[0],
            "group": name_of("group", runs[0].config.get("experiment_name", folder.resolve().name))[0],
            "job_type": JOB,
            "config": {
                "by": list(result.keys),
                "averaged": list(result.averaged),
                "runs": sorted(run.path.name for run in runs),
            },
            "dir": str(folder / PLACE),
        }
        run = begin(mode, about, f"offline-run-*-{name}")
        if run is None:
            return
        tables = {"report": result.table, **({"differences": result.differences} if pairs else {})}
        written = {figure: name for figure, name in result.pictures.items() if name not in result.unwritten}
        row: dict[str, Any] = {key: wandb.Table(dataframe=_plain(table)) for key, table in tables.items()}
        run.log(row | {f"figures/report_{fig}": wandb.Image(str(folder / name)) for fig, name in written.items()})
        run.summary.update({"runs": result.runs, **scalars(result)})
        run.finish()


def scalars(result: Report) -> dict[str, float]:
    """Numbers of the table as `<row>/<column>`, of the differences as `<setting> - <against>/<column>`; none empty."""
    pairs = [f"{row['setting']} - {row['against']}" for _, row in result.differences.iterrows()]
    cells: dict[str, Any] = {}
    for table, labels in ((result.table, list(result.groups)), (result.differences, pairs)):
        numbers = table.select_dtypes("number").astype(float).to_dict("records")
        for label, row in zip(labels, numbers, strict=True):
            known = {name: value for name, value in row.items() if value == value}
            cells |= {f"{shortened(label, LONGEST_KEY)}/{name}": value for name, value in known.items()}
    return cells


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """W&B wants one type in a column: words for words and empty cells."""
    words = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].fillna("").astype(str) for name in words})
