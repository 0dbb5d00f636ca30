"""A progress bar that counts images, not batches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Tell = Callable[[str, int, int], None]
"""Takes what is done, how many images are through, and how many there are."""
_told: ContextVar[Tell | None] = ContextVar("told", default=None)


@contextmanager
def told(tell: Tell) -> Iterator[None]:
    """Within it progress is told to a function after every batch, and no bar is shown."""
    before = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(before)


class Speed(ProgressColumn):
    """Images per second since the start, once there are some."""

    def render(self, task: Task) -> Text:
        """For example "71.3 images/s"."""
        elapsed = task.finished_time or task.elapsed
        count = task.completed - float(task.fields["begun"])
        return Text(f"{count / elapsed:.1f} images/s" if elapsed and count else "")


class ImagesPerSecond(pl.Callback):
    """Progress in images: how many are through, how fast, and how long it will take; on the first process only.

    Args:
        doing: what is done with them, in a word.
        done: images that an earlier, interrupted run is through with.
        images: of the whole collection.
        warm: batches before the estimate of the time; the first one, which includes starting up, counts in none.
    """

    def __init__(self, doing: str, done: int, images: int, warm: int = 2) -> None:
        self.doing = doing
        self.done = done
        self.images = images
        self.warm = warm
        self.progress: Progress | None = None
        self._started, self._before = 0.0, 0

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to show."""
        if not trainer.is_global_zero or _told.get():
            return
        columns = (TextColumn(self.doing), BarColumn(), MofNCompleteColumn(), TextColumn("images"), Speed())
        self.progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self.progress.add_task(self.doing, total=self.images, completed=self.done, begun=self.done)
        self.progress.start()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count; the other processes are about as far as this one."""
        tell = _told.get()
        if not self.progress and not tell:
            return
        count = len(outputs.image) * trainer.world_size
        self.done = min(self.done + count, self.images)
        if tell:
            tell(self.doing, self.done, self.images)
        if not self.progress:
            return
        self.progress.update(self.progress.task_ids[0], completed=self.done)
        if batch_idx == 0:
            self._started, self._before = time.monotonic(), self.done
        elif batch_idx == self.warm - 1 and self.done < self.images:
            speed = (self.done - self._before) / (time.monotonic() - self._started)
            self.progress.console.print(estimate(self.images - self.done, speed))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the last state on the screen."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the screen back."""
        self._stop()

    def _stop(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None


def estimate(images: int, speed: float) -> str:
    """Estimate the time for so many more images, for people.

    Example:
        >>> estimate(9000, 50.0)
        'about 3 min for 9,000 more images'
    """
    seconds = images / speed
    size, unit = next((s, u) for s, u in ((3600, "h"), (60, "min"), (1, "s")) if seconds >= s or s == 1)
    return f"about {seconds / size:.2g} {unit} for {images:,} more images"
