"""seekloop finds every image that shows an object, with a person in the loop.

`describe` gives the descriptors of a folder or of arrays, `session` starts a person's search, `build` gives one part by
its name, `simulate` runs simulated searches, `runs` reads finished runs as data frames. All are imported on first use,
so that `import seekloop` is quick.
"""

import importlib
from typing import TYPE_CHECKING

from seekloop import _torchvision

if TYPE_CHECKING:
    from seekloop.commands.python import (
        annotations,
        build,
        build_loop,
        describe,
        extract,
        runs,
        saved_session,
        session,
        simulate,
    )
    from seekloop.contracts.plain import choose, fit
    from seekloop.store.reader import open_store

__all__ = [
    "annotations",
    "build",
    "build_loop",
    "choose",
    "describe",
    "extract",
    "fit",
    "open_store",
    "runs",
    "saved_session",
    "session",
    "simulate",
]

_HOMES = dict.fromkeys(__all__, "seekloop.commands.python")
_HOMES |= {"open_store": "seekloop.store.reader", **dict.fromkeys(("choose", "fit"), "seekloop.contracts.plain")}

_torchvision.watch()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'seekloop' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
