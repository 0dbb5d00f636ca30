"""Inventory of a store folder: kind, size and last use of every artifact, and the runs that need it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seekloop.artifacts import files
from seekloop.artifacts.folder import COMPLETE, Folder, folders_below
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, MANIFEST

DESCRIBED = {MANIFEST: "descriptors", "regions.json": "regions", "maps.json": "maps", "texts.json": "texts"}
DESCRIBED |= {"graph.json": "graph", "discovery.json": "discovery"}
WEIGHTS = "weights.pt"  # the marker of pre-trained weights, whose folder's name ends in the recipe's key
WEIGHTS_KEY = 10  # letters of it


@dataclass(frozen=True)
class Stored:
    """One artifact below a store folder.

    Attributes:
        folder: where.
        kind: descriptors, regions, maps, texts, weights, graph, ...
        state: finished, unfinished, or in use (a process is writing into it).
        bytes: of all its files.
        used: when it was made or last asked for, in seconds since 1970.
        runs: names of the runs that need it.
    """

    folder: Folder
    kind: str
    state: str
    bytes: int
    used: float
    runs: tuple[str, ...]


def inventory(store_dir: Path, configs: Mapping[str, Mapping[str, Any]]) -> list[Stored]:
    """Every artifact at or below a folder, in the order of their paths.

    Args:
        store_dir: the folder.
        configs: the resolved configs of runs, with their recipes, by the runs' names.
    """
    needed = {name: set(_keys_needed(config)) for name, config in configs.items()}
    found = []
    for folder in folders_below(store_dir, KEY, (*DESCRIBED, WEIGHTS, "checkpoint.pt")):
        kind, keys = _identified(folder.path)
        if kind:
            runs = [name for name, wanted in needed.items() if any(key.startswith(tuple(keys)) for key in wanted)]
            marker = folder.path / (WEIGHTS if kind == "weights" else COMPLETE)
            state = "in use" if folder.alive() else "finished" if marker.exists() else "unfinished"
            times = [path.stat().st_mtime for path in folder.path.iterdir() if path.is_file()]
            used = max(times, default=0.0)
            found.append(Stored(folder, kind, state, folder.size(), used, tuple(sorted(runs))))
    return found


def _identified(folder: Path) -> tuple[str, list[str]]:
    """The kind of an artifact, and the keys, or beginnings of them, by which runs ask for it; nothing if it is none.

    Descriptors have two: with their regions, and without, for runs that read global descriptors only.
    """
    for name, kind in DESCRIBED.items():
        with contextlib.suppress(OSError, ValueError):
            described = files.read_json(folder / name)
            keys = [str(described.get("key"))]
            if kind == "descriptors" and "recipe" in described:
                recipe = Recipe.from_plain(described["recipe"])
                keys.append(Recipe(recipe.kind, recipe.settings).key)
            return kind, keys
    if (folder / WEIGHTS).exists() or (folder / "checkpoint.pt").exists():
        return "weights", [folder.name[-WEIGHTS_KEY:]] if len(folder.name) >= WEIGHTS_KEY else []
    return "", []


def _keys_needed(config: Mapping[str, Any]) -> Iterator[str]:
    """Keys of everything that a run was made from, however far back."""
    if "store_key" in config:
        yield str(config["store_key"])
    waiting = list(Recipe.from_plain(config["recipe"]).inputs) if "recipe" in config else []
    while waiting:
        recipe = waiting.pop()
        yield recipe.key
        waiting += recipe.inputs
