"""Lightning's trainers as every stage uses them: silent, and refusing in our words what the machine lacks."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from seekloop.contracts.errors import ConfigError
from seekloop.lightning.silence import lightning_silenced

PLACED_BY = ("accelerator", "devices", "strategy")
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,  # ours count images, or epochs of cycles
    "num_sanity_val_steps": 0,
    "reload_dataloaders_every_n_epochs": 1,
    "use_distributed_sampler": False,  # shards are divided, not images
}


def trainer_of(settings: Mapping[str, Any], callbacks: Iterable[pl.Callback] = (), *, key: str) -> pl.Trainer:
    """Build Lightning's `Trainer` of these settings.

    Args:
        settings: `Trainer`'s own.
        callbacks: of the stage.
        key: where the configuration says on what to compute: `trainer` or `accelerator`.

    Raises:
        ConfigError: if this machine, or Lightning, has no such accelerator, devices or strategy.
    """
    try:
        with lightning_silenced():
            return pl.Trainer(**{**settings, **QUIET}, callbacks=list(callbacks))
    except (MisconfigurationException, ValueError) as error:
        placed = ", ".join(f"{name}={settings[name]}" for name in PLACED_BY if name in settings)
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        fix = f"Use {key}=cpu here, or the machine that {key} was chosen for."
        raise ConfigError(key, placed, f"Lightning says: {why}", fix) from error
