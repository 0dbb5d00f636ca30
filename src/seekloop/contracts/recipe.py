"""Recipes: everything that determines a result, collected from the components that were built."""

import hashlib
import inspect
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

Json = Any  # None, bool, int, float, str, and lists and dictionaries of these

OURS = "seekloop."
NOT_IN_RECIPE: Mapping[str, bool] = {"recipe": False}
"""Metadata of a dataclass field that cannot change a result: threads, folders, devices, sizes of blocks."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a result, and nothing else.

    Attributes:
        kind: of the result: "descriptors", "regions", "maps", "index", "weights", "run", ...
        settings: plain values, asked of the components that were built (`settings`).
        inputs: the recipes of what it is made from, so that all of them form a graph without circles.
    """

    kind: str
    settings: Mapping[str, Json]
    inputs: tuple["Recipe", ...] = field(default=())

    @cached_property
    def key(self) -> str:
        """Hash of all of it; the order of the settings does not matter."""
        text = json.dumps(self.plain(), sort_keys=True)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    @property
    def unknown(self) -> list[str]:
        """Components that could not say what determines them, so that this recipe fits no second result."""
        return sorted({*_unknown(self.settings), *(name for one in self.inputs for name in one.unknown)})

    def plain(self) -> dict[str, Json]:
        """All of it as plain values."""
        return {"kind": self.kind, "settings": dict(self.settings), "inputs": [one.plain() for one in self.inputs]}

    @staticmethod
    def from_plain(values: Mapping[str, Json]) -> "Recipe":
        """The recipe of which these are the plain values."""
        inputs = tuple(Recipe.from_plain(one) for one in values["inputs"])
        return Recipe(values["kind"], values["settings"], inputs)

    def without(self, name: str) -> "Recipe":
        """The same without one setting, here and in all inputs: without "collection", whatever the images are."""
        known = {key: value for key, value in self.settings.items() if key != name}
        return Recipe(self.kind, known, tuple(one.without(name) for one in self.inputs))


def settings(part: object) -> Json:
    """Settings of a component that determine its results, as plain values.

    A component that has a method `settings` is asked. A dataclass gives its fields, but for those marked with
    `field(metadata=NOT_IN_RECIPE)`. What has a `fingerprint` (collections, annotations, datasets) or a `weights_hash`
    (networks) gives that, arrays the hash of their content. Any other object gives its public attributes, where these
    are plain values.

    To it belongs the component's class: the name and `revision` of one of ours (1 where it states none; raised when
    results change on purpose), the hash of the module's file of one from outside. A component that can say neither is
    marked as unknown: it equals nothing, not even itself, and is computed again.

    Example:
        >>> settings({"b": (1, 2), "a": None})
        {'a': None, 'b': [1, 2]}
    """
    if isinstance(part, np.generic):
        part = part.item()
    if part is None or isinstance(part, bool | int | str | float):
        return part.value if isinstance(part, Enum) else _finite(part)
    if isinstance(part, Mapping | Set | Sequence):
        return _all_of(part)
    if isinstance(part, Tensor | np.ndarray):
        return content_hash(part)
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, partial):
        return {"call": settings(part.func), "args": settings(part.args), "keywords": settings(part.keywords)}
    if isinstance(part, type) or inspect.isroutine(part):
        return _origin(part)
    return {**_origin(type(part)), **_own(part)}


def _all_of(parts: Mapping[Any, object] | Set[object] | Sequence[object]) -> Json:
    """Settings of each of several."""
    if isinstance(parts, Mapping):
        return {str(key): settings(parts[key]) for key in sorted(parts, key=str)}
    each = [settings(one) for one in parts]
    return sorted(each, key=repr) if isinstance(parts, Set) else each


def _finite(value: object) -> Json:
    """JSON has no word for what is not finite."""
    return str(value) if isinstance(value, float) and value - value != 0 else value


def _own(part: object) -> dict[str, Json]:
    """Settings of a component, without those of its class."""
    if callable(own := getattr(part, "settings", None)):
        return {key: settings(value) for key, value in own().items()}
    if callable(fingerprint := getattr(part, "fingerprint", None)):
        return {"content": fingerprint()}
    if isinstance(weights := getattr(part, "weights_hash", None), str):
        return {"name": getattr(part, "name", None), "weights": weights}
    if is_dataclass(part):
        named = [one.name for one in fields(part) if one.metadata.get("recipe", True)]
        return {name: settings(getattr(part, name)) for name in named}
    public = {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}
    if not all(_is_plain(value) for value in public.values()):
        return {"unknown": type(part).__qualname__, "once": uuid.uuid4().hex}
    return {name: settings(value) for name, value in sorted(public.items())}


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(one) for one in value.values())
    if isinstance(value, tuple | list):
        return all(_is_plain(one) for one in value)
    return (
        value is None or isinstance(value, bool | int | float | str | Path | Tensor | np.ndarray) or is_dataclass(value)
    )


def _origin(kind: Any) -> dict[str, Json]:  # noqa: ANN401 - a class or a function
    """Name and version of a class or function."""
    module, name = str(kind.__module__), str(kind.__qualname__)
    if module.startswith(OURS):
        return {"class": name, "revision": getattr(kind, "revision", 1)}
    source = _source_hash(kind)
    if source is None:
        return {"class": f"{module}.{name}", "unknown": name, "once": uuid.uuid4().hex}
    return {"class": f"{module}.{name}", "source": source}


@cache
def _source_hash(kind: Any) -> str | None:  # noqa: ANN401
    """Hash of the file of the module that a class or function is from; of its own text in a notebook."""
    try:
        file = inspect.getsourcefile(kind)
        content = Path(file).read_bytes() if file and Path(file).is_file() else inspect.getsource(kind).encode()
    except (OSError, TypeError):
        return None
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def file_hash(path: Path) -> str:
    """Hash of a file's content; of its path where it cannot be read, which whoever needs it will report."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return str(path)


def content_hash(values: Tensor | np.ndarray) -> str:
    """Hash of an array's type, shape and values."""
    array = values.detach().cpu().contiguous().numpy() if isinstance(values, Tensor) else np.ascontiguousarray(values)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    digest.update(array.tobytes())
    return digest.hexdigest()


def _unknown(values: Json) -> Iterator[str]:
    if isinstance(values, Mapping):
        if "unknown" in values and "once" in values:
            yield str(values["unknown"])
        for value in values.values():
            yield from _unknown(value)
    elif isinstance(values, list):
        for value in values:
            yield from _unknown(value)
