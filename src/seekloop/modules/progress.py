"""A progress bar that counts images, not batches."""

from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Speed(ProgressColumn):
    """Images per second, once it is known."""

    def render(self, task: Task) -> Text:
        """For example "71.3 images/s"."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s")


class ImagesPerSecond(pl.Callback):
    """Shows how many images are described, how fast, and how long it will take; on the first process only.

    Args:
        done: images described by an earlier, interrupted run.
        images: of the whole collection.
    """

    def __init__(self, done: int, images: int) -> None:
        self.done = done
        self.images = images
        self.progress: Progress | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to show."""
        if not trainer.is_global_zero:
            return
        columns = (TextColumn("describe"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), Speed())
        self.progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self.progress.add_task("describe", total=self.images, completed=self.done)
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
        if self.progress:
            self.done = min(self.done + len(outputs.image) * trainer.world_size, self.images)
            self.progress.update(self.progress.task_ids[0], completed=self.done)

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
