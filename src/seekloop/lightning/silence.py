"""Lightning without its remarks."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def lightning_silenced() -> Iterator[None]:
    """Without Lightning's lines about devices, workers and loggers: they are settled by our configuration."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)
