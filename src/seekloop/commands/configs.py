"""Folder of the configs, and one of their files with the values that it inherits."""

from pathlib import Path
from typing import Any

import yaml


def conf_dir() -> Path:
    """The folder of the configs: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def load_entry(file: Path) -> dict[str, Any]:
    """Values of one file of a group, over those of the files that its defaults name; parts of other groups left out.

    Raises:
        OSError: if a file is missing.
    """
    own = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    values: dict[str, Any] = {}
    defaults = own.pop("defaults", [])
    for item in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if item == "_self_":
            values = _over(values, own)
        elif isinstance(item, str):
            values = _over(values, load_entry(file.parent / f"{item.partition('@')[0]}.yaml"))
    return values


def _over(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    both = {key: _over(values[key], other) for key, other in others.items() if _mappings(values.get(key), other)}
    return values | others | both


def _mappings(value: object, other: object) -> bool:
    return isinstance(value, dict) and isinstance(other, dict)
