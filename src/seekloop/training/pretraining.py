"""Folder of an unsupervised pre-training: the epochs so far, and in the end the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from seekloop.artifacts.files import make_folder, read_tensors, remove_drafts, write_tensors, write_through
from seekloop.artifacts.folder import Folder, Say
from seekloop.contracts.errors import StoreError

KEY = "store_dir"  # of the config: where pre-trained weights lie


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
        """Weights, written last."""
        return self.path / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        """State after the last whole epoch."""
        return self.path / "checkpoint.pt"

    @property
    def epochs(self) -> Path:
        """Table with one row per epoch."""
        return self.path / "epochs.parquet"

    def keep(self, state: Mapping[str, Any]) -> None:
        """Replace what was kept by the state after one more epoch; its `rows` are the table of epochs."""
        make_folder(self.path, KEY)
        write_through(self.epochs, KEY, lambda draft: pd.DataFrame(state["rows"]).to_parquet(draft, index=False))
        write_tensors(self.checkpoint, {**state, "identity": self.identity}, KEY)

    def kept(self) -> dict[str, Any] | None:
        """State that was kept last; None at the start.

        Raises:
            StoreError: if it is of other settings, or damaged.
        """
        if not self.checkpoint.exists():
            return None
        state: dict[str, Any] = read_tensors(self.checkpoint, "Delete it to start anew.")
        if state.get("identity") != self.identity:
            raise StoreError(f"{self.checkpoint} was made with other settings. Delete it, or use another folder")
        return state

    def finish(self, weights: Mapping[str, Tensor]) -> Path:
        """Write the final weights, and remove the checkpoint."""
        make_folder(self.path, KEY)
        write_tensors(self.weights, dict(weights), KEY)
        self.checkpoint.unlink(missing_ok=True)
        return self.weights


@contextmanager
def claimed(path: Path, say: Say, doing: str = "pre-training") -> Iterator[None]:
    """Claim the folder of a pre-training, or of a fine-tuning; other processes wait."""

    def kept() -> str:
        return f"{len(read_epochs(path))} finished epochs of {doing} are kept in {path}"

    with Folder(path, KEY, marker="weights.pt").claim(kept, say, doing):
        remove_drafts(path)
        if (path / "weights.pt").exists():
            (path / "checkpoint.pt").unlink(missing_ok=True)
        yield


def read_epochs(folder: Path) -> pd.DataFrame:
    """Read the table of epochs, finished or not; empty where there is none yet."""
    path = folder / "epochs.parquet"
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()
