"""What goes wrong, said so that the reader knows which key or file it was and what to do."""

import importlib
from types import ModuleType


class ConfigError(ValueError):
    """A configured value cannot work. Says which key, what it was, why, and what to try."""

    def __init__(self, key: str, got: object, why: str, fix: str) -> None:
        super().__init__(f"{key}={got!r} cannot work: {why}. {fix}")
        self.key, self.got, self.why, self.fix = key, got, why, fix

    def below(self, parent: str) -> "ConfigError":
        """The same error of a component that is a part of another: its keys lie below that one's."""
        return ConfigError(
            f"{parent}.{self.key}", self.got, self.why, self.fix.replace(self.key, f"{parent}.{self.key}")
        )


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded. Extraction skips it, records it, and reports it at the end."""

    def __init__(self, path: object, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = str(path)
        self.why = why


class StoreError(RuntimeError):
    """A file or folder that lasts is unfinished, damaged, or of other content than asked for."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what is kept: the same command goes on from there."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed. Names the extra that brings it."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed. Install it with: pip install 'seekloop[{extra}]'")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency where it is used.

    Raises:
        MissingExtraError: if it is not installed; the message names `extra`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(module, extra) from error
