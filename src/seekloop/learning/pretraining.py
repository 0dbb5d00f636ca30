"""What unsupervised pre-training keeps in its folder: the epochs so far, and in the end the weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from seekloop.contracts.errors import StoreError

Row = dict[str, object]


@dataclass(frozen=True)
class PretrainingFolder:
    """The files of one pre-training. Each is replaced as a whole, so a kill loses at most one epoch.

    Attributes:
        path: `weights.pt` is there when it is finished, `checkpoint.pt` until then; `epochs.parquet` has one row per
            epoch, with its columns as docs/metrics.md names them.
        identity: what the result depends on; checkpoints of anything else are refused.
    """

    path: Path
    identity: str

    @property
    def weights(self) -> Path:
        """Written last."""
        return self.path / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        """The state after the last whole epoch."""
        return self.path / "checkpoint.pt"

    @property
    def epochs(self) -> Path:
        """One row per epoch."""
        return self.path / "epochs.parquet"

    def keep(self, state: Mapping[str, Any], rows: list[Row]) -> None:
        """Replace what was kept by the state after one more epoch."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = _draft(self.epochs)
        pd.DataFrame(rows).to_parquet(draft, index=False)
        draft.replace(self.epochs)
        _save({**state, "rows": rows, "identity": self.identity}, self.checkpoint)

    def kept(self) -> dict[str, Any] | None:
        """What was kept last; None at the start.

        Raises:
            StoreError: if it is of other settings, or damaged.
        """
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can raise nearly anything
            raise StoreError(f"{self.checkpoint} is damaged ({error}). Delete it to start anew") from error
        if state.get("identity") != self.identity:
            raise StoreError(f"{self.checkpoint} was made with other settings. Delete it, or use another folder")
        return state

    def finish(self, weights: Mapping[str, Tensor]) -> Path:
        """Write the weights; the checkpoint has served."""
        self.path.mkdir(parents=True, exist_ok=True)
        _save(dict(weights), self.weights)
        self.checkpoint.unlink(missing_ok=True)
        return self.weights


def read_epochs(folder: Path) -> pd.DataFrame:
    """The epochs of a pre-training, finished or not; empty where there is none yet."""
    path = folder / "epochs.parquet"
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _save(content: Mapping[str, Any], path: Path) -> None:
    draft = _draft(path)
    with draft.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
