"""Overrides whose values Hydra's grammar cannot read, or takes for something else, written so that it can."""

import re
import shlex
from collections.abc import Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seekloop.commands.parts import nodes_of
from seekloop.contracts.errors import ConfigError

MULTIRUN = frozenset({"-m", "--multirun"})
TAKES_A_WORD = frozenset({"-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir", "-p", "--package"})
TAKES_A_WORD |= {"-i", "--info", "--experimental-rerun"}
TEXT_LEAVES = frozenset(
    {"root", "file", "templates", "boxes", "checkpoint", "weights", "cache", "ground_truth", "store_dir", "runs_dir"}
)
TEXT_KEYS = frozenset({"experiment_name", "search.words", "instances.distractors", "wandb.project", "wandb.entity"})
NEEDED = frozenset({"experiment_name", "runs_dir", "store_dir"})
REFERS = "Name the key that is meant; a file or folder that has ${ in its name must be given by a link, or renamed."
OPENING = "[{("
BEFORE_A_VALUE = ",:[{("


def takes_text(key: str) -> bool:
    """Is the value of this key a path or a name, and never a list or a number?"""
    return key in TEXT_KEYS or key.rpartition(".")[2] in TEXT_LEAVES


def quoted(text: str) -> str:
    r"""A text as Hydra writes it in double quotes, so that the config holds it letter by letter.

    Example:
        >>> print(quoted('12" (old)'), quoted("${HOME}"))
        "12\" (old)" "\${HOME}"
    """
    literal = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)  # no interpolation
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + (r"\"" if found[2] else ""), literal) + '"'


def for_shell(word: str) -> str:
    r"""A word as it is typed into a shell.

    Example:
        >>> print(for_shell('a="b c"'), for_shell("a=mum's"))
        'a="b c"' "a=mum's"
    """
    if "'" in word and not re.search(r"[$`!\\]", word):
        return '"' + word.replace('"', r"\"") + '"'
    return shlex.quote(word)


def quoting_hints(arguments: Sequence[str]) -> list[str]:
    """A line for each argument that Hydra cannot read, with the words to type instead; none where it can read all.

    Args:
        arguments: of the command line, as the shell has handed them over.
    """
    multirun = bool(MULTIRUN & set(arguments))
    before = ["", *arguments]
    words = [
        word for last, word in zip(before, arguments, strict=False) if word[:1] != "-" and last not in TAKES_A_WORD
    ]
    hints: list[str] = []
    for last, word in zip(["", *words], words, strict=False):
        key, equals, value = word.partition("=")
        parsed = _parsed(word)
        if equals and (parsed is None or (parsed.is_sweep_override() and not multirun)):
            hints += _hint(key, value, multirun)
        elif not equals and parsed is None and "=" in last:  # most likely the rest of a value with a space in it
            key, _, value = last.partition("=")
            together = for_shell(f"{key}={quoted(f'{value} {word}')}")
            hints.append(
                f"{word!r} is no key=value. If it belongs to the word before it, quote them together: {together}"
            )
    return list(dict.fromkeys(hints))


