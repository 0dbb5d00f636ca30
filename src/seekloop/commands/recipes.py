"""Recipes of runs: what the result of each command depends on, asked of the parts that were built."""

from collections.abc import Sequence

from omegaconf import DictConfig

from seekloop.commands.compose import LoopParts, choices, plain
from seekloop.contracts.grids import write_grid
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Collection
from seekloop.contracts.recipe import Json, Recipe, settings
from seekloop.extraction.plan import Plan
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.protocol.simulation import Simulation
from seekloop.regions.parts import Parts

HASH = 10  # letters of a recipe's key in a run's name


def named(words: Sequence[object], recipe: Recipe) -> str:
    """Name of a run: what people look for first, then a hash of its recipe."""
    shown = [str(word).replace("+", "_") for word in words if word]
    return "-".join([*shown, recipe.key[:HASH]])


def retrieval(parts: LoopParts, simulation: Simulation, user: SimulatedUser, descriptors: Plan) -> Recipe:
    """Recipe of simulated searches. A grid is a part of it where the representation reads regions."""
    local = parts.representation.local.uses_regions
    known: dict[str, Json] = {
        "command": "retrieve",
        "representation": settings(parts.representation),
        "classifier": settings(parts.classifier),
        "criterion": settings(parts.criterion),
        "user": settings(user),
        "simulation": settings(simulation),
        "engine": settings(parts.engine),
        "grid": write_grid(descriptors.parts.asked) if local and descriptors.parts.asked else None,
    }
    if parts.prior is not None:
        known["prior"] = settings(parts.prior)
    if parts.index is not None:
        known["index"] = {**parts.index.identity(), **settings(parts.shortlist)}
    return Recipe("run", known, (descriptors.recipe(local),))


def retrieval_words(parts: LoopParts, config: DictConfig, descriptors: Plan) -> list[object]:
    """Local strategy, fusion, regions where they are read, criterion, seed."""
    chosen = choices()
    words: list[object] = [chosen.get("local"), chosen.get("fusion")]
    if parts.representation.local.uses_regions:
        words.append(write_grid(descriptors.parts.asked) if descriptors.parts.asked else chosen.get("regions"))
    prior = chosen.get("prior", "none") if parts.prior is not None else None
    return [*words, chosen.get("criterion"), prior, f"s{config.seed}"]


def instance_search(
    config: DictConfig, instances: InstanceSearch, descriptors: Plan, texts: Recipe | None = None
) -> Recipe:
    """Recipe of an instance search; with texts, of one by words."""
    asked = instances.queries
    local = config.search.against != "whole"
    known: dict[str, Json] = {
        "command": "search",
        "search": _measured(config.search),
        "queries": asked.fingerprint(),
        "annotations": asked.annotations.fingerprint(),
        "grid": write_grid(descriptors.parts.asked) if local and descriptors.parts.asked else None,
    }
    if texts is not None:  # right are the images that show a class, whose annotations the queries do not hold
        known |= {"right": instances.database.annotations.fingerprint(), "names": list(instances.names)}
        return Recipe("run", known, (descriptors.recipe(local), texts))
    return Recipe("run", known, (descriptors.recipe(local or config.search.query != "image"),))


def _measured(section: DictConfig) -> dict[str, Json]:
    """A section without the number of pictures, which are only drawn."""
    unasked = {"shown"} | (
        {"words"} if section.get("words") is None else set()
    )  # runs made before words have no such key
    return {key: value for key, value in plain(section).items() if key not in unasked}


def detection(config: DictConfig, collection: Collection, regions: Parts) -> Recipe:
    """Recipe of the measures of regions."""
    known = {
        "command": "detect",
        "detect": _measured(config.detect),
        "collection": collection.fingerprint(),
        "annotations": collection.annotations.fingerprint(),
    }
    return Recipe("run", known, (regions.recipe,))
