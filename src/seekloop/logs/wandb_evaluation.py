"""One W&B run per run of `seekloop search` and `seekloop detect`, fed from its files."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from seekloop.logs.evaluation_folder import DetectFolder, SearchFolder
from seekloop.logs.wandb_log import WandbLog

if TYPE_CHECKING:
    import wandb

OF_RECALL = ("recall", "recall_small", "recall_medium", "recall_large")
OF_SEARCH = ("ap", "ap_trapezoid", "precision", "miou")


class DetectLog(WandbLog):
    """Steps are the overlaps asked for: `recall` and its like against `iou`."""

    folder: DetectFolder

    def rows(self, first: int) -> Iterator[tuple[int, dict[str, object]]]:
        """One row per overlap."""
        for step, (_, row) in enumerate(self.folder.table("recall").iterrows()):
            if step >= first:
                yield step, {"iou": float(row["iou"]), **_known(row, OF_RECALL)}

    def end(self) -> int:
        """The step after the last one."""
        return len(self.folder.table("recall"))

    def define_axes(self, run: "wandb.Run") -> None:
        """Tell W&B what each curve is drawn against."""
        run.define_metric("iou", hidden=True)
        for name in OF_RECALL:
            run.define_metric(name, step_metric="iou")


class SearchLog(WandbLog):
    """Steps are the cut-offs of each setup: means over queries, `<setup>/ap` and its like."""

    folder: SearchFolder

    def rows(self, first: int) -> Iterator[tuple[int, dict[str, object]]]:
        """One row per cut-off."""
        means = self._means()
        for step, (cutoff, setups) in enumerate(means.groupby("cutoff", sort=False)):
            values = {
                f"{row['setup']}/{name}": value
                for _, row in setups.iterrows()
                for name, value in _known(row, OF_SEARCH).items()
            }
            if step >= first:
                yield step, {"cutoff": str(cutoff), **values}

    def end(self) -> int:
        """The step after the last one."""
        return self.folder.table("results")["cutoff"].nunique()

    def define_axes(self, run: "wandb.Run") -> None:
        """Cut-offs are words (there is `all`): W&B counts steps."""

    def _means(self) -> pd.DataFrame:
        return (
            self.folder.table("results").groupby(["setup", "cutoff"], sort=False)[list(OF_SEARCH)].mean().reset_index()
        )


def _known(row: pd.Series, names: tuple[str, ...]) -> dict[str, object]:
    return {name: float(row[name]) for name in names if not math.isnan(row[name])}
