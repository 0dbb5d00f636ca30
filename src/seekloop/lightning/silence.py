"""Silence Lightning's remarks, and let Ctrl-C end it as everything else."""

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def lightning_silenced() -> Iterator[None]:
    """Silence Lightning's lines about devices, workers and loggers: they are settled by our configuration.

    Raises:
        KeyboardInterrupt: at Ctrl-C, which Lightning turns into an exit with code 1, and ignores from then on.
    """
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_ctrl_c)
