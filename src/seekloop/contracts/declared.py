"""Arguments that are checked against their declared types and ranges, with one message for all of them.

Example:
    >>> from typing import Annotated
    >>> from annotated_types import Ge
    >>> @component
    ... class Nearest:
    ...     neighbours: Annotated[int, Ge(1)] = 20
    >>> Nearest(neighbours=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    seekloop.contracts.errors.ConfigError: Nearest: neighbours=0 cannot work: it must be an int of at least 1. ...
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, dataclass_transform

import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Lt

from seekloop.contracts.errors import ConfigError

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])

Count = Annotated[int, Ge(1)]
"""How many there are: 1 or more."""
Share = Annotated[float, Interval(ge=0, le=1)]
"""A share of the whole, from 0 to 1."""
Positive = Annotated[float, Interval(gt=0, lt=float("inf"))]
"""A finite number above 0."""
Precision = Literal["auto", "32-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed", "64-true"]
"""Lightning's names for what any network here can compute in; its aliases would give one store two keys."""

Hint: TypeAlias = Any  # a type as it is written in an annotation
PLAIN = (bool, int, float, str, Path, type(None))


@dataclass_transform(frozen_default=True)
def component(cls: Class) -> Class:
    """Make a class a frozen dataclass whose arguments are checked when it is built, before its own `__post_init__`.

    Checked are fields of plain types: numbers, texts, paths, literals, enumerations, sequences and mappings of them,
    with ranges declared through `Annotated`. An int passes for a float, a bool never for a number. Values are kept as
    they were given. Other fields (networks, other components) are not looked at.

    Raises:
        ConfigError: naming the argument, the value, the declared type and range, and the default.
    """
    own = getattr(cls, "__post_init__", None)  # a base's checks of several arguments hold for its subclasses

    def post_init(self: object) -> None:
        kind: Callable[..., object] = type(self)
        hints = _hints(kind)
        check({name: getattr(self, name) for name in hints}, self, hints, _defaults(kind))
        if own is not None:
            with _owned(self, hints):
                own(self)

    cls.__post_init__ = post_init  # type: ignore[attr-defined]
    made: Any = dataclass(frozen=True)(cls)
    made.__init__.__annotations__ = {}  # the tests' check of shapes would refuse first, and an int for a float too
    return typing.cast(Class, made)


def declared(function: Function) -> Function:
    """Check the arguments of each call of a function, or of an `__init__`, as `component` does.

    An error about one of its arguments that something called by it raises becomes an error of this part.

    Raises:
        ConfigError: when it is called, as for `component`.
    """
    signature = inspect.signature(function)
    method = next(iter(signature.parameters), "") == "self"

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        given = signature.bind(*args, **kwargs).arguments
        owner = args[0] if method else checked
        check(given, owner, _hints(function), _defaults(function))
        with _owned(owner, signature.parameters):
            return function(*args, **kwargs)

    return typing.cast(Function, checked)


@contextmanager
def _owned(owner: object, arguments: Collection[str]) -> Iterator[None]:
    """Name the part in errors about its arguments that speak of no part, such as those of the reader of weights."""
    try:
        yield
    except ConfigError as error:
        if error.owner is None and error.key in arguments:
            raise ConfigError(error.key, error.got, error.why, error.fix, owner) from error
        raise


