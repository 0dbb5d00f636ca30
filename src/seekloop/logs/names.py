"""Names that reports group runs by, read from what was built; also of runs that were made under earlier names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EARLIER = re.compile(r"^(local|fusion|pool):", re.MULTILINE)
"""Keys at the top of the configs of runs that were made under earlier names."""


RECORDED = re.compile(r"^recipe:", re.MULTILINE)
"""The recipe in a run's config, which the first versions did not write."""


def representation_name(local: str, fusion: str) -> str:
    """Give a local strategy and a fusion the paper's name.

    Example:
        >>> representation_name("none", "none"), representation_name("all", "none"), representation_name("all", "pool")
        ('go', 'lo_all', 'gl_pool_all')
    """
    if fusion != "none":
        return f"gl_{fusion}_{local}"
    return {"none": "go", "box": "box"}.get(local, f"lo_{local}")


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a run's config to today's names: the representation holds `local` and `fusion`, `pool` is the dataset."""
    values = dict(config)
    choices = dict(values.get("choices") or {})
    if {"local", "fusion"} <= set(values):
        values["representation"] = {part: values.pop(part) for part in ("local", "fusion")}
    if {"local", "fusion"} <= set(choices):
        choices["representation"] = representation_name(choices["local"], choices["fusion"])
    for names in (values, choices):
        if "pool" in names:
            names["dataset"] = names.pop("pool")
    choices.pop("method", None)
    return values | {"choices": choices} if choices else values


def has_earlier_names(run: Path) -> bool:
    """Whether a run's folder holds a config of earlier names, or without a recipe, and so of an earlier version."""
    file = run / "config.yaml"
    if not file.is_file():
        return False
    config = file.read_text()
    return EARLIER.search(config) is not None or RECORDED.search(config) is None
