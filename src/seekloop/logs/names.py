"""Names that reports group runs by, read from what was built; also of runs that were made under earlier names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EARLIER = re.compile(r"^(local|fusion|pool):", re.MULTILINE)
"""Keys at the top of the configs of runs that were made under earlier names."""


FAMILIES = ("go", "lo", "gl")
"""First words of representations' names, in the paper's order."""
STRATEGY = frozenset({"one", "rand", "proto", "all"})
"""Words of the local strategies' names, which the paper capitalises."""
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


def paper_name(representation: str) -> str:
    """Write a representation as the paper does; whatever else it is called stays as it is.

    Example:
        >>> [paper_name(name) for name in ("go", "lo_one_rand", "gl_concat_all", "gl_pool_drop_all", "mine")]
        ['GO', 'LO-One-Rand', 'GL-concat-All', 'GL-pool-drop-All', 'mine']
    """
    family, *words = representation.split("_")
    if family not in FAMILIES:
        return representation
    return "-".join([family.upper(), *(word.title() if word in STRATEGY else word for word in words)])


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a run's config to today's names: the representation holds `local` and `fusion`, `pool` is the dataset.

    Runs of GL-pool-All that dropped the irrelevant regions of relevant images have the name of that variant.
    """
    values = dict(config)
    choices = dict(values.get("choices") or {})
    if {"local", "fusion"} <= set(values):
        values["representation"] = {part: values.pop(part) for part in ("local", "fusion")}
    if {"local", "fusion"} <= set(choices):
        choices["representation"] = representation_name(choices["local"], choices["fusion"])
    held = values.get("representation")
    fusion = held.get("fusion") if isinstance(held, Mapping) else None
    dropped = isinstance(fusion, Mapping) and fusion.get("keep_pos_negatives") is False
    if dropped and (choices.get("local"), choices.get("fusion")) == ("all", "pool"):
        choices |= {"fusion": "pool_drop", "representation": "gl_pool_drop_all"}
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
