"""Modules that are imported when something of them is first used."""

import importlib
from types import ModuleType


class _Later(ModuleType):
    """Stands for a module; what is asked of it is asked of the real one."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


def lazily(name: str) -> ModuleType:
    """A module that takes long to import, or may not be installed, for code that does not always need it.

    Type checkers and the rule about the direction of imports look at an ordinary import beside it::

        if TYPE_CHECKING:
            import wandb
        else:
            wandb = lazily("wandb")

    Annotations with it are written in quotes: Python evaluates the others at once.
    """
    return _Later(name)
