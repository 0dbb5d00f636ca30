"""The folder of a run of `seekloop learn`: what it found so far, cycle by cycle and epoch by epoch."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import pyarrow as pa

from seekloop.artifacts.files import read_tensors
from seekloop.logs.run_folder import Checkpoint, RunFolder

if TYPE_CHECKING:
    import torch

_WHERE = [("split", pa.int32()), ("cycle", pa.int32())]
_PSEUDO = ("pseudo_share", "pseudo_accuracy", "pseudo_accuracy_weighted")
_WEIGHTS = ("weight_mean", "weight_low", "weight_high")

CYCLES = pa.schema(
    [
        *_WHERE,
        ("labels", pa.int32()),
        *((name, pa.float64()) for name in ("accuracy", "class_accuracy_mean", "class_accuracy_low", *_PSEUDO)),
        ("epochs", pa.int32()),
        ("seconds", pa.float64()),
    ]
)
EPOCHS = pa.schema(
    [
        *_WHERE,
        ("stage", pa.string()),
        ("epoch", pa.int32()),
        ("iterations", pa.int32()),
        *((name, pa.float64()) for name in ("loss", "lr", *_PSEUDO, *_WEIGHTS, "seconds")),
    ]
)
CLASSES = pa.schema(
    [
        *_WHERE,
        ("class_name", pa.string()),
        ("accuracy", pa.float64()),
        *((name, pa.int32()) for name in ("images", "labels", "asked")),
    ]
)
CONFUSION = pa.schema([*_WHERE, ("class_name", pa.string()), ("predicted", pa.string()), ("images", pa.int32())])
ASKED = pa.schema(
    [
        *_WHERE,
        ("order", pa.int32()),
        ("image", pa.int32()),
        ("class_name", pa.string()),
        ("predicted", pa.string()),
        ("probability", pa.float64()),
        ("margin", pa.float64()),
    ]
)


class LearnFolder(RunFolder):
    """Like a run of searches, in cycles; within a cycle, `parts/epoch.pt` holds the last whole epoch's weights.

    `parts/epochs.json` tells of the epochs of the cycle that is under way, for those who watch.
    """

    STEP: ClassVar[str] = "cycle"
    TABLES: ClassVar[Mapping[str, pa.Schema]] = {
        "cycles": CYCLES,
        "epochs": EPOCHS,
        "classes": CLASSES,
        "confusion": CONFUSION,
        "asked": ASKED,
    }
    AREAS: ClassVar[tuple[str, ...]] = ("accuracy_auc", "accuracy_final")

    def add(self, number: int, tables: Mapping[str, pd.DataFrame], checkpoint: Checkpoint) -> None:
        """Keep one cycle; columns that it has no values for are empty."""
        whole = {name: _with_columns(tables[name], schema) for name, schema in self.TABLES.items()}
        super().add(number, whole, checkpoint)

    def _kept(self) -> str:
        epochs = len(self.under_way())
        return super()._kept() + (f", and {epochs} of the next one's epochs" if epochs else "")

    def keep(self, cycle: int, checkpoint: dict[str, Any]) -> None:
        """Keep an epoch in place of the one before. A kill at any instant leaves one of them whole."""
        self._folder.write_tensors("parts/epoch.pt", {"cycle": cycle, **checkpoint})
        told = {"cycle": cycle, "rows": checkpoint["rows"]}
        self._folder.write("parts/epochs.json", json.dumps(told).encode())

    def kept(self, cycle: int) -> dict[str, Any] | None:
        """The last whole epoch, if it is of this cycle."""
        path = self.parts / "epoch.pt"
        if not path.exists():
            return None
        found: dict[str, Any] = read_tensors(path, "Delete it: the cycle begins again.")
        return found if found["cycle"] == cycle else None

    def keep_view(self, cycle: int, found: dict[str, "torch.Tensor"]) -> None:
        """Keep what a cycle's network makes of the pool, in `views/`."""
        self._folder.write_tensors(f"views/{cycle:04d}.pt", found)

    def view(self, cycle: int) -> dict[str, "torch.Tensor"]:
        """What `keep_view` was given.

        Raises:
            ValueError: if nothing was kept.
        """
        path = self.path / "views" / f"{cycle:04d}.pt"
        if not path.exists():
            raise ValueError(f"{path} is not there: run it with keep_views=true, and force=true if it is done already")
        return dict(read_tensors(path, "Run it again with keep_views=true and force=true."))

    def under_way(self) -> pd.DataFrame:
        """The epochs of the cycle that is not over yet; no rows where none is under way."""
        last, path = self.last_round(), self.parts / "epochs.json"
        told = json.loads(path.read_text()) if path.exists() else {"cycle": None, "rows": []}
        fresh = told["cycle"] == (0 if last is None else last + 1)
        return pd.DataFrame(told["rows"] if fresh else []).assign(cycle=told["cycle"])


def _with_columns(table: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
    return table.assign(**{name: float("nan") for name in schema.names if name not in table})
