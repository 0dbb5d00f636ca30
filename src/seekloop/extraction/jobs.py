"""Detection in processes of its own, while the network computes: maps are handed to them some at a time."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytorch_lightning as pl
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

AT_ONCE = 4  # maps that wait for each job, so that jobs end together
Entry = TypeVar("Entry")
Result = TypeVar("Result")


class InJobs(pl.Callback, Generic[Entry, Result]):
    """Hands what the network gives to detecting processes, and what they find to a writer; one job: the main process.

    Args:
        jobs: how many processes.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs, self.at_once = jobs, AT_ONCE * jobs
        self._waiting: list[Entry] = []

    @abstractmethod
    def taken(self, outputs: Any) -> Entry:  # noqa: ANN401 - the network's
        """The maps of one image, on the CPU."""

    @abstractmethod
    def call(self, entry: Entry) -> tuple[Callable[..., Result], tuple[object, ...]] | None:
        """The function that detects in an image and its arguments; None where the image could not be read."""

    @abstractmethod
    def keep(self, entry: Entry, found: Result | None) -> None:
        """Hand what was found in an image to the writer; None where it could not be read."""

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the maps until there are enough."""
        self._waiting.append(self.taken(outputs))
        if len(self._waiting) >= self.at_once:
            self._detect()

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last ones; then the detecting processes end, for which one of several devices would wait for ever."""
        self._detect()
        if self.jobs > 1:
            get_reusable_executor(reuse=True).shutdown(wait=True)

    def _detect(self) -> None:
        waiting, self._waiting = self._waiting, []
        calls = [self.call(entry) for entry in waiting]
        found = iter(Parallel(n_jobs=self.jobs)([delayed(one[0])(*one[1]) for one in calls if one is not None]))
        for entry, call in zip(waiting, calls, strict=True):
            self.keep(entry, None if call is None else next(found))
