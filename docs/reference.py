"""Writes docs/reference.md, the reference of all choices and keys, from the comments in conf/*.yaml.

`python docs/reference.py` writes it, `render()` gives its text; a test holds the committed page to it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seekloop.commands.configs import load_entry
from seekloop.commands.groups import groups_of

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "reference.md"
COMMANDS = ("extract", "retrieve", "learn", "search", "detect", "check")
APART = {"experiment", "sweeps"}  # files of their own kind, not choices between components
LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_]\w*):(?P<value>.*?)(?:(?:^|\s+)#\s*(?P<comment>.*))?$")
OPENING = """# Config reference

Every choice and every key, generated from the comments in `conf/` by `docs/reference.py`. A choice is made with
`group=choice`, a key is set with `key=value`; `-m` and commas sweep over either. Keys hold where their choice is made.
"""


@dataclass(frozen=True)
class Key:
    """One explained key of a config file: its full name, its default as YAML, its comment."""

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Entry:
    """One config file: the name of the choice, what it says of itself, its class, its keys."""

    name: str
    says: str
    target: str
    keys: tuple[Key, ...]


def comment_lines(text: str) -> list[str]:
    """The comment that a file begins with, without its package line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    return lines


def entry(path: Path) -> Entry:
    """One config file with the keys that it inherits."""
    text = path.read_text(encoding="utf-8")
    values = load_entry(path)
    shared = text.startswith("# @package _global_") or path.parent == CONF
    group = str(path.parent.relative_to(CONF)).replace("/", ".") if path.is_relative_to(CONF) else path.parent.name
    prefix = "" if shared else f"{group}."
    target = str(values.get("_target_", "")).removeprefix("seekloop.")
    found = [
        Key(prefix + ".".join(names), flow(below(values, names)), comment) for names, comment in comments(path).items()
    ]
    return Entry(path.stem, " ".join(comment_lines(text)), target, tuple(found))


def comments(path: Path) -> dict[tuple[str, ...], str]:
    """Comments of a file's keys over those of the files that it inherits, in the order of the first."""
    text = path.read_text(encoding="utf-8")
    found: dict[tuple[str, ...], str] = {}
    for item in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(item, str) and item != "_self_" and path.parent != CONF:
            found |= comments(path.parent / f"{item.partition('@')[0]}.yaml")
    return found | dict(explained(text))


def explained(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys with a comment, in the order of the file; what lies below one of them is part of its default."""
    path: list[tuple[int, str]] = []
    above: tuple[str, ...] = ()
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        path = [(depth, name) for depth, name in path if depth < indent] + [(indent, match["key"])]
        names = tuple(name for _, name in path)
        inside = bool(above) and names[: len(above)] == above
        if match["comment"] and not inside and names[0] not in ("defaults", "_target_"):
            above = names
            yield names, match["comment"]


def below(values: Mapping[str, Any], names: tuple[str, ...]) -> object:
    """The value at a path of keys."""
    found: Any = values
    for name in names:
        found = found[name]
    return found


def flow(value: object) -> str:
    """A value as one line of YAML."""
    if isinstance(value, str):
        return value
    written = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return written.removesuffix("\n").removesuffix("\n...").strip()


def usual() -> dict[str, str | None]:
    """The choice that each group has when nothing is said."""
    chosen: dict[str, str | None] = {}
    for command in reversed(COMMANDS):  # where two differ, what the earlier one says
        chosen |= groups_of(command)
    return chosen


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(escaped(cell) for cell in line) + " |" for line in lines)


def escaped(cell: str) -> str:
    """A cell whose bars divide nothing and whose angle brackets are no tags."""
    cell = cell.replace("|", "\\|")
    return cell if cell.startswith("`") else cell.replace("<", "&lt;")


def command_section(name: str) -> str:
    """A command's own keys."""
    found = entry(CONF / f"{name}.yaml")
    own = [key for key in found.keys if not key.name.startswith("hydra.") and key.name not in usual()]
    rows = [(f"`{key.name}`", f"`{key.default}`", key.comment) for key in own]
    return f"## `seekloop {name}`\n\n{found.says}\n\n{table(('key', 'default', 'meaning'), rows)}\n"


def group_section(group: str, chosen: str | None) -> str:
    """A group: its choices, then the keys of all of them, equal ones in one row."""
    entries = [entry(path) for path in sorted((CONF / group).glob("*.yaml"))]
    with_class = any(found.target for found in entries)
    choices = [
        (f"`{found.name}`" + (" (default)" if found.name == chosen else ""), found.says)
        + ((f"`{found.target}`" if found.target else "",) if with_class else ())
        for found in entries
    ]
    heads = ("choice", "what it is") + (("class in `seekloop`",) if with_class else ())
    parts = [f"## `{group}`\n", table(heads, choices) + "\n"]
    if rows := key_rows(entries):
        parts.append(table(("key", "default", "meaning", "of"), rows) + "\n")
    return "\n".join(parts)


def key_rows(entries: list[Entry]) -> list[tuple[str, ...]]:
    """The keys of a group's entries; the last column says whose they are."""
    owners: dict[Key, list[str]] = {}
    for found in entries:
        for key in found.keys:
            owners.setdefault(key, []).append(found.name)
    order = {name: place for place, name in enumerate(dict.fromkeys(key.name for key in owners))}
    rows = sorted(owners.items(), key=lambda item: order[item[0].name])
    return [
        (f"`{key.name}`", f"`{key.default}`", key.comment, "all" if len(of) == len(entries) else ", ".join(of))
        for key, of in rows
    ]


def experiments_section() -> str:
    """The experiments: what each asks, what it expects and costs, and how it is run."""
    parts = ["## `experiment`\n", "A set of choices with a question; `experiment=<name>`, usually with `-m`.\n"]
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        facts = [fact(line) for line in comment_lines(path.read_text(encoding="utf-8"))]
        parts.append(f"### `{path.stem}`\n\n" + "\n".join(facts) + "\n")
    return "\n".join(parts)


def fact(line: str) -> str:
    """A line of an experiment's comment as an item of a list; a line without a heading goes on with the one before."""
    head, colon, rest = line.partition(":")
    if not colon or not head.isalpha():
        return f"  {escaped(line)}"
    return f"- {head}: `{rest.strip()}`" if head == "Run" else f"- {head}: {escaped(rest.strip())}"


def render() -> str:
    """The whole page."""
    chosen = usual()
    groups = sorted({str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")} - APART)
    groups = [group for group in groups if not group.endswith("/base")]
    sections = [command_section(name) for name in COMMANDS]
    sections += [group_section(group, chosen.get(group)) for group in groups]
    return "\n".join([OPENING, *sections, experiments_section()])


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
