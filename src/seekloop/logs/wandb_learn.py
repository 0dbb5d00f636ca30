"""One W&B run per run of `seekloop learn`: epochs and cycles, fed from its files."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from seekloop.contracts.lazy import lazily
from seekloop.logs.learn_folder import LearnFolder
from seekloop.logs.wandb_log import THUMBNAIL, WandbLog, on_square

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazily("wandb")

OF_CYCLE = (
    "accuracy",
    "class_accuracy_mean",
    "class_accuracy_low",
    "pseudo_share",
    "pseudo_accuracy",
    "pseudo_accuracy_weighted",
)
SHOWN = 20  # pictures of what a cycle asked about
OF_EPOCH = ("loss", "lr", "pseudo_accuracy", "pseudo_accuracy_weighted", "weight_mean", "weight_low", "weight_high")


class LearnLog(WandbLog):
    """Like a log of searches. Steps are epochs, counted through all cycles, with one more step after each cycle.

    Columns of an epoch are sent as `epoch/<column>`, those of a cycle under their own names, against labels.
    """

    folder: LearnFolder

    def rows(self, first: int) -> Iterator[tuple[int, dict[str, object]]]:
        """Epochs of whole cycles, each cycle after its epochs, then the epochs that are under way."""
        cycles, epochs = self.folder.table("cycles"), self.folder.table("epochs")
        step = 0
        for _, cycle in cycles.iterrows():
            for _, epoch in epochs[epochs["cycle"] == cycle["cycle"]].iterrows():
                if step >= first:
                    yield step, epoch_row(epoch)
                step += 1
            if step >= first:
                yield step, {**cycle_row(cycle), **self._asked(int(cycle["cycle"]))}
            step += 1
        for _, epoch in self.folder.under_way().iterrows():
            if step >= first:
                yield step, epoch_row(epoch)
            step += 1

    def end(self) -> int:
        """The step after the last one."""
        return len(self.folder.table("epochs")) + len(self.folder.table("cycles"))

    def define_axes(self, run: "wandb.Run") -> None:
        """Tell W&B what each curve is drawn against."""
        run.define_metric("labels", hidden=True)
        for name in OF_CYCLE:
            run.define_metric(name, step_metric="labels")

    def _asked(self, cycle: int) -> dict[str, object]:
        """Pictures of the images asked about after a cycle."""
        if self.read is None:
            return {}
        asked = self.folder.asked()
        rows = asked[asked["cycle"] == cycle].head(SHOWN)
        return {"asked": [self._shown(row) for _, row in rows.iterrows()]} if len(rows) else {}

    def _shown(self, row: pd.Series) -> "wandb.Image":
        if self.read is None:
            raise ValueError("there is nothing to read images with")
        canvas, _ = on_square(self.read(int(row["image"])), THUMBNAIL)
        caption = f"{row['class_name']}, taken for {row['predicted']} at {row['probability']:.2f}"
        return wandb.Image(canvas, caption=caption, file_type="jpg")


def epoch_row(epoch: pd.Series) -> dict[str, object]:
    """The values of one epoch under W&B's keys; empty ones are left out."""
    values = {f"epoch/{name}": float(epoch[name]) for name in OF_EPOCH if name in epoch and not math.isnan(epoch[name])}
    return {"cycle": int(epoch["cycle"]), "epoch": int(epoch["epoch"]), **values}


def cycle_row(cycle: pd.Series) -> dict[str, object]:
    """The values of one cycle under W&B's keys; empty ones are left out."""
    values = {name: float(cycle[name]) for name in OF_CYCLE if not math.isnan(cycle[name])}
    return {"cycle": int(cycle["cycle"]), "labels": int(cycle["labels"]), **values}
