"""seekloop finds every image that shows an object, with a person in the loop.

From Python: `extract` or `open_store` gives a store, `session` starts a person's search on it, `build_loop` gives the
loop itself, `build` one part by its name. They are imported on first use, so that `import seekloop` is quick.
"""

import importlib
from typing import TYPE_CHECKING

from seekloop import _torchvision

if TYPE_CHECKING:
    from seekloop.commands.python import build, build_loop, extract, session
    from seekloop.store.reader import open_store

__all__ = ["build", "build_loop", "extract", "open_store", "session"]

_HOMES = {
    "build": "seekloop.commands.python",
    "build_loop": "seekloop.commands.python",
    "extract": "seekloop.commands.python",
    "open_store": "seekloop.store.reader",
    "session": "seekloop.commands.python",
}

_torchvision.watch()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'seekloop' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