def check_text(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a path or a name that Hydra has read as a list, a number, a truth value or nothing.

    Args:
        config: of any command.
        overrides: that it was composed with, to see what was typed.

    Raises:
        ConfigError: naming the key, with the words to type instead.
    """
    typed = {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in overrides)}
    for above, node in nodes_of(config):
        for name in map(str, node):
            key = f"{above}.{name}" if above else name
            if takes_text(key):
                try:
                    value = OmegaConf.select(config, key, throw_on_missing=False)
                except OmegaConfBaseException as error:
                    why = f"{str(error).splitlines()[0]}, and ${{...}} stands for the value of another key"
                    raise ConfigError(key, typed.get(key, "${...}"), why, REFERS) from error
                _check_text(key, value, typed.get(key))


def _check_text(key: str, value: object, given: str | None) -> None:
    """Refuse one value; `given` is how it was typed."""
    if isinstance(value, str) and not value.strip() and key != "search.words":
        why = "it is empty, as where a variable of the shell is not set"
        raise ConfigError(key, value, why, "Give a name, or leave the key out.")
    if isinstance(value, str) and "${" in value:
        raise ConfigError(key, value, "${...} stands for the value of another key", REFERS)
    needed = key in NEEDED or (given is not None and key.rpartition(".")[2] == "root")
    if isinstance(value, str) or (value is None and not needed):
        return
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    instead = f"quote the value: {for_shell(f'{key}={quoted(_written(plain) if given is None else given)}')}"
    if value is None:
        raise ConfigError(key, None, "a folder or a name is needed here", f"If it has this name, {instead}")
    kinds: dict[type, str] = {list: "a list", dict: "a mapping", bool: "a truth value"}
    why = f"without quotes it is read as {kinds.get(type(plain), 'a number')}, and this is a path or a name"
    raise ConfigError(key, plain, why, f"To have it as text, {instead}")


def _written(value: object) -> str:
    """A value in Hydra's own words."""
    if isinstance(value, list):
        return f"[{','.join(_written(part) for part in value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(word: str) -> Override | None:
    try:
        found = OverridesParser.create().parse_override(word)
        found.value()
    except (HydraException, ValueError):
        return None
    return found


def _split_by_the_shell(before: Sequence[str], word: str) -> Iterator[str]:
    """A word without a key: most likely the rest of a value with a space in it."""
    if _parsed(word) is not None or not before or "=" not in before[-1]:
        return
    key, _, value = before[-1].partition("=")
    together = for_shell(f"{key}={quoted(f'{value} {word}')}")
    yield f"{word!r} is no key=value. If it belongs to the word before it, quote them together: {together}"


def _hint(key: str, value: str, multirun: bool) -> Iterator[str]:
    """How to write one override; nothing where the fault is not in its value."""
    whole = f"{key}={quoted(value)}"
    if _parsed(whole) is None:
        return
    text = takes_text(key.lstrip("+~"))
    if "${" in value:
        yield f"{key}={value}: {REFERS}"
        return
    parts = list(_parts(value))
    if len(parts) > 1 and multirun:
        each = f"{key}={','.join(_readable(part.strip(' '), text) for part in parts)}"
        if _parsed(each) is not None:
            yield f"Quote each value: {for_shell(each)} (one value with commas in it: {for_shell(whole)})"
            return
    if len(parts) > 1 and not text:
        listed = f"{key}=[{','.join(_readable(part.strip(' '), True) for part in parts)}]"
        yield f"Quote the value: {for_shell(whole)} (a list: {for_shell(listed)}; several runs: -m)"
        return
    better = f"{key}={_readable(value, text)}"
    yield f"Quote the value: {for_shell(whole if _parsed(better) is None else better)}"


def _readable(value: str, text: bool) -> str:
    """A value as it is where Hydra can read it; else in quotes, those of a list one by one unless it must be text."""
    if not text and value[:1] == "[" and value[-1:] == "]":
        return f"[{','.join(_readable(part.strip(' '), False) for part in _parts(value[1:-1]))}]"
    found = _parsed(f"key={value}")
    readable = found is not None and not found.is_sweep_override() and not (text and value[:1] in OPENING)
    return value if readable else quoted(value)


def _parts(value: str) -> Iterator[str]:
    """A value cut at its commas; not at those in quotes and brackets."""
    start, depth, end = 0, 0, 0
    for found in re.finditer(r"[,\[\](){}\"']", value):
        letter, position = found[0], found.start()
        if position < end:  # inside quotes
            continue
        if letter in "\"'":
            closed = re.compile(rf"{letter}(?:\\.|[^{letter}\\])*{letter}").match(value, position)
            end = closed.end() if closed and value[:position].rstrip(" ")[-1:] in BEFORE_A_VALUE else position
        elif letter != ",":
            depth += 1 if letter in OPENING else -1
        elif depth <= 0:
            yield value[start:position]
            start = position + 1
    yield value[start:]