def check(given: Mapping[str, object], owner: object, hints: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Compare arguments with their declared types.

    Raises:
        ConfigError: for the first argument that does not fit.
    """
    for name, value in given.items():
        if name in hints and not _adapter(hints[name])(value):
            usual = f"Usual: {defaults[name]}." if name in defaults else "Give one that is."
            raise ConfigError(name, value, f"it must be {describe(hints[name])}", usual, owner)


@functools.cache
def _hints(target: Callable[..., object]) -> dict[str, Any]:
    """Declared types of the arguments that are plain."""
    hints = typing.get_type_hints(target, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return" and _is_plain(hint)}


@functools.cache
def _defaults(target: Callable[..., object]) -> dict[str, object]:
    parameters = inspect.signature(target).parameters.values()
    return {one.name: one.default for one in parameters if isinstance(one.default, (*PLAIN, tuple))}


def _is_plain(hint: Hint) -> bool:
    origin: Hint = typing.get_origin(hint)
    parts: tuple[Hint, ...] = typing.get_args(hint)
    if origin is Annotated:
        return _is_plain(parts[0])
    if origin is Literal or hint in PLAIN or (isinstance(hint, type) and issubclass(hint, Enum)):
        return True
    if origin in (Union, types.UnionType, tuple, list, Sequence, Mapping, dict):
        return all(part is Ellipsis or _is_plain(part) for part in parts)
    return False


@functools.cache
def _adapter(hint: Hint) -> Callable[[object], bool]:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    adapter = TypeAdapter[Any](_checked(hint), config=ConfigDict(strict=True))

    def fits(value: object) -> bool:
        try:
            adapter.validate_python(_python(value))
        except ValidationError:
            return False
        return True

    return fits


def _checked(hint: Hint) -> Hint:
    """A type as the strict check reads it: any sequence for a list, a text for a path, and no True for 1."""
    from pydantic import AfterValidator

    origin: Hint = typing.get_origin(hint)
    parts: tuple[Hint, ...] = typing.get_args(hint)
    if hint is Path:
        return Path | str
    if origin is Annotated:
        return Annotated[(_checked(parts[0]), *parts[1:])]
    if origin is Literal:
        return Annotated[Any, AfterValidator(partial(_one_of, parts))]
    if origin in (Union, types.UnionType):
        return reduce(or_, map(_checked, parts))
    if origin is None:
        return hint
    inner = tuple(part if part is Ellipsis else _checked(part) for part in parts)
    return (Sequence if origin is list else origin)[inner]


def _one_of(options: Sequence[object], value: object) -> object:
    if not any(type(value) is type(option) and value == option for option in options):
        raise ValueError(value)
    return value


def _python(value: object) -> object:
    """Arrays, lists of a config and other sequences as tuples, NumPy's scalars as Python's: all the check knows."""
    if isinstance(value, np.generic | np.ndarray):
        return _python(value.tolist())
    if isinstance(value, Mapping):
        return {key: _python(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(_python(one) for one in value)
    return value


WORDS: dict[Hint, str] = {
    int: "an int",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


def describe(hint: Hint) -> str:
    """Name a declared type and its range in words.

    Example:
        >>> describe(Annotated[int, Ge(1)] | None)
        'an int of at least 1, or null'
        >>> describe(Literal["cls", "mean"])
        'one of: cls, mean'
    """
    origin: Hint = typing.get_origin(hint)
    parts: tuple[Hint, ...] = typing.get_args(hint)
    if origin is Annotated:
        limits = [limit for one in parts[1:] for limit in (one if isinstance(one, Interval) else [one])]
        return " ".join([describe(parts[0]), " and ".join(_limit(one) for one in limits)]).strip()
    if origin is Literal:
        return f"one of: {', '.join(map(str, parts))}"
    if origin in (Union, types.UnionType):
        named = [part for part in parts if not (part is str and Path in parts)]  # a path may be a text
        return ", or ".join(sorted(map(describe, named), key=lambda one: one == "null"))
    if origin in (tuple, list, Sequence):
        fixed = origin is tuple and Ellipsis not in parts
        return (
            f"a list of {len(parts)}: {', '.join(map(describe, parts))}"
            if fixed
            else f"a list, each {describe(parts[0])}"
        )
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of: {', '.join(str(one.value) for one in hint)}"
    return WORDS.get(hint, "a mapping")


def _limit(limit: object) -> str:
    match limit:
        case Ge(ge=least):
            return f"of at least {least}"
        case Gt(gt=least):
            return f"above {least}"
        case Le(le=most):
            return f"of at most {most}"
        case Lt(lt=most):
            return "that is finite" if most == float("inf") else f"below {most}"
    raise TypeError(f"{limit!r} is no range; use Ge, Gt, Le, Lt or Interval")
