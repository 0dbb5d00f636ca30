"""Errors whose messages name the key or the file, the value, the reason, and the remedy."""

import importlib
from pathlib import Path
from types import ModuleType


class ConfigError(ValueError):
    """A configured value cannot work. Says which argument or key, what it was, why, and what to try.

    Args:
        key: the argument of a part, or the whole path of a key of the config.
        got: its value.
        why: it cannot work.
        fix: what to type instead.
        owner: the part (or the function) whose argument it is. Whoever composed the program knows where in the config
            that part is mounted, and adds the path and the file (`located`).
    """

    def __init__(self, key: str, got: object, why: str, fix: str, owner: object = None) -> None:
        self.key, self.got, self.why, self.fix, self.owner = key, got, why, fix, owner
        super().__init__(self._message())

    def _message(self, file: str = "") -> str:
        name = getattr(self.owner, "__name__", type(self.owner).__name__)
        part = "" if self.owner is None or "." in self.key else f"{name}: "
        got = str(self.got) if isinstance(self.got, Path) else self.got
        return f"{part}{self.key}={got!r} cannot work{file}: {self.why}. {self.fix}"

    def located(self, path: str, file: str | None = None) -> "ConfigError":
        """The same error with the path of the part in the config, and the file that mounts it there."""
        error = ConfigError(f"{path}.{self.key}", self.got, self.why, self.fix, self.owner)
        error.args = (error._message(f" ({file})" if file else ""),)
        return error


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
